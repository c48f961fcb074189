"""Numbers as text: for files, and as people read them.

This file imports nothing of the package, and no torch.
"""

from __future__ import annotations

__all__ = ["LEAST_GAIN_DB", "decibels", "frequency", "number", "short"]

LEAST_GAIN_DB = 0.05
"""A smaller gain is not worth a word."""


def number(value: float, digits: int = 10) -> str:
    """Write a number as every parser reads it: no exponent, a point, no needless zeros.

    Parameters
    ----------
    value : float
        Finite.
    digits : int
        Significant digits.
    """
    text = f"{value:.{digits}g}"
    if "e" in text:
        text = f"{float(text):.{max(digits + 12, 1)}f}"
    return text.rstrip("0").rstrip(".") or "0" if "." in text else text


def short(value: float, digits: int = 2) -> str:
    """Write a number for display, with few digits: ``"1.8"``, ``"−22"``."""
    return number(value, digits).replace("-", "−")


def decibels(value_db: float) -> str:
    """Write a level for display, to 0.1 dB: ``"−18 dB"``."""
    return f"{short(round(value_db, 1), 4)} dB"


def frequency(freq_hz: float) -> str:
    """Write a frequency for display, with two digits: ``"90 Hz"``, ``"3.5 kHz"``."""
    return f"{short(freq_hz)} Hz" if freq_hz < 995 else f"{short(freq_hz / 1000)} kHz"
