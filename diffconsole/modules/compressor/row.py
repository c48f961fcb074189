"""The row of the compressor in the chain's table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

from ...strip.module import Module
from ...strip.parameter import Parameter
from ..gain.row import NO_GAIN
from . import words

__all__ = ["COMPRESSOR", "like_compressor"]

KEY = "compressor"
# With this ratio the gain changes by 0.02 dB at 10 dB above the threshold.
NO_RATIO = (1.0, 0.002)


def is_idle(settings: Mapping[str, float], off_bands: Collection[str]) -> bool:
    """Return whether none of the output is compressed."""
    return settings["mix"] == 0.0


COMPRESSOR = Module(
    key=KEY,
    title="Compressor",
    sentence=words.sentence,
    summary=words.summary,
    place="insert",
    parameters=(
        Parameter(
            KEY, "threshold_db", "dBFS", -60.0, 0.0, "linear", -22.0,
            "Level above which the compressor turns down",
            follows="input_gain.gain_db", drawn=(-45.0, -12.0),
        ),
        Parameter(
            KEY, "ratio", ":1", 1.0, 20.0, "log", 3.3,
            "dB of input for one dB of output above the threshold", *NO_RATIO,
            amount="ratio", drawn=(1.0, 12.0), silent=(1.0, 1.2),
        ),
        Parameter(
            KEY, "attack_ms", "ms", 0.05, 150.0, "log", 3.0, "Time to 63 % of a rise in level",
            drawn=(0.2, 60.0),
        ),
        Parameter(
            KEY, "release_ms", "ms", 3.0, 2000.0, "log", 120.0, "Time to 63 % of a fall in level",
            drawn=(20.0, 800.0),
        ),
        Parameter(
            KEY, "knee_db", "dB", 0.0, 24.0, "linear", 6.0,
            "Width of the bend around the threshold", drawn=(0.0, 12.0),
        ),
        Parameter(
            KEY, "makeup_db", "dB", -12.0, 24.0, "linear", 2.0, "Gain after the compression",
            *NO_GAIN, amount="gain", drawn=(0.0, 8.0),
        ),
        Parameter(
            KEY, "mix", "%", 0.0, 100.0, "linear", 100.0,
            "Share of the output that is compressed, the rest is the input", since=2,
        ),
    ),
    implementation="diffconsole.modules.compressor.module",
    script="compressor.js",
    effect="compressor.jsfx",
    is_idle=is_idle,
    always_written=(KEY,),
    gain_after="makeup_db",
)  # fmt: skip


def like_compressor(
    key: str, title: str, in_words: str, since: int, defaults: Mapping[str, float]
) -> Module:
    """Return a further compressor's row: same code, same ranges, other defaults.

    No training example draws its settings, and it is off by default.

    Parameters
    ----------
    key, title : str
        Its own.
    in_words : str
        What it is called within a sentence: ``"second compressor"``.
    since : int
        The minor version of the preset format that brings it.
    defaults : mapping of str to float
        By short name, of all parameters whose default is another.
    """
    parameters = tuple(
        replace(
            p,
            section=key,
            default=defaults.get(p.name, p.default),
            drawn=None,
            silent=None,
            since=0,
        )
        for p in COMPRESSOR.parameters
    )
    return replace(
        COMPRESSOR, key=key, title=title, parameters=parameters, since=since, always_written=(),
        sentence=partial(words.sentence, name=in_words),
        summary=partial(words.summary, name=title.lower()),
    )  # fmt: skip
