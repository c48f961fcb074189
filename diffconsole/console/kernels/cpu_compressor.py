"""Compressor on the CPU: blocks that stay in the first caches, eight recursions side by side.

A block passes three stages: the level of the input, the branching recursion in float64 on eight
lanes (:mod:`.lanes`), and the static curve with its logarithm and exponential, which run in
vectors in the precision of the audio (:mod:`.bits`).

The recursions that run together are rows of a batch, or segments of one long row. A segment
starts from silence; once the level at the end of the one before is known, it is run again from
there until both levels meet. The result is that of one loop over the row, to the last digits of
the audio's type, and does not depend on the number of threads.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from .bits import exp2, log2
from .lanes import LANES, carry_block, detect_block, peaks_to_rows, to_rows, to_slab
from .threads import lane_groups, run_tasks

__all__ = ["compress_backward", "compress_forward"]

BLOCK = 512
SEGMENT = 1 << 19
FLOOR = 1e-6
# Two levels this near to each other count as one.
MEET = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 1e-8}
# A carried gradient that has fallen this far counts as nothing.
CARRIED = {np.dtype(np.float64): 1e-16, np.dtype(np.float32): 1e-10}
TINY = 1e-60
DB_PER_OCTAVE = 20.0 * math.log10(2.0)
NEPERS_PER_DB = math.log(10.0) / 20.0

# Columns of the settings that the compiled loops read; see `_settings`.
ATTACK, RELEASE, LOW, KNEE, BEND, SLOPE, MAKEUP, MIRROR = range(8)

_compile: Any = functools.partial(
    njit, cache=True, nogil=True, error_model="numpy", fastmath={"contract"}
)
# Sums over a block are taken in an order that suits vectors, always the same one.
_compile_sums: Any = functools.partial(
    njit, cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"}
)


def _settings(parameters: np.ndarray) -> np.ndarray:
    """From attack, release, threshold, slope, knee, makeup to what the loops need.

    Levels count in octaves above the knee's lower end, ``u = log2(s/low)``; there the change of
    level is ``slope·(o²·bend + max(u − knee, 0))`` with o = u held within 0 … knee and
    bend = 1/(2·knee). A detector whose attack is the slower one takes the smaller of its two
    updates; ``mirror`` = −1 turns that into the larger of two negative ones.
    """
    attack, release, threshold, slope, knee, makeup = parameters.T
    columns = np.empty((len(parameters), 8))
    columns[:, ATTACK] = attack
    columns[:, RELEASE] = release
    columns[:, LOW] = 10.0 ** ((threshold - 0.5 * knee) / 20.0)
    columns[:, KNEE] = knee / DB_PER_OCTAVE
    columns[:, BEND] = np.divide(
        0.5 * DB_PER_OCTAVE, knee, out=np.zeros_like(knee), where=knee > 0.0
    )
    columns[:, SLOPE] = slope
    columns[:, MAKEUP] = 10.0 ** (makeup / 20.0)
    columns[:, MIRROR] = np.where(attack <= release, 1.0, -1.0)
    return columns


def _segments(samples: int) -> tuple[int, int]:
    """Number and length of a row's segments; the last one may be shorter."""
    segments = max(1, round(samples / SEGMENT))
    length = -(-samples // (segments * BLOCK)) * BLOCK
    return -(-samples // length), length


# --- stages of a block -----------------------------------------------------------------------


# A whole item comes as `x`, (channels, samples), and the block as `first` and `stop`: slices of
# its rows are contiguous to the compiler, a slice across them is not.


@_compile
def _peaks(x, first, stop, peaks):
    """Loudest channel of each sample; silence where the block has ended."""
    left, right = x[0, first:stop], x[x.shape[0] - 1, first:stop]
    for n in range(left.shape[0]):
        peaks[n] = max(abs(left[n]), abs(right[n]))
    peaks[left.shape[0] :] = 0.0


@_compile
def _levels_in(x, lanes, block, length, slab, rows):
    """Rows of the lanes' peaks in one block."""
    left, right = np.zeros((1, LANES), np.int64), np.zeros((1, LANES), np.int64)
    channels, samples = x.shape[1], x.shape[2]
    last = 0
    for k in range(lanes.shape[0]):
        first = lanes[k, 1] * length + block * BLOCK
        left[0, k] = lanes[k, 0] * channels * samples + first
        right[0, k] = left[0, k] + (channels - 1) * samples
        last = max(last, first + BLOCK)
    if last <= samples:
        peaks_to_rows(x, left, right, rows, BLOCK)
        return
    for k in range(lanes.shape[0]):
        first = lanes[k, 1] * length + block * BLOCK
        stop = max(first, min(first + BLOCK, samples))
        _peaks(x[lanes[k, 0]], first, stop, slab[k])
    to_rows(slab, rows, BLOCK)


@_compile
def _detectors(settings, lanes):
    """What :func:`~.lanes.detect_block` reads, for each lane's item."""
    own = np.zeros((5, LANES))
    for k in range(lanes.shape[0]):
        item = settings[lanes[k, 0]]
        own[0, k], own[1, k] = item[ATTACK], (1.0 - item[ATTACK]) * item[MIRROR]
        own[2, k], own[3, k] = item[RELEASE], (1.0 - item[RELEASE]) * item[MIRROR]
        own[4, k] = item[MIRROR]
    return own


@_compile
def _above_low(levels, low, ratios):
    """Write each level's ratio to the knee's lower end; return how many are above it."""
    kind = ratios.dtype.type
    scale, floor, one = kind(1.0 / low), kind(FLOOR), kind(1.0)
    above = 0
    for n in range(ratios.shape[0]):
        ratio = max(abs(levels[n]), floor) * scale
        ratios[n] = ratio
        above += np.int32(ratio > one)
    return above


@_compile
def _gain(ratio, knee, bend, slope, makeup, zero, most):
    """The gain for a level's ratio to the knee's lower end; all of one type."""
    u = log2(ratio)
    o = min(max(u, zero), knee)
    change = slope * (o * o * bend + max(u - knee, zero))
    return exp2(min(max(change, -most), most)) * makeup


@_compile
def _apply_mono(x, ratios, settings, y):
    kind = ratios.dtype.type
    knee, bend, slope = kind(settings[KNEE]), kind(settings[BEND]), kind(settings[SLOPE])
    makeup, zero, most = kind(settings[MAKEUP]), kind(0.0), kind(126.0)
    for n in range(ratios.shape[0]):
        y[n] = x[n] * _gain(ratios[n], knee, bend, slope, makeup, zero, most)


@_compile
def _apply_stereo(left, right, ratios, settings, y_left, y_right):
    kind = ratios.dtype.type
    knee, bend, slope = kind(settings[KNEE]), kind(settings[BEND]), kind(settings[SLOPE])
    makeup, zero, most = kind(settings[MAKEUP]), kind(0.0), kind(126.0)
    for n in range(ratios.shape[0]):
        gain = _gain(ratios[n], knee, bend, slope, makeup, zero, most)
        y_left[n] = left[n] * gain
        y_right[n] = right[n] * gain


@_compile
def _scale(x, gain, y):
    for n in range(x.shape[0]):
        y[n] = x[n] * gain


@_compile
def _copy(source, target):
    for n in range(target.shape[0]):
        target[n] = source[n]


@_compile
def _finish_block(x, first, stop, levels, settings, ratios, y, saved):
    """From the levels of one block to its output."""
    ratios = ratios[: stop - first]
    if _above_low(levels, settings[LOW], ratios) == 0:
        makeup = ratios.dtype.type(settings[MAKEUP])
        for c in range(x.shape[0]):
            _scale(x[c, first:stop], makeup, y[c, first:stop])
    elif x.shape[0] == 1:
        _apply_mono(x[0, first:stop], ratios, settings, y[0, first:stop])
    else:
        _apply_stereo(
            x[0, first:stop], x[1, first:stop], ratios, settings,
            y[0, first:stop], y[1, first:stop],
        )  # fmt: skip
    if saved.shape[0] > 0:
        _copy(levels, saved[first:stop])


# --- forward ---------------------------------------------------------------------------------


@_compile
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
        _levels_in(x, lanes, block, length, slab, rows)
        detect_block(rows, state, own, BLOCK)
        to_slab(rows, slab, BLOCK)
        left = 0
        for k in range(count):
            if not running[k]:
                continue
            item, first = lanes[k, 0], lanes[k, 1] * length + block * BLOCK
            stop = min(first + BLOCK, samples)
            if first < stop:
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


def compress_forward(audio: Tensor, parameters: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    """Compress; see :func:`diffconsole.console.kernels.compress`.

    Returns the audio and, if kept, the levels: ``(batch, samples)``, negative where they rose.
    """
    batch, _, samples = audio.shape
    x = audio.detach().contiguous().numpy()
    settings = _settings(parameters.detach().contiguous().numpy())
    y = np.empty_like(x)
    saved = np.empty((batch, samples if keep else 0), x.dtype)
    segments, length = _segments(samples)
    lanes = np.stack(np.divmod(np.arange(batch * segments), segments), axis=1)
    # Nothing is met in the first run.
    states = np.full((batch, segments, length // BLOCK), np.inf)
    reached = np.zeros((batch, segments), np.int64)

    def run(part: np.ndarray, start: np.ndarray) -> None:
        items = tuple(part.T)
        far = np.empty(len(part), np.int64)
        _run(
            x, settings, part, length, start, reached[items], MEET[x.dtype], states, y, saved, far
        )
        reached[items] = far

    groups = lane_groups(len(lanes))
    run_tasks(lambda g: run(lanes[groups[g]], np.zeros(LANES)), len(groups))
    # All at once on the guess that the levels meet within the segment before, as they do in
    # seconds; where one did not, those after it are done once more, in turn.
    ends = states[:, :, -1].copy()
    reached[:] = 0
    rest = lanes[lanes[:, 1] > 0]
    later = lane_groups(len(rest))
    run_tasks(lambda g: run(rest[later[g]], ends[rest[later[g], 0], rest[later[g], 1] - 1]), len(later))
    for item, segment in rest[rest[:, 1] > 1]:
        if states[item, segment - 1, -1] != ends[item, segment - 1]:
            run(np.array([[item, segment]]), states[item, segment - 1, -1:])
    return torch.from_numpy(y), torch.from_numpy(saved)


# --- backward --------------------------------------------------------------------------------


@_compile
def _derivatives(levels, settings, gains, by_level, by_slope, by_knee):
    """Gain for each level, and the change's derivatives by level, slope and knee in dB."""
    kind = gains.dtype.type
    makeup, zero, one = kind(settings[MAKEUP]), kind(0.0), kind(1.0)
    if _above_low(levels, settings[LOW], gains) == 0:
        gains[:] = makeup
        by_level[:] = by_slope[:] = by_knee[:] = zero
        return
    knee, bend, slope = kind(settings[KNEE]), kind(settings[BEND]), kind(settings[SLOPE])
    most, two, octave = kind(126.0), kind(2.0), kind(DB_PER_OCTAVE)
    for n in range(gains.shape[0]):
        u = log2(gains[n])
        o = min(max(u, zero), knee)
        bent = o * bend
        change = o * bent + max(u - knee, zero)
        by_slope[n] = change * octave
        by_knee[n] = slope * (bent - two * bent * bent)
        straight = one if u > zero else zero
        by_level[n] = slope * (two * bent if u < knee else straight)
        gains[n] = exp2(min(max(slope * change, -most), most)) * makeup


@_compile
def _add_products(x, grad_y, products):
    for n in range(products.shape[0]):
        products[n] += grad_y[n] * x[n]


@_compile
def _errors(gains, levels, by_level, products, errors):
    """Gradient of the gain in nepers, in place of the products, and of the level."""
    kind = gains.dtype.type
    floor, zero = kind(FLOOR), kind(0.0)
    for n in range(products.shape[0]):
        products[n] *= gains[n]
        level = abs(levels[n])
        slope = by_level[n] / max(level, floor)
        errors[n] = np.float64(products[n] * (slope if level > floor else zero))


@_compile
def _factors(levels, attack, release, factors):
    for n in range(levels.shape[0]):
        factors[n] = attack if levels[n] < 0.0 else release
    factors[levels.shape[0] :] = 1.0


@_compile
def _carry(errors, factors, error_rows, factor_rows, ends, carried):
    """The recursion back in time over a block, in place of the errors; returns what is left over.

    The block's eight parts run side by side as if nothing came from behind them; what does is
    their share of it, and is added afterwards.
    """
    to_rows(errors, error_rows, BLOCK // LANES)
    to_rows(factors, factor_rows, BLOCK // LANES)
    carry_block(error_rows, factor_rows, ends, BLOCK // LANES)
    behind = np.empty(LANES)
    for lane in range(LANES - 1, -1, -1):
        behind[lane] = carried
        carried = ends[0, lane] + ends[1, lane] * carried
    for n in range(error_rows.shape[0]):
        for lane in range(LANES):
            error_rows[n, lane] += factor_rows[n, lane] * behind[lane]
    to_slab(error_rows, errors, BLOCK // LANES)
    return carried


@_compile
def _by_peak(levels, attack, release, carried, by_peak):
    kind = by_peak.dtype.type
    for n in range(by_peak.shape[0]):
        by_peak[n] = kind(carried[n] * (1.0 - (attack if levels[n] < 0.0 else release)))


@_compile
def _audio_gradient(x, other, first_channel, grad_y, gains, by_peak, grad_x):
    kind = gains.dtype.type
    zero, one = kind(0.0), kind(1.0)
    for n in range(gains.shape[0]):
        value = x[n]
        sign = (one if value > zero else zero) - (one if value < zero else zero)
        # Of two channels the louder one carries the level, the first if they are equal.
        mine, others = abs(value), abs(other[n])
        leads = mine > others or (first_channel and mine == others)
        grad_x[n] = grad_y[n] * gains[n] + (sign * by_peak[n] if leads else zero)


@_compile_sums
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


@_compile_sums
def _sum_carried(peaks, levels, befores, carried, grads):
    """Gradients of the two coefficients: Σ carried·(s[n−1] − v[n]) over either branch."""
    rising = both = 0.0
    for n in range(peaks.shape[0]):
        value = carried[n] * (np.float64(abs(befores[n])) - peaks[n])
        both += value
        rising += value * (1.0 if levels[n] < 0.0 else 0.0)
    grads[0] += rising
    grads[1] += both - rising


@_compile
def _backward(x, settings, levels, grad_y, grad_x, grads, begin, end):
    """Adjoint of the forward pass on a segment of one item, back from 0 at its end.

    One reverse pass, the branches known from the levels. `grads` gathers attack, release,
    threshold, slope, knee, makeup. Returns what is carried on to the segment before.
    """
    attack, release = settings[ATTACK], settings[RELEASE]
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
        _derivatives(s, settings, g, by_level[:count], by_slope[:count], by_knee[:count])
        p[:] = 0.0
        for channel in range(channels):
            _add_products(x[channel, first:stop], grad_y[channel, first:stop], p)
        _errors(g, s, by_level[:count], p, c)
        carried[count:] = 0.0
        _factors(s, attack, release, factors)
        left = _carry(
            carried.reshape(part), factors.reshape(part), error_rows, factor_rows, ends, left
        )
        left = left if abs(left) > TINY else 0.0
        _sum_products(p, by_level[:count], by_slope[:count], by_knee[:count], grads)
        _peaks(x, first, stop, peaks)
        if first > 0:
            _sum_carried(peaks[:count], s, levels[first - 1 : stop - 1], c, grads)
        else:
            _sum_carried(peaks[1:count], s[1:], s[:-1], c[1:], grads)
            _sum_carried(peaks[:1], s[:1], silence, c[:1], grads)
        _by_peak(s, attack, release, c, p)
        for channel in range(channels):
            _audio_gradient(
                x[channel, first:stop], x[channels - 1 - channel, first:stop], channel == 0,
                grad_y[channel, first:stop], g, p, grad_x[channel, first:stop],
            )  # fmt: skip
    return left


@_compile
def _carry_on(x, settings, levels, carried, least, grad_x, grads, begin, end):
    """Add to a segment's gradients what the segment after it carried, until less than `least`.

    Returns what is left over at the segment's begin.
    """
    attack, release = settings[ATTACK], settings[RELEASE]
    channels = x.shape[0]
    for n in range(end - 1, begin - 1, -1):
        if abs(carried) <= least:
            return 0.0
        factor = attack if levels[n] < 0.0 else release
        channel = channels - 1 if abs(x[channels - 1, n]) > abs(x[0, n]) else 0
        value = np.float64(x[channel, n])
        before = np.float64(abs(levels[n - 1])) if n > 0 else 0.0
        grads[0 if levels[n] < 0.0 else 1] += carried * (before - abs(value))
        grad_x[channel, n] += np.sign(value) * carried * (1.0 - factor)
        carried *= factor
    return carried


def compress_backward(
    gradient: Tensor, audio: Tensor, parameters: Tensor, saved: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the audio and of the parameters."""
    x = audio.detach().contiguous().numpy()
    settings = _settings(parameters.detach().contiguous().numpy())
    grad_y = gradient.contiguous().numpy()
    levels = saved.numpy()
    batch, _, samples = x.shape
    segments, length = _segments(samples)
    grad_x = np.empty_like(x)
    grads = np.zeros((batch, segments, 6))
    left = np.zeros((batch, segments))

    def task(index: int) -> None:
        item, segment = divmod(index, segments)
        begin, end = segment * length, min((segment + 1) * length, samples)
        left[item, segment] = _backward(
            x[item], settings[item], levels[item], grad_y[item], grad_x[item],
            grads[item, segment], begin, end,
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
    return torch.from_numpy(grad_x), torch.from_numpy(grads.sum(axis=1))
