"""Gradients of the compressor on the GPU: a linear recursion back in time, scanned in blocks.

With the branches known from the levels that the forward pass kept, what a level's gradient
carries is ``carried[n] = error[n] + a[n+1]·carried[n+1]``. A first pass scans every block from
silence, a second one the blocks' ends, a third one scans again from there and writes. Each sum
over a row is taken block by block, and then over the blocks in a fixed order.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from .gpu_curve import SETTINGS, curve, mixed

__all__ = ["gradients", "warps"]

BLOCK = 1024
MOST_ENDS = 1024
NEPERS_PER_DB = math.log(10.0) / 20.0


@triton.jit
def _compose(slope, value, earlier_slope, earlier_value):
    return slope * earlier_slope, earlier_value + earlier_slope * value


@triton.jit
def _at_last_lane(values, lane, BLOCK: tl.constexpr):
    return tl.sum(tl.where(lane == BLOCK - 1, values, 0.0), axis=0)


@triton.jit
def _scan_block(
    gradient, audio, levels, settings, row, sample, samples,
    CHANNELS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What the levels carry from within a block, in the order of `sample`: backwards in time."""
    inside = sample < samples
    signed = tl.load(levels + row * samples + sample, mask=inside, other=0.0)
    after = tl.load(levels + row * samples + sample + 1, mask=sample + 1 < samples, other=0.0)
    level = tl.abs(signed)
    kind = level.dtype
    factor, by_level, by_slope, by_knee = curve(level, settings + row * COLUMNS)
    at = row * CHANNELS * samples + sample
    product = tl.load(audio + at, mask=inside, other=0.0) * tl.load(
        gradient + at, mask=inside, other=0.0
    )
    if CHANNELS == 2:
        at += samples
        product += tl.load(audio + at, mask=inside, other=0.0) * tl.load(
            gradient + at, mask=inside, other=0.0
        )
    wet = tl.load(settings + row * COLUMNS + 8).to(kind)
    by_gain = product
    product *= wet * factor
    floor = tl.load(settings + row * COLUMNS + 7).to(kind)
    # The dB of a level and those of a gain cancel; a level at its floor has no gradient.
    error = tl.where(level > floor, product * by_level / tl.maximum(level, floor), 0.0)
    attack, release = tl.load(settings + row * COLUMNS), tl.load(settings + row * COLUMNS + 1)
    slope, carried = tl.associative_scan(
        (tl.where(after < 0.0, attack, release), error.to(tl.float64)), 0, _compose
    )
    return slope, carried, by_gain, product, factor, by_level, by_slope, by_knee, signed


@triton.jit
def _scan_blocks(
    gradient, audio, levels, settings, values, slopes, samples, blocks,
    CHANNELS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """What each block carries to the one before it, as if nothing came after it."""
    row = tl.program_id(1).to(tl.int64)
    block = tl.program_id(0)
    lane = tl.arange(0, BLOCK)
    sample = block * BLOCK + (BLOCK - 1) - lane
    slope, carried, _, _, _, _, _, _, _ = _scan_block(
        gradient, audio, levels, settings, row, sample, samples, CHANNELS, COLUMNS
    )
    tl.store(values + row * blocks + block, _at_last_lane(carried, lane, BLOCK))
    tl.store(slopes + row * blocks + block, _at_last_lane(slope, lane, BLOCK))


@triton.jit
def _join_blocks(values, slopes, blocks, ENDS: tl.constexpr):
    """Replace what each block carries by what it carries with all that comes after it."""
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, ENDS)
    later = tl.full((), 0.0, tl.float64)
    done = tl.full((), 0, tl.int32)
    while done < blocks:
        block = blocks - 1 - done - lane
        inside = block >= 0
        at = row * blocks + block
        slope = tl.load(slopes + at, mask=inside, other=0.0)
        value = tl.load(values + at, mask=inside, other=0.0)
        slope, value = tl.associative_scan((slope, value), 0, _compose)
        value += slope * later
        tl.store(values + at, value, mask=inside)
        later = _at_last_lane(value, lane, ENDS)
        done += ENDS


@triton.jit
def _store_gradient(gradient, factor, x, by_peak, leads, target, inside):
    sign = tl.where(x > 0.0, 1.0, tl.where(x < 0.0, -1.0, 0.0)).to(x.dtype)
    tl.store(target, gradient * factor + tl.where(leads, sign * by_peak, 0.0), mask=inside)


@triton.jit
def _write_gradients(
    gradient, audio, levels, settings, values, grad_audio, sums, samples, blocks,
    CHANNELS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The audio's gradient, and each block's share in those of the parameters."""
    row = tl.program_id(1).to(tl.int64)
    block = tl.program_id(0)
    sample = block * BLOCK + (BLOCK - 1) - tl.arange(0, BLOCK)
    inside = sample < samples
    slope, carried, by_gain, product, factor, by_level, by_slope, by_knee, signed = _scan_block(
        gradient, audio, levels, settings, row, sample, samples, CHANNELS, COLUMNS
    )
    carried += slope * tl.load(values + row * blocks + block + 1, mask=block + 1 < blocks, other=0)

    at = row * CHANNELS * samples + sample
    left = tl.load(audio + at, mask=inside, other=0.0)
    peak = tl.abs(left)
    leads = peak >= 0.0
    if CHANNELS == 2:
        # Of two channels the louder one carries the level, the first if they are equal.
        right = tl.load(audio + at + samples, mask=inside, other=0.0)
        leads = peak >= tl.abs(right)
        peak = tl.maximum(peak, tl.abs(right))
    rose = signed < 0.0
    attack, release = tl.load(settings + row * COLUMNS), tl.load(settings + row * COLUMNS + 1)
    by_peak = (carried * tl.where(rose, 1.0 - attack, 1.0 - release)).to(peak.dtype)
    gain = mixed(factor, settings + row * COLUMNS)
    incoming = tl.load(gradient + at, mask=inside, other=0.0)
    _store_gradient(incoming, gain, left, by_peak, leads, grad_audio + at, inside)
    if CHANNELS == 2:
        at += samples
        incoming = tl.load(gradient + at, mask=inside, other=0.0)
        _store_gradient(incoming, gain, right, by_peak, leads == 0, grad_audio + at, inside)

    has_before = inside & (sample > 0)
    before = tl.load(levels + row * samples + sample - 1, mask=has_before, other=0.0)
    by_coefficient = carried * (tl.abs(before).to(tl.float64) - peak.to(tl.float64))
    by_coefficient = tl.where(inside, by_coefficient, 0.0)
    by_db = product.to(tl.float64)
    target = sums + (row * blocks + block) * 8
    tl.store(target, tl.sum(tl.where(rose, by_coefficient, 0.0), axis=0))
    tl.store(target + 1, tl.sum(tl.where(rose, 0.0, by_coefficient), axis=0))
    tl.store(target + 2, -tl.sum(by_db * by_level, axis=0))
    tl.store(target + 3, tl.sum(by_db * by_slope, axis=0))
    tl.store(target + 4, tl.sum(by_db * by_knee, axis=0))
    tl.store(target + 5, tl.sum(by_db, axis=0))
    tl.store(target + 6, tl.sum((by_gain * factor).to(tl.float64), axis=0))
    tl.store(target + 7, tl.sum(by_gain.to(tl.float64), axis=0))


def warps(block: int) -> int:
    """Return the warps of a program that scans a block: no thread without a value."""
    return min(4, block // 32)


def gradients(
    gradient: Tensor, audio: Tensor, settings: Tensor, saved: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the audio and of the parameters, a mix's among them.

    Parameters
    ----------
    gradient, audio : Tensor
        ``(batch, channels, samples)``, contiguous.
    settings : Tensor
        ``(batch, SETTINGS)`` float64; see :func:`.gpu_curve.prepare_settings`.
    saved : Tensor
        ``(batch, samples)``: the levels, negative where they rose.

    Returns
    -------
    grad_audio : Tensor
        The shape and type of `audio`.
    grad_parameters : Tensor
        ``(batch, 8)`` float64.
    """
    batch, channels, samples = audio.shape
    block = min(BLOCK, max(triton.next_power_of_2(samples), 32))
    blocks = math.ceil(samples / block)
    values, slopes = settings.new_empty((2, batch, blocks)).unbind()
    sums = settings.new_empty((batch, blocks, 8))
    grad_audio = torch.empty_like(audio)
    inputs = (gradient, audio, saved, settings)
    shape = (samples, blocks, channels, SETTINGS, block)
    grid = (blocks, batch)
    _scan_blocks[grid](*inputs, values, slopes, *shape, num_warps=warps(block))
    ends = min(max(triton.next_power_of_2(blocks), 32), MOST_ENDS)
    _join_blocks[(batch,)](values, slopes, blocks, ends, num_warps=warps(ends))
    _write_gradients[grid](*inputs, values, grad_audio, sums, *shape, num_warps=warps(block))
    # These four sums are by the gain in nepers.
    scale = torch.ones(8, dtype=torch.float64, device=audio.device)
    scale[2:6] = NEPERS_PER_DB
    return grad_audio, sums.sum(dim=1) * scale
