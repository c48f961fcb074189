"""The row of the pan in the chain's table."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.module import Module
from ...strip.parameter import Parameter
from . import words

__all__ = ["PAN"]

# At this place the sides differ by 0.07 dB.
CENTRE = (0.0, 0.005)


def is_idle(settings: Mapping[str, float], off_bands: Collection[str]) -> bool:
    """Return whether the pan is at the centre: 0 dB on both sides, and a mono vocal stays mono."""
    return settings["position"] == 0.0


PAN = Module(
    key="pan",
    title="Pan",
    sentence=words.sentence,
    summary=words.summary,
    place="pan",
    parameters=(
        Parameter(
            "pan", "position", "", -1.0, 1.0, "linear", 0.0,
            "Place of the dry signal: −1 left, 0 centre, 1 right", *CENTRE,
            amount="gain", drawn=(0.0, 0.0),
        ),
    ),
    implementation="diffconsole.modules.pan.module",
    script="pan.js",
    effect="pan.jsfx",
    takes_gain=True,
    is_idle=is_idle,
)  # fmt: skip
