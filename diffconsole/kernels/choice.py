"""Which implementation serves: what is installed, and what is forced."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["forced", "is_installed", "loops_serve", "use"]

_forced: ContextVar[str] = ContextVar("kernel", default="")


@contextlib.contextmanager
def use(name: str) -> Iterator[None]:
    """Force ``"cpu"``, ``"gpu"`` or ``"generic"`` kernels inside a ``with`` block."""
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def forced() -> str:
    """Return which implementation is forced, by :func:`use` or by the environment."""
    return _forced.get() or os.environ.get("DIFFCONSOLE_KERNEL", "")


@functools.cache
def is_installed(package: str) -> bool:
    """Return whether a package is there, without loading it."""
    return importlib.util.find_spec(package) is not None


def loops_serve() -> bool:
    """Return whether the compiled loops process audio in the computer's memory."""
    return forced() == "cpu" or (not forced() and is_installed("numba"))
