"""Compressor on the CPU: blocks that stay in the first cache, up to four recursions side by side.

A block passes three stages: the level of the input, the branching recursion in float64, and the
static curve with its logarithm and exponential, which run in vectors on float32 audio
(:mod:`.bits`).

The recursions that run together are rows of a batch, or segments of one long row. A segment
starts from silence; once the level at the end of the one before is known, it is run again from
there until both levels meet. The result is that of one loop over the row, to float64's last
digits, and does not depend on the number of threads.
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
from .threads import run_tasks

__all__ = ["compress_backward", "compress_forward"]

BLOCK = 512
SIDE_BY_SIDE = 4
SEGMENT = 1 << 19
FLOOR = 1e-6
MEET = 1e-13
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


# --- stages of a block -----------------------------------------------------------------------


# A whole item comes as `x`, (channels, samples), and the block as `first` and `stop`: slices of
# its rows are contiguous to the compiler, a slice across them is not.


@_compile
def _peaks(x, first, stop, mirror, v):
    """Loudest channel of each sample, mirrored; silence where the block has ended."""
    left, right = x[0, first:stop], x[x.shape[0] - 1, first:stop]
    for n in range(left.shape[0]):
        v[n] = np.float64(max(abs(left[n]), abs(right[n]))) * mirror
    v[left.shape[0] :] = 0.0


@_compile
def _smooth_four(rows, settings):
    """The recursion on four rows: column 0 is the state, the rest turn from input to level."""
    a0, a1, a2, a3 = settings[0, 0], settings[1, 0], settings[2, 0], settings[3, 0]
    r0, r1, r2, r3 = settings[0, 1], settings[1, 1], settings[2, 1], settings[3, 1]
    b0, b1, b2, b3 = 1.0 - a0, 1.0 - a1, 1.0 - a2, 1.0 - a3
    q0, q1, q2, q3 = 1.0 - r0, 1.0 - r1, 1.0 - r2, 1.0 - r3
    s0, s1, s2, s3 = rows[0, 0], rows[1, 0], rows[2, 0], rows[3, 0]
    for n in range(1, rows.shape[1]):
        v0, v1, v2, v3 = rows[0, n], rows[1, n], rows[2, n], rows[3, n]
        s0 = max(a0 * s0 + b0 * v0, r0 * s0 + q0 * v0)
        s1 = max(a1 * s1 + b1 * v1, r1 * s1 + q1 * v1)
        s2 = max(a2 * s2 + b2 * v2, r2 * s2 + q2 * v2)
        s3 = max(a3 * s3 + b3 * v3, r3 * s3 + q3 * v3)
        rows[0, n], rows[1, n], rows[2, n], rows[3, n] = s0, s1, s2, s3


@_compile
def _above_low(levels, low, ratios):
    """Write each level's ratio to the knee's lower end; return how many are above it."""
    kind = ratios.dtype.type
    scale = 1.0 / low
    for n in range(ratios.shape[0]):
        ratios[n] = kind(max(abs(np.float64(levels[n])), FLOOR) * scale)
    above = 0
    one = kind(1.0)
    for n in range(ratios.shape[0]):
        above += np.int32(ratios[n] > one)
    return above


@_compile
def _gains(levels, settings, gains):
    """The gain for each level."""
    kind = gains.dtype.type
    makeup = kind(settings[MAKEUP])
    if _above_low(levels, settings[LOW], gains) == 0:
        gains[:] = makeup
        return
    knee, bend, slope = kind(settings[KNEE]), kind(settings[BEND]), kind(settings[SLOPE])
    zero, most = kind(0.0), kind(126.0)
    for n in range(gains.shape[0]):
        u = log2(gains[n])
        o = min(max(u, zero), knee)
        change = slope * (o * o * bend + max(u - knee, zero))
        gains[n] = exp2(min(max(change, -most), most)) * makeup


@_compile
def _keep(levels, saved):
    """Keep the levels for the backward pass; negative ones have risen."""
    kind = saved.dtype.type
    for n in range(saved.shape[0]):
        level, before = abs(levels[n + 1]), abs(levels[n])
        saved[n] = kind(-level if level > before else level)


@_compile
def _apply(x, gains, y):
    for n in range(gains.shape[0]):
        y[n] = x[n] * gains[n]


@_compile
def _finish_block(x, first, stop, levels, settings, gains, y, saved):
    """From the levels of one block to its output."""
    gains = gains[: stop - first]
    _gains(levels[1:], settings, gains)
    for c in range(x.shape[0]):
        _apply(x[c, first:stop], gains, y[c, first:stop])
    if saved.shape[0] > 0:
        _keep(levels, saved[first:stop])


# --- forward ---------------------------------------------------------------------------------


@_compile
def _forward(x, settings, lanes, length, y, saved, ends):
    """Compress up to four stretches of `length` samples: rows of `lanes` are item, segment."""
    samples = x.shape[2]
    rows = np.zeros((SIDE_BY_SIDE, BLOCK + 1))
    own = np.zeros((SIDE_BY_SIDE, settings.shape[1]))
    gains = np.empty(BLOCK, x.dtype)
    for k in range(lanes.shape[0]):
        own[k] = settings[lanes[k, 0]]
    for offset in range(0, length, BLOCK):
        for k in range(lanes.shape[0]):
            item, first = lanes[k, 0], lanes[k, 1] * length + offset
            stop = max(first, min(first + BLOCK, samples))
            _peaks(x[item], first, stop, own[k, MIRROR], rows[k, 1:])
        _smooth_four(rows, own)
        for k in range(lanes.shape[0]):
            item, first = lanes[k, 0], lanes[k, 1] * length + offset
            stop = min(first + BLOCK, samples)
            if first < stop:
                levels = rows[k, : stop - first + 1]
                _finish_block(x[item], first, stop, levels, own[k], gains, y[item], saved[item])
            state = rows[k, BLOCK]
            rows[k, 0] = state if abs(state) > TINY else 0.0
    for k in range(lanes.shape[0]):
        ends[lanes[k, 0], lanes[k, 1]] = abs(rows[k, 0])


@_compile
def _run_again(x, settings, item, segment, length, state, at_least, y, saved):
    """Compress a segment from its true first level, until the level of `_forward` is met.

    Returns how far it went, at least `at_least`, and the level at the segment's end, negative
    where that is the one of `_forward`.
    """
    samples = x.shape[2]
    rows = np.zeros((SIDE_BY_SIDE, BLOCK + 1))
    own = np.zeros((SIDE_BY_SIDE, settings.shape[1]))
    gains = np.empty(BLOCK, x.dtype)
    own[0] = own[1] = settings[item]
    mirror = own[0, MIRROR]
    rows[0, 0] = state * mirror
    for offset in range(0, length, BLOCK):
        first = segment * length + offset
        stop = max(first, min(first + BLOCK, samples))
        _peaks(x[item], first, stop, mirror, rows[0, 1:])
        rows[1, 1:] = rows[0, 1:]
        _smooth_four(rows, own)
        if first < stop:
            levels = rows[0, : stop - first + 1]
            _finish_block(x[item], first, stop, levels, own[0], gains, y[item], saved[item])
        rows[:2, 0] = rows[:2, BLOCK]
        apart = abs(rows[0, 0] - rows[1, 0])
        if apart <= MEET * abs(rows[0, 0]) + TINY and offset + BLOCK >= at_least:
            return offset + BLOCK, -1.0
    return length, abs(rows[0, 0])


def compress_forward(audio: Tensor, parameters: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    """Compress; see :func:`diffconsole.console.kernels.compress`.

    Returns the audio and, if kept, the levels: ``(batch, samples)``, negative where they rose.
    """
    batch, _, samples = audio.shape
    x = audio.detach().contiguous().numpy()
    settings = _settings(parameters.detach().contiguous().numpy())
    y = np.empty_like(x)
    saved = np.empty((batch, samples if keep else 0), x.dtype)
    segments = max(1, round(samples / SEGMENT))
    length = -(-samples // (segments * BLOCK)) * BLOCK
    lanes = np.stack(np.divmod(np.arange(batch * segments), segments), axis=1)
    ends = np.empty((batch, segments))
    group = min(SIDE_BY_SIDE, -(-len(lanes) // torch.get_num_threads()))

    def task(index: int) -> None:
        part = lanes[index * group : (index + 1) * group]
        _forward(x, settings, part, length, y, saved, ends)

    run_tasks(task, -(-len(lanes) // group))
    if segments > 1:
        _join_segments(x, settings, length, y, saved, ends)
    return torch.from_numpy(y), torch.from_numpy(saved)


def _join_segments(
    x: np.ndarray,
    settings: np.ndarray,
    length: int,
    y: np.ndarray,
    saved: np.ndarray,
    ends: np.ndarray,
) -> None:
    batch, segments = ends.shape
    reached = np.zeros((batch, segments), np.int64)
    found = np.full((batch, segments), -1.0)

    def again(item: int, segment: int, state: float) -> None:
        reached[item, segment], found[item, segment] = _run_again(
            x, settings, item, segment, length, state, reached[item, segment], y, saved
        )

    def guess(index: int) -> None:
        item, segment = index // (segments - 1), index % (segments - 1) + 1
        again(item, segment, ends[item, segment - 1])

    # All at once on the guess that the levels meet within the segment before, as they do in
    # seconds; where one did not, those after it are done once more, in turn.
    run_tasks(guess, batch * (segments - 1))
    for item in range(batch):
        for segment in range(1, segments):
            before = found[item, segment - 1]
            if before >= 0.0:
                again(item, segment, before)


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
def _carry(levels, attack, release, errors, carried):
    """The recursion back in time, in place of the errors; returns what is left over."""
    for n in range(errors.shape[0] - 1, -1, -1):
        carried += errors[n]
        errors[n] = carried
        carried *= attack if levels[n] < 0.0 else release
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
def _backward(x, settings, levels, grad_y, grad_x, grads):
    """Adjoint of `_forward` on one item: one reverse pass, the branches known from the levels.

    grads gathers attack, release, threshold, slope, knee, makeup.
    """
    samples = x.shape[1]
    attack, release = settings[ATTACK], settings[RELEASE]
    gains, products = np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    by_level, by_slope = np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    by_knee = np.empty(BLOCK, x.dtype)
    carried, peaks = np.empty(BLOCK), np.empty(BLOCK)
    silence = np.zeros(1, x.dtype)
    channels = x.shape[0]
    left = 0.0
    for first in range((samples - 1) // BLOCK * BLOCK, -1, -BLOCK):
        stop = min(first + BLOCK, samples)
        count = stop - first
        s, g, p, c = levels[first:stop], gains[:count], products[:count], carried[:count]
        _derivatives(s, settings, g, by_level[:count], by_slope[:count], by_knee[:count])
        p[:] = 0.0
        for channel in range(channels):
            _add_products(x[channel, first:stop], grad_y[channel, first:stop], p)
        _errors(g, s, by_level[:count], p, c)
        left = _carry(s, attack, release, c, left)
        left = left if abs(left) > TINY else 0.0
        _sum_products(p, by_level[:count], by_slope[:count], by_knee[:count], grads)
        _peaks(x, first, stop, 1.0, peaks[:count])
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


def compress_backward(
    gradient: Tensor, audio: Tensor, parameters: Tensor, saved: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the audio and of the parameters."""
    x = audio.detach().contiguous().numpy()
    settings = _settings(parameters.detach().contiguous().numpy())
    grad_y = gradient.contiguous().numpy()
    levels = saved.numpy()
    grad_x = np.empty_like(x)
    grads = np.zeros((len(x), 6))

    def task(item: int) -> None:
        _backward(x[item], settings[item], levels[item], grad_y[item], grad_x[item], grads[item])

    run_tasks(task, len(x))
    return torch.from_numpy(grad_x), torch.from_numpy(grads)
