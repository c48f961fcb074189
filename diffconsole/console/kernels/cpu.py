"""CPU kernels: time-domain recursions in float64, compiled by numba, rows in parallel.

Each row (one channel of one item, or one item for the linked compressor) is one task of a small
thread pool; the loops release the interpreter lock. A thread pool instead of numba's own
threading keeps compilation short and calls from several threads safe.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["compress", "sections"]

BLOCK = 2048
FLOOR = 1e-6
# States below this become 0. Without it digital silence after sound decays into subnormal
# numbers, on which a processor is some 40 times slower.
TINY = 1e-60
DB_PER_NEPER = 20.0 / math.log(10.0)

# A product and the sum after it may become one fused operation; nothing else is relaxed.
_compile: Any = functools.partial(njit, cache=True, nogil=True, fastmath={"contract"})


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    # One a process: after a fork the parent's threads do not exist, and waiting for them hangs.
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="diffconsole")


def _for_rows(function: Callable[[int], Any], rows: int) -> None:
    if rows == 1 or torch.get_num_threads() == 1:
        for row in range(rows):
            function(row)
    else:
        list(_pool(os.getpid()).map(function, range(rows)))


@_compile
def _flushed(value):
    return value if abs(value) > TINY else 0.0


# --- second-order sections -------------------------------------------------------------------


@_compile
def _cascade_block(source, first, count, coefficients, history, signals):
    """Fill signals[s, 2:] with the input (s = 0) and each section's output of one block.

    history[s] and signals[s, :2] hold the two samples before the block, older first.
    """
    for n in range(count):
        signals[0, n + 2] = source[first + n]
    signals[:, 0] = history[:, 0]
    signals[:, 1] = history[:, 1]
    for s in range(coefficients.shape[0]):
        b0, b1, b2 = coefficients[s, 0], coefficients[s, 1], coefficients[s, 2]
        a1, a2 = coefficients[s, 3], coefficients[s, 4]
        x = signals[s]
        y = signals[s + 1]
        y2, y1 = y[0], y[1]
        for n in range(2, count + 2):
            value = (b0 * x[n] + b1 * x[n - 1] + b2 * x[n - 2]) - a2 * y2 - a1 * y1
            y[n] = value
            y2 = y1
            y1 = value


@_compile
def _cascade_forward(x, coefficients, y, histories):
    """Filter one row; keep the history at every block's start where `histories` has room."""
    sections = coefficients.shape[0]
    signals = np.zeros((sections + 1, BLOCK + 2))
    history = np.zeros((sections + 1, 2))
    keep = histories.shape[0] > 0
    samples = x.shape[0]
    for block in range((samples + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        count = min(BLOCK, samples - first)
        if keep:
            histories[block] = history
        _cascade_block(x, first, count, coefficients, history, signals)
        for n in range(count):
            y[first + n] = signals[sections, n + 2]
        for s in range(sections + 1):
            history[s, 0] = _flushed(signals[s, count])
            history[s, 1] = _flushed(signals[s, count + 1])


@_compile
def _cascade_backward(x, coefficients, histories, grad_y, grad_x, grad_coefficients):
    """Adjoint of `_cascade_forward`: the same cascade on the reversed gradient.

    With u the gradient through 1/A run backwards in time, grad_x is B run backwards on u,
    grad_b[k] = Σ u[n]·x[n−k] and grad_a[k] = −Σ u[n]·y[n−k]. Each block's signals are made
    again from its saved history, so memory does not grow with the number of sections.
    """
    sections = coefficients.shape[0]
    signals = np.zeros((sections + 1, BLOCK + 2))
    future = np.zeros((sections, 2))
    gradient = np.zeros(BLOCK)
    u = np.zeros(BLOCK + 2)
    samples = x.shape[0]
    blocks = (samples + BLOCK - 1) // BLOCK
    for block in range(blocks - 1, -1, -1):
        first = block * BLOCK
        count = min(BLOCK, samples - first)
        _cascade_block(x, first, count, coefficients, histories[block], signals)
        for n in range(count):
            gradient[n] = grad_y[first + n]
        for s in range(sections - 1, -1, -1):
            b0, b1, b2 = coefficients[s, 0], coefficients[s, 1], coefficients[s, 2]
            a1, a2 = coefficients[s, 3], coefficients[s, 4]
            u1, u2 = future[s, 0], future[s, 1]
            u[count] = u1
            u[count + 1] = u2
            for n in range(count - 1, -1, -1):
                value = gradient[n] - a2 * u2 - a1 * u1
                u[n] = value
                u2 = u1
                u1 = value
            future[s, 0] = _flushed(u1)
            future[s, 1] = _flushed(u2)
            xs = signals[s]
            ys = signals[s + 1]
            d0 = d1 = d2 = e1 = e2 = 0.0
            for n in range(count):
                value = u[n]
                d0 += value * xs[n + 2]
                d1 += value * xs[n + 1]
                d2 += value * xs[n]
                e1 += value * ys[n + 1]
                e2 += value * ys[n]
                gradient[n] = b0 * value + b1 * u[n + 1] + b2 * u[n + 2]
            grad_coefficients[s, 0] += d0
            grad_coefficients[s, 1] += d1
            grad_coefficients[s, 2] += d2
            grad_coefficients[s, 3] -= e1
            grad_coefficients[s, 4] -= e2
        for n in range(count):
            grad_x[first + n] = gradient[n]


class _Sections(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, coefficients: Tensor) -> Tensor:
        batch, channels, samples = audio.shape
        x = audio.detach().contiguous().numpy().reshape(-1, samples)
        sos = coefficients.detach().contiguous().numpy()
        y = np.empty_like(x)
        blocks = -(-samples // BLOCK) if any(ctx.needs_input_grad) else 0
        histories = np.empty((len(x), blocks, sos.shape[1] + 1, 2))

        def row(r: int) -> None:
            _cascade_forward(x[r], sos[r // channels], y[r], histories[r])

        _for_rows(row, len(x))
        ctx.save_for_backward(audio, coefficients)
        ctx.histories = histories
        return torch.from_numpy(y).reshape(audio.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        audio, coefficients = ctx.saved_tensors
        batch, channels, samples = audio.shape
        x = audio.detach().contiguous().numpy().reshape(-1, samples)
        sos = coefficients.detach().contiguous().numpy()
        grad_y = grad_outputs[0].contiguous().numpy().reshape(-1, samples)
        grad_x = np.empty_like(x)
        grad_sos = np.zeros((len(x), *sos.shape[1:]))

        def row(r: int) -> None:
            _cascade_backward(
                x[r], sos[r // channels], ctx.histories[r], grad_y[r], grad_x[r], grad_sos[r]
            )

        _for_rows(row, len(x))
        total = torch.from_numpy(grad_sos).reshape(batch, channels, *sos.shape[1:]).sum(dim=1)
        return torch.from_numpy(grad_x).reshape(audio.shape), total


def sections(audio: Tensor, coefficients: Tensor) -> Tensor:
    """Cascade of second-order sections; see :func:`diffconsole.console.kernels.sections`."""
    return _Sections.apply(audio, coefficients)


# --- compressor ------------------------------------------------------------------------------


@_compile
def _compress_forward(x, attack, release, threshold, slope, knee, makeup, y, levels):
    """Compress one item (channels linked); keep the smoothed level where `levels` has room."""
    channels, samples = x.shape
    keep = levels.shape[0] > 0
    low, high = threshold - 0.5 * knee, threshold + 0.5 * knee
    s = 0.0
    for n in range(samples):
        v = 0.0
        for c in range(channels):
            v = max(v, abs(np.float64(x[c, n])))
        a = attack if v > s else release
        s = _flushed(a * s + (1.0 - a) * v)
        if keep:
            levels[n] = s
        level = DB_PER_NEPER * math.log(max(s, FLOOR))
        if level <= low:
            change = 0.0
        elif level < high:
            over = level - low
            change = slope * over * over / (2.0 * knee)
        else:
            change = slope * (level - threshold)
        factor = math.exp((change + makeup) / DB_PER_NEPER)
        for c in range(channels):
            y[c, n] = x[c, n] * factor


@_compile
def _compress_backward(
    x, attack, release, threshold, slope, knee, makeup, levels, grad_y, grad_x, grads
):
    """Adjoint of `_compress_forward`: one reverse loop, the branch known from the levels.

    grads gathers attack, release, threshold, slope, knee, makeup.
    """
    channels, samples = x.shape
    low, high = threshold - 0.5 * knee, threshold + 0.5 * knee
    carried = 0.0
    for n in range(samples - 1, -1, -1):
        s = levels[n]
        before = levels[n - 1] if n > 0 else 0.0
        v = 0.0
        loudest = 0
        for c in range(channels):
            w = abs(np.float64(x[c, n]))
            if w > v:
                v = w
                loudest = c
        level = DB_PER_NEPER * math.log(max(s, FLOOR))
        change = by_level = by_slope = by_knee = 0.0
        if level > low:
            if level < high:
                over = level - low
                by_slope = over * over / (2.0 * knee)
                by_level = slope * over / knee
                by_knee = slope * (over / (2.0 * knee) - over * over / (2.0 * knee * knee))
            else:
                by_slope = level - threshold
                by_level = slope
            change = slope * by_slope
        factor = math.exp((change + makeup) / DB_PER_NEPER)
        g = 0.0
        for c in range(channels):
            g += np.float64(grad_y[c, n]) * x[c, n]
            grad_x[c, n] = grad_y[c, n] * factor
        g *= factor / DB_PER_NEPER
        grads[2] -= g * by_level
        grads[3] += g * by_slope
        grads[4] += g * by_knee
        grads[5] += g
        by_s = DB_PER_NEPER / s if s > FLOOR else 0.0
        carried += g * by_level * by_s
        if v > before:
            a = attack
            grads[0] += carried * (before - v)
        else:
            a = release
            grads[1] += carried * (before - v)
        if v > 0.0:
            sign = 1.0 if x[loudest, n] > 0 else -1.0
            grad_x[loudest, n] += carried * (1.0 - a) * sign
        carried = _flushed(carried * a)


class _Compress(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, parameters: Tensor) -> Tensor:
        batch, _, samples = audio.shape
        x = audio.detach().contiguous().numpy()
        settings = parameters.detach().numpy()
        y = np.empty_like(x)
        levels = np.empty((batch, samples if any(ctx.needs_input_grad) else 0))

        def row(b: int) -> None:
            _compress_forward(x[b], *settings[b], y[b], levels[b])

        _for_rows(row, batch)
        ctx.save_for_backward(audio, parameters)
        ctx.levels = levels
        return torch.from_numpy(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        audio, parameters = ctx.saved_tensors
        x = audio.detach().contiguous().numpy()
        settings = parameters.detach().numpy()
        grad_y = grad_outputs[0].contiguous().numpy()
        grad_x = np.empty_like(x)
        grads = np.zeros(settings.shape)

        def row(b: int) -> None:
            _compress_backward(x[b], *settings[b], ctx.levels[b], grad_y[b], grad_x[b], grads[b])

        _for_rows(row, len(x))
        return torch.from_numpy(grad_x), torch.from_numpy(grads)


def compress(
    audio: Tensor,
    attack: Tensor,
    release: Tensor,
    threshold_db: Tensor,
    slope: Tensor,
    knee_db: Tensor,
    makeup_db: Tensor,
) -> Tensor:
    """Compressor; see :func:`diffconsole.console.kernels.compress`."""
    parameters = torch.stack((attack, release, threshold_db, slope, knee_db, makeup_db), dim=-1)
    return _Compress.apply(audio, parameters.to(torch.float64).contiguous())
