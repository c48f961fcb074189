"""One formula for tensors and for NumPy arrays: which functions serve, and the way between them.

What a module computes is written once. Given tensors it has gradients and runs on every device;
given arrays it needs no PyTorch, which takes longer to import than ten seconds of audio to
process. On a CPU and without a gradient tensors are processed as the arrays whose memory they
share, so that both give the same samples.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np

__all__ = [
    "Numbers",
    "as_array",
    "as_tensor",
    "is_array",
    "is_held",
    "math_of",
    "on_arrays",
    "without_gradient",
]

Numbers: TypeAlias = Any
"""A NumPy array or a tensor: what a formula gets decides what it returns."""

Function = TypeVar("Function", bound=Callable[..., Any])


def is_array(value: Any) -> bool:
    """Return whether this is a NumPy array."""
    return isinstance(value, np.ndarray)


def is_held(value: Any) -> bool:
    """Return whether code may look at the numbers: in an array, or a tensor that is as good as one.

    Not where a gradient is wanted, on another device, or in a graph that is compiled.
    """
    if is_array(value):
        return True
    from .operators import is_plain

    return is_plain(value)


def math_of(value: Any) -> ModuleType:
    """Return :mod:`.array_math` for an array, :mod:`.tensor_math` for a tensor."""
    if is_array(value):
        from . import array_math

        return array_math
    from . import tensor_math

    return tensor_math


def as_array(value: Any) -> Any:
    """Return a tensor's numbers as an array in C order, of a mapping each; else what it is."""
    if isinstance(value, Mapping):
        return {key: as_array(one) for key, one in value.items()}
    # Only tensors have it; torch need not be loaded to find out.
    if not hasattr(value, "requires_grad"):
        return value
    return value.detach().cpu().resolve_conj().contiguous().numpy()


def as_tensor(value: Any) -> Any:
    """Return an array as the tensor that shares its memory, anything else as it is."""
    if isinstance(value, tuple):
        return tuple(as_tensor(one) for one in value)
    if not is_array(value):
        return value
    import torch

    return torch.from_numpy(value)


def on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of arrays take and return tensors of the CPU."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        given = [as_array(value) for value in arguments]
        found = function(*given, **{name: as_array(value) for name, value in named.items()})
        for value, array in zip(arguments, given, strict=True):
            if array is found:
                return value
        return as_tensor(found)

    return call


def without_gradient(function: Function) -> Function:
    """Let a function of arrays and of tensors run on arrays wherever that gives all that is wanted.

    That is on the CPU with the compiled loops, without a gradient, and outside ``torch.compile``.
    """
    by_arrays = on_arrays(function)

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if is_array(arguments[0]):
            return function(*arguments, **named)
        from .operators import is_plain

        if is_plain(arguments[0], *_tensors(arguments[1:]), *_tensors(named.values())):
            return by_arrays(*arguments, **named)
        return function(*arguments, **named)

    return cast(Function, call)


def _tensors(values: Any) -> list[Any]:
    """Return the tensors among some values and in the mappings among them."""
    found = []
    for value in values:
        if isinstance(value, Mapping):
            found += _tensors(value.values())
        elif hasattr(value, "requires_grad"):
            found.append(value)
    return found
