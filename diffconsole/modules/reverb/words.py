"""What the reverb says of itself: room, plate or hall by the decay."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.numbers import decibels, short

__all__ = ["sentence", "summary"]

# Up to which decay in seconds.
ROOMS = ((0.8, "short room"), (2.0, "plate"), (float("inf"), "hall"))
# Down to which wet level in dB.
LOUDNESS = ((-10.0, "up front"), (-17.0, "clearly heard"), (-26.0, "behind"), (-100.0, "just felt"))


def sentence(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it for the sheet: ``"a plate of 1.8 s behind at −18 dB"``."""
    decay_s, wet_db = settings["decay_s"], settings["wet_db"]
    room = next(word for most, word in ROOMS if decay_s < most)
    loud = next(word for least, word in LOUDNESS if wet_db >= least)
    return [f"a {room} of {short(decay_s)} s {loud} at {decibels(wet_db)}"]


def summary(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it on the terminal: ``"reverb 1.8 s at -18 dB"``."""
    return [f"reverb {settings['decay_s']:.1f} s at {settings['wet_db']:.0f} dB"]
