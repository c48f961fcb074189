"""Transforms of real signals in NumPy, in the signal's own precision."""

from __future__ import annotations

import numpy as np

__all__ = ["to_samples", "to_spectrum"]


def to_spectrum(signal: np.ndarray, length: int | None = None) -> np.ndarray:
    """Return ``X[k] = Σ x[n]·exp(−2πi·k·n/length)``, k = 0 … length/2, along the last axis.

    Parameters
    ----------
    signal : ndarray
        Real, float32 or float64.
    length : int, optional
        Of the transform: more samples are silence; by default as many as there are.
    """
    # NumPy computes in float64 whatever the type of the signal unless it scales the result.
    spectrum = np.fft.rfft(signal, length, norm="forward")
    kind = np.complex64 if signal.dtype == np.float32 else np.complex128
    spectrum = spectrum.astype(kind, copy=False)
    spectrum *= spectrum.real.dtype.type(signal.shape[-1] if length is None else length)
    return spectrum


def to_samples(spectrum: np.ndarray, length: int) -> np.ndarray:
    """Return the real signal of a spectrum, what undoes :func:`to_spectrum`."""
    return np.fft.irfft(spectrum, length).astype(spectrum.real.dtype, copy=False)
