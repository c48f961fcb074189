"""How the loops are compiled: kept on disk, without Python's lock, exact but for fused sums."""

from __future__ import annotations

import functools
from typing import Any

from numba import njit

__all__ = ["compiled", "compiled_sums"]

# A product and the sum after it may become one fused operation; nothing else is relaxed.
compiled: Any = functools.partial(
    njit, cache=True, nogil=True, error_model="numpy", fastmath={"contract"}
)
# Sums over a block are taken in an order that suits vectors, always the same one.
compiled_sums: Any = functools.partial(
    njit, cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"}
)
