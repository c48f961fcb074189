"""The row of the saturation in the chain's table."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.module import Module
from ...strip.parameter import Parameter
from . import words

__all__ = ["SATURATION"]

KEY = "saturation"


def is_idle(settings: Mapping[str, float], off_bands: Collection[str]) -> bool:
    """Return whether its drive or its mix leaves the signal as it is."""
    return settings["drive_db"] == 0.0 or settings["mix"] == 0.0


SATURATION = Module(
    key=KEY,
    title="Saturation",
    place="insert",
    parameters=(
        Parameter(
            KEY, "drive_db", "dB", 0.0, 20.0, "linear", 6.0,
            "How hard the curve is driven; a level of −18 dBFS is kept",
            0.0, 0.02, amount="gain",
        ),
        Parameter(
            KEY, "bias", "", -0.8, 0.8, "linear", 0.0,
            "How much the two halves of the wave differ: even harmonics", 0.0, 0.005, decimals=4,
        ),
        Parameter(
            KEY, "mix", "%", 0.0, 100.0, "linear", 100.0, "Share of the saturated signal",
            0.0, 0.2, decimals=2, neutral=100.0,
        ),
    ),
    implementation="diffconsole.modules.saturation.module",
    since=2,
    is_idle=is_idle,
    sentence=words.sentence,
    summary=words.summary,
    script="saturation.js",
    effect="saturation.jsfx",
)  # fmt: skip
