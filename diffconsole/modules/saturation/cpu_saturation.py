"""The saturation on the CPU: the eight places side by side, block by block.

A signal is one channel of one item. Filters and curve run in the type of the audio, the section
behind the mean in float64; the states between blocks are kept in float64 in either case.
"""

from __future__ import annotations

import numpy as np

from ...kernels.jit import compiled
from ...kernels.threads import run_tasks
from .cpu_places import MEMORY, PLACES, bring_together, filters, means_of, output, settle, spread
from .cpu_shaper import bend

__all__ = [
    "BLOCK",
    "copy_states",
    "new_states",
    "saturate_backward",
    "saturate_forward",
    "saturate_from",
]

BLOCK = 128


def new_states(signals: int) -> np.ndarray:
    """Return the states before signals, ``(signals, 2·MEMORY + 1, places)``.

    What the places' filters remember forth and back; the last row begins with what the section
    behind the mean does, two inputs and two outputs.
    """
    return np.zeros((signals, 2 * MEMORY + 1, PLACES))


@compiled
def copy_states(source, target):
    """Copy states between the type of the audio and float64.

    Loops, as in all kernels: assigning an array takes numba seconds to compile.
    """
    kind = target.dtype.type
    for row in range(source.shape[0]):
        for place in range(PLACES):
            target[row, place] = kind(source[row, place])


@compiled
def _saturate(x, settings, there, again, last, state, kept, y):
    """Saturate one signal; `kept` takes the states of the way forth before every block."""
    forth, back = np.empty((MEMORY, PLACES), x.dtype), np.empty((MEMORY, PLACES), x.dtype)
    copy_states(state[:MEMORY], forth)
    copy_states(state[MEMORY : 2 * MEMORY], back)
    ends = state[2 * MEMORY]
    rows, mean = np.zeros(BLOCK * PLACES, x.dtype), np.empty(BLOCK, x.dtype)
    samples = x.shape[0]
    for block in range(-(-samples // BLOCK)):
        start = block * BLOCK
        stop = min(start + BLOCK, samples)
        count = stop - start
        if kept.shape[0] > 0:
            copy_states(forth, kept[block])
        spread(x[start:stop], there, forth, rows, 1)
        # Two rows at a time, the second of the last pair perhaps of an earlier block.
        bend(rows[: (count + count % 2) * PLACES], settings)
        bring_together(rows, again, back, count, 1)
        means_of(rows, mean, count)
        output(mean[:count], last, ends, y[start:stop], 1)
        settle(forth.reshape(-1))
        settle(back.reshape(-1))
        settle(ends)
    copy_states(forth, state[:MEMORY])
    copy_states(back, state[MEMORY : 2 * MEMORY])


def _run(
    audio: np.ndarray, settings: np.ndarray, sample_rate: float, keep: bool, states: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    x = np.ascontiguousarray(audio)
    batch, channels, samples = x.shape
    own = np.ascontiguousarray(settings, np.float64)
    there, again, last = filters(x.dtype, sample_rate)
    y = np.empty_like(x)
    blocks = -(-samples // BLOCK) if keep else 0
    kept = np.empty((batch * channels, blocks, MEMORY, PLACES))

    def task(signal: int) -> None:
        item, channel = divmod(signal, channels)
        _saturate(
            x[item, channel], own[item], there, again, last, states[signal], kept[signal],
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
