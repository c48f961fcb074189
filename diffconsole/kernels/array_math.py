"""Formulas' functions on NumPy arrays, by the names that :mod:`.tensor_math` has for tensors.

They serve the settings of a strip, a few numbers each, and not audio: exponentials, powers and
angles are those of the C library, one number after the other, so that a result does not depend on
how many of them there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = [
    "amplitude",
    "arange",
    "at_least",
    "at_most",
    "beside",
    "cast",
    "concatenate",
    "copied",
    "cos",
    "exp",
    "expm1",
    "filled",
    "float64",
    "floor",
    "held",
    "irfft",
    "like",
    "log10",
    "logit",
    "magnitude",
    "maximum",
    "minimum",
    "normal_share",
    "padded",
    "power",
    "remainder",
    "rfft",
    "sigmoid",
    "sin",
    "sinc",
    "sqrt",
    "stack",
    "taken",
    "tan",
    "tanh",
    "turned",
    "where",
]

Array = np.ndarray

stack = np.stack
concatenate = np.concatenate
minimum = np.minimum
floor = np.floor
remainder = np.remainder
maximum = np.maximum
where = np.where
sinc = np.sinc
sqrt = np.sqrt
magnitude = np.abs
log10 = np.log10


def _unbounded(function: Callable[..., float], by_numpy: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of the C library return ∞ or NaN, as tensors do, where Python's raises."""

    def apply(*values: float) -> Any:
        try:
            return function(*values)
        except (OverflowError, ValueError):
            with np.errstate(all="ignore"):
                return by_numpy(*(np.float64(value) for value in values))

    return apply


def _each(name: str) -> Callable[[Any], Array]:
    function = _unbounded(getattr(math, name), getattr(np, name))

    def apply(values: Any) -> Array:
        values = np.asarray(values)
        kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
        return np.array([function(value) for value in values.flat], kind).reshape(values.shape)

    return apply


exp, expm1, sin, cos = _each("exp"), _each("expm1"), _each("sin"), _each("cos")
tan, tanh = _each("tan"), _each("tanh")
_ERFC = np.frompyfunc(math.erfc, 1, 1)
_power = _unbounded(math.pow, np.power)


def power(base: Any, exponents: Any) -> Array:
    """Return ``base ** exponents``, either one broadcast."""
    base, exponents = np.broadcast_arrays(
        np.asarray(base, np.float64), np.asarray(exponents, np.float64)
    )
    pairs = zip(base.flat, exponents.flat, strict=True)
    return np.array([_power(b, e) for b, e in pairs], np.float64).reshape(base.shape)


def amplitude(level_db: Any) -> Array:
    """Return ``10^(level_db/20)``."""
    return power(10.0, level_db / 20.0)


def float64(values: Any) -> Array:
    """Return numbers as float64."""
    return np.asarray(values, np.float64)


def arange(start: int, stop: int, step: int, like: Array) -> Array:
    """Return ``start, start + step …`` below `stop`, float64."""
    return np.arange(start, stop, step, dtype=np.float64)


def filled(like: Array, value: float) -> Array:
    """Return one number in the shape of an array, float64."""
    return np.full(like.shape, value, np.float64)


def beside(values: Array, audio: Array) -> Array:
    """Return numbers where the audio lies."""
    return values


def cast(values: Array, like: Array) -> Array:
    """Return numbers in the type of an array."""
    return values.astype(like.dtype, copy=False)


def copied(values: Array) -> Array:
    """Return the numbers in memory of their own."""
    return values.copy()


def padded(values: Array, after: int) -> Array:
    """Add zeros after the last number of each row."""
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, after)])


def held(values: Array) -> Array:
    """Return the numbers without a gradient."""
    return values


def at_most(values: Array, high: float) -> Array:
    """Return the smaller of each number and a bound."""
    return np.minimum(values, high)


def at_least(values: Array, low: float) -> Array:
    """Return the larger of each number and a bound."""
    return np.maximum(values, low)


def turned(angles: Array) -> Array:
    """Return ``exp(j·angle)``."""
    return np.exp(1j * angles)


def rfft(values: Array, length: int) -> Array:
    """Return the transform of real numbers and zeros, ``length/2 + 1`` points of each row."""
    return np.fft.rfft(values, length)


def irfft(values: Array, length: int) -> Array:
    """Return the real numbers that :func:`rfft` transforms into these."""
    return np.fft.irfft(values, length)


def like(values: Any, other: Array) -> Array:
    """Return numbers of a list in the type of an array."""
    return np.asarray(values, other.dtype)


def sigmoid(values: Array) -> Array:
    """Return ``1/(1 + exp(-x))``."""
    values = np.asarray(values)
    found: Array = 1.0 / (1.0 + exp(-values))
    return found


def logit(shares: Array) -> Array:
    """Return ``log(x/(1 - x))``."""
    found: Array = np.log(shares / (1.0 - shares))
    return found


def normal_share(deviations: Array) -> Array:
    """Return the share of a normal distribution that lies below so many deviations."""
    shares = _ERFC(-deviations * math.sqrt(0.5))
    found: Array = np.asarray(0.5 * shares, deviations.dtype)
    return found


def taken(values: Array, dim: int, places: list[int]) -> Array:
    """Return the numbers at some places along a dimension."""
    return np.take(values, places, axis=dim)
