"""How likely each band and module is on, from the distributions of its settings.

They speak of the strip that an engineer would set, not of the one that is written, in which one
band may stand for two (:mod:`diffconsole.simplify.strip`). A band is on where it changes the sound:
a bell or a shelf by more than 1 dB, a high-pass above 40 Hz. The probability follows from the
predicted mean and deviation of one setting, taken as a normal distribution on the setting's scale,
and is then calibrated on vocals whose right strips are known (Platt, "Probabilistic outputs for
support vector machines", 1999):

``p = sigmoid(a·logit(p_normal) + b)``, with a and b for each switch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ..kernels.arrays import Numbers, math_of
from ..strip.parameters import BY_KEY, PARAMETERS, SWITCHES

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RULES", "Rule", "calibration_line", "is_on", "likely_on"]

LEAST, MOST_NEWTON, PRIOR = 1e-3, 30, 2.0


class Rule(NamedTuple):
    """A switch is off while one setting lies between two values.

    Attributes
    ----------
    key : str
        The setting.
    low, high : float
        In the setting's unit; infinite where every value beyond is off.
    """

    key: str
    low: float
    high: float


def _rules() -> dict[str, Rule]:
    found = {}
    for p in PARAMETERS:
        if p.silent is not None:
            low, high = p.silent
            # What is predicted has a distribution that goes on beyond the ends of the range.
            found[p.section] = Rule(
                p.key, -math.inf if low <= p.low else low, math.inf if high >= p.high else high
            )
    return {switch: found[switch] for switch in SWITCHES if switch in found}


RULES = _rules()
"""By switch, what is inaudible, of the rows that say it (`silent`)."""

_PLACES = [next(i for i, p in enumerate(PARAMETERS) if p.key == r.key) for r in RULES.values()]


def _edges() -> tuple[list[float], list[float]]:
    """Normalised ends of what is off."""
    lows, highs = [], []
    for rule in RULES.values():
        scale = BY_KEY[rule.key]
        lows.append(-math.inf if math.isinf(rule.low) else scale.to_normalised(rule.low))
        highs.append(math.inf if math.isinf(rule.high) else scale.to_normalised(rule.high))
    return lows, highs


def is_on(normalised: Numbers) -> Numbers:
    """Return which switches known settings ``(…, parameters)`` turn on, ``(…, switches)`` bool."""
    low, high = (math_of(normalised).like(edge, normalised) for edge in _edges())
    value = math_of(normalised).taken(normalised, -1, _PLACES)
    return (value < low) | (value > high)


def likely_on(mean: Numbers, deviation: Numbers, line: Numbers) -> Numbers:
    """Return the calibrated probability that each switch is on, ``(…, switches)``.

    Parameters
    ----------
    mean, deviation : Tensor or ndarray
        ``(…, parameters)``, normalised.
    line : Tensor or ndarray
        ``(2, switches)``, slopes and intercepts (:func:`calibration_line`).
    """
    return math_of(mean).sigmoid(line[0] * _log_odds(mean, deviation) + line[1])


def _log_odds(mean: Numbers, deviation: Numbers) -> Numbers:
    m = math_of(mean)
    low, high = (m.like(edge, mean) for edge in _edges())
    value = m.taken(mean, -1, _PLACES)
    std = m.at_least(m.taken(deviation, -1, _PLACES), 1e-6)
    off = m.normal_share((high - value) / std) - m.normal_share((low - value) / std)
    return m.logit(m.at_most(m.at_least(1.0 - off, LEAST), 1.0 - LEAST))


def calibration_line(mean: Tensor, deviation: Tensor, target: Tensor) -> Tensor:
    """Fit slopes and intercepts to known settings by logistic regression, ``(2, switches)``.

    A weak prior holds them at 1 and 0, as few examples leave them.

    Parameters
    ----------
    mean, deviation, target : Tensor
        ``(examples, parameters)``, normalised: what was predicted, and what is right.
    """
    import torch

    x, y = _log_odds(mean.double(), deviation.double()), is_on(target.double()).double()
    line = torch.stack((torch.ones(x.shape[1]), torch.zeros(x.shape[1]))).double()
    start = line.clone()
    for _ in range(MOST_NEWTON):
        p = torch.sigmoid(line[0] * x + line[1])
        weight = p * (1.0 - p)
        inputs = torch.stack((x, torch.ones_like(x)))
        slope = (inputs * (p - y)).sum(dim=1) + PRIOR * (line - start)
        curve = torch.einsum("ies,jes,es->sij", inputs, inputs, weight)
        curve = curve + PRIOR * torch.eye(2, dtype=torch.float64)
        step = torch.linalg.solve(curve, slope.T).T
        line = line - step.clamp(-1.0, 1.0)
        if float(step.abs().max()) < 1e-8:
            break
    return line
