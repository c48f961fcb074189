"""The de-esser's curve on the CPU, in one pass over the audio, where no gradient is needed."""

from __future__ import annotations

import math

import numpy as np

from ...kernels.array_math import amplitude, float64
from ...kernels.bits import exp2, log2
from ...kernels.jit import compiled
from ...kernels.not_numbers import mark_not_numbers
from ...kernels.threads import run_tasks

__all__ = ["reduce"]

DB_PER_OCTAVE = 20.0 * math.log10(2.0)
FLOOR = 1e-6
BLOCK = 512
PART = 1 << 16
"""Samples of a task: parts of a long vocal run on several threads."""


@compiled
def _shares(upper, whole, threshold, most, shares):
    """What the upper band loses, r − 1 = 2^(−min(max(log2(s_h/(s_x·T)), 0), most)/2) − 1."""
    kind = shares.dtype.type
    floor, scale, zero, one = kind(FLOOR), kind(1.0 / threshold), kind(0.0), kind(1.0)
    deepest, half = kind(most), kind(-0.5)
    for n in range(shares.shape[0]):
        ratio = max(upper[n], floor) / max(whole[n], floor)
        shares[n] = exp2(half * min(max(log2(ratio * scale), zero), deepest)) - one


@compiled
def _add(x, once, twice, shares, y):
    for n in range(x.shape[0]):
        share = shares[n]
        y[n] = x[n] + share * (once[n] + once[n] + share * twice[n])


@compiled
def _reduce(x, once, twice, upper_level, whole_level, threshold, most, first, stop, y):
    """Process a part of an item, block by block, so that the shares stay in the first cache."""
    shares = np.empty(BLOCK, x.dtype)
    for begin in range(first, stop, BLOCK):
        end = min(begin + BLOCK, stop)
        own = shares[: end - begin]
        _shares(upper_level[begin:end], whole_level[begin:end], threshold, most, own)
        for c in range(x.shape[0]):
            _add(x[c, begin:end], once[c, begin:end], twice[c, begin:end], own, y[c, begin:end])


def reduce(
    audio: np.ndarray,
    once: np.ndarray,
    twice: np.ndarray,
    upper_level: np.ndarray,
    whole_level: np.ndarray,
    threshold_db: np.ndarray,
    range_db: np.ndarray,
) -> np.ndarray:
    """Turn the upper band down; see :func:`.process.reduced`."""
    x, p, h, s_h, s_x = (
        np.ascontiguousarray(t) for t in (audio, once, twice, upper_level, whole_level)
    )
    thresholds = amplitude(float64(threshold_db))
    most = float64(range_db) / DB_PER_OCTAVE
    y = np.empty_like(x)
    parts = -(-x.shape[2] // PART)

    def task(index: int) -> None:
        item, part = divmod(index, parts)
        first, stop = part * PART, min((part + 1) * PART, x.shape[2])
        _reduce(
            x[item], p[item], h[item], s_h[item], s_x[item], thresholds[item], most[item],
            first, stop, y[item],
        )  # fmt: skip

    run_tasks(task, len(x) * parts)
    mark_not_numbers(y, np.column_stack((thresholds, most)))
    return y
