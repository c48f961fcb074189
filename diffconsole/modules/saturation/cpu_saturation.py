"""The saturation on the CPU: the eight places side by side, block by block.

A row is one channel of one item. Its eight places are the lanes of
:mod:`diffconsole.kernels.lanes`; filters run in float64, the curve in the type of the audio.
"""

from __future__ import annotations

import numpy as np

from ...kernels.jit import compiled
from ...kernels.lanes import LANES, section_block
from ...kernels.threads import run_tasks
from .cpu_shaper import bend
from .phases import output_section, phase_sections

__all__ = [
    "BLOCK",
    "STAGES",
    "copy_pairs",
    "filters",
    "forth",
    "mean_of",
    "new_states",
    "saturate_backward",
    "saturate_forward",
    "saturate_from",
]

BLOCK = 128
STAGES = 3
# Between the buffers of two stages; see cpu_sections.
APART = 16
# States below this become 0: subnormal numbers are some 40 times slower.
TINY = 1e-60


def filters(sample_rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places' filters in lanes, forth and back, ``(stages, 5, lanes)``, and the last."""
    forth = phase_sections().transpose(1, 2, 0)
    return np.ascontiguousarray(forth), forth[..., ::-1].copy(), output_section(sample_rate)


def new_states(rows: int) -> np.ndarray:
    """Return the states before a signal, ``(rows, 2·(stages + 1) + 1, 2, lanes)``.

    The last two samples of each stage's input and output, forth and back, then those of the last
    section: its inputs in the first row's first two places, its outputs in the next two.
    """
    return np.zeros((rows, 2 * (STAGES + 1) + 1, 2, LANES))


@compiled
def _settle(buffer, count):
    """Make the last two rows of a block those before the next."""
    for k in range(LANES):
        for row in range(2):
            value = buffer[count + row, k]
            buffer[row, k] = value if abs(value) > TINY else 0.0


@compiled
def forth(x, coefficients, buffers):
    """Run one block of a channel through the filters of all places, into the last buffer."""
    count = x.shape[0]
    for n in range(count):
        value = np.float64(x[n])
        for k in range(LANES):
            buffers[0, n + 2, k] = value
    for stage in range(STAGES):
        section_block(buffers[stage], buffers[stage + 1], coefficients[stage], count)


@compiled
def mean_of(row):
    """The mean over the lanes, in pairs: sums that need not wait for each other."""
    one, two = (row[0] + row[1]) + (row[2] + row[3]), (row[4] + row[5]) + (row[6] + row[7])
    return (one + two) / LANES


@compiled
def _join(rows, last, state, y):
    """The mean over the places, through the last section; `state` is its inputs and outputs."""
    kind = y.dtype.type
    b0, b1, b2, a1, a2 = last[0], last[1], last[2], last[3], last[4]
    x1, x2, y1, y2 = state[0], state[1], state[2], state[3]
    for n in range(y.shape[0]):
        mean = mean_of(rows[n])
        # The newest output comes last: only this one operation waits for the sample before.
        value = (b0 * mean + b1 * x1 + b2 * x2 - a2 * y2) - a1 * y1
        x2, x1, y2, y1 = x1, mean, y1, value
        y[n] = kind(value)
    state[0], state[1], state[2], state[3] = x1, x2, y1, y2
    for k in range(4):
        if abs(state[k]) < TINY:
            state[k] = 0.0


@compiled
def copy_pairs(source, target):
    """The first two rows of each buffer: what a block takes from the one before.

    Loops, as in all kernels: assigning an array takes numba seconds to compile.
    """
    for buffer in range(target.shape[0]):
        for n in range(2):
            for lane in range(LANES):
                target[buffer, n, lane] = source[buffer, n, lane]


@compiled
def _saturate(x, settings, there, again, last, state, kept, work, y):
    """Saturate one row; `kept` takes the states of the way forth before every block."""
    buffers = np.zeros((2 * (STAGES + 1), BLOCK + APART, LANES))
    copy_pairs(state[: 2 * (STAGES + 1)], buffers)
    ends = state[2 * (STAGES + 1), 0]
    first, second = buffers[: STAGES + 1], buffers[STAGES + 1 :]
    samples = x.shape[0]
    for block in range(-(-samples // BLOCK)):
        start = block * BLOCK
        stop = min(start + BLOCK, samples)
        count = stop - start
        if kept.shape[0] > 0:
            copy_pairs(first, kept[block])
        forth(x[start:stop], there, first)
        for n in range(2, count + 2):
            for lane in range(LANES):
                second[0, n, lane] = first[STAGES, n, lane]
        flat = second[0].reshape(-1)[2 * LANES : (count + 2) * LANES]
        bend(flat, settings, work[: count * LANES])
        for stage in range(STAGES):
            section_block(second[stage], second[stage + 1], again[stage], count)
        _join(second[STAGES, 2 : count + 2], last, ends, y[start:stop])
        for buffer in range(2 * (STAGES + 1)):
            _settle(buffers[buffer], count)
    copy_pairs(buffers, state[: 2 * (STAGES + 1)])


def _run(
    audio: np.ndarray, settings: np.ndarray, sample_rate: float, keep: bool, states: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    x = np.ascontiguousarray(audio)
    batch, channels, samples = x.shape
    own = np.ascontiguousarray(settings, np.float64)
    there, again, last = filters(sample_rate)
    y = np.empty_like(x)
    blocks = -(-samples // BLOCK) if keep else 0
    kept = np.empty((batch * channels, blocks, STAGES + 1, 2, LANES))

    def task(row: int) -> None:
        item, channel = divmod(row, channels)
        work = np.empty(BLOCK * LANES, x.dtype)
        _saturate(
            x[item, channel], own[item], there, again, last, states[row], kept[row], work,
            y[item, channel],
        )  # fmt: skip

    run_tasks(task, batch * channels)
    return y, kept


def saturate_forward(
    audio: np.ndarray, settings: np.ndarray, _: np.ndarray | None, sample_rate: float, keep: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Saturate; also return what the gradient needs, nothing if it is not kept."""
    return _run(audio, settings, sample_rate, keep, new_states(audio.shape[0] * audio.shape[1]))


def saturate_from(
    audio: np.ndarray, settings: np.ndarray, sample_rate: float, states: np.ndarray
) -> np.ndarray:
    """Saturate one part of a long signal; `states` of :func:`new_states` are written."""
    return _run(audio, settings, sample_rate, False, states)[0]


def saturate_backward(
    gradient: np.ndarray,
    audio: np.ndarray,
    settings: np.ndarray,
    kept: np.ndarray,
    _: np.ndarray,
    sample_rate: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of audio and settings."""
    from .cpu_saturation_gradient import backward

    return backward(gradient, audio, settings, kept, sample_rate)
