"""Base-2 logarithm and exponential for compiled loops.

Of float32 they are written so that a compiler can vectorise them: the exponent is read from and
written to the bits of the number, the rest is a polynomial fitted at the Chebyshev points (log2
within 2e-8 of ``log2(1 + f)`` for f from √½ − 1 to √2 − 1, exp2 within 9e-9 relative from −½ to
½ and exactly 1 at 0). Of float64 the C library's serve.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from .jit import compiled

__all__ = ["LOG2_COEFFICIENTS", "exp2", "log2"]

_ROOT_HALF = np.int32(0x3F3504F3)
_MANTISSA_BITS = np.int32(23)
# Added to a number below 2²² it leaves the nearest integer in the last bits.
_ROUNDER = np.float32(1.5 * 2.0**23)


@intrinsic
def _bits_of(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def _float_of(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


_L0, _L1, _L2 = np.float32(1.442695), np.float32(-0.721347333), np.float32(0.48091061)
_L3, _L4, _L5 = np.float32(-0.360704828), np.float32(0.287918324), np.float32(-0.23892034)
_L6, _L7, _L8 = np.float32(0.215669859), np.float32(-0.207421035), np.float32(0.126148466)
# Of f¹ … f⁹.
LOG2_COEFFICIENTS = (_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8)


@compiled
def _log2_single(value):
    bits = _bits_of(value)
    exponent = np.int32(np.int32(bits - _ROOT_HALF) >> _MANTISSA_BITS)
    f = _float_of(np.int32(bits - np.int32(exponent << _MANTISSA_BITS))) - np.float32(1.0)
    p = ((_L8 * f + _L7) * f + _L6) * f + _L5
    p = (((p * f + _L4) * f + _L3) * f + _L2) * f + _L1
    return np.float32(exponent) + f * (p * f + _L0)


_E1, _E2, _E3 = np.float32(0.693147188), np.float32(0.240226509), np.float32(0.055503571)
_E4, _E5, _E6 = np.float32(0.00961805667), np.float32(0.00133908674), np.float32(0.000154614475)


@compiled
def _exp2_single(value):
    rounded = value + _ROUNDER
    r = value - (rounded - _ROUNDER)
    p = ((_E6 * r + _E5) * r + _E4) * r + _E3
    p = ((p * r + _E2) * r + _E1) * r + np.float32(1.0)
    return _float_of(np.int32(_bits_of(p) + np.int32(_bits_of(rounded) << _MANTISSA_BITS)))


def log2(value):
    """log2 of a normal, positive number, in its own precision."""
    return math.log2(value)


def exp2(value):
    """2 to the power of a number from −126 to 126, in its own precision."""
    return 2.0**value


_LN2 = math.log(2.0)


@overload(log2)
def _log2_by_type(value):
    if value == types.float32:
        return lambda value: _log2_single(value)
    return lambda value: math.log(value) / _LN2


@overload(exp2)
def _exp2_by_type(value):
    if value == types.float32:
        return lambda value: _exp2_single(value)
    return lambda value: math.exp(value * _LN2)
