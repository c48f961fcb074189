"""Loops that were compiled when the package was installed, where users may only read.

numba takes a cache that it cannot write for none. In a container, or where an administrator
installed the package, the loops beside the modules are whole all the same.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from numba.core.caching import (
    CompileResultCacheImpl,
    _CacheLocator,
    _SourceFileBackedLocatorMixin,
)
from numba.core.dispatcher import Dispatcher

__all__ = ["FOLDER", "InstalledImpl", "has_installed_loops", "was_compiled"]

FOLDER = "__pycache__"


class InstalledLocator(_SourceFileBackedLocatorMixin, _CacheLocator):
    """The folder of compiled files beside a module."""

    def __init__(self, function: Any, file: str) -> None:
        self._py_file = file
        self._lineno = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        """Return the folder."""
        return os.path.join(os.path.dirname(self._py_file), FOLDER)

    def ensure_cache_path(self) -> None:
        """Take the folder as it is; it need not be writable."""


class InstalledImpl(CompileResultCacheImpl):
    """How numba finds the files of a function there."""

    _locator_classes = [InstalledLocator]


def has_installed_loops() -> bool:
    """Return whether loops lie beside the modules of this package."""
    return any((Path(__file__).parent / FOLDER).glob("*.nbi"))


def was_compiled(kinds: tuple[type[Any], ...]) -> bool:
    """Return whether this process compiled a loop of ours whose cache is of these kinds.

    The processor may be of another kind than where the package was installed.
    """
    return any(
        isinstance(loop, Dispatcher)
        and isinstance(getattr(loop, "_cache", None), kinds)
        and loop.stats.cache_misses
        for name, module in list(sys.modules.items())
        if name.startswith("diffconsole.")
        for loop in vars(module).values()
    )
