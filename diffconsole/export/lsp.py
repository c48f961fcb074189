"""What the Linux Studio Plugins' equalizer and compressor call a strip's settings.

LV2 presets and EasyEffects' presets both set these two plug-ins. Filters of mode "APO (DR)" are the
Audio EQ Cookbook's. The compressor's times are those in which its detector makes ``1/√2`` of a
step, ``−ln(1 − 1/√2) = 1.228`` time constants; its knee is a factor below the threshold, half of
ours in dB. Source: LSP's documentation, its plug-ins' descriptions (``lv2info``), and measurement
with release 1.2.5.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from ..errors import ExportError
from ..files.small_files import read_small
from ..strip.parameters import BY_KEY, EQ_BANDS
from .base import Mapped

__all__ = [
    "COMPRESSORS",
    "FILTER_MODE",
    "FILTERS",
    "TIME_PER_TAU",
    "decibels",
    "linear",
    "ours",
    "pan_balance",
    "pan_level",
    "pan_position",
    "read_text",
    "switches_off",
    "theirs",
    "time",
    "time_constant",
]

FILTERS = {
    "high_pass": (2, "Hi-pass"),
    "low_shelf": (5, "Lo-shelf"),
    "peak_1": (1, "Bell"),
    "peak_2": (1, "Bell"),
    "peak_3": (1, "Bell"),
    "peak_4": (1, "Bell"),
    "high_shelf": (3, "Hi-shelf"),
    "low_pass": (4, "Lo-pass"),
}
"""By band the filter's type: the port's value, and the name that people see."""

FILTER_MODE = (6, "APO (DR)")
COMPRESSORS = ("compressor", "compressor_2")
"""The modules that a compressor of LSP stands for, in their order."""

TIME_PER_TAU = -math.log(1.0 - 1.0 / math.sqrt(2.0))


def linear(level_db: float) -> float:
    """Return a gain in dB as a factor."""
    return 10.0 ** (level_db / 20.0)


def decibels(factor: float) -> float:
    """Return a factor in dB."""
    return 20.0 * math.log10(factor)


def time(tau_ms: float) -> float:
    """Return LSP's attack or release time for a time constant, both in ms."""
    return TIME_PER_TAU * tau_ms


def time_constant(time_ms: float) -> float:
    """Return the time constant of LSP's attack or release time, both in ms."""
    return time_ms / TIME_PER_TAU


def pan_balance(position: float) -> float:
    """Return the linear balance, −100…100, whose sides stand in the ratio of our pan's.

    With ``θ = π/4·(1+p)`` ours are ``√2·cos θ`` and ``√2·sin θ``; a linear balance ``b`` makes
    ``1 − b/100`` and ``1 + b/100`` of them, so ``b/100 = tan(θ − π/4)``.
    """
    return 100.0 * math.tan(math.pi / 4.0 * position)


def pan_level(position: float) -> float:
    """Return the mean of our pan's two factors, with which the balance is ours exactly."""
    return math.cos(math.pi / 4.0 * position)


def pan_position(balance: float) -> float:
    """Return our position of the pan for a linear balance."""
    return 4.0 / math.pi * math.atan(balance / 100.0)


def theirs(
    mapped: Iterable[Mapped], settings: Mapping[str, float], section: str
) -> dict[str, float]:
    """Return the other software's values by its names, for a module or band."""
    return {
        m.name: m.to_theirs(settings[m.key]) for m in mapped if BY_KEY[m.key].section == section
    }


def ours(mapped: Iterable[Mapped], values: Mapping[str, float], section: str) -> dict[str, float]:
    """Return our settings by key from the other software's values.

    Raises
    ------
    ExportError
        A value is missing or not a finite number.
    """
    found = {}
    for m in mapped:
        if BY_KEY[m.key].section != section:
            continue
        value = values.get(m.name)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ExportError(f"{section} has no number {m.name!r}")
        found[m.key] = m.to_ours(value)
    return found


def switches_off(off: Collection[str], muted: Collection[str]) -> set[str]:
    """Return our switches that are off, from the bands whose filter is off or muted.

    A mute of all filters that are not off is how an EQ is written that is off but holds bands.
    """
    there = set(EQ_BANDS) - set(off)
    if there <= set(muted):
        return {"eq", *(f"eq.{band}" for band in off)}
    return {f"eq.{band}" for band in (*off, *muted)}


def read_text(path: Path) -> str:
    """Return the text of a file that is to be small.

    Raises
    ------
    ExportError
        It is over 1 MB.
    """
    content = read_small(path)
    if content is None:
        raise ExportError(f"{path}: over 1 MB, which no preset is")
    return content.decode("utf-8")
