"""The saturation's curve and its derivatives in compiled loops, by the type of the audio.

Of float32 tanh is a rational function, ``tanh(v) = v·P(v²)/Q(v²)`` for v from −8 to 8 and ±1
beyond, so that f(u) is one division and needs no case for small drives. With both polynomials
1 at 0 the coefficients were found by least squares, reweighted towards the largest relative error,
and moved by last digits of float32 towards the smallest error with its rounding: 3.3e-7, and none
at 8. Of float64 the C library's tanh serves.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload

from ...kernels.jit import compiled, compiled_sums
from ...kernels.vectors import broadcast, load, maximum, minimum, store, sum_lanes

__all__ = ["bend", "bend_backward"]

LAST_SINGLE, LAST_DOUBLE = 8.0, 20.0
"""Where tanh no longer rises."""
SMALL = 0.2
TINY = 1e-8
WIDTH = 16
_ONE = np.float32(1.0)
_P1, _P2, _P3 = (
    np.float32(1.2930357456207275e-01),
    np.float32(2.955812029540539e-03),
    np.float32(1.1475151040940545e-05),
)
_Q1, _Q2 = np.float32(4.626360833644867e-01), np.float32(2.383580431342125e-02)
_Q3, _Q4 = np.float32(2.3931541363708675e-04), np.float32(2.47324550173289e-07)
_R0, _R1, _R2, _R3 = _Q1 - _P1, _Q2 - _P2, _Q3 - _P3, _Q4
# Of (1 − tanh(v)² − tanh(v)/v)/v² in v².
_D0, _D1, _D2, _D3, _D4 = -2.0 / 3.0, 8.0 / 15.0, -34.0 / 105.0, 496.0 / 2835.0, -2764.0 / 31185.0


@compiled
def _numerator(square):
    return ((_P3 * square + _P2) * square + _P1) * square + _ONE


@compiled
def _denominator(square):
    return (((_Q4 * square + _Q3) * square + _Q2) * square + _Q1) * square + _ONE


@compiled
def _difference(square):
    """(Q − P)/v²."""
    return ((_R3 * square + _R2) * square + _R1) * square + _R0


@compiled
def _ratio(v):
    """tanh(v)/v; of a tiny v the square is below the last digit of 1."""
    return math.tanh(v) / v if abs(v) > TINY else 1.0


@compiled
def _bend_single(u, steepness, bias, dry, wet):
    """Two registers at a time: four, as the compiler would take, do not fit beside the numbers."""
    kind = np.float32
    s, both = broadcast(kind(steepness), WIDTH), broadcast(kind(steepness * bias), WIDTH)
    keep, add = broadcast(kind(dry), WIDTH), broadcast(kind(wet), WIDTH)
    end = kind(LAST_SINGLE / max(steepness, 1e-30))
    most, least = broadcast(end, WIDTH), broadcast(-end, WIDTH)
    for n in range(0, u.shape[0], WIDTH):
        now = load(u, n, WIDTH)
        held = minimum(maximum(now, least), most)
        v = s * held
        square = v * v
        top = held * _numerator(square)
        store(keep * now + add * (top / (_denominator(square) + both * top)), u, n)


@compiled
def _bend_double(u, steepness, bias, dry, wet):
    most = LAST_DOUBLE / max(steepness, 1e-30)
    for n in range(u.shape[0]):
        held = min(max(u[n], -most), most)
        ratio = _ratio(steepness * held)
        bent = held * ratio / (1.0 + bias * (steepness * held) * ratio)
        u[n] = dry * u[n] + wet * bent


def _bend(u, steepness, bias, dry, wet):
    """Replace u by g(u)."""


@overload(_bend)
def _bend_by_type(u, steepness, bias, dry, wet):
    if u.dtype == types.float32:
        return lambda u, steepness, bias, dry, wet: _bend_single(u, steepness, bias, dry, wet)
    return lambda u, steepness, bias, dry, wet: _bend_double(u, steepness, bias, dry, wet)


@compiled
def bend(rows, settings):
    """Replace u by g(u) = dry·u + wet·f(u), a multiple of sixteen numbers.

    `settings` is s, t, dry and wet.
    """
    _bend(rows, settings[0], settings[1], settings[2], settings[3])


@compiled
def _bend_backward_single(u, gradient, steepness, bias, dry, wet, sums):
    """One division for all, and no case for small drives.

    With D = Q + t·v·P and R = (Q − P)/v² it is ``f = u·P/D``, by u ``(Q² − v²·P²)/D²`` and by the
    steepness ``u²·(v·(Q·R − P²) − t·P²)/D²``.
    """
    kind = np.float32
    s, t = broadcast(kind(steepness), 8), broadcast(kind(bias), 8)
    keep, add = broadcast(kind(dry), 8), broadcast(kind(wet), 8)
    end = kind(LAST_SINGLE / max(steepness, 1e-30))
    most, least = broadcast(end, 8), broadcast(-end, 8)
    one = broadcast(kind(1.0), 8)
    by_steepness = by_bias = by_dry = by_wet = broadcast(kind(0.0), 8)
    for n in range(0, u.shape[0], 8):
        now, g = load(u, n, 8), load(gradient, n, 8)
        held = minimum(maximum(now, least), most)
        v = s * held
        square = v * v
        p, q = _numerator(square), _denominator(square)
        bend = v * p
        scale = one / (q + t * bend)
        bent, length = held * p * scale, held * scale
        slope = (q - bend) * (q + bend) * (scale * scale)
        level = p * p
        by_steepness = by_steepness + g * length * length * (
            v * (q * _difference(square) - level) - t * level
        )
        by_bias = by_bias + g * bent * bent
        by_dry = by_dry + g * now
        by_wet = by_wet + g * bent
        store(g * (keep + add * slope), gradient, n)
    sums[0] += wet * sum_lanes(by_steepness)
    sums[1] -= wet * steepness * sum_lanes(by_bias)
    sums[2] += sum_lanes(by_dry)
    sums[3] += sum_lanes(by_wet)


@compiled_sums
def _bend_backward_double(rows, gradient, steepness, bias, dry, wet, sums):
    most = LAST_DOUBLE / max(steepness, 1e-30)
    by_steepness, by_bias, by_dry, by_wet = 0.0, 0.0, 0.0, 0.0
    for n in range(rows.shape[0]):
        u, g = rows[n], gradient[n]
        held = min(max(u, -most), most)
        v = steepness * held
        ratio = _ratio(v)
        tangent = v * ratio
        scale = 1.0 / (1.0 + bias * tangent)
        bent = held * ratio * scale
        slope = (1.0 - tangent * tangent) * scale * scale
        square = min(v * v, 1.0)
        series = (((_D4 * square + _D3) * square + _D2) * square + _D1) * square + _D0
        near = u * u * scale * scale * (v * series - bias * ratio * ratio)
        far = (u * slope - bent) / max(steepness, 1e-30)
        by_steepness += g * (near if abs(v) < SMALL else far)
        by_bias -= g * steepness * bent * bent
        by_dry += g * u
        by_wet += g * bent
        gradient[n] = g * (dry + wet * slope)
    sums[0] += wet * by_steepness
    sums[1] += wet * by_bias
    sums[2] += by_dry
    sums[3] += by_wet


def _bend_backward(u, gradient, steepness, bias, dry, wet, sums):
    """Do what :func:`bend_backward` says."""


@overload(_bend_backward)
def _bend_backward_by_type(u, gradient, steepness, bias, dry, wet, sums):
    if u.dtype == types.float32:
        return lambda u, gradient, steepness, bias, dry, wet, sums: _bend_backward_single(
            u, gradient, steepness, bias, dry, wet, sums
        )
    return lambda u, gradient, steepness, bias, dry, wet, sums: _bend_backward_double(
        u, gradient, steepness, bias, dry, wet, sums
    )


@compiled
def bend_backward(rows, gradient, settings, sums):
    """Multiply `gradient` by g'(u), and add the gradients of the four settings to `sums`."""
    _bend_backward(rows, gradient, settings[0], settings[1], settings[2], settings[3], sums)
