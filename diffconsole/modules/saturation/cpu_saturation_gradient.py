"""The gradient of the saturation on the CPU: block by block, back in time."""

from __future__ import annotations

import numpy as np

from ...kernels.jit import compiled
from ...kernels.lanes import LANES, adjoint_block_only
from ...kernels.threads import run_tasks
from .cpu_saturation import APART, BLOCK, STAGES, TINY, copy_pairs, filters, forth, mean_of
from .cpu_shaper import bend_backward

__all__ = ["backward"]


@compiled
def _part(gradient, last, future, rows):
    """The adjoint of the mean and of the last section, back in time."""
    b0, b1, b2, a1, a2 = last[0], last[1], last[2], last[3], last[4]
    u1, u2 = future[0], future[1]
    count = gradient.shape[0]
    for index in range(count):
        n = count - 1 - index
        u = np.float64(gradient[n]) - a1 * u1 - a2 * u2
        share = (b0 * u + b1 * u1 + b2 * u2) / LANES
        u2, u1 = u1, u
        for k in range(LANES):
            rows[n, k] = share
    future[0] = u1 if abs(u1) > TINY else 0.0
    future[1] = u2 if abs(u2) > TINY else 0.0


@compiled
def _gather(rows, y):
    kind = y.dtype.type
    for n in range(y.shape[0]):
        y[n] = kind(LANES * mean_of(rows[n]))


@compiled
def _backward(x, gradient, settings, there, again, last, kept, work, by_audio, sums):
    buffers = np.zeros((STAGES + 1, BLOCK + APART, LANES))
    rows = np.zeros((BLOCK, LANES))
    futures = np.zeros((2 * STAGES, 2, LANES))
    ends = np.zeros(2)
    samples = x.shape[0]
    blocks = -(-samples // BLOCK)
    for index in range(blocks):
        block = blocks - 1 - index
        start = block * BLOCK
        stop = min(start + BLOCK, samples)
        count = stop - start
        _part(gradient[start:stop], last, ends, rows)
        for stage in range(STAGES):
            own = STAGES - 1 - stage
            adjoint_block_only(rows, again[own], futures[STAGES + own], count)
        copy_pairs(kept[block], buffers)
        forth(x[start:stop], there, buffers)
        flat = buffers[STAGES].reshape(-1)[2 * LANES : (count + 2) * LANES]
        bend_backward(flat, rows.reshape(-1)[: count * LANES], settings, work, sums)
        for stage in range(STAGES):
            own = STAGES - 1 - stage
            adjoint_block_only(rows, there[own], futures[own], count)
        _gather(rows, by_audio[start:stop])
        for stage in range(2 * STAGES):
            for row in range(2):
                for k in range(LANES):
                    if abs(futures[stage, row, k]) < TINY:
                        futures[stage, row, k] = 0.0


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
    there, again, last = filters(sample_rate)
    by_audio = np.empty_like(x)
    sums = np.zeros((batch, channels, 4))

    def task(row: int) -> None:
        item, channel = divmod(row, channels)
        work = np.empty(1, x.dtype)
        _backward(
            x[item, channel], g[item, channel], own[item], there, again, last, states[row], work,
            by_audio[item, channel], sums[item, channel],
        )  # fmt: skip

    run_tasks(task, batch * channels)
    return by_audio, sums.sum(1)
