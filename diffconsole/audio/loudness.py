"""Integrated loudness after ITU-R BS.1770-4, also of a signal that comes in blocks.

The weighting filters are those of pyloudnorm (Steinmetz and Reiss, "pyloudnorm: A simple yet
flexible loudness meter in Python", AES 2021), which the figures equal to 10⁻⁶ LU. They run as one
product of spectra: after a quarter of a second nothing is left of their response in double
precision. What comes before a block is kept as long as that, and the mean squares of the standard's
gating blocks are added up on the way, so that a long recording takes no more memory than a short
one.
"""

from __future__ import annotations

import functools
import math

import numpy as np

__all__ = ["LoudnessMeter", "gated_loudness_lufs"]

GATING_SECONDS, OVERLAP = 0.4, 0.75
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = -70.0, -10.0
OUTLIER_PERCENTILE, OUTLIER_DB = 95.0, 20.0

SHELF_DB, SHELF_Q, SHELF_HZ = 4.0, 1.0 / math.sqrt(2.0), 1500.0
HIGH_PASS_Q, HIGH_PASS_HZ = 0.5, 38.0
RESPONSE_SECONDS, LEAST_SPECTRUM = 0.25, 1 << 17
"""How long the filters ring; a spectrum is at least so long, and eight times as long as that."""


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
        self._rate = sample_rate
        self._before = np.zeros((channels, math.ceil(RESPONSE_SECONDS * sample_rate)))
        step = 1.0 - OVERLAP
        seconds = samples / sample_rate
        count = int(np.round((seconds - GATING_SECONDS) / (GATING_SECONDS * step)) + 1)
        # Written as in pyloudnorm: the rounding decides on single samples.
        self._first = [int(GATING_SECONDS * (j * step) * sample_rate) for j in range(count)]
        self._stop = [int(GATING_SECONDS * (j * step + 1) * sample_rate) for j in range(count)]
        self._edges = np.unique([0, *self._first, *self._stop])
        self._sums = np.zeros((channels, len(self._edges)))
        self._block_samples = GATING_SECONDS * sample_rate
        self._done = 0

    def add(self, block: np.ndarray) -> None:
        """Go on with the next samples, ``(channels, samples)``."""
        spectrum = _spectrum_length(self._rate)
        most = spectrum - self._before.shape[1]
        for start in range(0, block.shape[1], most):
            part = np.concatenate((self._before, block[:, start : start + most]), axis=1)
            weighted = np.fft.irfft(np.fft.rfft(part, spectrum) * _weighting(self._rate), spectrum)
            self._add_squares(np.square(weighted[:, self._before.shape[1] : part.shape[1]]))
            self._before = part[:, part.shape[1] - self._before.shape[1] :]

    def _add_squares(self, filtered: np.ndarray) -> None:
        begin, end = self._done, self._done + filtered.shape[1]
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


def _spectrum_length(sample_rate: float) -> int:
    ringing = math.ceil(8.0 * RESPONSE_SECONDS * sample_rate)
    return max(LEAST_SPECTRUM, 1 << (ringing - 1).bit_length())


@functools.lru_cache(maxsize=4)
def _weighting(sample_rate: float) -> np.ndarray:
    """Response of the standard's shelf and high-pass at the bins of a spectrum."""
    length = _spectrum_length(sample_rate)
    z = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)
    amplitude = 10.0 ** (SHELF_DB / 40.0)
    cosine, alpha = _turn(SHELF_HZ / sample_rate, SHELF_Q)
    plus, minus, root = amplitude + 1.0, amplitude - 1.0, 2.0 * math.sqrt(amplitude) * alpha
    shelf = (
        (
            plus + minus * cosine + root,
            -2.0 * (minus + plus * cosine),
            plus + minus * cosine - root,
        ),
        (plus - minus * cosine + root, 2.0 * (minus - plus * cosine), plus - minus * cosine - root),
    )
    response = amplitude * _ratio(shelf, z)
    cosine, alpha = _turn(HIGH_PASS_HZ / sample_rate, HIGH_PASS_Q)
    half = 0.5 * (1.0 + cosine)
    high_pass = ((half, -2.0 * half, half), (1.0 + alpha, -2.0 * cosine, 1.0 - alpha))
    found: np.ndarray = response * _ratio(high_pass, z)
    return found


def _turn(cycles: float, q: float) -> tuple[float, float]:
    angle = 2.0 * math.pi * cycles
    return math.cos(angle), math.sin(angle) / (2.0 * q)


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], z: np.ndarray) -> np.ndarray:
    (b0, b1, b2), (a0, a1, a2) = coefficients
    found: np.ndarray = (b0 + z * (b1 + z * b2)) / (a0 + z * (a1 + z * a2))
    return found


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
