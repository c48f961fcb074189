"""What the two gains say of themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.numbers import LEAST_GAIN_DB, decibels

__all__ = ["input_sentence", "input_summary", "output_sentence", "output_summary"]


def _sentence(gain_db: float, where: str) -> list[str]:
    if abs(gain_db) < LEAST_GAIN_DB:
        return []
    return [f"{decibels(abs(gain_db))} {'up' if gain_db > 0 else 'down'} at the {where}"]


def input_sentence(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it for the sheet: ``"3 dB up at the input"``."""
    return _sentence(settings["gain_db"], "input")


def output_sentence(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it for the sheet: ``"3 dB down at the output"``."""
    return _sentence(settings["gain_db"], "output")


def input_summary(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it on the terminal: ``"input +3.0 dB"``."""
    return [f"input {settings['gain_db']:+.1f} dB"]


def output_summary(_: Mapping[str, float], __: Collection[str]) -> list[str]:
    """Say nothing on the terminal, where the line is for what shapes the sound."""
    return []
