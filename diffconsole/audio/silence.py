"""What of a file is digital silence: zeros, constants, dither. It belongs to no recording."""

from __future__ import annotations

import numpy as np

from .windows import runs_of_true, whole_windows

__all__ = ["between", "parts_of", "runs_of"]

BLOCK_SECONDS, SILENCE_SECONDS = 0.005, 0.3

SILENCE_DB = -80.0
"""Against the level of the voice: below it lies only what dither and codecs make of silence."""

FAINT_DB, DITHER_PEAK, DITHER_SECONDS = -60.0, 1e-4, 0.9
WHITE_CORRELATION, STEADY_RATIO = 0.3, 2.5
"""Noise below the first against the voice, below the second, and as long as the third is dither
where neighbouring samples correlate less than this and its peaks stay below so many times their
median: what microphones and rooms add is louder and darker."""


def parts_of(samples: np.ndarray, sample_rate: int) -> tuple[tuple[int, int], ...]:
    """What is not digital silence in all of these channels."""
    size = max(round(BLOCK_SECONDS * sample_rate), 1)
    count = samples.shape[1] // size
    if count * size < SILENCE_SECONDS * sample_rate:
        return ((0, samples.shape[1]),)
    peaks = [_peaks(channel, size) for channel in samples]
    loud = max(float(np.percentile(p[p > 0.0], 95)) if (p > 0.0).any() else 0.0 for p in peaks)
    limit = loud * 10.0 ** (SILENCE_DB / 20.0)
    faint = min(loud * 10.0 ** (FAINT_DB / 20.0), DITHER_PEAK)
    silent = _silent(samples[0], sample_rate, limit, faint)
    for channel in samples[1:]:
        silent = _common(silent, _silent(channel, sample_rate, limit, faint))
    least = round(SILENCE_SECONDS * sample_rate)
    return tuple(between([(a, b) for a, b in silent if b - a >= least], samples.shape[1]))


def _peaks(channel: np.ndarray, size: int) -> np.ndarray:
    blocks = whole_windows(channel, size)
    return np.maximum(blocks.max(axis=1), -blocks.min(axis=1))


def _stretches(quiet: np.ndarray, size: int) -> np.ndarray:
    """First sample and end of every run of blocks, ``(runs, 2)``."""
    return runs_of_true(quiet) * size


def runs_of(channel: np.ndarray, sample_rate: int, limit: float) -> list[tuple[int, int]]:
    """Stretches of 0.3 s or more that stay within ± a limit; with 0 those of one value."""
    size = max(round(BLOCK_SECONDS * sample_rate), 1)
    blocks = whole_windows(channel, size)
    if limit:
        quiet = (blocks.max(axis=1) <= limit) & (blocks.min(axis=1) >= -limit)
    else:
        quiet = blocks.max(axis=1) == blocks.min(axis=1)
    least = SILENCE_SECONDS * sample_rate
    found: list[tuple[int, int]] = []
    for first, last in _stretches(quiet, size):
        if last - first < least - 2 * size:
            continue
        middle = 0.0 if limit else channel[first]
        before, after = channel[max(first - size, 0) : first], channel[last : last + size]
        other = np.flatnonzero(np.abs(before - middle) > limit)
        start = first - len(before) + (int(other[-1]) + 1 if len(other) else 0)
        other = np.flatnonzero(np.abs(after - middle) > limit)
        stop = last + (int(other[0]) if len(other) else len(after))
        if stop - start >= least:
            found.append((int(start), int(stop)))
    return found


def _white_runs(channel: np.ndarray, sample_rate: int, limit: float) -> list[tuple[int, int]]:
    """Stretches of 0.9 s or more that hold nothing but white noise within ± a limit."""
    size = max(round(BLOCK_SECONDS * sample_rate), 1)
    blocks = whole_windows(channel, size)
    peaks = _peaks(channel, size)
    white = peaks <= limit
    some = blocks[white].astype(np.float64)
    some -= some.mean(axis=1, keepdims=True)
    power = np.einsum("ij,ij->i", some, some)
    beside = np.einsum("ij,ij->i", some[:, 1:], some[:, :-1])
    white[white] = (power > 0.0) & (beside < WHITE_CORRELATION * power)
    least = DITHER_SECONDS * sample_rate
    found = []
    for first, last in _stretches(white, size):
        # Dither is even: what rises from it at the ends is the breath before a phrase.
        even = np.flatnonzero(
            peaks[first // size : last // size]
            <= STEADY_RATIO * np.median(peaks[first // size : last // size])
        )
        start, stop = first + int(even[0]) * size, first + (int(even[-1]) + 1) * size
        if stop - start >= least:
            found.append((int(start), int(stop)))
    return found


def _silent(
    channel: np.ndarray, sample_rate: int, limit: float, faint_limit: float
) -> list[tuple[int, int]]:
    """Stretches of one value; those within ± a limit that hold none of these; dither."""
    still = runs_of(channel, sample_rate, 0.0)
    faint = [
        (a, b) for a, b in runs_of(channel, sample_rate, limit)
        if not any(a < d and c < b for c, d in still)
    ]  # fmt: skip
    white = _white_runs(channel, sample_rate, faint_limit)
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(still + faint + white):
        if joined and start <= joined[-1][1]:
            start, stop = joined[-1][0], max(stop, joined.pop()[1])
        joined.append((start, stop))
    return joined


def _common(ours: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    both = [(max(a, c), min(b, d)) for a, b in ours for c, d in theirs if a < d and c < b]
    return sorted(both)


def between(runs: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """What lies between stretches; all, if nothing does."""
    starts = [0, *(b for _, b in runs)]
    stops = [*(a for a, _ in runs), length]
    between = [(a, b) for a, b in zip(starts, stops, strict=True) if b > a]
    return between or [(0, length)]
