"""Formulas' functions on tensors, by the names that :mod:`.array_math` has for NumPy arrays.

All are differentiable but :func:`held`, and give results on the device of what they get.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import (
    Tensor,
    cos,
    exp,
    expm1,
    floor,
    log10,
    logit,
    maximum,
    minimum,
    remainder,
    sigmoid,
    sin,
    sinc,
    sqrt,
    tan,
    tanh,
    where,
)

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


def stack(values: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Return tensors side by side on a new axis."""
    return torch.stack(tuple(values), dim=axis)


def concatenate(values: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Return tensors one after the other on an axis."""
    return torch.cat(tuple(values), dim=axis)


def magnitude(values: Tensor) -> Tensor:
    """Return the magnitude of each number."""
    return values.abs()


def power(base: Any, exponents: Any) -> Tensor:
    """Return ``base ** exponents``, either one broadcast."""
    return torch.pow(base, exponents)


def amplitude(level_db: Tensor) -> Tensor:
    """Return ``10^(level_db/20)``."""
    return torch.pow(10.0, level_db / 20.0)


def float64(values: Tensor) -> Tensor:
    """Return numbers as float64."""
    return values.to(torch.float64)


def arange(start: int, stop: int, step: int, like: Tensor) -> Tensor:
    """Return ``start, start + step …`` below `stop`, float64."""
    return torch.arange(start, stop, step, dtype=torch.float64, device=like.device)


def filled(like: Tensor, value: float) -> Tensor:
    """Return one number in the shape of a tensor, float64."""
    return torch.full_like(like, value, dtype=torch.float64)


def beside(values: Tensor, audio: Tensor) -> Tensor:
    """Return numbers on the device of the audio."""
    return values.to(audio.device)


def cast(values: Tensor, like: Tensor) -> Tensor:
    """Return numbers in the type of a tensor, on its device."""
    return values.to(like.dtype) if values.device == like.device else values.to(like)


def copied(values: Tensor) -> Tensor:
    """Return the numbers in memory of their own."""
    return values.clone()


def padded(values: Tensor, after: int) -> Tensor:
    """Add zeros after the last number of each row."""
    return torch.nn.functional.pad(values, (0, after))


def held(values: Tensor) -> Tensor:
    """Return the numbers without a gradient."""
    return values.detach()


def at_most(values: Tensor, high: float) -> Tensor:
    """Return the smaller of each number and a bound."""
    return values.clamp(max=high)


def at_least(values: Tensor, low: float) -> Tensor:
    """Return the larger of each number and a bound."""
    return values.clamp(min=low)


def turned(angles: Tensor) -> Tensor:
    """Return ``exp(j·angle)``."""
    return torch.polar(torch.ones_like(angles), angles)


def rfft(values: Tensor, length: int) -> Tensor:
    """Return the transform of real numbers and zeros, ``length/2 + 1`` points of each row."""
    return torch.fft.rfft(values, length)


def irfft(values: Tensor, length: int) -> Tensor:
    """Return the real numbers that :func:`rfft` transforms into these."""
    return torch.fft.irfft(values, length)


def like(values: Any, other: Tensor) -> Tensor:
    """Return numbers of a list in the type of a tensor, on its device."""
    return other.new_tensor(values)


def normal_share(deviations: Tensor) -> Tensor:
    """Return the share of a normal distribution that lies below so many deviations."""
    found: Tensor = torch.special.ndtr(deviations)
    return found


def taken(values: Tensor, dim: int, places: list[int]) -> Tensor:
    """Return the numbers at some places along a dimension."""
    return values.index_select(dim, torch.tensor(places, device=values.device))
