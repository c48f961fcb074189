"""Integrated loudness of a signal that comes in blocks, as pyloudnorm measures it whole.

The filters keep their state from block to block and the mean squares of the standard's gating
blocks are added up on the way, so that a long recording takes no more memory than a short one.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["LoudnessMeter", "gated_loudness_lufs"]

GATING_SECONDS, OVERLAP = 0.4, 0.75
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = -70.0, -10.0
OUTLIER_PERCENTILE, OUTLIER_DB = 95.0, 20.0


class LoudnessMeter:
    """Collects the mean squares of the gating blocks of BS.1770-4.

    Parameters
    ----------
    sample_rate : int
        Hz.
    channels : int
        One or two.
    samples : int
        Of the whole signal; at least 0.4 s.
    """

    def __init__(self, sample_rate: int, channels: int, samples: int) -> None:
        import pyloudnorm

        meter = pyloudnorm.Meter(sample_rate, block_size=GATING_SECONDS)
        stages = [(stage.b, stage.a) for stage in meter._filters.values()]
        self._sections = np.array([np.concatenate((b, a)) for b, a in stages])
        self._state = np.zeros((len(stages), channels, 2))
        step = 1.0 - OVERLAP
        seconds = samples / sample_rate
        count = int(np.round((seconds - GATING_SECONDS) / (GATING_SECONDS * step)) + 1)
        # Written as pyloudnorm writes them: the rounding decides on single samples.
        self._first = [int(GATING_SECONDS * (j * step) * sample_rate) for j in range(count)]
        self._stop = [int(GATING_SECONDS * (j * step + 1) * sample_rate) for j in range(count)]
        self._edges = np.unique([0, *self._first, *self._stop])
        self._sums = np.zeros((channels, len(self._edges)))
        self._block_samples = GATING_SECONDS * sample_rate
        self._done = 0

    def add(self, block: np.ndarray) -> None:
        """Go on with the next samples, ``(channels, samples)``."""
        from scipy.signal import sosfilt

        filtered, self._state = sosfilt(
            self._sections, block.astype(np.float64), axis=1, zi=self._state
        )
        np.square(filtered, out=filtered)
        begin, end = self._done, self._done + block.shape[1]
        first = int(np.searchsorted(self._edges, begin, "right")) - 1
        last = int(np.searchsorted(self._edges, end, "left"))
        starts = np.maximum(self._edges[first:last] - begin, 0)
        if len(starts):
            self._sums[:, first:last] += np.add.reduceat(filtered, starts, axis=1)
        self._done = end

    def mean_squares(self) -> np.ndarray:
        """Return the mean squares of the gating blocks, ``(channels, blocks)``."""
        first = np.searchsorted(self._edges, self._first)
        stop = np.searchsorted(self._edges, self._stop)
        sums = np.array([self._sums[:, i:j].sum(axis=1) for i, j in zip(first, stop, strict=True)])
        return sums.reshape(len(first), -1).T / self._block_samples


def gated_loudness_lufs(mean_squares: np.ndarray, *, without_outliers: bool = False) -> float:
    """Return the integrated loudness of gating blocks; −inf where all lie below −70 LUFS.

    Parameters
    ----------
    mean_squares : ndarray
        ``(channels, blocks)``; every channel counts once.
    without_outliers : bool
        Leave out blocks 20 dB above the 95th percentile of those above the absolute gate: one
        damaged sample of a long recording does not decide its level.
    """
    power = mean_squares.sum(axis=0)
    with np.errstate(divide="ignore"):
        loudness = -0.691 + 10.0 * np.log10(power)
    gated = loudness >= ABSOLUTE_GATE_LUFS
    if without_outliers and gated.any():
        gated &= loudness <= np.percentile(loudness[gated], OUTLIER_PERCENTILE) + OUTLIER_DB
    if not gated.any():
        return -math.inf
    gate = -0.691 + 10.0 * math.log10(float(power[gated].mean())) + RELATIVE_GATE_LU
    gated &= (loudness > gate) & (loudness > ABSOLUTE_GATE_LUFS)
    if not gated.any():
        return -math.inf
    return -0.691 + 10.0 * math.log10(float(power[gated].mean()))
