"""The gate's curve on the CPU, in one pass over the audio, where no gradient is needed."""

from __future__ import annotations

import math

import numpy as np

from ...kernels.array_math import amplitude, float64
from ...kernels.bits import exp2, log2
from ...kernels.jit import compiled
from ...kernels.threads import run_tasks

__all__ = ["turn_down"]

DB_PER_OCTAVE = 20.0 * math.log10(2.0)
FLOOR = 1e-6
BLOCK = 512
PART = 1 << 16
"""Samples of a task: parts of a long vocal run on several threads."""


@compiled
def _gains(level, threshold, slope, most, gains):
    """Gain 2^(−min(slope·max(log2(T/s), 0), most)), all in the type of the audio."""
    kind = gains.dtype.type
    floor, scale, zero = kind(FLOOR), kind(1.0 / threshold), kind(0.0)
    steep, deepest = kind(slope), kind(most)
    for n in range(gains.shape[0]):
        under = max(-log2(max(level[n], floor) * scale), zero)
        gains[n] = exp2(-min(steep * under, deepest))


@compiled
def _multiply(x, gains, y):
    for n in range(x.shape[0]):
        y[n] = x[n] * gains[n]


@compiled
def _turn(x, level, threshold, slope, most, first, stop, y):
    """Turn down a part of an item, block by block, so that the gains stay in the first cache."""
    gains = np.empty(BLOCK, x.dtype)
    for begin in range(first, stop, BLOCK):
        end = min(begin + BLOCK, stop)
        own = gains[: end - begin]
        _gains(level[begin:end], threshold, slope, most, own)
        for c in range(x.shape[0]):
            _multiply(x[c, begin:end], own, y[c, begin:end])


def turn_down(
    audio: np.ndarray,
    level: np.ndarray,
    threshold_db: np.ndarray,
    ratio: np.ndarray,
    range_db: np.ndarray,
) -> np.ndarray:
    """Turn audio down; see :func:`.process.turned`."""
    x, s = np.ascontiguousarray(audio), np.ascontiguousarray(level)
    thresholds = amplitude(float64(threshold_db))
    slopes = float64(ratio) - 1.0
    most = float64(range_db) / DB_PER_OCTAVE
    y = np.empty_like(x)
    parts = -(-x.shape[2] // PART)

    def task(index: int) -> None:
        item, part = divmod(index, parts)
        first, stop = part * PART, min((part + 1) * PART, x.shape[2])
        _turn(x[item], s[item], thresholds[item], slopes[item], most[item], first, stop, y[item])

    run_tasks(task, len(x) * parts)
    return y
