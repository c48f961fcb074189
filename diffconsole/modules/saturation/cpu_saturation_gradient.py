"""The gradient of the saturation on the CPU: block by block, back in time.

The adjoint of a filter is the same filter back in time: the gradient of the output passes the
section behind the mean and the filters of the way back, the curve's slope, then the filters of
the way forth, whose sum over the places is the gradient of the input.
"""

from __future__ import annotations

import numpy as np

from ...kernels.jit import compiled
from ...kernels.threads import run_tasks
from .cpu_places import MEMORY, PLACES, bring_together, filters, means_of, output, settle, spread
from .cpu_saturation import BLOCK, copy_states
from .cpu_shaper import bend_backward

__all__ = ["backward"]


@compiled
def _backward(x, gradient, settings, there, again, last, kept, by_audio, sums):
    forth, states = np.empty((MEMORY, PLACES), x.dtype), np.zeros((2, MEMORY, PLACES), x.dtype)
    ends = np.zeros(4)
    rows, errors = np.zeros(BLOCK * PLACES, x.dtype), np.zeros(BLOCK * PLACES, x.dtype)
    share, mean = np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    samples = x.shape[0]
    blocks = -(-samples // BLOCK)
    for index in range(blocks):
        block = blocks - 1 - index
        start = block * BLOCK
        stop = min(start + BLOCK, samples)
        count = stop - start
        output(gradient[start:stop], last, ends, share[:count], -1)
        spread(share[:count], again, states[0], errors, -1)
        copy_states(kept[block], forth)
        spread(x[start:stop], there, forth, rows, 1)
        bend_backward(rows[: count * PLACES], errors[: count * PLACES], settings, sums)
        bring_together(errors, there, states[1], count, -1)
        means_of(errors, mean, count)
        for n in range(count):
            by_audio[start + n] = mean[n]
        settle(states.reshape(-1))
        settle(ends)
    # Every place had the whole of a gradient of which it makes an eighth.
    for k in range(sums.shape[0]):
        sums[k] /= PLACES


def backward(
    gradient: np.ndarray,
    audio: np.ndarray,
    settings: np.ndarray,
    kept: np.ndarray,
    sample_rate: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of audio and settings; see :func:`.cpu_saturation.saturate_forward`."""
    g, x, own, states = gradient, audio, settings, kept
    batch, channels, _ = x.shape
    there, again, last = filters(x.dtype, sample_rate)
    by_audio = np.empty_like(x)
    sums = np.zeros((batch, channels, 4))

    def task(signal: int) -> None:
        item, channel = divmod(signal, channels)
        _backward(
            x[item, channel], g[item, channel], own[item], there, again, last, states[signal],
            by_audio[item, channel], sums[item, channel],
        )  # fmt: skip

    run_tasks(task, batch * channels)
    return by_audio, sums.sum(1)
