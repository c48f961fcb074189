"""What the gate says of itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.numbers import decibels, short

__all__ = ["sentence", "summary"]


def sentence(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it for the sheet: ``"up to 15 dB less below −50 dBFS (2:1, 40 ms hold)"``."""
    threshold = short(round(settings["threshold_db"]), 3)
    how = f"{short(settings['ratio'])}:1, {short(settings['hold_ms'])} ms hold"
    return [f"up to {decibels(settings['range_db'])} less below {threshold} dBFS ({how})"]


def summary(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it on the terminal: ``"gate -15 dB under -50 dBFS"``."""
    return [f"gate -{settings['range_db']:.0f} dB under {settings['threshold_db']:.0f} dBFS"]
