"""How far an error of an EQ's curve moves a processed vocal away, without rendering it.

Where two strips differ by ``e(f)`` dB before everything that follows the EQ, the distance between
their results (:mod:`diffconsole.losses.distance`) comes close to

``k·Σ w(f)·|e(f)| + k·√(1.5·Σ v(f)·e(f)²) + 1.5·k·mean |Σ m(t, f)·e(f)|``, ``k = ln(10)/20``,

``w`` the share of the spectrum's bins there that are above the distance's floor, ``v`` the share of
the A-weighted energy, and ``m(t, f)`` by how much more of the short-term than of the long-term
energy lies there at the time t. All three are found once, from one rendered result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..losses.distance import ENERGY_TIMES_MS, MASKED_DB, POWER_FLOOR
from ..losses.weighting import a_weighted, short_spectrum

__all__ = ["NEPERS", "Audible", "audible_of"]

NEPERS = math.log(10.0) / 20.0
"""Of a decibel."""

LOWEST_HZ, HIGHEST_HZ, POINTS_PER_OCTAVE = 16.0, 20000.0, 12
SIZE, MOST_TIMES = 2048, 60
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


def audible_of(result: Tensor, sample_rate: int) -> Audible:
    """Find what of a curve counts.

    Parameters
    ----------
    result : Tensor
        ``(1, 2, samples)``, the processed vocal.
    sample_rate : int
        Hz.
    """
    highest_hz = min(HIGHEST_HZ, 0.49 * sample_rate)
    points = math.floor(POINTS_PER_OCTAVE * math.log2(highest_hz / LOWEST_HZ)) + 1
    freq_hz = LOWEST_HZ * 2.0 ** (np.arange(points) / POINTS_PER_OCTAVE)
    edges_hz = np.concatenate(([0.0], np.sqrt(freq_hz[1:] * freq_hz[:-1]), [0.5 * sample_rate]))
    width_hz = sample_rate / SIZE
    inner_hz = (np.arange(SIZE // 2) + 0.5) * width_hz
    bin_edges_hz = np.concatenate(([0.0], inner_hz, [0.5 * sample_rate]))

    def gathered(per_bin: np.ndarray) -> np.ndarray:
        """Sums over bins, ``(bins, …)``, as sums around the points."""
        place = np.interp(edges_hz, bin_edges_hz, np.arange(len(bin_edges_hz)))
        low = np.minimum(place.astype(int), len(per_bin) - 1)
        share = (place - low).reshape(-1, *[1] * (per_bin.ndim - 1))
        sums = np.concatenate((np.zeros_like(per_bin[:1]), np.cumsum(per_bin, axis=0)))
        found: np.ndarray = np.diff(sums[low] * (1.0 - share) + sums[low + 1] * share, axis=0)
        return found

    left, right = short_spectrum(a_weighted(result, sample_rate), SIZE)[0]
    powers = torch.stack([_power(s) for s in (left, right, left + right, left - right)])
    floors = torch.full_like(powers, 1.5 * POWER_FLOOR)
    masked = 10.0 ** (MASKED_DB / 10.0)
    floors[2:] = torch.maximum(floors[2:], masked * powers[2:].flip(0))
    shares = np.array(SHARES)
    above = shares @ (powers > floors).double().mean(dim=2).numpy()
    energy = powers.double().mean(dim=2).numpy()
    totals = np.array([energy[:2].sum(), energy[:2].sum(), energy[2].sum(), energy[3].sum()])
    energy = (np.array([1.0, 1.0, 0.25, 0.25]) / np.maximum(totals, 1e-20)) @ energy
    return Audible(
        freq_hz,
        gathered(above * np.diff(bin_edges_hz)) / (0.5 * sample_rate),
        gathered(energy),
        _motion(
            gathered(
                _power(short_spectrum(result.mean(1, keepdim=True), SIZE)[0, 0]).double().numpy()
            ),
            SIZE // 4 / sample_rate,
        ),
    )


def _power(spectrum: Tensor) -> Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def _motion(energy: np.ndarray, hop_seconds: float) -> np.ndarray:
    """Shares of short-term less those of long-term energy, of ``(points, frames)``."""
    import scipy.signal

    rows = []
    for times_ms in ENERGY_TIMES_MS:
        shares = []
        for time_ms in times_ms:
            step = 1.0 - math.exp(-2200.0 * hop_seconds / time_ms)
            smooth = scipy.signal.lfilter([step], [1.0, step - 1.0], energy + 1e-12, axis=1)
            shares.append(smooth / smooth.sum(axis=0))
        shift = int((times_ms[1] - times_ms[0]) * 0.0005 / hop_seconds)
        difference = (shares[0] - np.roll(shares[1], -shift, axis=1)).T
        rows.append(difference[:: -(-len(difference) // MOST_TIMES)])
    return np.ascontiguousarray(np.concatenate(rows))
