"""The row of the de-esser in the chain's table."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.module import Module
from ...strip.parameter import Parameter
from . import words

__all__ = ["DEESSER"]

KEY = "deesser"


def is_idle(settings: Mapping[str, float], off_bands: Collection[str]) -> bool:
    """Return whether its range lets it turn nothing down."""
    return settings["range_db"] == 0.0


DEESSER = Module(
    key=KEY,
    title="De-esser",
    place="insert",
    parameters=(
        Parameter(
            KEY, "freq_hz", "Hz", 2000.0, 12000.0, "log", 5500.0,
            "Where the split lies; what is above it is turned down",
        ),
        Parameter(
            KEY, "threshold_db", "dB", -40.0, 0.0, "linear", -12.0,
            "Level of what lies above the split against the whole voice, from which it acts",
        ),
        Parameter(
            KEY, "range_db", "dB", 0.0, 24.0, "linear", 6.0, "The most that it turns down",
            0.0, 0.02, amount="gain", silent=(0.0, 1.0),
        ),
        Parameter(
            KEY, "attack_ms", "ms", 0.05, 50.0, "log", 0.5, "Time to 63 % of a rise in level",
        ),
        Parameter(
            KEY, "release_ms", "ms", 3.0, 500.0, "log", 40.0, "Time to 63 % of a fall in level",
        ),
    ),
    implementation="diffconsole.modules.deesser.module",
    since=1,
    is_idle=is_idle,
    sentence=words.sentence,
    summary=words.summary,
    script="deesser.js",
    effect="deesser.jsfx",
)  # fmt: skip
