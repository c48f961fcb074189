"""What DAWproject's devices call a strip's settings, in the order of its schema."""

from __future__ import annotations

import math

from ..strip.parameters import BY_KEY, EQ_BANDS
from .base import Mapped

__all__ = [
    "BANDS",
    "BAND_TYPES",
    "BELL",
    "COMPRESSORS",
    "GAIN",
    "GATE",
    "GATE_MAPPED",
    "INPUT_GAIN",
    "LOWEST_FADER_DB",
    "PAN",
    "PROJECT",
    "VOLUME",
]

PROJECT = "project.xml"
LOWEST_FADER_DB = BY_KEY["output_gain.gain_db"].low
HIGHEST_RATIO = BY_KEY["compressor.ratio"].high
BAND_TYPES = {
    "high_pass": "highPass", "low_shelf": "lowShelf", "high_shelf": "highShelf",
    "low_pass": "lowPass",
}  # fmt: skip
BELL = "bell"


def _percent(ratio: float) -> float:
    return 100.0 * (1.0 - 1.0 / ratio)


def _ratio(percent: float, highest: float = HIGHEST_RATIO) -> float:
    # A limiter, 100 %, is the highest ratio that a strip has.
    if percent >= _percent(highest):
        return highest
    return 1.0 / (1.0 - percent / 100.0)


def _gate_ratio(percent: float) -> float:
    return _ratio(percent, BY_KEY["gate.ratio"].high)


def _volume(gain_db: float) -> float:
    return 10.0 ** (gain_db / 20.0)


def _volume_db(volume: float) -> float:
    # A fader that is all the way down is the lowest gain that a strip has.
    return 20.0 * math.log10(max(volume, _volume(LOWEST_FADER_DB)))


def _seconds(ms: float) -> float:
    return ms / 1000.0


def _ms(seconds: float) -> float:
    return seconds * 1000.0


def _band_mapped(band: str) -> tuple[Mapped, ...]:
    names = {"freq_hz": ("Freq", "hertz"), "gain_db": ("Gain", "decibel"), "q": ("Q", "linear")}
    return tuple(
        Mapped(f"eq.{band}.{name}", *theirs)
        for name, theirs in names.items()
        if f"eq.{band}.{name}" in BY_KEY
    )


GAIN = Mapped("input_gain.gain_db", "InputGain", "decibel")


def _compressor_mapped(key: str) -> tuple[Mapped, ...]:
    """Return a compressor's parameters in the order of the schema; the first has the gain."""
    return (
        Mapped(f"{key}.attack_ms", "Attack", "seconds", _seconds, _ms),
        *((GAIN,) if key == "compressor" else ()),
        Mapped(f"{key}.makeup_db", "OutputGain", "decibel"),
        Mapped(f"{key}.ratio", "Ratio", "percent", _percent, _ratio),
        Mapped(f"{key}.release_ms", "Release", "seconds", _seconds, _ms),
        Mapped(f"{key}.threshold_db", "Threshold", "decibel"),
    )


GATE = "gate"
"""Our module that is the format's noise gate."""

GATE_MAPPED = (
    Mapped(f"{GATE}.attack_ms", "Attack", "seconds", _seconds, _ms),
    Mapped(f"{GATE}.range_db", "Range", "decibel", lambda down: -down, lambda gain: -gain),
    Mapped(f"{GATE}.ratio", "Ratio", "percent", _percent, _gate_ratio),
    Mapped(f"{GATE}.release_ms", "Release", "seconds", _seconds, _ms),
    Mapped(f"{GATE}.threshold_db", "Threshold", "decibel"),
)
"""In the order of the schema. It stands before the gain, which its threshold is lower by."""

COMPRESSORS = {key: _compressor_mapped(key) for key in ("compressor", "compressor_2")}
BANDS = {band: _band_mapped(band) for band in EQ_BANDS}
PAN = Mapped(
    "pan.position", "Pan", "normalized", lambda p: (p + 1.0) / 2.0, lambda x: 2.0 * x - 1.0
)
VOLUME = Mapped("output_gain.gain_db", "Volume", "linear", _volume, _volume_db)
INPUT_GAIN = "input_gain.gain_db"
