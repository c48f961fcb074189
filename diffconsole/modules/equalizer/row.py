"""The row of the equalizer in the chain's table."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.module import Module
from ...strip.parameter import Amount, Parameter
from ..gain.row import NO_GAIN
from . import words

__all__ = ["EQUALIZER", "EQ_BANDS"]

KEY = "eq"

EQ_BANDS = (
    "high_pass",
    "low_shelf",
    "peak_1",
    "peak_2",
    "peak_3",
    "peak_4",
    "high_shelf",
    "low_pass",
)
"""The EQ's sections in chain order."""


def _cut(band: str, low_hz: float, high_hz: float, freq_hz: float, what: str,
         drawn: tuple[float, float]) -> tuple[Parameter, ...]:  # fmt: skip
    section = f"{KEY}.{band}"
    at_low_end = band == "high_pass"
    amount: Amount = "to_low_end" if at_low_end else "to_high_end"
    return (
        Parameter(
            section, "freq_hz", "Hz", low_hz, high_hz, "log", freq_hz, f"Corner of {what}",
            amount=amount, neutral=low_hz if at_low_end else high_hz, drawn=drawn,
            silent=(low_hz, 40.0) if at_low_end else (16000.0, high_hz),
        ),
        Parameter(
            section, "q", "", 0.3, 6.0, "log", 0.71, f"Q of {what}",
            amount="resonance", neutral=0.71, drawn=(0.5, 1.0),
        ),
    )  # fmt: skip


def _shelf(band: str, low_hz: float, high_hz: float, freq_hz: float) -> tuple[Parameter, ...]:
    section, what = f"{KEY}.{band}", f"the {band.replace('_', ' ')}"
    return (
        Parameter(section, "freq_hz", "Hz", low_hz, high_hz, "log", freq_hz, f"Corner of {what}"),
        Parameter(
            section, "gain_db", "dB", -15.0, 15.0, "linear", 0.0, f"Gain of {what}", *NO_GAIN,
            amount="gain", drawn=(-12.0, 12.0), silent=(-1.0, 1.0),
        ),
        Parameter(section, "q", "", 0.3, 3.0, "log", 0.71, f"Q of {what}", drawn=(0.5, 1.0)),
    )  # fmt: skip


def _peak(number: int, low_hz: float, high_hz: float, freq_hz: float, where: str
          ) -> tuple[Parameter, ...]:  # fmt: skip
    section, what = f"{KEY}.peak_{number}", f"peak {number}, {where}"
    return (
        Parameter(section, "freq_hz", "Hz", low_hz, high_hz, "log", freq_hz, f"Centre of {what}"),
        Parameter(
            section, "gain_db", "dB", -15.0, 15.0, "linear", 0.0, f"Gain of {what}", *NO_GAIN,
            amount="gain", drawn=(-8.0, 8.0), silent=(-1.0, 1.0),
        ),
        Parameter(section, "q", "", 0.2, 20.0, "log", 1.0, f"Q of {what}", drawn=(0.4, 4.0)),
    )  # fmt: skip


def is_idle(settings: Mapping[str, float], off_bands: Collection[str]) -> bool:
    """Return whether no band is on: the EQ does nothing then."""
    return set(EQ_BANDS) <= set(off_bands)


EQUALIZER = Module(
    key=KEY,
    title="EQ",
    sentence=words.sentence,
    summary=words.summary,
    place="insert",
    parameters=(
        *_cut("high_pass", 16.0, 1000.0, 90.0, "the high-pass, 12 dB/oct", drawn=(20.0, 200.0)),
        *_shelf("low_shelf", 30.0, 450.0, 180.0),
        *_peak(1, 60.0, 1000.0, 320.0, "low mids"),
        *_peak(2, 200.0, 3000.0, 900.0, "mids"),
        *_peak(3, 800.0, 8000.0, 3000.0, "presence"),
        *_peak(4, 2000.0, 18000.0, 7500.0, "sibilance and air"),
        *_shelf("high_shelf", 750.0, 16000.0, 10000.0),
        *_cut("low_pass", 4000.0, 20000.0, 18000.0, "the low-pass, 12 dB/oct",
              drawn=(6000.0, 20000.0)),
    ),
    implementation="diffconsole.modules.equalizer.module",
    script="equalizer.js",
    effect="equalizer.jsfx",
    bands=EQ_BANDS,
    always_written=(KEY, f"{KEY}.high_pass", f"{KEY}.low_pass"),
    takes_gain=True,
    is_idle=is_idle,
)  # fmt: skip
