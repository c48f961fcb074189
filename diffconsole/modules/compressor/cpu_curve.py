"""What both passes of the CPU's compressor share: blocks, segments, and the static curve.

Levels count in octaves above the knee's lower end, ``u = log2(s/low)``; there the change of level
is ``slope·(o²·bend + max(u − knee, 0))`` with o = u held within 0 … knee and bend = 1/(2·knee).
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.array_math import amplitude
from ...kernels.bits import exp2, log2
from ...kernels.jit import compiled

__all__ = [
    "above_low",
    "apply_mono",
    "apply_stereo",
    "derivatives",
    "prepare_settings",
    "segments_of",
]

BLOCK = 512
SEGMENT = 1 << 19
FLOOR = 1e-6
# States below this become 0. Without it digital silence after sound decays into subnormal
# numbers, on which a processor is some 40 times slower.
TINY = 1e-60
DB_PER_OCTAVE = 20.0 * math.log10(2.0)

# Columns of the settings that the compiled loops read; see :func:`prepare_settings`.
ATTACK, RELEASE, LOW, KNEE, BEND, SLOPE, MAKEUP, MIRROR, WET, DRY = range(10)


def prepare_settings(parameters: np.ndarray) -> np.ndarray:
    """From attack, release, threshold, slope, knee, makeup to what the loops need.

    Two more columns may follow, those of a mix; without them all of it is compressed. A detector
    whose attack is the slower one takes the smaller of its two updates; ``mirror`` = −1 turns that
    into the larger of two negative ones.
    """
    attack, release, threshold, slope, knee, makeup = parameters[:, :6].T
    columns = np.empty((len(parameters), 10))
    columns[:, ATTACK] = attack
    columns[:, RELEASE] = release
    columns[:, LOW] = amplitude(threshold - 0.5 * knee)
    columns[:, KNEE] = knee / DB_PER_OCTAVE
    columns[:, BEND] = np.divide(
        0.5 * DB_PER_OCTAVE, knee, out=np.zeros_like(knee), where=knee > 0.0
    )
    columns[:, SLOPE] = slope
    columns[:, MAKEUP] = amplitude(makeup)
    columns[:, MIRROR] = np.where(attack <= release, 1.0, -1.0)
    columns[:, WET:] = parameters[:, 6:] if parameters.shape[1] > 6 else (1.0, 0.0)
    return columns


def segments_of(samples: int) -> tuple[int, int]:
    """Number and length of a row's segments; the last one may be shorter."""
    segments = max(1, round(samples / SEGMENT))
    length = -(-samples // (segments * BLOCK)) * BLOCK
    return -(-samples // length), length


@compiled
def above_low(levels, low, ratios):
    """Write each level's ratio to the knee's lower end; return how many are above it."""
    kind = ratios.dtype.type
    scale, floor, one = kind(1.0 / low), kind(FLOOR), kind(1.0)
    above = 0
    for n in range(ratios.shape[0]):
        ratio = max(abs(levels[n]), floor) * scale
        ratios[n] = ratio
        above += np.int32(ratio > one)
    return above


@compiled
def _gain(ratio, knee, bend, slope, makeup, dry, zero, most):
    """The gain for a level's ratio to the knee's lower end; all of one type."""
    u = log2(ratio)
    o = min(max(u, zero), knee)
    change = slope * (o * o * bend + max(u - knee, zero))
    return dry + exp2(min(max(change, -most), most)) * makeup


@compiled
def apply_mono(x, ratios, settings, y):
    """Turn a block of one channel by the gain of each ratio."""
    kind = ratios.dtype.type
    knee, bend, slope = kind(settings[KNEE]), kind(settings[BEND]), kind(settings[SLOPE])
    makeup, dry = kind(settings[MAKEUP] * settings[WET]), kind(settings[DRY])
    zero, most = kind(0.0), kind(126.0)
    for n in range(ratios.shape[0]):
        y[n] = x[n] * _gain(ratios[n], knee, bend, slope, makeup, dry, zero, most)


@compiled
def apply_stereo(left, right, ratios, settings, y_left, y_right):
    """Turn a block of two channels by the gain of each ratio."""
    kind = ratios.dtype.type
    knee, bend, slope = kind(settings[KNEE]), kind(settings[BEND]), kind(settings[SLOPE])
    makeup, dry = kind(settings[MAKEUP] * settings[WET]), kind(settings[DRY])
    zero, most = kind(0.0), kind(126.0)
    for n in range(ratios.shape[0]):
        gain = _gain(ratios[n], knee, bend, slope, makeup, dry, zero, most)
        y_left[n] = left[n] * gain
        y_right[n] = right[n] * gain


@compiled
def derivatives(levels, settings, gains, by_level, by_slope, by_knee):
    """Gain for each level, and the change's derivatives by level, slope and knee in dB.

    The gain is that of what is compressed, before it is mixed.
    """
    kind = gains.dtype.type
    makeup, zero, one = kind(settings[MAKEUP]), kind(0.0), kind(1.0)
    if above_low(levels, settings[LOW], gains) == 0:
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
