"""diffconsole: a raw vocal in, a channel strip out.

``from diffconsole import Console, Preset, Predictor``; each name loads what it needs when it is
first used, so importing the package stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .console import Console
    from .model.predictor import Predictor
    from .strip.preset import Preset

__version__ = "0.1.0"
__all__ = ["Console", "Predictor", "Preset", "__version__"]

_HOMES = {"Console": ".console", "Preset": ".strip.preset", "Predictor": ".model.predictor"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
