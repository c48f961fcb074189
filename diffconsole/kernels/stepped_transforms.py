"""Transforms of long real signals in two steps, several times as fast as one.

A signal of ``N = N₁·N₂`` samples is a matrix of N₁ rows. Its transform is one down every column, a
turn of each number by ``exp(−2πi·k₁·n₂/N)``, and one along every row (Bailey, *FFTs in external or
hierarchical memory*, 1990). Many short transforms at a time suit vectors and caches. Bin
``k₁ + N₁·k₂`` lies at row k₁ and column k₂; of the rows only the first half and the one after it is
kept, since the signal is real. That order serves products of spectra: convolutions.
"""

from __future__ import annotations

import functools

import numpy as np

__all__ = ["shape_for", "to_signal", "to_stepped"]

ROWS = 512


def shape_for(samples: int) -> tuple[int, int]:
    """Return rows and columns for that many samples at least, fast to transform."""
    import scipy.fft

    return ROWS, scipy.fft.next_fast_len(max(-(-samples // ROWS), 2))


@functools.lru_cache(maxsize=8)
def _turns(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """``exp(−2πi·k₁·n₂/N)``, ``(rows/2 + 1, columns)`` complex64, and their conjugates."""
    turns = np.outer(np.arange(rows // 2 + 1), np.arange(columns)) / (rows * columns)
    there = np.exp(-2j * np.pi * turns).astype(np.complex64)
    return there, there.conj()


def to_stepped(signal: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the spectra of ``(…, samples)`` float32: ``(…, rows/2 + 1, columns)`` complex64."""
    import scipy.fft

    rows, columns = shape
    padded = np.zeros((*signal.shape[:-1], rows * columns), np.float32)
    padded[..., : signal.shape[-1]] = signal
    steps = scipy.fft.rfft(padded.reshape(*signal.shape[:-1], rows, columns), axis=-2)
    steps *= _turns(rows, columns)[0]
    found: np.ndarray = scipy.fft.fft(steps, axis=-1, overwrite_x=True)
    return found


def to_signal(spectrum: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the real signals of spectra, ``(…, N)`` float32: what undoes :func:`to_stepped`.

    The spectra are spoilt.
    """
    import scipy.fft

    rows, columns = shape
    steps = scipy.fft.ifft(spectrum, axis=-1, overwrite_x=True)
    steps *= _turns(rows, columns)[1]
    found: np.ndarray = scipy.fft.irfft(steps, rows, axis=-2, overwrite_x=True)
    return found.reshape(*spectrum.shape[:-2], rows * columns)
