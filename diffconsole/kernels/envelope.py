"""A detector's level as one operator: the branching one-pole, with a hold before it falls.

With a level ``v ≥ 0`` and a hold of H samples::

    s[n] = k[n]·s[n−1] + (1 − k[n])·v[n],   s[−1] = 0
    k    = a                  where v[n] > s[n−1]: the attack, and the hold begins again
           1                  while at least a whole sample of the hold is left
           r^(1 − f)          in the sample in which the last fraction f of it ends
           r                  after that: the release

Without a hold this is the detector of :mod:`diffconsole.modules.compressor.process`. The fraction
makes the level continuous in the hold, which so has a gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .operators import (
    NAMESPACE,
    _library,
    _module,
    _operator,
    _refuse,
    name_for,
)

__all__ = ["envelope", "envelope_from", "peak_level"]

_HERE = f"{__package__}.envelope"
_COMPILED = ("cpu",)
"""Kernels that there are beside the generic one."""


def peak_level(audio: Tensor) -> Tensor:
    """Return the level of the louder channel, ``(batch, samples)``."""
    level = audio.abs()
    return level[:, 0] if level.shape[1] == 1 else torch.maximum(level[:, 0], level[:, 1])


def envelope(level: Tensor, attack: Tensor, release: Tensor, hold: Tensor | None = None) -> Tensor:
    """Follow a level.

    Parameters
    ----------
    level : Tensor
        ``(batch, samples)``, float32 or float64, not negative.
    attack, release : Tensor
        ``(batch,)`` float64, the one-pole coefficients ``exp(−1/(τ·fs))``.
    hold : Tensor, optional
        ``(batch,)`` float64, in samples.

    Returns
    -------
    Tensor
        The shape and type of `level`; differentiable in all four.
    """
    settings = (attack, release, torch.zeros_like(attack) if hold is None else hold)
    parameters = torch.stack([s.to(level.device, torch.float64) for s in settings], dim=-1)
    followed, _ = _envelope(level, parameters)
    return followed


def envelope_from(level: Tensor, parameters: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Follow one part of a long level, from where the part before it has ended; no gradient.

    Parameters
    ----------
    level : Tensor
        ``(batch, samples)``.
    parameters : Tensor
        ``(batch, 3)`` float64: attack, release, hold.
    state : Tensor
        ``(batch, 2)`` float64: zeros for the first part, then what the part before gave.

    Returns
    -------
    level, state : Tensor
        The part, and level and what is left of the hold after it.
    """
    found: tuple[Tensor, Tensor] = _kernel(level).follow(level, parameters, state)
    return found


def _kernel(level: Tensor) -> Any:
    name = name_for(level)
    return _module(_HERE, name if name in _COMPILED else "generic")


@_operator("envelope", "(Tensor level, Tensor parameters)")
def _envelope(level: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    state = torch.zeros(len(level), 2, dtype=torch.float64, device=level.device)
    followed: tuple[Tensor, Tensor] = _kernel(level).follow(level, parameters, state)
    return followed


@torch.library.register_fake(f"{NAMESPACE}::envelope", lib=_library)
def _(level: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    return level.new_empty(level.shape), parameters.new_empty((len(level), 2))


@_operator(
    "envelope_backward", "(Tensor gradient, Tensor level, Tensor followed, Tensor parameters)"
)
def _envelope_backward(
    gradient: Tensor, level: Tensor, followed: Tensor, parameters: Tensor
) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = _kernel(level).follow_backward(
        gradient, level, followed, parameters
    )
    return found


@torch.library.register_fake(f"{NAMESPACE}::envelope_backward", lib=_library)
def _(
    gradient: Tensor, level: Tensor, followed: Tensor, parameters: Tensor
) -> tuple[Tensor, Tensor]:
    return level.new_empty(level.shape), parameters.new_empty(parameters.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    level, parameters = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(level, output[0], parameters)


def _gradient(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Any, ...]:
    if gradient is None:
        return None, None
    return tuple(_envelope_backward(gradient, *ctx.saved_tensors))


torch.library.register_autograd(
    f"{NAMESPACE}::envelope", _gradient, setup_context=_setup, lib=_library
)
torch.library.register_autograd(f"{NAMESPACE}::envelope_backward", _refuse, lib=_library)
