"""The rows of the two gains in the chain's table: before everything, and after everything."""

from __future__ import annotations

from ...strip.module import Module, Place, Words
from ...strip.parameter import Parameter
from . import words

__all__ = ["INPUT_GAIN", "NO_GAIN", "OUTPUT_GAIN"]

NO_GAIN = (0.0, 0.02)
"""The gain that does nothing, and what is inaudible around it, in dB."""


def _gain(
    key: str, title: str, place: Place, high_db: float, meaning: str, drawn: tuple[float, float],
    sentence: Words, summary: Words,
) -> Module:  # fmt: skip
    level = Parameter(
        key, "gain_db", "dB", -48.0, high_db, "linear", 0.0, meaning, *NO_GAIN,
        amount="gain", drawn=drawn,
    )  # fmt: skip
    return Module(key, title, place, (level,), "diffconsole.modules.gain.module",
                  gain_after="gain_db", sentence=sentence, summary=summary,
                  script="gain.js", effect="gain.jsfx")  # fmt: skip


INPUT_GAIN = _gain(
    "input_gain", "Input gain", "input", 48.0, "Gain before everything", drawn=(0.0, 0.0),
    sentence=words.input_sentence, summary=words.input_summary,
)  # fmt: skip
OUTPUT_GAIN = _gain(
    "output_gain", "Output gain", "output", 24.0, "Gain after everything", drawn=(-12.0, 12.0),
    sentence=words.output_sentence, summary=words.output_summary,
)  # fmt: skip
