"""The row of the gate in the chain's table."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.module import Module
from ...strip.parameter import Parameter
from . import words

__all__ = ["GATE"]

KEY = "gate"


def is_idle(settings: Mapping[str, float], off_bands: Collection[str]) -> bool:
    """Return whether its range or its ratio lets it turn nothing down."""
    return settings["range_db"] == 0.0 or settings["ratio"] == 1.0


GATE = Module(
    key=KEY,
    title="Gate",
    place="insert",
    parameters=(
        Parameter(
            KEY, "threshold_db", "dBFS", -80.0, -10.0, "linear", -50.0,
            "Level below which the gate turns down",
            follows="input_gain.gain_db",
        ),
        Parameter(
            KEY, "ratio", ":1", 1.0, 20.0, "log", 2.0,
            "dB of output for one dB of input below the threshold", 1.0, 0.002,
        ),
        Parameter(
            KEY, "range_db", "dB", 0.0, 60.0, "linear", 15.0, "The most that it turns down",
            0.0, 0.02, amount="gain", silent=(0.0, 1.0),
        ),
        Parameter(
            KEY, "attack_ms", "ms", 0.05, 50.0, "log", 1.0,
            "Time to 63 % of a rise in level: how fast it opens",
        ),
        Parameter(
            KEY, "hold_ms", "ms", 0.0, 500.0, "linear", 40.0,
            "Time that the level is held before it falls",
        ),
        Parameter(
            KEY, "release_ms", "ms", 3.0, 2000.0, "log", 150.0,
            "Time to 63 % of a fall in level: how fast it closes",
        ),
    ),
    implementation="diffconsole.modules.gate.module",
    since=1,
    is_idle=is_idle,
    sentence=words.sentence,
    summary=words.summary,
    script="gate.js",
    effect="gate.jsfx",
)  # fmt: skip
