"""A cascade of second-order sections as one operator, differentiable in everything."""

from __future__ import annotations

from typing import Any

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

__all__ = ["sections"]

_HERE = f"{__package__}.sections"


def sections(audio: Tensor, coefficients: Tensor, ringing_samples: int | None = None) -> Tensor:
    """Run each item through its cascade of second-order sections, from silence.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``, float32 or float64.
    coefficients : Tensor
        ``(batch, sections, 5)`` float64: b0, b1, b2, a1, a2 with a0 = 1.
    ringing_samples : int, optional
        Samples in which the slowest section falls by 160 dB, for kernels that work in the
        frequency domain; by default they find out, at the cost of waiting for the device.

    Returns
    -------
    Tensor
        The shape and type of `audio`.
    """
    keep = _needs_gradient(audio, coefficients)
    filtered, _ = _sections(audio, coefficients, ringing_samples or 0, keep)
    return filtered


@_operator("sections", "(Tensor audio, Tensor coefficients, int ringing, bool keep)")
def _sections(
    audio: Tensor, coefficients: Tensor, ringing: int, keep: bool
) -> tuple[Tensor, Tensor]:
    return _module(_HERE, name_for(audio)).sections_forward(audio, coefficients, ringing, keep)


@torch.library.register_fake(f"{NAMESPACE}::sections", lib=_library)
def _(audio: Tensor, coefficients: Tensor, ringing: int, keep: bool) -> tuple[Tensor, Tensor]:
    batch, channels, samples = audio.shape
    shape = _module(_HERE, name_for(audio)).sections_saved_shape(
        batch * channels, samples, coefficients.shape[1], keep
    )
    return audio.new_empty(audio.shape), coefficients.new_empty(shape)


@_operator(
    "sections_backward",
    "(Tensor gradient, Tensor audio, Tensor coefficients, Tensor saved, int ringing, str kernel)",
)
def _sections_backward(
    gradient: Tensor, audio: Tensor, coefficients: Tensor, saved: Tensor, ringing: int, kernel: str
) -> tuple[Tensor, Tensor]:
    module = _module(_HERE, kernel)
    return module.sections_backward(gradient, audio, coefficients, saved, ringing)


@torch.library.register_fake(f"{NAMESPACE}::sections_backward", lib=_library)
def _(
    gradient: Tensor, audio: Tensor, coefficients: Tensor, saved: Tensor, ringing: int, kernel: str
) -> tuple[Tensor, Tensor]:
    return audio.new_empty(audio.shape), coefficients.new_empty(coefficients.shape)


def _sections_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    audio, coefficients, ringing, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(audio, coefficients, output[1])
    ctx.ringing, ctx.kernel = ringing, name_for(audio)


def _sections_gradient(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Any, ...]:
    if gradient is None:
        return None, None, None, None
    found = _sections_backward(gradient, *ctx.saved_tensors, ctx.ringing, ctx.kernel)
    return (*found, None, None)


torch.library.register_autograd(
    f"{NAMESPACE}::sections", _sections_gradient, setup_context=_sections_setup, lib=_library
)


torch.library.register_autograd(f"{NAMESPACE}::sections_backward", _refuse, lib=_library)
