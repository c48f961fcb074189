"""Second-order sections on the CPU: float64, eight signals side by side.

A row is cut into stretches; eight stretches, of one row or of several, run together
(:mod:`diffconsole.kernels.lanes`). A stretch that does not begin its row starts earlier, from
silence, by the time that the cascade's slowest pole needs to forget that. The result does not
depend on the number of threads, nor on which stretches run together.
"""

from __future__ import annotations

import numpy as np

from ...kernels.jit import compiled
from ...kernels.lanes import (
    LANES,
    adjoint_block,
    adjoint_block_only,
    section_block,
    to_rows,
    to_slab,
)
from ...kernels.not_numbers import mark_not_numbers
from ...kernels.prefetch import expect, expect_written
from ...kernels.threads import lane_groups, run_tasks

__all__ = ["sections_backward", "sections_forward", "sections_saved_shape"]

BLOCK = 128
# Rows from the begin of one signal to that of the next. Without room between them a row that is
# written lies a multiple of 4096 bytes from one that is read soon, which looks like the same
# place to a processor: it waits.
APART = BLOCK + 16
STRETCH = 1 << 17
# What is left of a state after this time: beyond the last digit of float64, or of float32 squared.
FORGOTTEN_NEPERS = {np.dtype(np.float64): 40.0, np.dtype(np.float32): 24.0}
# States below this become 0. Without it digital silence after sound decays into subnormal
# numbers, on which a processor is some 40 times slower.
TINY = 1e-60


def _stretches(samples: int) -> int:
    return max(1, round(samples / STRETCH))


def _stretch_blocks(samples: int) -> int:
    return -(-samples // (_stretches(samples) * BLOCK))


def _lanes(rows: int, samples: int) -> np.ndarray:
    """Row and first block of every stretch, ``(rows · stretches, 2)``."""
    places = np.stack(np.divmod(np.arange(rows * _stretches(samples)), _stretches(samples)), axis=1)
    places[:, 1] *= _stretch_blocks(samples)
    return places


def _warm_up_blocks(coefficients: np.ndarray, nepers: float) -> np.ndarray:
    """Blocks after which the slowest pole of each item's cascade has forgotten its state."""
    a1, a2 = coefficients[..., 3], coefficients[..., 4]
    inside = a1 * a1 - 4.0 * a2
    root = np.sqrt(np.abs(inside))
    radius = np.where(inside < 0.0, np.sqrt(np.abs(a2)), 0.5 * (np.abs(a1) + root))
    # What is not a number has nothing to forget.
    slowest = np.nan_to_num(np.clip(radius.max(axis=1, initial=0.0), 1e-300, 1.0 - 1e-9), nan=0.5)
    return np.ceil(nepers / (-np.log(slowest) * BLOCK)).astype(np.int64)


# --- between rows of audio and the lanes -----------------------------------------------------


@compiled
def _load(x, lanes, block, slab, rows):
    """Samples of one block: lane k from block ``lanes[k, 1] + block`` on, silence outside."""
    for k in range(lanes.shape[0]):
        start = (lanes[k, 1] + block) * BLOCK
        stop = min(start + BLOCK, x.shape[1])
        if start < 0 or start >= stop:
            slab[k, :] = 0.0
        else:
            _copy(x[lanes[k, 0], start:stop], slab[k])
            slab[k, stop - start :] = 0.0
    to_rows(slab, rows, BLOCK)


@compiled
def _store(rows, slab, lanes, block, y):
    to_slab(rows, slab, BLOCK)
    for k in range(lanes.shape[0]):
        start = (lanes[k, 1] + block) * BLOCK
        stop = min(start + BLOCK, y.shape[1])
        if start < stop:
            _copy(slab[k, : stop - start], y[lanes[k, 0], start:stop])


# Asked for in shares, one with each section: more at once than a processor keeps in mind waits.


@compiled
def _ask(x, lanes, block, share, shares):
    """Ask for a share of what :func:`_load` reads next."""
    for k in range(share, lanes.shape[0], shares):
        start = (lanes[k, 1] + block) * BLOCK
        expect(x[lanes[k, 0]], start, start + BLOCK)


@compiled
def _ask_written(y, lanes, block, share, shares):
    """Ask for a share of what :func:`_store` writes next."""
    for k in range(share, lanes.shape[0], shares):
        start = (lanes[k, 1] + block) * BLOCK
        expect_written(y[lanes[k, 0]], start, start + BLOCK)


@compiled
def _copy(source, target):
    for n in range(source.shape[0]):
        target[n] = source[n]


@compiled
def _without_tiny(source, target):
    for n in range(source.shape[0]):
        for lane in range(LANES):
            value = source[n, lane]
            target[n, lane] = value if abs(value) > TINY else 0.0


@compiled
def _side_by_side(coefficients, lanes, rows_each):
    """Coefficients of each lane's item, ``(sections, 5, LANES)``."""
    own = np.zeros((coefficients.shape[1], 5, LANES))
    for k in range(lanes.shape[0]):
        item = lanes[k, 0] // rows_each
        for section in range(coefficients.shape[1]):
            for n in range(5):
                own[section, n, k] = coefficients[item, section, n]
    return own


# --- the two passes --------------------------------------------------------------------------


@compiled
def _forward(x, coefficients, rows_each, lanes, first_lane, stretch, warm_up, y, histories):
    """Filter up to eight stretches; keep what precedes every block if `histories` has room."""
    sections = coefficients.shape[1]
    own = _side_by_side(coefficients, lanes, rows_each)
    signals = np.zeros((sections + 1, APART, LANES))
    slab = np.zeros((LANES, BLOCK), x.dtype)
    keep = histories.shape[0] > 0
    for block in range(-warm_up, stretch):
        _load(x, lanes, block, slab, signals[0, 2:])
        if keep and block >= 0:
            for s in range(sections + 1):
                _copy(signals[s, 0, : lanes.shape[0]], histories[block, s, 0, first_lane:])
                _copy(signals[s, 1, : lanes.shape[0]], histories[block, s, 1, first_lane:])
        for s in range(sections):
            _ask(x, lanes, block + 1, s, sections)
            _ask_written(y, lanes, block + 1, s, sections)
            section_block(signals[s], signals[s + 1], own[s], BLOCK)
        if block >= 0:
            _store(signals[sections, 2:], slab, lanes, block, y)
        for s in range(sections + 1):
            _without_tiny(signals[s, BLOCK : BLOCK + 2], signals[s, :2])


@compiled
def _backward(
    x, coefficients, rows_each, lanes, first_lane, stretch, warm_up, histories,
    grad_y, grad_x, grad_coefficients,
):  # fmt: skip
    """Adjoint of `_forward`: the same cascade on the reversed gradient.

    With u the gradient through 1/A run backwards in time, grad_x is B run backwards on u,
    grad_b[k] = Σ u[n]·x[n−k] and grad_a[k] = −Σ u[n]·y[n−k]. Each block's signals are made
    again from its saved history, so memory does not grow with the number of sections.
    """
    sections = coefficients.shape[1]
    own = _side_by_side(coefficients, lanes, rows_each)
    signals = np.zeros((sections + 1, APART, LANES))
    gradient = np.zeros((BLOCK, LANES))
    slab = np.zeros((LANES, BLOCK), x.dtype)
    future = np.zeros((sections, 2, LANES))
    sums = np.zeros((sections, 5, LANES))
    for block in range(stretch + warm_up - 1, -1, -1):
        _load(grad_y, lanes, block, slab, gradient)
        if block >= stretch:
            for s in range(sections - 1, -1, -1):
                adjoint_block_only(gradient, own[s], future[s], BLOCK)
        else:
            _load(x, lanes, block, slab, signals[0, 2:])
            last_lane = first_lane + lanes.shape[0]
            for s in range(sections + 1):
                _copy(histories[block, s, 0, first_lane:last_lane], signals[s, 0])
                _copy(histories[block, s, 1, first_lane:last_lane], signals[s, 1])
            for s in range(sections):
                _ask(x, lanes, block - 1, s, sections)
                section_block(signals[s], signals[s + 1], own[s], BLOCK)
            for s in range(sections - 1, -1, -1):
                _ask(grad_y, lanes, block - 1, s, sections)
                _ask_written(grad_x, lanes, block - 1, s, sections)
                adjoint_block(
                    gradient, own[s], future[s], signals[s], signals[s + 1], sums[s], BLOCK
                )
            _store(gradient, slab, lanes, block, grad_x)
        for s in range(sections):
            _without_tiny(future[s], future[s])
    for k in range(lanes.shape[0]):
        for section in range(sums.shape[0]):
            for n in range(sums.shape[1]):
                grad_coefficients[first_lane + k, section, n] = sums[section, n, k]


def sections_saved_shape(rows: int, samples: int, sections: int, keep: bool) -> tuple[int, ...]:
    """Shape of what the forward pass keeps: the two samples before every block of each signal."""
    blocks = _stretch_blocks(samples) if keep else 0
    return blocks, sections + 1, 2, rows * _stretches(samples)


def sections_forward(
    audio: np.ndarray, coefficients: np.ndarray, ringing: int, keep: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Filter; see :func:`.sections_operator.sections`. Returns audio and histories."""
    _, channels, samples = audio.shape
    x = np.ascontiguousarray(audio).reshape(-1, samples)
    sos = np.ascontiguousarray(coefficients)
    y = np.empty_like(x)
    lanes, stretch = _lanes(len(x), samples), _stretch_blocks(samples)
    forget = _warm_up_blocks(sos, FORGOTTEN_NEPERS[x.dtype])
    histories = np.empty(sections_saved_shape(len(x), samples, sos.shape[1], keep))
    groups = lane_groups(len(lanes))

    def task(index: int) -> None:
        group = lanes[groups[index]]
        warm_up = int(np.minimum(forget[group[:, 0] // channels], group[:, 1]).max())
        first = groups[index].start
        _forward(x, sos, channels, group, first, stretch, warm_up, y, histories)

    run_tasks(task, len(groups))
    filtered = y.reshape(audio.shape)
    mark_not_numbers(filtered, sos)
    return filtered, histories


def sections_backward(
    gradient: np.ndarray,
    audio: np.ndarray,
    coefficients: np.ndarray,
    saved: np.ndarray,
    ringing: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the audio and of the coefficients."""
    batch, channels, samples = audio.shape
    x, sos, histories = audio.reshape(-1, samples), coefficients, saved
    grad_y = gradient.reshape(-1, samples)
    lanes, stretch = _lanes(len(x), samples), _stretch_blocks(samples)
    forget = _warm_up_blocks(sos, FORGOTTEN_NEPERS[x.dtype])
    grad_x = np.empty_like(x)
    grad_sos = np.empty((len(lanes), *sos.shape[1:]))
    groups = lane_groups(len(lanes))

    def task(index: int) -> None:
        group = lanes[groups[index]]
        after = np.maximum(-(-samples // BLOCK) - stretch - group[:, 1], 0)
        warm_up = int(np.minimum(forget[group[:, 0] // channels], after).max())
        _backward(
            x, sos, channels, group, groups[index].start, stretch, warm_up, histories,
            grad_y, grad_x, grad_sos,
        )  # fmt: skip

    run_tasks(task, len(groups))
    total = grad_sos.reshape(batch, -1, *sos.shape[1:]).sum(axis=1)
    return grad_x.reshape(audio.shape), total
