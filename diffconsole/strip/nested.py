"""Modules and bands as a preset's file nests them: ``{"eq": {"peak_1": {"gain_db": 3.0}}}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_present", "look_up", "make_place"]


def make_place(strip: dict[str, Any], section: str) -> dict[str, Any]:
    """Return the object of a module or band, ``"eq.peak_1"``, made where there is none."""
    for part in section.split("."):
        strip = strip.setdefault(part, {})
    return strip


def is_present(strip: Mapping[str, Any], section: str) -> bool:
    """Return whether a module or band has an object."""
    place: Any = strip
    for part in section.split("."):
        if part not in place:
            return False
        place = place[part]
    return True


def look_up(strip: Mapping[str, Any], section: str) -> Any:
    """Return the object of a module or band, an empty one where there is none."""
    place: Any = strip
    for part in section.split("."):
        place = place.get(part, {})
    return place
