"""What the compressor says of itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.numbers import LEAST_GAIN_DB, decibels, short

__all__ = ["sentence", "summary"]

ALL_WET = 99.5
"""A mix above it is no parallel compression in words."""


def sentence(settings: Mapping[str, float], _: Collection[str], name: str = "") -> list[str]:
    """Say it for the sheet: ``"3.3:1 above −22 dBFS (3 ms attack, 120 ms release)"``.

    Make-up follows, and ``"parallel, 60 % wet"`` where part of the output is not compressed. With a
    name, by which a further compressor differs from the first, all is one part:
    ``"second compressor 2:1 above −24 dBFS (20 ms attack, 400 ms release, 1 dB of make-up)"``.
    """
    curve = f"{short(settings['ratio'])}:1 above {short(round(settings['threshold_db']), 3)} dBFS"
    attack, release = short(settings["attack_ms"]), short(settings["release_ms"])
    times = f"{attack} ms attack, {release} ms release"
    makeup_db, mix = settings["makeup_db"], settings.get("mix", 100.0)
    more = []
    if abs(makeup_db) >= LEAST_GAIN_DB:
        more.append(f"{decibels(makeup_db)} of make-up")
    if mix < ALL_WET:
        more.append(f"parallel, {short(mix)} % wet")
    if name:
        return [f"{name} {curve} ({', '.join((times, *more))})"]
    return [f"{curve} ({times})", *more]


def summary(
    settings: Mapping[str, float], _: Collection[str], name: str = "compressor"
) -> list[str]:
    """Say it on the terminal: ``"compressor 3.3:1 over -22 dBFS"``."""
    words = f"{name} {settings['ratio']:.1f}:1 over {settings['threshold_db']:.0f} dBFS"
    mix = settings.get("mix", 100.0)
    return [words if mix >= ALL_WET else f"{words} ({mix:.0f} % wet)"]
