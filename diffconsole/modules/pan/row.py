"""The row of the pan in the chain's table."""

from __future__ import annotations

from ...strip.module import Module
from ...strip.parameter import Parameter
from . import words

__all__ = ["PAN"]

# At this place the sides differ by 0.07 dB.
CENTRE = (0.0, 0.005)

PAN = Module(
    key="pan",
    title="Pan",
    sentence=words.sentence,
    summary=words.summary,
    place="pan",
    parameters=(
        Parameter(
            "pan", "position", "", -1.0, 1.0, "linear", 0.0,
            "Place of the dry signal: -1 left, 0 centre, 1 right", *CENTRE,
            amount="gain", drawn=(0.0, 0.0),
        ),
    ),
    implementation="diffconsole.modules.pan.module",
    takes_gain=True,
)  # fmt: skip
