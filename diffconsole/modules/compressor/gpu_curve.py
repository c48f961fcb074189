"""The compressor's static curve for Triton kernels."""

from __future__ import annotations

import math

import triton
import triton.language as tl
from torch import Tensor

__all__ = ["DB_PER_OCTAVE", "FLOOR", "SETTINGS", "curve", "mixed", "prepare_settings"]

SETTINGS = 10
"""Columns of what the kernels read: attack, release, 1/low, knee, bend, slope, makeup, floor, wet,
dry."""

FLOOR = tl.constexpr(1e-6)
DB_PER_OCTAVE = tl.constexpr(20.0 * math.log10(2.0))


@triton.jit
def _prepare(parameters, settings, GIVEN: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    source, target = parameters + row * GIVEN, settings + row * COLUMNS
    threshold, knee_db = tl.load(source + 2), tl.load(source + 4)
    knee = knee_db / DB_PER_OCTAVE
    # A hard knee has no bend; the other branch must not divide by its 0.
    bend = tl.where(knee > 0.0, 0.5 / tl.where(knee > 0.0, knee, 1.0), 0.0)
    tl.store(target, tl.load(source))
    tl.store(target + 1, tl.load(source + 1))
    tl.store(target + 2, tl.exp2((0.5 * knee_db - threshold) / DB_PER_OCTAVE))
    tl.store(target + 3, knee)
    tl.store(target + 4, bend)
    tl.store(target + 5, tl.load(source + 3))
    tl.store(target + 6, tl.exp2(tl.load(source + 5) / DB_PER_OCTAVE))
    # Read from memory it has all digits of a float64; a constant may be taken for a float32.
    tl.store(target + 7, tl.full((), FLOOR, tl.float64))
    if GIVEN == 8:
        tl.store(target + 8, tl.load(source + 6))
        tl.store(target + 9, tl.load(source + 7))
    else:
        tl.store(target + 8, tl.full((), 1.0, tl.float64))
        tl.store(target + 9, tl.full((), 0.0, tl.float64))


def prepare_settings(parameters: Tensor) -> Tensor:
    """From attack, release, threshold, slope, knee, makeup to what the kernels need.

    Levels count in octaves above the knee's lower end, ``u = log2(s/low)``; there the change of
    level is ``slope·(o²·bend + max(u − knee, 0))`` with o = u held within 0 … knee and
    bend = 1/(2·knee).

    Parameters
    ----------
    parameters : Tensor
        ``(batch, 6)`` float64, or 8 columns, of which the last two are those of a mix.

    Returns
    -------
    Tensor
        ``(batch, SETTINGS)`` float64.
    """
    parameters = parameters.contiguous()
    settings = parameters.new_empty((len(parameters), SETTINGS))
    given = parameters.shape[1]
    _prepare[(len(parameters),)](parameters, settings, given, SETTINGS, num_warps=1)
    return settings


@triton.jit
def curve(level, settings):
    """The gain for each level, and the change's derivatives by level, slope and knee in dB.

    The gain is that of what is compressed, before :func:`mixed`.
    """
    kind = level.dtype
    scale, knee = tl.load(settings + 2).to(kind), tl.load(settings + 3).to(kind)
    bend, slope = tl.load(settings + 4).to(kind), tl.load(settings + 5).to(kind)
    makeup, floor = tl.load(settings + 6).to(kind), tl.load(settings + 7).to(kind)
    over = tl.log2(tl.maximum(level, floor) * scale)
    held = tl.minimum(tl.maximum(over, 0.0), knee)
    bent = held * bend
    change = held * bent + tl.maximum(over - knee, 0.0)
    by_level = slope * tl.where(over < knee, 2.0 * bent, tl.where(over > 0.0, 1.0, 0.0))
    by_knee = slope * (bent - 2.0 * bent * bent)
    octaves = tl.minimum(tl.maximum(slope * change, -126.0), 126.0)
    return tl.exp2(octaves) * makeup, by_level.to(kind), change * DB_PER_OCTAVE, by_knee


@triton.jit
def mixed(factor, settings):
    """The gain of the dry and the compressed signal together."""
    wet, dry = tl.load(settings + 8).to(factor.dtype), tl.load(settings + 9).to(factor.dtype)
    return dry + wet * factor
