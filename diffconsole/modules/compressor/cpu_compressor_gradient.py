"""Gradient of the CPU's compressor: one reverse pass, the branches known from the levels.

Going back in time the recursion is linear. A long row's segments run side by side, each from 0 at
its end; what the segment after it carries over is added afterwards, until it has faded.
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.jit import compiled, compiled_sums
from ...kernels.lanes import LANES, add_carried_block, carry_block, to_rows, to_slab
from ...kernels.peaks import find_peaks
from ...kernels.prefetch import expect, expect_written
from ...kernels.threads import run_tasks
from .cpu_curve import (
    ATTACK,
    BLOCK,
    DRY,
    FLOOR,
    RELEASE,
    TINY,
    WET,
    derivatives,
    prepare_settings,
    segments_of,
)

__all__ = ["compress_backward"]

NEPERS_PER_DB = math.log(10.0) / 20.0
# A carried gradient that has fallen this far counts as nothing.
CARRIED = {np.dtype(np.float64): 1e-16, np.dtype(np.float32): 1e-10}


@compiled
def _add_products(x, grad_y, products):
    for n in range(products.shape[0]):
        products[n] += grad_y[n] * x[n]


@compiled
def _errors(gains, levels, by_level, products, errors):
    """Gradient of the gain in nepers, in place of the products, and of the level."""
    kind = gains.dtype.type
    floor, zero = kind(FLOOR), kind(0.0)
    for n in range(products.shape[0]):
        products[n] *= gains[n]
        level = abs(levels[n])
        slope = by_level[n] / max(level, floor)
        errors[n] = np.float64(products[n] * (slope if level > floor else zero))


@compiled
def _factors(levels, attack, release, factors):
    for n in range(levels.shape[0]):
        factors[n] = attack if levels[n] < 0.0 else release
    factors[levels.shape[0] :] = 1.0


@compiled
def _carry(errors, factors, error_rows, factor_rows, ends, carried):
    """The recursion back in time over a block, in place of the errors; returns what is left over.

    The block's eight parts run side by side as if nothing came from behind them; what does is
    their share of it, and is added afterwards.
    """
    to_rows(errors, error_rows, BLOCK // LANES)
    to_rows(factors, factor_rows, BLOCK // LANES)
    carry_block(error_rows, factor_rows, ends, BLOCK // LANES)
    for lane in range(LANES - 1, -1, -1):
        # What comes from behind each part takes the place of what goes on from it.
        before = carried
        carried = ends[0, lane] + ends[1, lane] * carried
        ends[0, lane] = before
    add_carried_block(error_rows, factor_rows, ends, BLOCK // LANES)
    to_slab(error_rows, errors, BLOCK // LANES)
    return carried


@compiled
def _by_peak(levels, attack, release, wet, carried, by_peak):
    kind = by_peak.dtype.type
    falls, rises = wet * (1.0 - release), wet * (1.0 - attack)
    for n in range(by_peak.shape[0]):
        by_peak[n] = kind(carried[n] * (rises if levels[n] < 0.0 else falls))


@compiled
def _audio_gradient(x, other, first_channel, grad_y, gains, wet, dry, by_peak, grad_x):
    kind = gains.dtype.type
    zero, one = kind(0.0), kind(1.0)
    for n in range(gains.shape[0]):
        value = x[n]
        sign = (one if value > zero else zero) - (one if value < zero else zero)
        # Of two channels the louder one carries the level, the first if they are equal.
        mine, others = abs(value), abs(other[n])
        leads = mine > others or (first_channel and mine == others)
        gain = dry + wet * gains[n]
        grad_x[n] = grad_y[n] * gain + (sign * by_peak[n] if leads else zero)


@compiled_sums
def _sum_products(products, by_level, by_slope, by_knee, grads):
    level = slope = knee = makeup = 0.0
    for n in range(products.shape[0]):
        product = np.float64(products[n])
        level += product * by_level[n]
        slope += product * by_slope[n]
        knee += product * by_knee[n]
        makeup += product
    grads[2] -= level * NEPERS_PER_DB
    grads[3] += slope * NEPERS_PER_DB
    grads[4] += knee * NEPERS_PER_DB
    grads[5] += makeup * NEPERS_PER_DB


@compiled_sums
def _sum(values):
    total = 0.0
    for n in range(values.shape[0]):
        total += np.float64(values[n])
    return total


@compiled_sums
def _sum_carried(peaks, levels, befores, carried, grads):
    """Gradients of the two coefficients: Σ carried·(s[n−1] − v[n]) over either branch."""
    rising = both = 0.0
    for n in range(peaks.shape[0]):
        value = carried[n] * (np.float64(abs(befores[n])) - peaks[n])
        both += value
        rising += value * (1.0 if levels[n] < 0.0 else 0.0)
    grads[0] += rising
    grads[1] += both - rising


@compiled
def _backward(x, settings, levels, grad_y, grad_x, grads, mixes, begin, end):
    """Adjoint of the forward pass on a segment of one item, back from 0 at its end.

    One reverse pass, the branches known from the levels. `grads` gathers attack, release,
    threshold, slope, knee, makeup as if all were compressed; of a mix also its dry gain. Returns
    what is carried on to the segment before.
    """
    attack, release = settings[ATTACK], settings[RELEASE]
    wet, dry = x.dtype.type(settings[WET]), x.dtype.type(settings[DRY])
    gains, products = np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    by_level, by_slope = np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    by_knee, peaks = np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    carried, factors = np.empty(BLOCK), np.empty(BLOCK)
    part = (LANES, BLOCK // LANES)
    error_rows, factor_rows = np.empty(part[::-1]), np.empty(part[::-1])
    ends = np.empty((2, LANES))
    silence = np.zeros(1, x.dtype)
    channels = x.shape[0]
    left = 0.0
    for first in range(begin + (end - begin - 1) // BLOCK * BLOCK, begin - 1, -BLOCK):
        stop = min(first + BLOCK, end)
        count = stop - first
        s, g, p, c = levels[first:stop], gains[:count], products[:count], carried[:count]
        derivatives(s, settings, g, by_level[:count], by_slope[:count], by_knee[:count])
        # The next block is asked for a row at a time: more than a processor keeps in mind waits.
        expect(levels, first - BLOCK, first)
        p[:] = 0.0
        for channel in range(channels):
            _add_products(x[channel, first:stop], grad_y[channel, first:stop], p)
        for channel in range(channels):
            expect(x[channel], first - BLOCK, first)
        if mixes:
            grads[7] += _sum(p)
        _errors(g, s, by_level[:count], p, c)
        carried[count:] = 0.0
        _factors(s, attack, release, factors)
        left = _carry(
            carried.reshape(part), factors.reshape(part), error_rows, factor_rows, ends, left
        )
        left = left if abs(left) > TINY else 0.0
        for channel in range(channels):
            expect(grad_y[channel], first - BLOCK, first)
        _sum_products(p, by_level[:count], by_slope[:count], by_knee[:count], grads)
        find_peaks(x, first, stop, peaks)
        if first > 0:
            _sum_carried(peaks[:count], s, levels[first - 1 : stop - 1], c, grads)
        else:
            _sum_carried(peaks[1:count], s[1:], s[:-1], c[1:], grads)
            _sum_carried(peaks[:1], s[:1], silence, c[:1], grads)
        for channel in range(channels):
            expect_written(grad_x[channel], first - BLOCK, first)
        _by_peak(s, attack, release, settings[WET], c, p)
        for channel in range(channels):
            _audio_gradient(
                x[channel, first:stop], x[channels - 1 - channel, first:stop], channel == 0,
                grad_y[channel, first:stop], g, wet, dry, p, grad_x[channel, first:stop],
            )  # fmt: skip
    return left


@compiled
def _carry_on(x, settings, levels, carried, least, grad_x, grads, begin, end):
    """Add to a segment's gradients what the segment after it carried, until less than `least`.

    Returns what is left over at the segment's begin.
    """
    attack, release, wet = settings[ATTACK], settings[RELEASE], settings[WET]
    channels = x.shape[0]
    for n in range(end - 1, begin - 1, -1):
        if abs(carried) <= least:
            return 0.0
        factor = attack if levels[n] < 0.0 else release
        channel = channels - 1 if abs(x[channels - 1, n]) > abs(x[0, n]) else 0
        value = np.float64(x[channel, n])
        before = np.float64(abs(levels[n - 1])) if n > 0 else 0.0
        grads[0 if levels[n] < 0.0 else 1] += carried * (before - abs(value))
        grad_x[channel, n] += np.sign(value) * carried * (wet * (1.0 - factor))
        carried *= factor
    return carried


def compress_backward(
    gradient: np.ndarray, audio: np.ndarray, parameters: np.ndarray, saved: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the audio and of the parameters."""
    x, grad_y, levels = audio, gradient, saved
    settings = prepare_settings(parameters)
    batch, _, samples = x.shape
    segments, length = segments_of(samples)
    grad_x = np.empty_like(x)
    grads = np.zeros((batch, segments, 8))
    mixes = parameters.shape[1] > 6
    left = np.zeros((batch, segments))

    def task(index: int) -> None:
        item, segment = divmod(index, segments)
        begin, end = segment * length, min((segment + 1) * length, samples)
        left[item, segment] = _backward(
            x[item], settings[item], levels[item], grad_y[item], grad_x[item],
            grads[item, segment], mixes, begin, end,
        )  # fmt: skip

    def join(item: int) -> None:
        carried = 0.0
        for segment in range(segments - 1, 0, -1):
            carried += left[item, segment]
            least = CARRIED[x.dtype] * abs(carried)
            carried = _carry_on(
                x[item], settings[item], levels[item], carried, least, grad_x[item],
                grads[item, segment - 1], (segment - 1) * length, segment * length,
            )  # fmt: skip

    run_tasks(task, batch * segments)
    if segments > 1:
        run_tasks(join, batch)
    sums = grads.sum(axis=1)
    sums[:, 6] = sums[:, 5] / NEPERS_PER_DB
    sums[:, :6] *= settings[:, WET, None]
    return grad_x, sums[:, : parameters.shape[1]].copy()
