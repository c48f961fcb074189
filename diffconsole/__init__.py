"""diffconsole: a raw vocal in, a channel strip out.

``from diffconsole import Console, Preset, Predictor, VocalPairDataset``; each name loads what it
needs when it is first used, so importing the package stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .console import Console
    from .jobs.predictor import Predictor
    from .pairs.dataset import VocalPairDataset
    from .strip.preset import Preset

__version__ = "0.1.0"
__all__ = ["Console", "Predictor", "Preset", "VocalPairDataset", "__version__"]

_HOMES = {
    "Console": ".console",
    "Preset": ".strip.preset",
    "Predictor": ".jobs.predictor",
    "VocalPairDataset": ".pairs.dataset",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
