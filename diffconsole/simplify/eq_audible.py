"""How far an error of an EQ's curve moves a processed vocal away, without rendering it.

Where two strips differ by ``e(f)`` dB before everything that follows the EQ, the distance between
their results (:mod:`diffconsole.losses.distance`) comes close to

``k·Σ w(f)·|e(f)| + k·√(1.5·Σ v(f)·e(f)²) + 1.5·k·mean |Σ m(t, f)·e(f)|``, ``k = ln(10)/20``,

``w`` the share of the spectrum's bins there that are above the distance's floor, ``v`` the share of
the A-weighted energy, and ``m(t, f)`` by how much more of the short-term than of the long-term
energy lies there at the time t. All three are found once, from one rendered result.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..losses.figures import ENERGY_TIMES_MS, FFT_SIZES

if TYPE_CHECKING:
    from ..losses.array_target import ArrayTarget

__all__ = ["NEPERS", "Audible", "audible_of"]

NEPERS = math.log(10.0) / 20.0
"""Of a decibel."""

LOWEST_HZ, HIGHEST_HZ, POINTS_PER_OCTAVE = 16.0, 20000.0, 12
SIZE, MOST_TIMES = max(FFT_SIZES), 60
SHARES = (0.5, 0.5, 0.25, 0.25)
"""Of left, right, mid and side in the spectral terms of the distance."""


@dataclass(frozen=True)
class Audible:
    """What of a curve counts for a processed vocal.

    Attributes
    ----------
    freq_hz : ndarray
        ``(points,)``, a twelfth of an octave apart.
    bins : ndarray
        ``(points,)``, share of the bins above the floor, all terms together.
    energy : ndarray
        ``(points,)``, share of the A-weighted energy, all terms together.
    motion : ndarray
        ``(times, points)``, of the short-term energy less of the long-term energy.
    """

    freq_hz: np.ndarray
    bins: np.ndarray
    energy: np.ndarray
    motion: np.ndarray

    def distance(self, error_db: np.ndarray) -> np.ndarray:
        """Estimate the distance for ``(…, points)`` errors of the curve in dB: ``(…,)``."""
        error = NEPERS * error_db
        moved = np.abs(error @ self.motion.T).mean(axis=-1)
        spread = np.sqrt(1.5 * (self.energy * np.square(error)).sum(axis=-1))
        found: np.ndarray = (self.bins * np.abs(error)).sum(axis=-1) + spread + 3.0 * moved
        return found


def audible_of(result: np.ndarray, target: ArrayTarget, sample_rate: int) -> Audible:
    """Find what of a curve counts.

    Parameters
    ----------
    result : ndarray
        ``(2, samples)``, the processed vocal.
    target : ArrayTarget
        Of it.
    sample_rate : int
        Hz.
    """
    highest_hz = min(HIGHEST_HZ, 0.49 * sample_rate)
    points = math.floor(POINTS_PER_OCTAVE * math.log2(highest_hz / LOWEST_HZ)) + 1
    freq_hz = LOWEST_HZ * 2.0 ** (np.arange(points) / POINTS_PER_OCTAVE)
    gather, width_hz = _gathering(points, sample_rate)
    above, energy = target.counting_bins(), _energies(target.weighed(result))
    totals = energy.sum(axis=1)
    totals[:2] = totals[0] + totals[1]
    energy = (np.array([1.0, 1.0, 0.25, 0.25]) / np.maximum(totals, 1e-20)) @ energy
    mono = np.pad(0.5 * (result[0] + result[1]), SIZE // 2, mode="reflect")
    powers = _power(_spectra(mono))
    return Audible(
        freq_hz,
        gather @ ((np.array(SHARES) @ above) * width_hz) / (0.5 * sample_rate),
        gather @ energy,
        _motion(gather.astype(np.float32) @ powers.T, SIZE // 4 / sample_rate),
    )


@functools.lru_cache(maxsize=4)
def _gathering(points: int, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """What makes sums around the points of sums over bins, and how wide the bins are, in Hz."""
    freq_hz = LOWEST_HZ * 2.0 ** (np.arange(points) / POINTS_PER_OCTAVE)
    edges_hz = np.concatenate(([0.0], np.sqrt(freq_hz[1:] * freq_hz[:-1]), [0.5 * sample_rate]))
    inner_hz = (np.arange(SIZE // 2) + 0.5) * sample_rate / SIZE
    bin_edges_hz = np.concatenate(([0.0], inner_hz, [0.5 * sample_rate]))
    bins = np.arange(len(bin_edges_hz) - 1)
    place = np.interp(edges_hz, bin_edges_hz, np.arange(len(bin_edges_hz)))
    until = np.clip(place[:, None] - bins, 0.0, 1.0)
    return np.diff(until, axis=0), np.diff(bin_edges_hz)


def _spectra(mirrored: np.ndarray) -> np.ndarray:
    """Spectra of frames a quarter of one apart, ``(…, frames, bins)``; ends are mirrored."""
    import scipy.fft

    window = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(SIZE) / SIZE)).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(mirrored, SIZE, axis=-1)
    spectra: np.ndarray = scipy.fft.rfft(frames[..., :: SIZE // 4, :] * window)
    return spectra


def _energies(weighed: np.ndarray) -> np.ndarray:
    """Energy of left, right, mid and side by bin, ``(4, bins)`` float64."""
    left, right = _spectra(weighed)
    own = [_power(side).sum(axis=0, dtype=np.float64) for side in (left, right)]
    both = 2.0 * (left.real * right.real + left.imag * right.imag).sum(axis=0, dtype=np.float64)
    total = own[0] + own[1]
    return np.maximum([*own, total + both, total - both], 0.0)


def _power(spectrum: np.ndarray) -> np.ndarray:
    power: np.ndarray = np.square(spectrum.real) + np.square(spectrum.imag)
    return power


def _motion(energy: np.ndarray, hop_seconds: float) -> np.ndarray:
    """Shares of short-term less those of long-term energy, of ``(points, frames)``."""
    energy = energy.astype(np.float64) + 1e-12
    rows = []
    for times_ms in ENERGY_TIMES_MS:
        shares = []
        for time_ms in times_ms:
            step = 1.0 - math.exp(-2200.0 * hop_seconds / time_ms)
            smooth = _smoothed(energy, step)
            shares.append(smooth / smooth.sum(axis=0))
        shift = int((times_ms[1] - times_ms[0]) * 0.0005 / hop_seconds)
        difference = (shares[0] - np.roll(shares[1], -shift, axis=1)).T
        rows.append(difference[:: -(-len(difference) // MOST_TIMES)])
    return np.ascontiguousarray(np.concatenate(rows))


def _smoothed(energy: np.ndarray, step: float) -> np.ndarray:
    """A one-pole over the frames of ``(points, frames)``, from 0.

    ``s[n] = s[n−1] + step·(e[n] − s[n−1])``
    """
    found, state = np.empty_like(energy.T), np.zeros(len(energy))
    for frame, now in enumerate(np.ascontiguousarray(energy.T)):
        state += step * (now - state)
        found[frame] = state
    return found.T
