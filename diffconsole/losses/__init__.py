"""Losses: the distance between a mix and its target.

The names below load what they need when they are first used: the distance of arrays
(:mod:`.array_target`) needs no PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .distance import MixTarget, mix_distance, mix_distance_terms, spectral_distance
    from .terms import REPORTED, Term

__all__ = [
    "REPORTED",
    "MixTarget",
    "Term",
    "mix_distance",
    "mix_distance_terms",
    "spectral_distance",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        module = ".terms" if name in ("REPORTED", "Term") else ".distance"
        return getattr(importlib.import_module(module, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
