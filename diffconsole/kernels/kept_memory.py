"""Memory that is used again, where many large arrays come and go.

By default the C library gives every large block back to the system at once, and gets the next one
as fresh pages that the system has to clear: 8,000 page faults in one step of a search, an eighth of
its time. Inside :func:`kept_memory` blocks stay with the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

__all__ = ["kept_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT_BYTES, MOST_BYTES = 1 << 30, (1 << 31) - 1
USUAL_BYTES = 1 << 25
"""What glibc's own rule comes to in a process that has freed a block of that size."""


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Let freed memory stay with the process until the end, where glibc is the C library."""
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(MMAP_THRESHOLD, KEPT_BYTES)
    library.mallopt(TRIM_THRESHOLD, MOST_BYTES)
    try:
        yield
    finally:
        library.mallopt(MMAP_THRESHOLD, USUAL_BYTES)
        library.mallopt(TRIM_THRESHOLD, 2 * USUAL_BYTES)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    has_all = all(hasattr(library, name) for name in ("mallopt", "malloc_trim"))
    return library if has_all else None
