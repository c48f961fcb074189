"""Second-order sections on the CPU: float64, eight stretches of a row side by side.

A long row is cut into segments, one task each, and a segment into eight stretches that run
together (:mod:`.lanes`). A stretch that does not begin the row starts earlier, from silence, by
the time that the cascade's slowest pole needs to forget that (40 nepers: beyond the last digit
of float64). The result does not depend on the number of threads.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from .lanes import LANES, adjoint_block, adjoint_block_only, section_block
from .threads import run_tasks

__all__ = ["sections_backward", "sections_forward", "sections_saved_shape"]

BLOCK = 64
SEGMENT = 1 << 19
FORGOTTEN_NEPERS = 40.0
# States below this become 0. Without it digital silence after sound decays into subnormal
# numbers, on which a processor is some 40 times slower.
TINY = 1e-60

_compile: Any = functools.partial(
    njit, cache=True, nogil=True, error_model="numpy", fastmath={"contract"}
)


def _segments(samples: int) -> int:
    return max(1, round(samples / SEGMENT))


def _stretch_blocks(samples: int) -> int:
    """Blocks in one of the eight stretches of a segment."""
    return -(-samples // (_segments(samples) * LANES * BLOCK))


@_compile
def _warm_up_blocks(coefficients, most):
    """Blocks after which the slowest pole has forgotten its state."""
    slowest = 0.0
    for s in range(coefficients.shape[0]):
        a1, a2 = coefficients[s, 3], coefficients[s, 4]
        inside = a1 * a1 - 4.0 * a2
        if inside < 0.0:
            radius = math.sqrt(a2)
        else:
            radius = 0.5 * (abs(a1) + math.sqrt(inside))
        slowest = max(slowest, radius)
    if slowest >= 1.0:
        return most
    if slowest <= 0.0:
        return min(1, most)
    blocks = math.ceil(FORGOTTEN_NEPERS / (-math.log(slowest) * BLOCK))
    return min(np.int64(min(blocks, 1e9)), most)


@_compile
def _fill_lane(source, rows, lane):
    for n in range(source.shape[0]):
        rows[n, lane] = source[n]
    for n in range(source.shape[0], rows.shape[0]):
        rows[n, lane] = 0.0


@_compile
def _load(source, first, step, rows):
    """Rows of one block: lane k from ``source[first + k·step]`` on, silence outside."""
    samples = source.shape[0]
    for lane in range(LANES):
        start = first + lane * step
        stop = min(start + BLOCK, samples)
        if start < 0 or start >= stop:
            rows[:, lane] = 0.0
        else:
            _fill_lane(source[start:stop], rows, lane)


@_compile
def _store_lane(rows, lane, target):
    for n in range(target.shape[0]):
        target[n] = rows[n, lane]


@_compile
def _store(rows, first, step, target):
    samples = target.shape[0]
    for lane in range(LANES):
        start = first + lane * step
        stop = min(start + BLOCK, samples)
        if start < stop:
            _store_lane(rows, lane, target[start:stop])


@_compile
def _without_tiny(source, target):
    for n in range(source.shape[0]):
        for lane in range(LANES):
            value = source[n, lane]
            target[n, lane] = value if abs(value) > TINY else 0.0


@_compile
def _forward(x, coefficients, segment, stretch, y, histories):
    """Filter one segment; keep what precedes every block where `histories` has room."""
    sections = coefficients.shape[0]
    signals = np.zeros((sections + 1, BLOCK + 2, LANES))
    keep = histories.shape[0] > 0
    step = stretch * BLOCK
    first = segment * LANES * step
    # Before the last stretch lies at most the row up to it.
    warm_up = _warm_up_blocks(coefficients, segment * LANES * stretch + (LANES - 1) * stretch)
    for block in range(-warm_up, stretch):
        _load(x, first + block * BLOCK, step, signals[0, 2:])
        if keep and block >= 0:
            histories[block] = signals[:, :2]
        for s in range(sections):
            section_block(signals[s], signals[s + 1], coefficients[s], BLOCK)
        if block >= 0:
            _store(signals[sections, 2:], first + block * BLOCK, step, y)
        for s in range(sections + 1):
            _without_tiny(signals[s, BLOCK:], signals[s, :2])


@_compile
def _backward(x, coefficients, segment, stretch, histories, grad_y, grad_x, grad_coefficients):
    """Adjoint of `_forward`: the same cascade on the reversed gradient.

    With u the gradient through 1/A run backwards in time, grad_x is B run backwards on u,
    grad_b[k] = Σ u[n]·x[n−k] and grad_a[k] = −Σ u[n]·y[n−k]. Each block's signals are made
    again from its saved history, so memory does not grow with the number of sections.
    """
    sections = coefficients.shape[0]
    signals = np.zeros((sections + 1, BLOCK + 2, LANES))
    gradient = np.zeros((BLOCK, LANES))
    future = np.zeros((sections, 2, LANES))
    sums = np.zeros((sections, 5, LANES))
    step = stretch * BLOCK
    first = segment * LANES * step
    blocks_left = -(-(x.shape[0] - first) // BLOCK) - stretch
    warm_up = _warm_up_blocks(coefficients, max(blocks_left, 0))
    for block in range(stretch + warm_up - 1, -1, -1):
        _load(grad_y, first + block * BLOCK, step, gradient)
        if block >= stretch:
            for s in range(sections - 1, -1, -1):
                adjoint_block_only(gradient, coefficients[s], future[s], BLOCK)
        else:
            _load(x, first + block * BLOCK, step, signals[0, 2:])
            signals[:, :2] = histories[block]
            for s in range(sections):
                section_block(signals[s], signals[s + 1], coefficients[s], BLOCK)
            for s in range(sections - 1, -1, -1):
                adjoint_block(
                    gradient, coefficients[s], future[s], signals[s], signals[s + 1], sums[s], BLOCK
                )
            _store(gradient, first + block * BLOCK, step, grad_x)
        for s in range(sections):
            _without_tiny(future[s], future[s])
    for s in range(sections):
        for k in range(5):
            grad_coefficients[s, k] = sums[s, k].sum()


def sections_saved_shape(rows: int, samples: int, sections: int, keep: bool) -> tuple[int, ...]:
    """Shape of what the forward pass keeps: the two samples before every block of each signal."""
    blocks = _stretch_blocks(samples) if keep else 0
    return rows, _segments(samples), blocks, sections + 1, 2, LANES


def sections_forward(
    audio: Tensor, coefficients: Tensor, ringing: int, keep: bool
) -> tuple[Tensor, Tensor]:
    """Filter; see :func:`diffconsole.console.kernels.sections`. Returns audio and histories."""
    _, channels, samples = audio.shape
    x = audio.detach().contiguous().numpy().reshape(-1, samples)
    sos = coefficients.detach().contiguous().numpy()
    y = np.empty_like(x)
    segments, stretch = _segments(samples), _stretch_blocks(samples)
    histories = np.empty(sections_saved_shape(len(x), samples, sos.shape[1], keep))

    def task(index: int) -> None:
        row, segment = divmod(index, segments)
        _forward(x[row], sos[row // channels], segment, stretch, y[row], histories[row, segment])

    run_tasks(task, len(x) * segments)
    return torch.from_numpy(y).reshape(audio.shape), torch.from_numpy(histories)


def sections_backward(
    gradient: Tensor, audio: Tensor, coefficients: Tensor, saved: Tensor, ringing: int
) -> tuple[Tensor, Tensor]:
    """Gradients of the audio and of the coefficients."""
    batch, channels, samples = audio.shape
    x = audio.detach().contiguous().numpy().reshape(-1, samples)
    sos = coefficients.detach().contiguous().numpy()
    grad_y = gradient.contiguous().numpy().reshape(-1, samples)
    histories = saved.numpy()
    segments, stretch = histories.shape[1:3]
    grad_x = np.empty_like(x)
    grad_sos = np.empty((len(x), segments, *sos.shape[1:]))

    def task(index: int) -> None:
        row, segment = divmod(index, segments)
        _backward(
            x[row], sos[row // channels], segment, stretch, histories[row, segment],
            grad_y[row], grad_x[row], grad_sos[row, segment],
        )  # fmt: skip

    run_tasks(task, len(x) * segments)
    total = torch.from_numpy(grad_sos).reshape(batch, -1, *sos.shape[1:]).sum(dim=1)
    return torch.from_numpy(grad_x).reshape(audio.shape), total
