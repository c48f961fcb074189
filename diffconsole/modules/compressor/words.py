"""What the compressor says of itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.numbers import LEAST_GAIN_DB, decibels, short

__all__ = ["sentence", "summary"]


def sentence(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it for the sheet: ``"3.3:1 above −22 dBFS (3 ms attack, 120 ms release)"``."""
    words = f"{short(settings['ratio'])}:1 above {short(round(settings['threshold_db']), 3)} dBFS"
    attack, release = short(settings["attack_ms"]), short(settings["release_ms"])
    words += f" ({attack} ms attack, {release} ms release)"
    makeup_db = settings["makeup_db"]
    if abs(makeup_db) < LEAST_GAIN_DB:
        return [words]
    return [words, f"{decibels(makeup_db)} of make-up"]


def summary(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it on the terminal: ``"compressor 3.3:1 over -22 dBFS"``."""
    return [f"compressor {settings['ratio']:.1f}:1 over {settings['threshold_db']:.0f} dBFS"]
