"""The gate on the CPU, where no gradient is needed: blocks that stay in the first caches.

A block passes three stages: the level of the input, the detector in float64 on eight lanes
(:mod:`diffconsole.kernels.lanes`), and the curve, in vectors in the precision of the audio.

The detectors that run together are rows of a batch, or segments of one long row. A segment starts
from silence; once the level at the end of the one before is known, it is run again from there
until level and hold are the same, to the last bit, at the end of a block. So the result is that of
one loop over the row.
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.array_math import amplitude, float64
from ...kernels.bits import exp2, log2
from ...kernels.cpu_envelope import follow
from ...kernels.jit import compiled, compiled_exactly
from ...kernels.lanes import LANES, hold_block
from ...kernels.not_numbers import mark_not_numbers
from ...kernels.peaks import peaks_of_block
from ...kernels.prefetch import expect, expect_written
from ...kernels.threads import lane_groups, run_tasks, thread_count

__all__ = ["gate_forward", "turn_down"]

DB_PER_OCTAVE = 20.0 * math.log10(2.0)
FLOOR = 1e-6
BLOCK = 512
PART = 1 << 16
"""Samples of a task: parts of a long vocal run on several threads."""

SEGMENT, LEAST_LANES = 1 << 18, 3
"""A segment is no shorter, since levels meet after some seconds; fewer of them save no time."""

MARGIN = 1e-3
"""Of a level to the threshold, and to where the range is reached; beyond it the gain is known."""

SCALE, STEEP, DEEPEST, OPEN, CLOSED = range(5)
"""Columns of what the loops read of the curve; see :func:`_curves`."""


def _curves(threshold_db: np.ndarray, ratio: np.ndarray, range_db: np.ndarray) -> np.ndarray:
    """Return a row an item: 1/T, slope, range in octaves, and ratios to T beyond which it rests."""
    columns = np.empty((len(threshold_db), 5))
    columns[:, SCALE] = 1.0 / amplitude(float64(threshold_db))
    columns[:, STEEP] = steep = float64(ratio) - 1.0
    columns[:, DEEPEST] = deepest = float64(range_db) / DB_PER_OCTAVE
    columns[:, OPEN] = 1.0 + MARGIN
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        closed = np.exp2(-deepest / steep) * (1.0 - MARGIN)
    columns[:, CLOSED] = np.where(steep > MARGIN, closed, -1.0)
    return columns


# --- stages of a block -----------------------------------------------------------------------


@compiled
def _bounds(levels):
    """The lowest and the highest level, all there are where one is no number."""
    least, most, odd = levels[0], levels[0], 0
    for n in range(levels.shape[0]):
        level = levels[n]
        least = level if level < least else least
        most = level if level > most else most
        odd += level != level
    return (0.0, np.inf) if odd > 0 else (np.float64(least), np.float64(most))


@compiled
def _at_rest(least, most, curve):
    """1 where a whole block is above the threshold, −1 where it is down by the range, else 0."""
    if max(least, FLOOR) * curve[SCALE] >= curve[OPEN]:
        return 1
    return -1 if max(most, FLOOR) * curve[SCALE] <= curve[CLOSED] else 0


@compiled
def _gains(levels, curve, gains):
    """Gain 2^(−min(slope·max(log2(T/s), 0), range)), all in the type of the audio."""
    kind = gains.dtype.type
    floor, scale, zero = kind(FLOOR), kind(curve[SCALE]), kind(0.0)
    steep, deepest = kind(curve[STEEP]), kind(curve[DEEPEST])
    for n in range(gains.shape[0]):
        under = max(-log2(max(levels[n], floor) * scale), zero)
        gains[n] = exp2(-min(steep * under, deepest))


@compiled
def _copy(x, y):
    for n in range(x.shape[0]):
        y[n] = x[n]


@compiled
def _scale(x, gain, y):
    for n in range(x.shape[0]):
        y[n] = x[n] * gain


@compiled
def _multiply(x, gains, y):
    for n in range(x.shape[0]):
        y[n] = x[n] * gains[n]


@compiled
def _turn_block(x, first, stop, rests, levels, curve, gains, y):
    """Turn down one block of an item; `levels` count where it does not rest, `gains` is room."""
    gains = gains[: stop - first]
    if rests > 0:
        for c in range(x.shape[0]):
            _copy(x[c, first:stop], y[c, first:stop])
    elif rests < 0:
        gain = exp2(-gains.dtype.type(curve[DEEPEST]))
        for c in range(x.shape[0]):
            _scale(x[c, first:stop], gain, y[c, first:stop])
    else:
        _gains(levels, curve, gains)
        for c in range(x.shape[0]):
            _multiply(x[c, first:stop], gains, y[c, first:stop])


@compiled
def _turn(x, levels, curve, first, stop, y):
    """Turn down a part of an item, block by block, so that the gains stay in the first cache."""
    gains = np.empty(BLOCK, x.dtype)
    for begin in range(first, stop, BLOCK):
        end = min(begin + BLOCK, stop)
        least, most = _bounds(levels[begin:end])
        rests = _at_rest(least, most, curve)
        _turn_block(x, begin, end, rests, levels[begin:end], curve, gains, y)


def turn_down(
    audio: np.ndarray,
    level: np.ndarray,
    threshold_db: np.ndarray,
    ratio: np.ndarray,
    range_db: np.ndarray,
) -> np.ndarray:
    """Turn audio down; see :func:`.process.turned`."""
    x, s = np.ascontiguousarray(audio), np.ascontiguousarray(level)
    curves = _curves(threshold_db, ratio, range_db)
    y = np.empty_like(x)
    parts = -(-x.shape[2] // PART)

    def task(index: int) -> None:
        item, part = divmod(index, parts)
        first, stop = part * PART, min((part + 1) * PART, x.shape[2])
        _turn(x[item], s[item], curves[item], first, stop, y[item])

    run_tasks(task, len(x) * parts)
    mark_not_numbers(y, curves)
    return y


# --- detector and curve together -------------------------------------------------------------


@compiled_exactly
def _detectors(times, lanes):
    """What :func:`~diffconsole.kernels.lanes.hold_block` reads, for each lane's item."""
    own = np.zeros((7, LANES))
    for k in range(lanes.shape[0]):
        attack, release, hold = times[lanes[k, 0]]
        ending = release ** (1.0 - (hold - np.floor(hold)))
        own[0, k], own[1, k] = attack, 1.0 - attack
        own[2, k], own[3, k] = release, 1.0 - release
        own[4, k], own[5, k] = ending, 1.0 - ending
        own[6, k] = hold
    return own


@compiled
def _lane(rows, lane, levels):
    """One lane of rows, in the type of the audio."""
    kind = levels.dtype.type
    for n in range(levels.shape[0]):
        levels[n] = kind(rows[n, lane])


@compiled
def _ask_next(x, y, first):
    """Ask for what a lane's next block is read from and written to."""
    for c in range(x.shape[0]):
        expect(x[c], first, first + BLOCK)
        expect_written(y[c], first, first + BLOCK)


# Exactly: a fused sum would change the bits of the detector.
@compiled_exactly
def _run(x, times, curves, lanes, length, start, states, y):
    """Gate up to eight segments of `length` samples: rows of `lanes` are item, segment.

    `states` holds level and hold after every block of every segment; here it is written. A lane
    stops where it meets what `states` holds from an earlier run.
    """
    samples, count = x.shape[2], lanes.shape[0]
    slab = np.zeros((LANES, BLOCK), x.dtype)
    rows, state = np.empty((BLOCK, LANES)), np.zeros((4, LANES))
    levels, gains = np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    own = _detectors(times, lanes)
    running = np.ones(LANES, np.bool_)
    for k in range(count):
        state[0, k], state[1, k] = start[k, 0], start[k, 1]
    for block in range(length // BLOCK):
        peaks_of_block(x, lanes, block, length, slab, rows)
        for k in range(count):
            state[2, k], state[3, k] = np.inf, 0.0
        hold_block(rows, state, own, BLOCK)
        left = 0
        for k in range(count):
            if not running[k]:
                continue
            item, first = lanes[k, 0], lanes[k, 1] * length + block * BLOCK
            stop = min(first + BLOCK, samples)
            if first < stop:
                _ask_next(x[item], y[item], stop)
                curve = curves[item]
                rests = _at_rest(state[2, k], state[3, k], curve)
                # Levels are turned into the audio's order only where a gain is computed of each.
                if rests == 0:
                    _lane(rows, k, levels)
                _turn_block(x[item], first, stop, rests, levels, curve, gains, y[item])
            before = states[item, lanes[k, 1], block]
            if before[0] == state[0, k] and before[1] == state[1, k]:
                running[k] = False
            else:
                before[0], before[1] = state[0, k], state[1, k]
                left += 1
        if left == 0:
            return


def gate_forward(
    audio: np.ndarray,
    times: np.ndarray,
    threshold_db: np.ndarray,
    ratio: np.ndarray,
    range_db: np.ndarray,
) -> np.ndarray:
    """Gate; see :func:`.process.gate`.

    Parameters
    ----------
    audio : ndarray
        ``(batch, channels, samples)``.
    times : ndarray
        ``(batch, 3)`` float64: coefficients of attack and release, hold in samples.
    threshold_db, ratio, range_db : ndarray
        ``(batch,)``.
    """
    x = np.ascontiguousarray(audio)
    batch, _, samples = x.shape
    most = -(-LANES * thread_count() // batch)
    segments = max(1, min(most, samples // SEGMENT))
    if batch * segments < LEAST_LANES:
        return _in_turn(x, times, threshold_db, ratio, range_db)
    curves, y = _curves(threshold_db, ratio, range_db), np.empty_like(x)
    length = -(-samples // (segments * BLOCK)) * BLOCK
    segments = -(-samples // length)
    lanes = np.stack(np.divmod(np.arange(batch * segments), segments), axis=1)
    # Nothing is met in the first run.
    states = np.full((batch, segments, length // BLOCK, 2), np.inf)

    def run(part: np.ndarray, start: np.ndarray) -> None:
        _run(x, times, curves, part, length, start, states, y)

    groups = lane_groups(len(lanes))
    run_tasks(lambda g: run(lanes[groups[g]], np.zeros((len(lanes[groups[g]]), 2))), len(groups))
    # All at once on the guess that they meet within the segment before; where one did not, those
    # after it are done once more, in turn.
    ends = states[:, :, -1].copy()
    rest = lanes[lanes[:, 1] > 0]
    later = lane_groups(len(rest))
    run_tasks(
        lambda g: run(rest[later[g]], ends[rest[later[g], 0], rest[later[g], 1] - 1]), len(later)
    )
    for item, segment in rest[rest[:, 1] > 1]:
        if not np.array_equal(states[item, segment - 1, -1], ends[item, segment - 1]):
            run(np.array([[item, segment]]), states[item, segment - 1, -1:])
    if np.isnan(states[:, :, -1]).any():
        # A level that is no number has no gain that vectors and one loop agree on.
        return _in_turn(x, times, threshold_db, ratio, range_db)
    mark_not_numbers(y, np.column_stack((times, curves)))
    return y


def _in_turn(
    x: np.ndarray,
    times: np.ndarray,
    threshold_db: np.ndarray,
    ratio: np.ndarray,
    range_db: np.ndarray,
) -> np.ndarray:
    """Gate with one loop a row for the detector."""
    peaks = np.abs(x[:, 0])
    if x.shape[1] == 2:
        np.maximum(peaks, np.abs(x[:, 1]), out=peaks)
    level, _ = follow(peaks, times, np.zeros((len(x), 2)))
    turned = turn_down(x, level, threshold_db, ratio, range_db)
    mark_not_numbers(turned, times)
    return turned
