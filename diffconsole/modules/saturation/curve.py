"""The saturation's curve: f(u)/u of arrays and tensors, and its derivatives of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...kernels.arrays import Numbers, math_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["derivatives", "per_sample", "relative"]

# Of tanh(v)/v in v²: enough for float64 where |v| is below SMALL.
SERIES = (1.0, -1.0 / 3.0, 2.0 / 15.0, -17.0 / 315.0, 62.0 / 2835.0, -1382.0 / 155925.0,
          21844.0 / 6081075.0)  # fmt: skip
SMALL = 0.1
# Of (1 − tanh(v)² − tanh(v)/v)/v² in v²: enough for its use where |v| is below NEAR.
STEEPER = (-2.0 / 3.0, 8.0 / 15.0, -34.0 / 105.0, 496.0 / 2835.0, -2764.0 / 31185.0,
           87376.0 / 2027025.0)  # fmt: skip
NEAR = 0.05


def per_sample(settings: Numbers, audio: Numbers) -> tuple[Numbers, ...]:
    """Return the four settings of a curve, ``(batch, 4)``, as ``(batch, 1, 1)`` each."""
    own = math_of(audio).cast(settings, audio)[:, :, None, None]
    return tuple(own[:, column] for column in range(own.shape[1]))


def relative(v: Numbers, bias: Numbers) -> Numbers:
    """Return f(u)/u, ``(tanh(v)/v)/(1 + t·tanh(v))`` with v = s·u; differentiable."""
    ratio, tangent = _ratio(v)
    return ratio / (1.0 + bias * tangent)


def _ratio(v: Numbers) -> tuple[Numbers, Numbers]:
    """Return tanh(v)/v and tanh(v)."""
    m, square = math_of(v), v * v
    small = square < SMALL * SMALL
    # Each side gets values at which its gradient is finite.
    inner, outer = m.where(small, square, 0.0), m.where(small, 1.0, v)
    series = _polynomial(SERIES, inner)
    ratio = m.where(small, series, m.tanh(outer) / outer)
    return ratio, m.where(small, v * series, m.tanh(v))


def _polynomial(coefficients: tuple[float, ...], x: Numbers) -> Numbers:
    found = 0.0 * x + coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        found = found * x + coefficient
    return found


def derivatives(u: Tensor, settings: Tensor) -> tuple[Tensor, ...]:
    """Return the derivatives of g(u) in u, steepness, bias, dry and wet; no gradient.

    Parameters
    ----------
    u : Tensor
        ``(batch, channels, samples)``.
    settings : Tensor
        ``(batch, 4)``.
    """
    import torch

    steepness, bias, dry, wet = per_sample(settings, u)
    v = steepness * u
    ratio, tangent = _ratio(v)
    scale = 1.0 / (1.0 + bias * tangent)
    bent = u * ratio * scale
    slope = (1.0 - tangent * tangent) * scale * scale
    near = v.abs() < NEAR
    series = _polynomial(STEEPER, torch.where(near, v * v, 0.0))
    close = u * u * scale * scale * (v * series - bias * ratio * ratio)
    by_steepness = torch.where(near, close, (u * slope - bent) / steepness.clamp(min=1e-30))
    return dry + wet * slope, wet * by_steepness, -wet * steepness * bent * bent, u, bent
