"""The recursions under the processors: one interface, several implementations.

``sections(audio, coefficients)`` runs a cascade of second-order sections and
``compress(audio, ...)`` the compressor; both are differentiable in everything. The processors
call these two and do not know which implementation answers:

- CPU tensors with numba installed: time-domain loops (:mod:`.cpu`);
- CUDA tensors with triton installed, as torch for CUDA brings it: :mod:`.gpu`;
- anything else: torch operations that run on every device (:mod:`diffconsole.modules.equalizer.generic_sections`).

``DIFFCONSOLE_KERNEL=generic`` in the environment, or :func:`use`, forces one.

To torch each is one operator with a gradient of its own, so that ``torch.compile`` sees a single
node in place of a foreign loop. An implementation is a module with ``sections_forward``,
``sections_backward``, ``sections_saved_shape``, ``compress_forward`` and ``compress_backward``,
and with what :mod:`diffconsole.modules.reverb.room` needs for the reverb.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ..errors import SettingsError

__all__ = ["NAMES", "compress", "compress_from", "name_for", "sections", "use"]

NAMES = ("cpu", "gpu", "generic")

# By type of device: the implementation, and the compiler that it needs.
_COMPILED = {"cpu": ("cpu", "numba"), "cuda": ("gpu", "triton")}

NAMESPACE = "diffconsole"

_forced: ContextVar[str] = ContextVar("kernel", default="")
_library = torch.library.Library(NAMESPACE, "DEF")


@contextlib.contextmanager
def use(name: str) -> Iterator[None]:
    """Force ``"cpu"``, ``"gpu"`` or ``"generic"`` kernels inside a ``with`` block."""
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def name_for(audio: Tensor) -> str:
    """Return the name of the implementation that serves this tensor."""
    forced = _forced.get() or os.environ.get("DIFFCONSOLE_KERNEL", "")
    if forced:
        return forced
    name, compiler = _COMPILED.get(audio.device.type, ("generic", ""))
    return name if compiler and _is_installed(compiler) else "generic"


@functools.cache
def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@functools.cache
def _module(name: str) -> ModuleType:
    if name not in NAMES:
        raise SettingsError(f"no kernel is called {name!r}; choose one of {', '.join(NAMES)}")
    return importlib.import_module(f"{__name__}.{name}")


def _needs_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _operator(
    name: str, arguments: str, returns: str = "(Tensor, Tensor)"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function one of torch's operators, by default returning two tensors."""

    # torch.library.custom_op would do the same and import torch's compiler, a second or more.
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _library.define(f"{name}{arguments} -> {returns}")
        _library.impl(name, function, "CompositeExplicitAutograd")
        operator: Callable[..., Any] = getattr(torch.ops.diffconsole, name).default
        return operator

    return register


def _refuse(ctx: Any, *_: Any) -> None:
    raise RuntimeError(
        "the console has first derivatives only: backward once, without create_graph"
    )


# --- sections --------------------------------------------------------------------------------


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
    return _module(name_for(audio)).sections_forward(audio, coefficients, ringing, keep)


@torch.library.register_fake(f"{NAMESPACE}::sections", lib=_library)
def _(audio: Tensor, coefficients: Tensor, ringing: int, keep: bool) -> tuple[Tensor, Tensor]:
    batch, channels, samples = audio.shape
    shape = _module(name_for(audio)).sections_saved_shape(
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
    module = _module(kernel)
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


# --- compressor ------------------------------------------------------------------------------


def compress(
    audio: Tensor,
    attack: Tensor,
    release: Tensor,
    threshold_db: Tensor,
    slope: Tensor,
    knee_db: Tensor,
    makeup_db: Tensor,
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

    Returns
    -------
    Tensor
        The shape and type of `audio`.
    """
    settings = (attack, release, threshold_db, slope, knee_db, makeup_db)
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
    found: tuple[Tensor, Tensor] = _module(name).compress_from(audio, parameters, state)
    return found


@_operator("compress", "(Tensor audio, Tensor parameters, bool keep)")
def _compress(audio: Tensor, parameters: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    return _module(name_for(audio)).compress_forward(audio, parameters, keep)


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
    return _module(kernel).compress_backward(gradient, audio, parameters, levels)


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

for _name in ("sections_backward", "compress_backward"):
    torch.library.register_autograd(f"{NAMESPACE}::{_name}", _refuse, lib=_library)
