"""Gate and compressors as SoX's ``compand``, whose detector is theirs.

With one pair of times ``compand`` follows the louder channel,
``v += (1 − e^(−1/(fs·τ)))·(|x| − v)`` with the attack where that rises and the release where it
falls, and turns all channels by a curve of straight lines in dB. So any curve of gain over level
carries over by enough points: a knee, the make-up and the dry signal of a mix too. It has no hold;
a longer release stands for one. Source: SoX's manual, and measurement with 14.4.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ..strip.numbers import number
from .base import Mapped, Strip
from .gate_hold import release_ms

__all__ = [
    "COMPANDED",
    "MAPPED",
    "IMMEDIATE",
    "compand_notes",
    "companded",
    "is_same",
    "most_gain_db",
    "settings_line",
    "words",
]

LOWEST_DB = -120.0
SILENT_DB = -240.0
"""Where the detector starts."""

KNEE_POINTS, MIX_POINTS = 192, 384
LEAST_STEP_DB = 1e-5
LEAST_SLOPE = 1e-15
IMMEDIATE = "below one sample, which SoX's compand takes for none"

Points = list[tuple[float, float]]


def _gate_points(own: Mapping[str, float], _: float) -> Points:
    # Of a ratio of 1 in an edited comment, which then is not that of the effect.
    slope = max(own["ratio"] - 1.0, LEAST_SLOPE)
    under_db = min(own["range_db"] / slope, own["threshold_db"] - LOWEST_DB)
    return [(own["threshold_db"] - under_db, -slope * under_db), (own["threshold_db"], 0.0)]


def _compressor_points(own: Mapping[str, float], top_db: float) -> Points:
    threshold_db, knee_db, share = own["threshold_db"], own["knee_db"], own["mix"] / 100.0
    low_db, high_db = threshold_db - knee_db / 2.0, threshold_db + knee_db / 2.0
    levels = np.linspace(low_db, high_db, KNEE_POINTS if knee_db > 0.0 else 1)
    if share < 1.0 and top_db > high_db:
        levels = np.append(levels, np.linspace(high_db, top_db, MIX_POINTS)[1:])
    else:
        levels = np.append(levels, max(top_db, high_db + 1.0))
    over_db = np.clip(levels - low_db, 0.0, knee_db)
    bent_db = over_db**2 / (2.0 * knee_db) if knee_db > 0.0 else 0.0
    change_db = (1.0 / own["ratio"] - 1.0) * (bent_db + np.maximum(levels - high_db, 0.0))
    wet = share * 10.0 ** ((change_db + own["makeup_db"]) / 20.0)
    gains_db = 20.0 * np.log10(1.0 - share + wet)
    return list(zip(levels.tolist(), gains_db.tolist(), strict=True))


COMPANDED: dict[str, Callable[[Mapping[str, float], float], Points]] = {
    "gate": _gate_points,
    "compressor": _compressor_points,
    "compressor_2": _compressor_points,
}
"""By module its gains in dB over levels in dBFS, up to a highest level."""

MAPPED = tuple(
    Mapped(f"{key}.{name}", f"compand {theirs}", unit)
    for key, others in (
        ("gate", ("threshold_db", "ratio", "range_db")),
        *((key, ("threshold_db", "ratio", "knee_db", "makeup_db", "mix"))
          for key in COMPANDED if key != "gate"),
    )
    for name, theirs, unit in (
        ("attack_ms", "attack", "s"),
        ("release_ms", "decay", "s"),
        *((("hold_ms", "decay", "s"),) if key == "gate" else ()),
        *((other, "points", "dB") for other in others),
    )
)  # fmt: skip


def companded(strip: Strip) -> list[str]:
    """Return the modules that are on and become a ``compand``, in their order."""
    return [key for key in COMPANDED if strip.on(key)]


def compand_notes(strip: Strip) -> tuple[str, ...]:
    """Say where a time is shorter than SoX's compand has."""
    sample_ms = 1000.0 / strip.sample_rate
    keys = [f"{key}.attack_ms" for key in companded(strip)]
    return tuple(f"{key}: {IMMEDIATE}" for key in keys if strip[key] < sample_ms)


def most_gain_db(key: str, own: Mapping[str, float]) -> float:
    """Return the most that a module can turn up."""
    return max(gain_db for _, gain_db in COMPANDED[key](own, 0.0))


def words(key: str, own: Mapping[str, float], room_db: float) -> str:
    """Return the effect.

    Parameters
    ----------
    key : str
        Of the module.
    own : mapping of str to float
        Its settings by name.
    room_db : float
        By how much the signal is lower there than in the strip.
    """
    levels, gains = np.array(COMPANDED[key](own, room_db)).T
    # Below its first point compand keeps the gain. Its levels end at full scale, in and out, which
    # no signal reaches for which the room was made.
    last_db, highest_db = room_db, room_db + float(np.interp(room_db, levels, gains))
    if highest_db > room_db:
        # Below the first point the gain is that of the point.
        last_db = min(np.interp(room_db, levels + gains, levels), room_db - gains[0])
        highest_db = room_db
    points: Points = []
    for level, gain in zip(levels, gains, strict=True):
        follows = not points or level > points[-1][0] + LEAST_STEP_DB
        if follows and level < last_db - LEAST_STEP_DB:
            points.append((level, level + gain))
    points = points or [(last_db - 1.0, last_db - 1.0 + gains[0])]
    points.append((last_db, highest_db))
    if last_db < room_db - LEAST_STEP_DB:
        points.append((room_db, room_db))
    shown = ",".join(f"{number(i - room_db, 12)},{number(o - room_db, 12)}" for i, o in points)
    times = ",".join(number(ms / 1000.0, 12) for ms in (own["attack_ms"], release_ms(own)))
    return f"compand {times} {shown} 0 {number(SILENT_DB)}"


def settings_line(section: str, own: Mapping[str, float]) -> str:
    """Return the settings of a module as a line that :func:`diffconsole.export.sox` reads."""
    # Every digit: a mix that was rounded to 100 % would be another curve when it is read back.
    exact = {name: np.format_float_positional(value, trim="-") for name, value in own.items()}
    values = ", ".join(f"{name} {value}" for name, value in exact.items())
    return f"# {section}: {values}"


def is_same(written: str, wanted: str) -> bool:
    """Return whether two effects have the same numbers, but for their last digits."""
    found, expected = (_numbers(text) for text in (written, wanted))
    return len(found) == len(expected) and all(
        math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6) for a, b in zip(found, expected, strict=True)
    )


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.replace(",", " ").split()[1:]]
