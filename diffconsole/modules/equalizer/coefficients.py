"""From the settings of all sections of an equalizer to their coefficients, in one operator.

By torch's operations alone a graph of some hundred nodes on a few numbers each is made, which
takes longer than filtering a second of audio. On a CPU with numba one operator serves, whose
gradient is written out (:mod:`.cpu_coefficients`); anywhere else, under ``torch.compile``, and
where a second derivative is wanted, :mod:`.generic_coefficients`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...kernels.operators import NAMESPACE, _library, _module, _operator, name_for
from . import generic_coefficients
from .generic_coefficients import KINDS

__all__ = ["section_coefficients"]


def section_coefficients(
    settings: Tensor, kinds: Sequence[str], sample_rate: float, highest_hz: float
) -> Tensor:
    """Return the coefficients of a cascade.

    Parameters
    ----------
    settings : Tensor
        ``(rows, batch)`` float64: every section's frequency in Hz, then every section's Q, then
        the gains in dB of those that have one, then, if there is one row more, a gain in dB of
        the whole cascade, which its first section takes.
    kinds : sequence of str
        Of each section, see :data:`.generic_coefficients.KINDS`.
    sample_rate : float
        Hz.
    highest_hz : float
        Higher frequencies count as this one.

    Returns
    -------
    Tensor
        ``(batch, sections, 5)`` float64: b0, b1, b2, a1, a2, divided by a0.
    """
    codes = [KINDS.index(kind) for kind in kinds]
    # A compiler of torch's makes one loop of the many operations, and more besides.
    if torch.compiler.is_compiling() or name_for(settings) != "cpu":
        return generic_coefficients.coefficients(settings, codes, sample_rate, highest_hz)
    found: Tensor
    found, _ = _coefficients(settings, codes, float(sample_rate), float(highest_hz))
    return found


_SHAPE = "int[] kinds, float sample_rate, float highest_hz"


@_operator("coefficients", f"(Tensor settings, {_SHAPE})")
def _coefficients(
    settings: Tensor, kinds: list[int], sample_rate: float, highest_hz: float
) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = _module(
        f"{__package__}.coefficients", "cpu"
    ).coefficients_forward(settings, kinds, sample_rate, highest_hz)
    return found


@torch.library.register_fake(f"{NAMESPACE}::coefficients", lib=_library)
def _(
    settings: Tensor, kinds: list[int], sample_rate: float, highest_hz: float
) -> tuple[Tensor, Tensor]:
    rows, batch = settings.shape
    shape = _module(f"{__package__}.coefficients", "cpu").coefficients_saved_shape(
        rows, len(kinds), batch
    )
    return settings.new_empty((batch, len(kinds), 5)), settings.new_empty(shape)


@_operator(
    "coefficients_backward",
    f"(Tensor gradient, Tensor settings, Tensor saved, {_SHAPE})",
    returns="Tensor",
)
def _coefficients_backward(
    gradient: Tensor,
    settings: Tensor,
    saved: Tensor,
    kinds: list[int],
    sample_rate: float,
    highest_hz: float,
) -> Tensor:
    found: Tensor = _module(f"{__package__}.coefficients", "cpu").coefficients_backward(
        gradient, settings, saved, kinds, sample_rate, highest_hz
    )
    return found


@torch.library.register_fake(f"{NAMESPACE}::coefficients_backward", lib=_library)
def _(
    gradient: Tensor,
    settings: Tensor,
    saved: Tensor,
    kinds: list[int],
    sample_rate: float,
    highest_hz: float,
) -> Tensor:
    return settings.new_empty(settings.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    settings, *ctx.constants = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(settings, output[1])


def _gradient(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Any, ...]:
    if gradient is None:
        return None, None, None, None
    settings, saved = ctx.saved_tensors
    if torch.is_grad_enabled():
        # A second derivative may follow: the gradient of the same formulas, with a graph.
        again = generic_coefficients.coefficients(settings, *ctx.constants)
        (found,) = torch.autograd.grad(again, settings, gradient, create_graph=True)
    else:
        found = _coefficients_backward(gradient, settings, saved, *ctx.constants)
    return found, None, None, None


torch.library.register_autograd(
    f"{NAMESPACE}::coefficients", _gradient, setup_context=_setup, lib=_library
)
