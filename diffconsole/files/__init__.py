"""Files written whole or not at all, small files read within bounds, and what may be replaced.

The names below load what they need when they are first used, so the command line starts fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .files import (
        atomic_path,
        atomic_set,
        check_folder,
        check_output,
        clear_unfinished,
        remove_output,
        results_folder,
    )

__all__ = [
    "atomic_path",
    "atomic_set",
    "check_folder",
    "check_output",
    "clear_unfinished",
    "remove_output",
    "results_folder",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(".files", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
