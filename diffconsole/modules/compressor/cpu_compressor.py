"""Compressor on the CPU: blocks that stay in the first caches, eight recursions side by side.

A block passes three stages: the level of the input, the branching recursion in float64 on eight
lanes (:mod:`diffconsole.kernels.lanes`), and the static curve with its logarithm and exponential,
which run in vectors in the precision of the audio (:mod:`diffconsole.kernels.bits`).

The recursions that run together are rows of a batch, or segments of one long row. A segment
starts from silence; once the level at the end of the one before is known, it is run again from
there until both levels meet. The result is that of one loop over the row, to the last digits of
the audio's type, and does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from ...kernels.jit import compiled
from ...kernels.lanes import LANES, detect_block, to_slab
from ...kernels.not_numbers import mark_not_numbers
from ...kernels.peaks import peaks_of_block
from ...kernels.prefetch import expect, expect_written
from ...kernels.threads import lane_groups, run_tasks
from .cpu_curve import (
    ATTACK,
    BLOCK,
    DRY,
    LOW,
    MAKEUP,
    MIRROR,
    RELEASE,
    TINY,
    WET,
    above_low,
    apply_mono,
    apply_stereo,
    prepare_settings,
    segments_of,
)

__all__ = ["compress_backward", "compress_forward", "compress_from"]

# Two levels this near to each other count as one.
MEET = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 1e-8}

# --- stages of a block -----------------------------------------------------------------------


@compiled
def _detectors(settings, lanes):
    """What :func:`~diffconsole.kernels.lanes.detect_block` reads, for each lane's item."""
    own = np.zeros((5, LANES))
    for k in range(lanes.shape[0]):
        item = settings[lanes[k, 0]]
        own[0, k], own[1, k] = item[ATTACK], (1.0 - item[ATTACK]) * item[MIRROR]
        own[2, k], own[3, k] = item[RELEASE], (1.0 - item[RELEASE]) * item[MIRROR]
        own[4, k] = item[MIRROR]
    return own


@compiled
def _scale(x, gain, y):
    for n in range(x.shape[0]):
        y[n] = x[n] * gain


@compiled
def _copy(source, target):
    for n in range(target.shape[0]):
        target[n] = source[n]


@compiled
def _ask_next(x, y, saved, first):
    """Ask for what a lane's next block is read from and written to."""
    for c in range(x.shape[0]):
        expect(x[c], first, first + BLOCK)
        expect_written(y[c], first, first + BLOCK)
    expect_written(saved, first, first + BLOCK)


@compiled
def _finish_block(x, first, stop, levels, settings, ratios, y, saved):
    """From the levels of one block to its output."""
    ratios = ratios[: stop - first]
    if above_low(levels, settings[LOW], ratios) == 0:
        makeup = ratios.dtype.type(settings[DRY] + settings[MAKEUP] * settings[WET])
        for c in range(x.shape[0]):
            _scale(x[c, first:stop], makeup, y[c, first:stop])
    elif x.shape[0] == 1:
        apply_mono(x[0, first:stop], ratios, settings, y[0, first:stop])
    else:
        apply_stereo(
            x[0, first:stop], x[1, first:stop], ratios, settings,
            y[0, first:stop], y[1, first:stop],
        )  # fmt: skip
    if saved.shape[0] > 0:
        _copy(levels, saved[first:stop])


# --- forward ---------------------------------------------------------------------------------


@compiled
def _run(x, settings, lanes, length, start, at_least, meet, states, y, saved, reached):
    """Compress up to eight segments of `length` samples: rows of `lanes` are item, segment.

    `states` holds the detector's state after every block of every segment, mirrored; here it is
    written. A lane stops after `at_least` samples where its state meets what `states` holds from
    an earlier run; `reached` tells how far it went.
    """
    samples, count = x.shape[2], lanes.shape[0]
    slab = np.zeros((LANES, BLOCK), x.dtype)
    rows, state = np.empty((BLOCK, LANES)), np.zeros((1, LANES))
    ratios = np.empty(BLOCK, x.dtype)
    own = _detectors(settings, lanes)
    running = np.ones(LANES, np.bool_)
    for k in range(count):
        state[0, k] = start[k]
        reached[k] = length
    for block in range(length // BLOCK):
        peaks_of_block(x, lanes, block, length, slab, rows)
        detect_block(rows, state, own, BLOCK)
        to_slab(rows, slab, BLOCK)
        left = 0
        for k in range(count):
            if not running[k]:
                continue
            item, first = lanes[k, 0], lanes[k, 1] * length + block * BLOCK
            stop = min(first + BLOCK, samples)
            if first < stop:
                _ask_next(x[item], y[item], saved[item], stop)
                _finish_block(
                    x[item], first, stop, slab[k], settings[item], ratios, y[item], saved[item]
                )
            now = state[0, k] if abs(state[0, k]) > TINY else 0.0
            apart = abs(now - states[item, lanes[k, 1], block])
            state[0, k] = states[item, lanes[k, 1], block] = now
            if apart <= meet * abs(now) and (block + 1) * BLOCK >= at_least[k]:
                running[k] = False
                reached[k] = (block + 1) * BLOCK
            else:
                left += 1
        if left == 0:
            return


def compress_backward(
    gradient: np.ndarray, audio: np.ndarray, parameters: np.ndarray, saved: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of audio and parameters; see :mod:`.cpu_compressor_gradient`."""
    from .cpu_compressor_gradient import compress_backward as backward

    return backward(gradient, audio, parameters, saved)


def compress_forward(
    audio: np.ndarray, parameters: np.ndarray, keep: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Compress; see :func:`.compressor_operator.compress`.

    Returns the audio and, if kept, the levels: ``(batch, samples)``, negative where they rose.
    """
    y, saved, _ = _compress(audio, parameters, keep, np.zeros(len(audio)))
    return y, saved


def compress_from(
    audio: np.ndarray, parameters: np.ndarray, state: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compress a part of a signal; see :func:`.compressor_operator.compress_from`."""
    y, _, states = _compress(audio, parameters, False, state)
    _, length = segments_of(audio.shape[-1])
    segment, block = divmod(-(-audio.shape[-1] // BLOCK) - 1, length // BLOCK)
    return y, states[:, segment, block].copy()


def _compress(
    audio: np.ndarray, parameters: np.ndarray, keep: bool, state: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compress from a detector's state for each item; also its state after every block."""
    batch, _, samples = audio.shape
    x = np.ascontiguousarray(audio)
    settings = prepare_settings(parameters)
    y = np.empty_like(x)
    saved = np.empty((batch, samples if keep else 0), x.dtype)
    segments, length = segments_of(samples)
    lanes = np.stack(np.divmod(np.arange(batch * segments), segments), axis=1)
    # Nothing is met in the first run.
    states = np.full((batch, segments, length // BLOCK), np.inf)
    reached = np.zeros((batch, segments), np.int64)

    def run(part: np.ndarray, start: np.ndarray) -> None:
        items = tuple(part.T)
        far = np.empty(len(part), np.int64)
        _run(x, settings, part, length, start, reached[items], MEET[x.dtype], states, y, saved, far)
        reached[items] = far

    groups = lane_groups(len(lanes))
    begin = np.where(lanes[:, 1] == 0, state[lanes[:, 0]], 0.0)
    run_tasks(lambda g: run(lanes[groups[g]], begin[groups[g]]), len(groups))
    # All at once on the guess that the levels meet within the segment before, as they do in
    # seconds; where one did not, those after it are done once more, in turn.
    ends = states[:, :, -1].copy()
    reached[:] = 0
    rest = lanes[lanes[:, 1] > 0]
    later = lane_groups(len(rest))
    run_tasks(
        lambda g: run(rest[later[g]], ends[rest[later[g], 0], rest[later[g], 1] - 1]), len(later)
    )
    for item, segment in rest[rest[:, 1] > 1]:
        if states[item, segment - 1, -1] != ends[item, segment - 1]:
            run(np.array([[item, segment]]), states[item, segment - 1, -1:])
    mark_not_numbers(y, parameters)
    return y, saved, states
