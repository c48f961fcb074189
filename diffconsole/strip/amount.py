"""How ``--amount`` makes a strip do less or more: one rule for each kind of setting.

A parameter names its rule; the audition page has the same rules in ``audition/preset.js``, and a
test holds the two against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from .parameter import Amount, Parameter

__all__ = ["MOST_AMOUNT", "RULES", "at_amount"]

MOST_AMOUNT = 1.5

_FLAT_Q = math.sqrt(0.5)


def _resonance(_: Parameter, value: float, amount: float) -> float:
    # Kept, a resonance would move to the end of the spectrum and be a boost there; without it, a
    # small amount is as good as none.
    return _FLAT_Q * (value / _FLAT_Q) ** min(amount, 1.0)


def _level(parameter: Parameter, value: float, amount: float) -> float:
    # None at all stays none.
    return value if value == parameter.idle else value + 20.0 * math.log10(amount)


RULES: Mapping[Amount, Callable[[Parameter, float, float], float]] = {
    "keep": lambda _, value, __: value,
    "gain": lambda _, value, amount: amount * value,
    "ratio": lambda _, value, amount: value**amount,
    "level": _level,
    "to_low_end": lambda p, value, amount: p.low * (value / p.low) ** amount,
    "to_high_end": lambda p, value, amount: p.high * (value / p.high) ** amount,
    "resonance": _resonance,
}
"""By name: from a parameter, its value and an amount above 0 to the scaled value.

``keep``: times, widths and frequencies that stay. ``gain``: dB and pan scale with the amount.
``ratio``: scales on the logarithm (4:1 becomes 8:1 at 1.5, 2:1 at 0.5). ``level``: in amplitude; a
level that is none stays so.
``to_low_end``, ``to_high_end``: a cut moves towards the end of the spectrum, on a log scale.
``resonance``: of a cut, goes towards Q 0.71 below 1.
"""


def at_amount(
    settings: Mapping[str, float],
    off: Collection[str],
    amount: float,
    table: Mapping[str, Parameter],
) -> dict[str, float]:
    """Return settings that do less or more.

    Parameters
    ----------
    settings : mapping of str to float
        Physical, by key.
    off : collection of str
        Modules and EQ bands that are off: nothing follows a gain that is off.
    amount : float
        Above 0; 1 changes nothing. Values stop at their range's ends.
    table : mapping of str to Parameter
        By key.

    Returns
    -------
    dict of str to float
        By key, in the order of `settings`.
    """
    scaled = {
        key: table[key].clip(RULES[table[key].amount](table[key], value, amount))
        for key, value in settings.items()
    }
    for key, value in settings.items():
        gain = table[key].follows
        if gain and table[gain].section not in off:
            scaled[key] = table[key].clip(value + scaled[gain] - settings[gain])
    return scaled
