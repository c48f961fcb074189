"""What the saturation says of itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.numbers import decibels, short

__all__ = ["sentence", "summary"]


def sentence(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it for the sheet: ``"6 dB of drive (bias 0.2, 50 % mix)"``."""
    more = []
    if settings["bias"] != 0.0:
        more.append(f"bias {short(settings['bias'], 2)}")
    if settings["mix"] != 100.0:
        more.append(f"{short(settings['mix'])} % mix")
    return [f"{decibels(settings['drive_db'])} of drive" + (f" ({', '.join(more)})" * bool(more))]


def summary(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it on the terminal: ``"saturation 6 dB"``."""
    return [f"saturation {settings['drive_db']:.0f} dB"]
