"""The row of the compressor in the chain's table."""

from __future__ import annotations

from ...strip.module import Module
from ...strip.parameter import Parameter
from ..gain.row import NO_GAIN
from . import words

__all__ = ["COMPRESSOR"]

# With this ratio the gain changes by 0.02 dB at 10 dB above the threshold.
NO_RATIO = (1.0, 0.002)


def _parameters(key: str) -> tuple[Parameter, ...]:
    return (
        Parameter(
            key, "threshold_db", "dBFS", -60.0, 0.0, "linear", -22.0,
            "Level above which the compressor turns down",
            follows="input_gain.gain_db", drawn=(-45.0, -12.0),
        ),
        Parameter(
            key, "ratio", ":1", 1.0, 20.0, "log", 3.3,
            "dB of input for one dB of output above the threshold", *NO_RATIO,
            amount="ratio", drawn=(1.0, 12.0), silent=(1.0, 1.2),
        ),
        Parameter(
            key, "attack_ms", "ms", 0.05, 150.0, "log", 3.0, "Time to 63 % of a rise in level",
            drawn=(0.2, 60.0),
        ),
        Parameter(
            key, "release_ms", "ms", 3.0, 2000.0, "log", 120.0, "Time to 63 % of a fall in level",
            drawn=(20.0, 800.0),
        ),
        Parameter(
            key, "knee_db", "dB", 0.0, 24.0, "linear", 6.0,
            "Width of the bend around the threshold", drawn=(0.0, 12.0),
        ),
        Parameter(
            key, "makeup_db", "dB", -12.0, 24.0, "linear", 2.0, "Gain after the compression",
            *NO_GAIN, amount="gain", drawn=(0.0, 8.0),
        ),
    )  # fmt: skip


COMPRESSOR = Module(
    key="compressor",
    title="Compressor",
    sentence=words.sentence,
    summary=words.summary,
    place="insert",
    parameters=_parameters("compressor"),
    implementation="diffconsole.modules.compressor.module",
    script="compressor.js",
    effect="compressor.jsfx",
    always_written=("compressor",),
    gain_after="makeup_db",
)
