"""The saturation's curve and its derivatives in compiled loops, by the type of the audio.

Of float32 tanh is a rational function, so that f(u) is one division that vectorises and needs no
case for small drives: ``tanh(v) = v·P(v²)/Q(v²)`` for v from −9 to 9, and ±1 beyond. The
coefficients are those of Eigen's ``generic_fast_tanh_float``; the error is below 4e-7 relative. Of
float64 the C library's tanh serves.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload

from ...kernels.jit import compiled, compiled_sums

__all__ = ["bend", "bend_backward"]

LAST_SINGLE, LAST_DOUBLE = 9.0, 20.0
"""Where tanh no longer rises."""
SMALL = 0.2
TINY = 1e-8
_P0, _P1, _P2 = (
    np.float32(4.89352455891786e-03),
    np.float32(6.37261928875436e-04),
    np.float32(1.48572235717979e-05),
)
_P3, _P4, _P5 = (
    np.float32(5.12229709037114e-08),
    np.float32(-8.60467152213735e-11),
    np.float32(2.00018790482477e-13),
)
_P6 = np.float32(-2.76076847742355e-16)
_Q0, _Q1 = np.float32(4.89352518554385e-03), np.float32(2.26843463243900e-03)
_Q2, _Q3 = np.float32(1.18534705686654e-04), np.float32(1.19825839466702e-06)
# Of (1 − tanh(v)² − tanh(v)/v)/v² in v².
_D0, _D1, _D2, _D3, _D4 = -2.0 / 3.0, 8.0 / 15.0, -34.0 / 105.0, 496.0 / 2835.0, -2764.0 / 31185.0


@compiled
def _ratio_single(v):
    square = v * v
    p = ((_P6 * square + _P5) * square + _P4) * square + _P3
    p = ((p * square + _P2) * square + _P1) * square + _P0
    return p / (((_Q3 * square + _Q2) * square + _Q1) * square + _Q0)


def _ratio(v):
    """tanh(v)/v in the type of v; of float32 for \\|v\\| up to 9."""
    return math.tanh(v) / v


@overload(_ratio)
def _ratio_by_type(v):
    if v == types.float32:
        return lambda v: _ratio_single(v)
    # Of a tiny v the square is below the last digit of 1.
    return lambda v: math.tanh(v) / v if abs(v) > TINY else 1.0


def _most(u, steepness):
    """Where f(u) no longer rises, in the type of u."""
    last = LAST_SINGLE if u.dtype == np.float32 else LAST_DOUBLE
    return u.dtype.type(last / max(steepness, 1e-30))


@overload(_most)
def _most_by_type(u, steepness):
    last = LAST_SINGLE if u.dtype == types.float32 else LAST_DOUBLE
    return lambda u, steepness: u.dtype.type(last / max(steepness, 1e-30))


@compiled
def _bend(u, steepness, bias, dry, wet):
    kind = u.dtype.type
    s, t, keep, add = kind(steepness), kind(bias), kind(dry), kind(wet)
    most, one = _most(u, steepness), kind(1.0)
    for n in range(u.shape[0]):
        held = min(max(u[n], -most), most)
        ratio = _ratio(s * held)
        u[n] = keep * u[n] + add * (held * ratio / (one + t * (s * held) * ratio))


@compiled
def _copy(one, other):
    kind = other.dtype.type
    for n in range(one.shape[0]):
        other[n] = kind(one[n])


@compiled
def bend(rows, settings, work):
    """Replace u by g(u) = dry·u + wet·f(u), computed in the type of `work`.

    `settings` is s, t, dry and wet.
    """
    _copy(rows, work)
    _bend(work, settings[0], settings[1], settings[2], settings[3])
    _copy(work, rows)


@compiled_sums
def bend_backward(rows, gradient, settings, work, sums):
    """Multiply `gradient` by g'(u), and add the gradients of the four settings to `sums`."""
    kind = work.dtype.type
    steepness, bias, dry, wet = settings[0], settings[1], settings[2], settings[3]
    s, t, keep, add = kind(steepness), kind(bias), kind(dry), kind(wet)
    most, one, small = _most(work, steepness), kind(1.0), kind(SMALL)
    least = kind(max(steepness, 1e-30))
    d0, d1, d2, d3, d4 = kind(_D0), kind(_D1), kind(_D2), kind(_D3), kind(_D4)
    by_steepness, by_bias, by_dry, by_wet = 0.0, 0.0, 0.0, 0.0
    for n in range(rows.shape[0]):
        u, g = kind(rows[n]), kind(gradient[n])
        held = min(max(u, -most), most)
        v = s * held
        ratio = _ratio(v)
        tangent = v * ratio
        scale = one / (one + t * tangent)
        bent = held * ratio * scale
        slope = (one - tangent * tangent) * scale * scale
        square = min(v * v, one)
        series = (((d4 * square + d3) * square + d2) * square + d1) * square + d0
        near = u * u * scale * scale * (v * series - t * ratio * ratio)
        far = (u * slope - bent) / least
        by_steepness += np.float64(g * (near if abs(v) < small else far))
        by_bias -= np.float64(g * s * bent * bent)
        by_dry += np.float64(g * u)
        by_wet += np.float64(g * bent)
        gradient[n] = np.float64(g * (keep + add * slope))
    sums[0] += wet * by_steepness
    sums[1] += wet * by_bias
    sums[2] += by_dry
    sums[3] += by_wet
