"""How much a search does: rounds of steps, each from the best points of the one before."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Plan", "Round", "plan_for"]


@dataclass(frozen=True)
class Round:
    """Some steps of Adam from the best points so far.

    Attributes
    ----------
    seconds : float
        Length of the excerpt.
    steps : int
        How many.
    step_size : float
        At the beginning; it falls to a twentieth along a cosine.
    part : int
        At each step one frame of so many is compared.
    keep : int
        Points that the next round begins with.
    """

    seconds: float
    steps: int
    step_size: float
    part: int
    keep: int


@dataclass(frozen=True)
class Plan:
    """What a search does.

    Attributes
    ----------
    rounds : tuple of Round
        One after the other.
    thorough : bool
        Whether it begins with many guesses, helps the gradients between rounds, and finds the
        uncertainty of each setting in the end.
    trial : Round, optional
        The steps after which a module that came after version 1.0 has to be worth it
        (:mod:`.tried`). Without it these modules stay off.
    polish : Round, optional
        The steps after modules and bands that do nothing were switched off.
    """

    rounds: tuple[Round, ...]
    thorough: bool = True
    trial: Round | None = None
    polish: Round | None = None


QUICK = Plan((Round(4.0, 30, 0.05, 8, 1),), thorough=False)
USUAL = Plan(
    (Round(5.0, 30, 0.05, 8, 4), Round(12.0, 30, 0.03, 6, 2), Round(12.0, 70, 0.02, 4, 2)),
    trial=Round(12.0, 12, 0.01, 4, 1),
    polish=Round(12.0, 20, 0.006, 3, 1),
)


def plan_for(quick: bool) -> Plan:
    """Return the plan of quick labels, or the default one."""
    return QUICK if quick else USUAL
