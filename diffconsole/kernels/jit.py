"""How the loops are compiled: kept on disk, without Python's lock, exact but for fused sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from .cache import cache_of

__all__ = ["compiled", "compiled_exactly", "compiled_sums", "compiler"]


def compiler(*fastmath: str) -> Any:
    """Return a decorator that compiles a function, with some of IEEE's rules relaxed."""

    def compile_function(function: Callable[..., Any]) -> Any:
        dispatcher: Any = njit(nogil=True, error_model="numpy", fastmath=set(fastmath))(function)
        # As cache=True does, but with a cache whose faults stop nothing.
        dispatcher._cache = cache_of(function)
        return dispatcher

    return compile_function


# A product and the sum after it may become one fused operation; nothing else is relaxed.
compiled = compiler("contract")
# Sums over a block are taken in an order that suits vectors, always the same one.
compiled_sums = compiler("contract", "reassoc", "nsz")
# Rounded as written, as torch and NumPy do.
compiled_exactly = compiler()
