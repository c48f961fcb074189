"""What the delay says of itself, and which note value at which tempo a time is."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...strip.numbers import decibels, short

__all__ = ["NOTES", "in_beats", "sentence", "summary"]

NOTES: Mapping[str, float] = {
    "1/4": 1.0, "1/8": 0.5, "1/8 dotted": 0.75, "1/16": 0.25, "1/4 triplet": 2.0 / 3.0,
    "1/8 triplet": 1.0 / 3.0, "1/4 dotted": 1.5, "1/2": 2.0, "1/16 dotted": 0.375,
}  # fmt: skip
"""Note values in beats of a quarter, the commonest of delays first."""

TOLERANCE = 0.02
"""Share by which a time may miss a note value."""

NONE_DB = -60.0


def in_beats(time_ms: float, bpm: float, tolerance: float = TOLERANCE) -> str:
    """Say which note value a time is at a tempo.

    Parameters
    ----------
    time_ms : float
        Between echoes.
    bpm : float
        Quarters a minute.
    tolerance : float
        Share of the note value by which the time may miss it.

    Returns
    -------
    str
        ``"306 ms = 1/8 dotted at 147 BPM"``; empty if no note value fits.
    """
    if bpm <= 0.0:
        return ""
    beat_ms = 60000.0 / bpm
    miss, note = min((abs(time_ms / (beats * beat_ms) - 1.0), n) for n, beats in NOTES.items())
    if miss > tolerance:
        return ""
    return f"{short(time_ms, 3)} ms = {note} at {short(bpm, 3)} BPM"


def sentence(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it for the sheet: ``"echoes every 306 ms at −24 dB, each 46 % of the one before"``."""
    feedback, sent_db = settings["feedback"], settings["reverb_send_db"]
    where = f"{short(settings['time_ms'], 3)} ms at {decibels(settings['wet_db'])}"
    share = 100.0 * feedback
    words = f"an echo after {where}"
    if share >= 0.5:
        words = f"echoes every {where}, each {short(share)} % of the one before"
    if settings["width"] >= 0.05:
        words += ", from side to side" if settings["width"] >= 0.5 else ", a little wide"
    if sent_db > NONE_DB:
        words += f", and at {decibels(sent_db)} into the reverb"
    return [words]


def summary(settings: Mapping[str, float], _: Collection[str]) -> list[str]:
    """Say it on the terminal: ``"delay 306 ms at -24 dB"``."""
    return [f"delay {settings['time_ms']:.0f} ms at {settings['wet_db']:.0f} dB"]
