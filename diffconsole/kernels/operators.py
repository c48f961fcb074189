"""One operator, several implementations: which one serves a tensor.

What computes sample by sample, as the recursions of filters, has implementations that lie beside
each other: ``cpu_NAME.py``, ``gpu_NAME.py``, ``generic_NAME.py``. Those who call it do not know
which one answers:

- CPU tensors with numba installed: time-domain loops on their memory as NumPy arrays, ``cpu``;
- CUDA tensors with triton installed, as torch for CUDA brings it: ``gpu``;
- anything else: torch operations that run on every device, ``generic``.

``DIFFCONSOLE_KERNEL=generic`` in the environment, or :func:`use`, forces one.

To torch each is one operator with a gradient of its own, so that ``torch.compile`` sees a single
node in place of a foreign loop.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ..errors import SettingsError
from .arrays import on_arrays
from .choice import forced, is_installed, use

__all__ = ["NAMES", "is_plain", "name_for", "use"]

NAMES = ("cpu", "gpu", "generic")

# By type of device: the implementation, and the compiler that it needs.
_COMPILED = {"cpu": ("cpu", "numba"), "cuda": ("gpu", "triton")}

NAMESPACE = "diffconsole"

_library = torch.library.Library(NAMESPACE, "DEF")


def name_for(audio: Tensor) -> str:
    """Return the name of the implementation that serves this tensor."""
    if name := forced():
        return name
    name, compiler = _COMPILED.get(audio.device.type, ("generic", ""))
    return name if compiler and is_installed(compiler) else "generic"


@functools.cache
def _module(place: str, name: str) -> ModuleType:
    """Return one implementation of what `place` stands for, as ``package.cpu_sections``."""
    if name not in NAMES:
        raise SettingsError(f"no kernel is called {name!r}; choose one of {', '.join(NAMES)}")
    package, _, what = place.rpartition(".")
    found = importlib.import_module(f"{package}.{name}_{what}")
    return _OfArrays(found) if name == "cpu" else found


class _OfArrays(ModuleType):
    """A module of functions on arrays, as functions on tensors."""

    def __init__(self, module: ModuleType) -> None:
        super().__init__(module.__name__)
        for name in module.__all__:
            value = getattr(module, name)
            setattr(self, name, on_arrays(value) if callable(value) else value)


def is_plain(audio: Tensor, *others: Tensor) -> bool:
    """Return whether the compiled loops of the CPU give all that is wanted: no gradient.

    False under ``torch.compile``, which makes a graph of tensors' operations.
    """
    if torch.compiler.is_compiling() or audio.device.type != "cpu" or name_for(audio) != "cpu":
        return False
    return not _needs_gradient(audio, *others)


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
