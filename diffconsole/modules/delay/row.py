"""The row of the delay in the chain's table."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.module import Module
from ...strip.parameter import Parameter
from . import words

__all__ = ["DELAY"]

KEY = "delay"
NONE_DB = -60.0


def is_idle(settings: Mapping[str, float], off_bands: Collection[str]) -> bool:
    """Return whether its level is the low end of the range, which is none."""
    return settings["wet_db"] <= NONE_DB


DELAY = Module(
    key=KEY,
    title="Delay",
    place="send",
    parameters=(
        # Six digits of a long time are 10 ns, as for the reverb's pre-delay.
        Parameter(
            KEY, "time_ms", "ms", 20.0, 1500.0, "log", 306.0, "Time from echo to echo",
            decimals=5, has_gradient=False,
        ),
        Parameter(
            KEY, "feedback", "", 0.0, 0.9, "linear", 0.46,
            "Level of an echo against the one before",
        ),
        Parameter(
            KEY, "low_cut_hz", "Hz", 20.0, 1000.0, "log", 200.0,
            "High-pass in the loop, Q 0.71",
        ),
        Parameter(
            KEY, "high_cut_hz", "Hz", 1000.0, 20000.0, "log", 6000.0,
            "Low-pass in the loop, Q 0.71",
        ),
        Parameter(
            KEY, "width", "", 0.0, 1.0, "linear", 0.3,
            "0 all echoes in the middle, 1 from side to side, the first left",
        ),
        Parameter(
            KEY, "wet_db", "dB", NONE_DB, 6.0, "linear", -24.0,
            "Level of the first echo against the dry signal; −60 is none",
            NONE_DB, 0.02, amount="level",
        ),
        Parameter(
            KEY, "reverb_send_db", "dB", NONE_DB, 6.0, "linear", NONE_DB,
            "Level at which the echoes go into the reverb as well; −60 is none",
            NONE_DB, 0.02,
        ),
    ),
    implementation="diffconsole.modules.delay.module",
    since=2,
    is_idle=is_idle,
    feeds="reverb_send_db",
    takes_gain=True,
    takes_dry=True,
    sentence=words.sentence,
    summary=words.summary,
    script="delay.js",
    effect="delay.jsfx",
)  # fmt: skip
