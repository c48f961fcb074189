"""The detector's level as one operator on tensors; see :mod:`.envelope`."""

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

__all__ = ["envelope", "envelope_from"]

_HERE = f"{__package__}.envelope"
_COMPILED = ("cpu",)
"""Kernels that there are beside the generic one."""


def envelope(level: Tensor, parameters: Tensor) -> Tensor:
    """Follow a level, ``(batch, samples)``, by attack, release and hold, ``(batch, 3)``."""
    followed, _ = _envelope(level, parameters)
    return followed


def envelope_from(level: Tensor, parameters: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Follow one part of a long level; see :func:`.envelope.envelope_from`."""
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
