"""Values as they are dialled by hand: two digits, half decibels."""

from __future__ import annotations

from dataclasses import dataclass

from ..strip.parameters import Parameter

__all__ = ["COARSE", "FINE", "FINEST", "Digits", "dialled"]


@dataclass(frozen=True)
class Digits:
    """How far values are rounded.

    Attributes
    ----------
    decibels : float
        Step of levels, in dB.
    digits : int
        Significant digits of everything else; at most three of a Q.
    milliseconds : float
        Step of the pre-delay. It turns the phase of the return against the voice, so that two
        digits would be too coarse.
    """

    decibels: float
    digits: int
    milliseconds: float


COARSE, FINE, FINEST = Digits(0.5, 2, 1.0), Digits(0.1, 3, 0.1), Digits(0.01, 4, 0.01)
MOST_DIGITS_Q = 3


def dialled(parameter: Parameter, value: float, digits: Digits) -> float:
    """Return the closest value that is dialled, inside of the range.

    Parameters
    ----------
    parameter : Parameter
        Whose value it is.
    value : float
        Physical.
    digits : Digits
        Half decibels and two digits (:data:`COARSE`), or finer.
    """
    if parameter.is_decibel:
        found = round(value / digits.decibels) * digits.decibels
        # Steps of 0.1 are no binary fractions.
        return parameter.clip(round(found, 3)) + 0.0
    if parameter.decimals is not None:
        return parameter.clip(round(round(value / digits.milliseconds) * digits.milliseconds, 3))
    if parameter.scale == "linear" and parameter.high <= 1.0:
        return parameter.clip(round(value, digits.digits)) + 0.0
    most = MOST_DIGITS_Q if parameter.name == "q" else digits.digits
    return parameter.clip(float(f"{value:.{min(most, digits.digits)}g}")) + 0.0
