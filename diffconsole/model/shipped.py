"""Where the model is that is shipped with the package."""

from __future__ import annotations

from pathlib import Path

__all__ = ["default_model"]


def default_model() -> Path:
    """Return the folder of the model that is shipped with the package."""
    return Path(__file__).parent / "models" / "vocal-1"
