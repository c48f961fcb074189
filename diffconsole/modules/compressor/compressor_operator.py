"""The compressor as one operator, differentiable in everything, and part by part."""

from __future__ import annotations

from collections.abc import Sequence
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

__all__ = ["compress", "compress_from"]

_HERE = f"{__package__}.compressor"


def compress(
    audio: Tensor,
    attack: Tensor,
    release: Tensor,
    threshold_db: Tensor,
    slope: Tensor,
    knee_db: Tensor,
    makeup_db: Tensor,
    *mix: Tensor,
) -> Tensor:
    """Run the compressor of :mod:`diffconsole.modules.compressor.process`.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``, float32 or float64.
    attack, release : Tensor
        ``(batch,)`` float64, the one-pole coefficients ``exp(−1/(τ·fs))``.
    threshold_db, slope, knee_db, makeup_db : Tensor
        ``(batch,)`` float64; ``slope = 1/ratio − 1``.
    *mix : Tensor
        Nothing, or two of ``(batch,)`` float64: the share of what is compressed, 0…1, and the
        gain of what is not, as an amplitude.

    Returns
    -------
    Tensor
        The shape and type of `audio`.
    """
    settings = (attack, release, threshold_db, slope, knee_db, makeup_db, *mix)
    parameters = torch.stack([s.to(torch.float64) for s in settings], dim=-1)
    compressed, _ = _compress(audio, parameters, _needs_gradient(audio, parameters))
    return compressed


def compress_from(
    audio: Tensor, settings: Sequence[Tensor], state: Tensor
) -> tuple[Tensor, Tensor]:
    """Compress one part of a long signal, from where the part before it has ended.

    Without a gradient.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``; a multiple of 512 samples in every part but the last.
    settings : sequence of Tensor
        As of :func:`compress`, in its order.
    state : Tensor
        ``(batch,)`` float64 on the CPU: zeros for the first part, then what the part before gave.

    Returns
    -------
    audio, state : Tensor
        The part, and the detector's state after it.
    """
    parameters = torch.stack([s.to(audio.device, torch.float64) for s in settings], dim=-1)
    # Only these two start from a state; the generic one runs on every device.
    name = "cpu" if name_for(audio) == "cpu" else "generic"
    found: tuple[Tensor, Tensor] = _module(_HERE, name).compress_from(audio, parameters, state)
    return found


@_operator("compress", "(Tensor audio, Tensor parameters, bool keep)")
def _compress(audio: Tensor, parameters: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    return _module(_HERE, name_for(audio)).compress_forward(audio, parameters, keep)


@torch.library.register_fake(f"{NAMESPACE}::compress", lib=_library)
def _(audio: Tensor, parameters: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    batch, _, samples = audio.shape
    return audio.new_empty(audio.shape), audio.new_empty((batch, samples if keep else 0))


@_operator(
    "compress_backward",
    "(Tensor gradient, Tensor audio, Tensor parameters, Tensor levels, str kernel)",
)
def _compress_backward(
    gradient: Tensor, audio: Tensor, parameters: Tensor, levels: Tensor, kernel: str
) -> tuple[Tensor, Tensor]:
    return _module(_HERE, kernel).compress_backward(gradient, audio, parameters, levels)


@torch.library.register_fake(f"{NAMESPACE}::compress_backward", lib=_library)
def _(
    gradient: Tensor, audio: Tensor, parameters: Tensor, levels: Tensor, kernel: str
) -> tuple[Tensor, Tensor]:
    return audio.new_empty(audio.shape), parameters.new_empty(parameters.shape)


def _compress_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    audio, parameters, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(audio, parameters, output[1])
    ctx.kernel = name_for(audio)


def _compress_gradient(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Any, ...]:
    if gradient is None:
        return None, None, None
    return (*_compress_backward(gradient, *ctx.saved_tensors, ctx.kernel), None)


torch.library.register_autograd(
    f"{NAMESPACE}::compress", _compress_gradient, setup_context=_compress_setup, lib=_library
)


torch.library.register_autograd(f"{NAMESPACE}::compress_backward", _refuse, lib=_library)
