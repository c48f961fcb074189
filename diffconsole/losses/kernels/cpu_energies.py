"""Distance of two stereo sounds' micro-dynamics on the CPU, and its gradient.

Of left, right, mid and side the energy, at least :data:`FLOOR`, is averaged by a short and a long
one-pole, ``s[n] = s[n−1] + step·(e[n] − s[n−1])`` from 0: eight states in float64, one vector. The
ratio is that of the short average to the long one, which is taken `shift` samples later, around
the end where there are no later ones.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ...kernels.bits import log2
from ...kernels.jit import compiled, compiled_sums
from ...kernels.threads import run_tasks
from ...kernels.vectors import broadcast, load, store

__all__ = [
    "Times",
    "averages_of",
    "differentiate",
    "masked_by",
    "octaves_apart",
    "raise_to",
    "ratios_of",
    "times_of",
]

BLOCK = 256
STATES = 8
FLOOR = 1e-8
ROOT_HALF = math.sqrt(0.5)


class Times(NamedTuple):
    """Steps of a short and a long one-pole, and by how many samples the latter is advanced."""

    short: float
    long: float
    shift: int


def times_of(short_ms: float, long_ms: float, sample_rate: float) -> Times:
    """Return the steps of two averaging times, the long one taken half their difference later."""
    short, long = (1.0 - math.exp(-2200.0 / ms / sample_rate) for ms in (short_ms, long_ms))
    return Times(short, long, int(sample_rate * (long_ms - short_ms) * 0.0005))


@compiled
def _energies(x, first, count, rows):
    """Eight columns: the energies of the four signals, twice."""
    for n in range(count):
        left, right = np.float64(x[0, first + n]), np.float64(x[1, first + n])
        mid, side = ROOT_HALF * (left + right), ROOT_HALF * (left - right)
        at = n * STATES
        rows[at] = rows[at + 4] = max(left * left, FLOOR)
        rows[at + 1] = rows[at + 5] = max(right * right, FLOOR)
        rows[at + 2] = rows[at + 6] = max(mid * mid, FLOOR)
        rows[at + 3] = rows[at + 7] = max(side * side, FLOOR)


@compiled
def _steps(short, long):
    steps = np.empty(STATES)
    steps[:4], steps[4:] = short, long
    return load(steps, 0, 8)


@compiled
def _first_kept(start, samples, stride):
    """Steps from sample `start` to the next that is kept, and its place among those."""
    skip = -start % stride
    if start + skip >= samples:
        return samples - start, 0
    return skip, (start + skip) // stride


@compiled
def _next_kept(n, place, samples, stride):
    if (place + 1) * stride >= samples:
        return n + samples - place * stride, 0
    return n + stride, place + 1


@compiled
def _average(x, short, long, shift, stride, averages):
    """Averages at every `stride`-th sample, ``(2, 4, places)``: short ones, then long ones."""
    samples = x.shape[1]
    step, state = _steps(short, long), broadcast(0.0, 8)
    keep, rows = 1.0 - step, np.empty(BLOCK * STATES)
    for first in range(0, samples, BLOCK):
        count = min(BLOCK, samples - first)
        _energies(x, first, count, rows)
        for n in range(count):
            state = state * keep + load(rows, n * STATES, 8) * step
            store(state, rows, n * STATES)
        for n in range(-first % stride, count, stride):
            for k in range(4):
                averages[0, k, (first + n) // stride] = rows[n * STATES + k]
        n, place = _first_kept((first - shift) % samples, samples, stride)
        while n < count:
            for k in range(4):
                averages[1, k, place] = rows[n * STATES + 4 + k]
            n, place = _next_kept(n, place, samples, stride)


def averages_of(audio: np.ndarray, times: list[Times], stride: int) -> np.ndarray:
    """Return ``(items, times, 2, 4, places)``: short and long averages of the four signals."""
    items, _, samples = audio.shape
    averages = np.empty((items, len(times), 2, 4, -(-samples // stride)), audio.dtype)

    def task(index: int) -> None:
        item, pair = divmod(index, len(times))
        _average(audio[item], *times[pair], stride, averages[item, pair])

    run_tasks(task, items * len(times))
    return averages


def masked_by(averages: np.ndarray, masked: float) -> np.ndarray:
    """Return how low the averages of mid and side count, ``(items, times, 2, 2, places)``.

    A share `masked` of the other's; to be raised to by :func:`raise_to`.
    """
    return np.ascontiguousarray(masked * averages[:, :, :, [3, 2]])


def raise_to(averages: np.ndarray, least: np.ndarray) -> None:
    """Raise the averages of mid and side, in place, to what they count at least."""
    for item, own in enumerate(averages):
        np.maximum(own[:, :, 2:], least[item % len(least)], out=own[:, :, 2:])


@compiled
def _ratio(short, long, ratios):
    for n in range(ratios.shape[0]):
        ratios[n] = log2(short[n] / long[n])


@compiled_sums
def _apart(ours, theirs):
    whole = 0.0
    for n in range(ours.shape[0]):
        whole += abs(ours[n] - theirs[n])
    return whole


def ratios_of(averages: np.ndarray) -> np.ndarray:
    """Return the octaves from the long average to the short one, ``(items, times, 4, places)``."""
    items, times, _, signals, places = averages.shape
    ratios = np.empty((items, times, signals, places), averages.dtype)

    def task(index: int) -> None:
        pair, signal = divmod(index, signals)
        short, long = averages.reshape(-1, 2, signals, places)[pair, :, signal]
        _ratio(short, long, ratios.reshape(-1, signals, places)[pair, signal])

    run_tasks(task, items * times * signals)
    return ratios


def octaves_apart(averages: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the mean distance from other ratios, ``(items, 4)``, summed over the times."""
    ours = ratios_of(averages)
    items, times, signals, places = ours.shape
    means = np.empty((items, times, signals))

    def task(index: int) -> None:
        item, pair, signal = np.unravel_index(index, means.shape)
        whole = _apart(ours[item, pair, signal], theirs[item % len(theirs), pair, signal])
        means[item, pair, signal] = whole / places

    run_tasks(task, means.size)
    return means.sum(axis=1)


@compiled
def _seeds(averages, theirs, weights, seeds):
    """Gradient by each average, in place of what is in `seeds`."""
    kind = averages.dtype.type
    zero = kind(0.0)
    for signal in range(4):
        weight = kind(weights[signal])
        short, long, other = averages[0, signal], averages[1, signal], theirs[signal]
        by_short, by_long = seeds[0, signal], seeds[1, signal]
        for n in range(short.shape[0]):
            apart = log2(short[n] / long[n]) - other[n]
            signed = weight if apart > zero else (-weight if apart < zero else zero)
            by_short[n] = signed / short[n]
            by_long[n] = -signed / long[n]


@compiled
def _average_back(x, short, long, shift, stride, seeds, y):
    """Adjoint of `_average`, and of the energies."""
    samples = x.shape[1]
    step, state = _steps(short, long), broadcast(0.0, 8)
    keep, rows, energies = 1.0 - step, np.empty(BLOCK * STATES), np.empty(BLOCK * STATES)
    for first in range((samples - 1) // BLOCK * BLOCK, -1, -BLOCK):
        count = min(BLOCK, samples - first)
        rows[:] = 0.0
        for n in range(-first % stride, count, stride):
            for k in range(4):
                rows[n * STATES + k] = seeds[0, k, (first + n) // stride]
        n, place = _first_kept((first - shift) % samples, samples, stride)
        while n < count:
            for k in range(4):
                rows[n * STATES + 4 + k] = seeds[1, k, place]
            n, place = _next_kept(n, place, samples, stride)
        for n in range(count - 1, -1, -1):
            state = state * keep + load(rows, n * STATES, 8)
            store(state * step, rows, n * STATES)
        _energies(x, first, count, energies)
        for n in range(count):
            at = n * STATES
            left, right = np.float64(x[0, first + n]), np.float64(x[1, first + n])
            # Twice the amplitude, and mid and side bring √½ to each side.
            both = left + right if energies[at + 2] > FLOOR else 0.0
            apart = left - right if energies[at + 3] > FLOOR else 0.0
            both *= rows[at + 2] + rows[at + 6]
            apart *= rows[at + 3] + rows[at + 7]
            left = 2.0 * left if energies[at] > FLOOR else 0.0
            right = 2.0 * right if energies[at + 1] > FLOOR else 0.0
            y[0, first + n] = left * (rows[at] + rows[at + 4]) + both + apart
            y[1, first + n] = right * (rows[at + 1] + rows[at + 5]) + both - apart


def differentiate(
    audio: np.ndarray,
    times: list[Times],
    stride: int,
    averages: np.ndarray,
    theirs: np.ndarray,
    weights: np.ndarray,
    least: np.ndarray | None = None,
) -> np.ndarray:
    """Return the gradient of ``Σ weights · ln 2 · octaves_apart``; `weights` is ``(items, 4)``.

    `least` is what the averages were raised to, if they were.
    """
    places = averages.shape[-1]
    parts = np.empty((len(times), *audio.shape), audio.dtype)

    def task(index: int) -> None:
        item, pair = divmod(index, len(times))
        seeds = np.empty_like(averages[item, pair])
        other = theirs[item % len(theirs), pair]
        _seeds(averages[item, pair], other, weights[item] / places, seeds)
        if least is not None:
            raised = averages[item, pair, :, 2:] <= least[item % len(least), pair]
            seeds[:, 2:][raised] = 0.0
        _average_back(audio[item], *times[pair], stride, seeds, parts[pair, item])

    run_tasks(task, len(audio) * len(times))
    return parts.sum(axis=0)
