"""What the equalizer says of itself, band by band.

The sentence uses the words of those who mix: mud, body, presence, sibilance, air by the frequency.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.numbers import LEAST_GAIN_DB, decibels, frequency

__all__ = ["sentence", "summary"]

# Up to which frequency in Hz: the word where it is turned up, and where it is turned down.
REGIONS = (
    (130.0, "weight", "rumble"),
    (250.0, "body", "body"),
    (550.0, "warmth", "mud"),
    (1100.0, "midrange", "boxiness"),
    (2200.0, "forwardness", "nasal tone"),
    (5000.0, "presence", "harshness"),
    (9000.0, "clarity", "sibilance"),
    (float("inf"), "air", "air"),
)


def sentence(settings: Mapping[str, float], off_bands: Collection[str]) -> list[str]:
    """Say it for the sheet: ``["high-pass at 90 Hz", "3 dB less mud at 320 Hz"]``."""
    return [words for b in _on(settings, off_bands) for words in _in_sentence(settings, b)]


def summary(settings: Mapping[str, float], off_bands: Collection[str]) -> list[str]:
    """Say it on the terminal: ``["high-pass 90 Hz", "bell +2.0 dB at 6.5 kHz"]``."""
    return [_in_summary(settings, band) for band in _on(settings, off_bands)]


def _on(settings: Mapping[str, float], off_bands: Collection[str]) -> list[str]:
    """Return the bands that are on, in the order of the settings: that of the signal."""
    bands = dict.fromkeys(name.partition(".")[0] for name in settings)
    return [band for band in bands if band not in off_bands]


def _in_sentence(settings: Mapping[str, float], band: str) -> list[str]:
    freq_hz = settings[f"{band}.freq_hz"]
    at = frequency(freq_hz)
    if band.endswith("pass"):
        return [f"{band.replace('_', '-')} at {at}"]
    gain_db = settings[f"{band}.gain_db"]
    if abs(gain_db) < LEAST_GAIN_DB:
        return []
    place = {"low_shelf": "below", "high_shelf": "above"}.get(band, "at")
    more, less = next((up, down) for most, up, down in REGIONS if freq_hz < most)
    if band == "low_shelf":
        more = less = "weight" if freq_hz < REGIONS[0][0] else "body"
    if band == "high_shelf":
        more = less = "brightness" if freq_hz < REGIONS[5][0] else "air"
    word = f"more {more}" if gain_db > 0 else f"less {less}"
    return [f"{decibels(abs(gain_db))} {word} {place} {at}"]


def _in_summary(settings: Mapping[str, float], band: str) -> str:
    freq_hz = settings[f"{band}.freq_hz"]
    place = f"{freq_hz:.0f} Hz" if freq_hz < 999.5 else f"{freq_hz / 1000.0:.3g} kHz"
    if band.endswith("pass"):
        return f"{band.replace('_', '-')} {place}"
    kind = "bell" if band.startswith("peak") else band.replace("_", " ")
    return f"{kind} {settings[f'{band}.gain_db']:+.1f} dB at {place}"
