"""What the de-esser says of itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.numbers import decibels, frequency

__all__ = ["sentence", "summary"]


def sentence(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it for the sheet: ``"esses above 5.5 kHz up to 6 dB down"``."""
    where = frequency(settings["freq_hz"])
    return [f"esses above {where} up to {decibels(settings['range_db'])} down"]


def summary(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it on the terminal: ``"de-esser -6 dB from 5.5 kHz"``."""
    return [f"de-esser -{settings['range_db']:.0f} dB from {settings['freq_hz'] / 1000:.1f} kHz"]
