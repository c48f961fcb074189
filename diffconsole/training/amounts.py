"""How much of the departures that a regression found counts, by module: the console decides.

Settings that are searched from a studio's strip stop short of a mix, or follow what a mix has by
accident. Each pair is predicted from all others (the regression knows these predictions in closed
form), with more and with less of the equalizer's, the compressor's and the reverb's departures, and
what the console makes of it is compared with the mix. So every pair is learnt from, and every pair
decides, however few they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .selection import relative_score

__all__ = ["LADDER", "LEAST_GAIN", "MOVED", "choose"]

LADDER = (0.0, 0.35, 0.7, 1.0, 1.4, 2.0)
"""Amounts that are tried, first of all modules together."""

FIRST = (1.0, 1.4)
"""Those with which regressions are compared."""

MOVED = ("eq", "compressor", "reverb")
"""Modules whose amounts are then tried one by one; the others keep the common one."""

LEAST_GAIN = 0.002
"""Share of the distance that a module's own amount must gain: less is chance."""


def choose(
    distances: Callable[[int, Mapping[str, float]], Sequence[float]],
    candidates: int,
    modules: Sequence[str],
) -> tuple[int, dict[str, float]]:
    """Choose a regression and the amounts of its departures with the lowest robust distance.

    Parameters
    ----------
    distances : callable
        Given the number of a regression and the amount of each module, the distance of every pair
        to its mix, predicted from the others.
    candidates : int
        How many regressions there are.
    modules : sequence of str
        All of them.

    Returns
    -------
    candidate : int
        The regression's number.
    amounts : dict of str to float
        The amount of each module; all 0 where nothing is better than the strip alone.
    """
    start = list(distances(0, dict.fromkeys(modules, 0.0)))
    known: dict[tuple[int, float], float] = {}

    def score(candidate: int, amount: float) -> float:
        if (candidate, amount) not in known:
            found = list(distances(candidate, dict.fromkeys(modules, amount)))
            known[candidate, amount] = relative_score(found, start)
        return known[candidate, amount]

    best = min(range(candidates), key=lambda number: min(score(number, a) for a in FIRST))
    nothing = relative_score(start, start)
    common = min(LADDER, key=lambda amount: score(best, amount) if amount else nothing)
    chosen, lowest = dict.fromkeys(modules, common), score(best, common) if common else nothing
    place = LADDER.index(common)
    for module in MOVED:
        for other in (place - 1, place + 1):
            if module not in chosen or not 0 <= other < len(LADDER):
                continue
            tried = {**chosen, module: LADDER[other]}
            found = relative_score(list(distances(best, tried)), start)
            if found < (1.0 - LEAST_GAIN) * lowest:
                chosen, lowest = tried, found
    return best, chosen
