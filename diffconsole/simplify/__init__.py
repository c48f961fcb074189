"""The simplest strip that sounds the same: fewer bands, round values, no lifted low end.

The names below load what they need when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .strip import SAME, Simplified, bands_of, simplify, simplify_take

__all__ = ["SAME", "Simplified", "bands_of", "simplify", "simplify_take"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(".strip", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
