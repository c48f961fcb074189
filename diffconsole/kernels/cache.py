"""Compiled loops on disk: a cache that is damaged, full or not writable only costs the time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba.core.caching import FunctionCache, NullCache
from numba.core.runtime import rtsys

__all__ = ["cache_of", "explain_missing"]


class KernelCache(FunctionCache):
    """numba's cache of one function, which never stops the program.

    numba unpickles what lies in the cache folder, which is the user's own. A file that was cut
    short, as by a full disk or a crash, raises almost anything there.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function, or None to compile it: nothing is there, or damaged."""
        try:
            # numba would first register all that it can compile, which takes longer than all else
            # that a command does; what is compiled already needs none of it.
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)
        except Exception:
            # An empty index: the damaged entry is not read again, and is written over.
            with suppress(Exception):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, if the system lets it."""
        try:
            super().save_overload(sig, data)
        except Exception:
            # The next start compiles again.
            with suppress(Exception):
                self.flush()


def cache_of(function: Callable[..., Any]) -> Any:
    """Return the cache of a function; one that keeps nothing where no folder can be written."""
    try:
        return KernelCache(function)
    except (RuntimeError, OSError):
        return NullCache()


def explain_missing() -> str | None:
    """Say in one line that nothing is kept, and what helps; None if a folder can be written."""
    if not isinstance(cache_of(explain_missing), NullCache):
        return None
    return (
        "the compiled loops cannot be kept, as neither the program's folder nor the user's cache "
        "folder can be written, so every start takes longer; set NUMBA_CACHE_DIR to a folder "
        "that can be written"
    )
