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
        Points that the round begins with.
    until : int, optional
        Step before which it ends, while its steps are still large, since another one follows.
    """

    seconds: float
    steps: int
    step_size: float
    part: int
    keep: int
    until: int | None = None

    @property
    def done(self) -> int:
        """How many steps are done."""
        return self.steps if self.until is None else self.until

    @property
    def work(self) -> float:
        """Seconds of sound that the steps of all points take."""
        return self.seconds * self.done * self.keep


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
    last : Round, optional
        The steps that follow for the best point of the last of the rounds, as it is and with help
        where gradients do not lead.
    trial : Round, optional
        The steps after which a module that came after version 1.0 has to be worth it
        (:mod:`.tried`). Without it these modules stay off.
    polish : Round, optional
        The steps after modules and bands that do nothing were switched off.
    """

    rounds: tuple[Round, ...]
    thorough: bool = True
    last: Round | None = None
    trial: Round | None = None
    polish: Round | None = None


QUICK = Plan((Round(4.0, 30, 0.05, 8, 1),), thorough=False)
USUAL = Plan(
    (
        Round(5.0, 30, 0.05, 8, 4),
        Round(12.0, 30, 0.03, 6, 2),
        Round(12.0, 70, 0.02, 4, 2, until=40),
    ),
    last=Round(12.0, 40, 0.012, 4, 2),
    trial=Round(12.0, 12, 0.01, 4, 1),
    polish=Round(12.0, 40, 0.008, 3, 1),
)


def plan_for(quick: bool) -> Plan:
    """Return the plan of quick labels, or the default one."""
    return QUICK if quick else USUAL
