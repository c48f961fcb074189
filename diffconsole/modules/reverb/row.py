"""The row of the reverb in the chain's table."""

from __future__ import annotations

from ...strip.module import Module
from ...strip.parameter import Parameter
from . import words

__all__ = ["REVERB"]

KEY = "reverb"

REVERB = Module(
    key=KEY,
    title="Reverb",
    sentence=words.sentence,
    summary=words.summary,
    place="send",
    parameters=(
        # Five digits of a long pre-delay would turn the phase of the return by up to half a radian
        # at 16 kHz; 10 ns keep the render within -60 dB.
        Parameter(
            KEY, "pre_delay_ms", "ms", 0.0, 120.0, "linear", 20.0, "Time before the reverb starts",
            decimals=5, drawn=(0.0, 60.0), has_gradient=False,
        ),
        Parameter(KEY, "decay_s", "s", 0.1, 8.0, "log", 1.8, "T60 at 1 kHz", drawn=(0.2, 4.0)),
        Parameter(
            KEY, "low_ratio", "", 0.1, 4.0, "log", 0.9,
            "T60 at 250 Hz and below, as a share of decay_s", drawn=(0.4, 1.6),
        ),
        Parameter(
            KEY, "high_ratio", "", 0.05, 1.5, "log", 0.6,
            "T60 at 8 kHz and above, as a share of decay_s", drawn=(0.2, 1.0),
        ),
        Parameter(
            KEY, "low_cut_hz", "Hz", 20.0, 1000.0, "log", 200.0, "High-pass on the send, Q 0.71",
            drawn=(20.0, 400.0),
        ),
        Parameter(
            KEY, "high_cut_hz", "Hz", 1000.0, 20000.0, "log", 9000.0,
            "Low-pass on the send, Q 0.71", drawn=(4000.0, 16000.0),
        ),
        Parameter(
            KEY, "width", "", 0.0, 1.0, "linear", 1.0, "0 mono, 1 two independent sides",
            drawn=(0.0, 1.0),
        ),
        Parameter(
            KEY, "wet_db", "dB", -60.0, 6.0, "linear", -18.0,
            "Level of a side of the return against one side of the dry signal",
            amount="level", neutral=-60.0, drawn=(-42.0, 0.0), silent=(-60.0, -40.0),
        ),
    ),
    implementation="diffconsole.modules.reverb.module",
    script="reverb.js",
    effect="reverb.jsfx",
    always_written=(KEY,),
    gain_after="wet_db",
)  # fmt: skip
