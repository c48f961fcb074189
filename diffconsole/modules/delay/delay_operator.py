"""The delay's loop as an operation of tensors on the CPU, whose gradient is a loop too."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...kernels.arrays import as_array

__all__ = ["loop"]


def loop(
    audio: Tensor, late: Tensor, cuts: Tensor, feedback: Tensor, near: Tensor, far: Tensor
) -> Tensor:
    """Return the echoes, ``(batch, 2, samples)``, with gradients by every argument.

    Parameters
    ----------
    audio : Tensor
        ``(batch, 1, samples)`` on the CPU.
    late : Tensor
        ``(batch,)`` float64, samples between echoes.
    cuts : Tensor
        ``(batch, 5)`` float64; see :func:`.cpu_delay_gradient.looped`.
    feedback, near, far : Tensor
        ``(batch,)`` float64.
    """
    found: Tensor = _Loop.apply(audio, late, cuts, feedback, near, far)
    return found


def _loops() -> Any:
    # Brings numba along, which is not loaded before it is needed.
    return importlib.import_module(".cpu_delay_gradient", __package__)


class _Loop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, *settings: Tensor) -> Tensor:
        own = [as_array(setting) for setting in settings]
        y, *ctx.kept = _loops().looped(as_array(audio), *own)
        ctx.own = own
        return torch.from_numpy(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        by_audio, sums = _loops().looped_backward(as_array(gradient), *ctx.own, *ctx.kept)
        feedback, near, far, late, *cuts = torch.from_numpy(sums).unbind(dim=1)
        return torch.from_numpy(by_audio), late, torch.stack(cuts, dim=1), feedback, near, far
