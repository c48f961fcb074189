"""What the pan says of itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping

__all__ = ["sentence", "summary"]


def sentence(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it for the sheet: ``"panned 30 % left"``."""
    percent = 100 * abs(settings["position"])
    if round(percent) == 0:
        return []
    return [f"panned {percent:.0f} % {'left' if settings['position'] < 0 else 'right'}"]


def summary(_: Mapping[str, float], __: Collection[str]) -> list[str]:
    """Say nothing on the terminal, where the line is for what shapes the sound."""
    return []
