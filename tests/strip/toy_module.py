"""A module that the chain does not have, for the tests: a slope of the spectrum, in torch."""

from __future__ import annotations

from torch import Tensor

from diffconsole.strip import chain
from diffconsole.strip.module import Module
from diffconsole.strip.parameter import Parameter

KEY = "slope"

SLOPE = Module(
    key=KEY,
    title="Slope",
    place="insert",
    since=2,
    implementation=__name__,
    parameters=(
        Parameter(KEY, "freq_hz", "Hz", 100.0, 5000.0, "log", 800.0, "Where both ends meet"),
        Parameter(
            KEY, "gain_db", "dB", -12.0, 12.0, "linear", 3.0, "Gain of the high end", 0.0, 0.02,
            amount="gain",
        ),
        Parameter(KEY, "blend", "", 0.0, 1.0, "linear", 1.0, "Share of it", since=3),
    ),
)  # fmt: skip


def insert() -> None:
    """Put it into the chain of this process."""
    chain.insert(SLOPE, after="eq")


def process(
    audio: Tensor, sample_rate: float, freq_hz: Tensor, gain_db: Tensor, blend: Tensor
) -> Tensor:
    """Turn up: what the tests look at is whether it runs."""
    return audio * (10.0 ** (gain_db * blend / 20.0)).to(audio).reshape(-1, 1, 1)
