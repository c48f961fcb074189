"""The saturation as one operator, differentiable in everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...kernels.operators import (
    NAMESPACE,
    _library,
    _module,
    _needs_gradient,
    _operator,
    _refuse,
    name_for,
)
from ...kernels.shapes import constant
from .phases import output_section, phase_sections

__all__ = ["saturate"]

_HERE = f"{__package__}.saturation"
BLOCK, STATE = 128, (6, 8)


def saturate(audio: Tensor, sample_rate: float, settings: Tensor) -> Tensor:
    """Run the saturation of :mod:`diffconsole.modules.saturation.process`.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``, float32 or float64.
    sample_rate : float
        Hz.
    settings : Tensor
        ``(batch, 4)`` float64, of :func:`.process.curve_settings`.

    Returns
    -------
    Tensor
        The shape and type of `audio`.
    """
    # Made here, since a copy to a device is none of an operator's own.
    filters = _filters(sample_rate).to(audio.device)
    settings = settings.to(audio.device)
    keep = _needs_gradient(audio, settings)
    saturated, _ = _saturate(audio, settings, filters, sample_rate, keep)
    return saturated


def _name(audio: Tensor) -> str:
    return "cpu" if name_for(audio) == "cpu" else "generic"


@constant(most=8)
def _filters(sample_rate: float) -> Tensor:
    """Return the places' sections and the one behind them, ``(places · 3 + 1, 5)``."""
    last = output_section(sample_rate)[None]
    return torch.from_numpy(np.concatenate((*phase_sections(), last)))


@_operator(
    "saturate", "(Tensor audio, Tensor settings, Tensor filters, float sample_rate, bool keep)"
)
def _saturate(
    audio: Tensor, settings: Tensor, filters: Tensor, sample_rate: float, keep: bool
) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = _module(_HERE, _name(audio)).saturate_forward(
        audio, settings, filters, sample_rate, keep
    )
    return found


@torch.library.register_fake(f"{NAMESPACE}::saturate", lib=_library)
def _(
    audio: Tensor, settings: Tensor, filters: Tensor, sample_rate: float, keep: bool
) -> tuple[Tensor, Tensor]:
    batch, channels, samples = audio.shape
    blocks = -(-samples // BLOCK) if keep and _name(audio) == "cpu" else 0
    return audio.new_empty(audio.shape), settings.new_empty((batch * channels, blocks, *STATE))


@_operator(
    "saturate_backward",
    "(Tensor gradient, Tensor audio, Tensor settings, Tensor kept, Tensor filters, "
    "float sample_rate, str kernel)",
)
def _saturate_backward(
    gradient: Tensor,
    audio: Tensor,
    settings: Tensor,
    kept: Tensor,
    filters: Tensor,
    sample_rate: float,
    kernel: str,
) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = _module(_HERE, kernel).saturate_backward(
        gradient, audio, settings, kept, filters, sample_rate
    )
    return found


@torch.library.register_fake(f"{NAMESPACE}::saturate_backward", lib=_library)
def _(
    gradient: Tensor,
    audio: Tensor,
    settings: Tensor,
    kept: Tensor,
    filters: Tensor,
    sample_rate: float,
    kernel: str,
) -> tuple[Tensor, Tensor]:
    return audio.new_empty(audio.shape), settings.new_empty(settings.shape)


def _saturate_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    audio, settings, filters, sample_rate, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(audio, settings, output[1], filters)
    ctx.sample_rate, ctx.kernel = sample_rate, _name(audio)


def _saturate_gradient(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Any, ...]:
    if gradient is None:
        return None, None, None, None, None
    found = _saturate_backward(gradient, *ctx.saved_tensors, ctx.sample_rate, ctx.kernel)
    return (*found, None, None, None)


torch.library.register_autograd(
    f"{NAMESPACE}::saturate", _saturate_gradient, setup_context=_saturate_setup, lib=_library
)


torch.library.register_autograd(f"{NAMESPACE}::saturate_backward", _refuse, lib=_library)
