"""Shapes, lengths and type checks that all processors share."""

from __future__ import annotations

import functools
import math
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..errors import SettingsError
from .arrays import Numbers, is_array, math_of

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

__all__ = ["check_audio", "constant", "fast_length", "per_item", "transform_length"]

Function = TypeVar("Function", bound=Callable[..., Any])


def constant(most: int, most_bytes: float = math.inf) -> Callable[[Function], Function]:
    """Keep a function's latest results; torch.compile takes them for constants.

    It need not, and often cannot, follow how they are made. The public name for that,
    ``torch.compiler.assume_constant_result``, imports the compiler, a second or more.

    Parameters
    ----------
    most : int
        How many results are kept.
    most_bytes : float
        How large they may be together where they are tensors; the latest is kept in any case.
    """

    def decorate(function: Function) -> Function:
        kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        lock = threading.Lock()

        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            with lock:
                if arguments in kept:
                    kept.move_to_end(arguments)
                    return kept[arguments]
            # What a prediction keeps is used by a training step too.
            torch = sys.modules.get("torch")
            with torch.inference_mode(False) if torch else nullcontext():
                found = function(*arguments)
            with lock:
                kept[arguments] = found
                kept.move_to_end(arguments)
                total = sum(_bytes(one) for one in kept.values())
                while len(kept) > 1 and (len(kept) > most or total > most_bytes):
                    total -= _bytes(kept.popitem(last=False)[1])
            return found

        call._dynamo_marked_constant = True  # type: ignore[attr-defined]
        call.cache_clear = kept.clear  # type: ignore[attr-defined]
        return cast(Function, call)

    return decorate


def _bytes(result: Any) -> int:
    return int(getattr(result, "nbytes", 0))


def check_audio(audio: np.ndarray | Tensor) -> None:
    """Refuse anything but a floating ``(batch, 1 or 2, samples ≥ 1)``.

    Raises
    ------
    SettingsError
        Naming the shape or the type that came.
    """
    if not is_array(audio) and not _is_tensor(audio):
        raise SettingsError(
            f"audio is {type(audio).__name__}; it must be a torch.Tensor or an array of "
            "(batch, 1 or 2 channels, samples)"
        )
    if audio.ndim != 3 or audio.shape[1] not in (1, 2) or 0 in audio.shape:
        raise SettingsError(
            f"audio has shape {tuple(audio.shape)}; it must be (batch, 1 or 2 channels, samples)"
        )
    if str(audio.dtype).removeprefix("torch.") not in ("float32", "float64"):
        raise SettingsError(f"audio is {audio.dtype}; it must be float32 or float64")


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def per_item(setting: Numbers, audio: Numbers) -> Numbers:
    """Return a ``(batch,)`` setting as ``(batch, 1, 1)`` beside `audio`, in float64."""
    m = math_of(audio)
    return m.float64(m.beside(setting, audio)).reshape(-1, 1, 1)


def fast_length(samples: int) -> int:
    """Return the next power of two or three quarters of one: fast for every FFT library."""
    power = 1 << max(samples - 1, 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= samples else power


def transform_length(samples: int, device: torch.device | None = None) -> int:
    """Return a length for a single transform of that many samples, fast on a device or in NumPy.

    On a CPU the next multiple of 32 with no prime factor above 5: nearer to what is needed than
    :func:`fast_length`, which serves elsewhere, and long powers of two are slow in its caches.
    """
    if device is not None and device.type != "cpu":
        return fast_length(samples)
    best = 1 << max(samples - 1, 31).bit_length()
    fives = 32
    while fives <= best:
        candidate = fives
        while candidate <= best:
            doublings = max(-(-samples // candidate) - 1, 0).bit_length()
            best = min(best, candidate << doublings)
            candidate *= 3
        fives *= 5
    return best
