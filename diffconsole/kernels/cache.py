"""Compiled loops on disk: a cache that is damaged, full or not writable only costs the time."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba.core import config
from numba.core.caching import FunctionCache, NullCache
from numba.core.runtime import rtsys

from .installed import FOLDER, InstalledImpl, has_installed_loops, was_compiled

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


class InstalledCache(KernelCache):
    """What was compiled when the package was installed, beside its modules; it is only read."""

    _impl_class: Any = InstalledImpl

    @property
    def holds_any(self) -> bool:
        """Whether there is anything of the function."""
        return os.path.isfile(self._cache_file._index_path)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep nothing."""

    def flush(self) -> None:
        """Leave what is damaged as it is."""


class LayeredCache(KernelCache):
    """The user's cache, and below it what was compiled when the package was installed."""

    def __init__(self, function: Callable[..., Any], installed: InstalledCache) -> None:
        super().__init__(function)
        self._installed = installed

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function of either, or None."""
        found = super().load_overload(sig, target_context)
        return self._installed.load_overload(sig, target_context) if found is None else found


def cache_of(function: Callable[..., Any]) -> Any:
    """Return the cache of a function; one that keeps nothing where no folder can be written."""
    beside = os.path.join(os.path.dirname(inspect.getfile(function)), FOLDER)
    try:
        own = KernelCache(function) if _knows_a_place(beside) else None
    except (RuntimeError, OSError):
        own = None
    if own is None:
        return _installed(function) or NullCache()
    if os.path.abspath(own.cache_path) == os.path.abspath(beside):
        return own
    installed = _installed(function)
    return own if installed is None else LayeredCache(function, installed)


def _knows_a_place(beside: str) -> bool:
    """Return False where numba would take the name ``~`` for a folder: a user without a home."""
    named = getattr(config, "CACHE_DIR", "") or os.environ.get("XDG_CACHE_HOME", "")
    known = os.path.isabs(named or os.path.expanduser("~"))
    return known or os.access(os.path.dirname(beside), os.W_OK)


def _installed(function: Callable[..., Any]) -> InstalledCache | None:
    try:
        found = InstalledCache(function)
    except (RuntimeError, OSError):
        return None
    return found if found.holds_any else None


def explain_missing() -> str | None:
    """Say in one line that nothing is kept, and what helps; None if it is or need not be."""
    if not isinstance(cache_of(explain_missing), NullCache):
        return None
    if has_installed_loops() and not was_compiled((InstalledCache, NullCache)):
        return None
    return (
        "the compiled loops cannot be kept, as neither the program's folder nor the user's cache "
        "folder can be written, so every start takes longer; set NUMBA_CACHE_DIR to a folder "
        "that can be written"
    )
