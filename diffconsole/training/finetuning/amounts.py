"""How much of the offsets that a regression found counts, by module: the console decides.

Settings that are searched from a studio's strip stop short of a mix, or follow what a mix has by
accident. Each pair is predicted from all others (the regression knows these predictions in closed
form), with more and with less of the equalizer's, the compressor's and the reverb's offsets, and
what the console makes of it is compared with the mix. So every pair is learnt from, and every pair
decides, however few they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ...strip.parameters import CHAIN
from .selection import relative_score

__all__ = ["LADDER", "LEAST_GAIN", "MOVED", "choose_amounts", "weigh"]

LADDER = (0.0, 0.35, 0.7, 1.0, 1.4, 2.0)
"""Amounts that are tried, first of all modules together."""

CHANCE = 0.03
"""Share of a distance by which regressions may differ by chance."""

MOVED = tuple(m.key for m in CHAIN if m.place in ("insert", "send"))
"""Modules whose amounts are then tried one by one; the others keep the common one."""

LEAST_GAIN = 0.002
"""Share of the distance that a module's own amount must gain: less is chance."""


def weigh(scores: Sequence[float]) -> list[float]:
    """Return what regressions count by their distances on pairs left out; the sum is 1.

    ``exp(−(score / lowest − 1) / 0.03)``: a difference that few pairs make by chance decides
    nothing, and a mean of regressions is more often right than the one that seems best.

    Parameters
    ----------
    scores : sequence of float
        A robust distance of each.
    """
    lowest = max(min(scores), 1e-9)
    raw = [math.exp(-(score / lowest - 1.0) / CHANCE) for score in scores]
    return [each / sum(raw) for each in raw]


def choose_amounts(
    distances: Callable[[Mapping[str, float]], Sequence[float]], modules: Sequence[str]
) -> dict[str, float]:
    """Choose the amounts with the lowest robust distance.

    Parameters
    ----------
    distances : callable
        Given the amount of each module, the distance of every pair to its mix, predicted from
        the others.
    modules : sequence of str
        All of them.

    Returns
    -------
    dict of str to float
        The amount of each module; all 0 where nothing is better than the strip alone.
    """
    start = list(distances(dict.fromkeys(modules, 0.0)))
    scores = {0.0: relative_score(start, start)}
    for amount in LADDER[1:]:
        scores[amount] = relative_score(list(distances(dict.fromkeys(modules, amount))), start)
    common = min(scores, key=lambda amount: scores[amount])
    chosen, lowest = dict.fromkeys(modules, common), scores[common]
    place = LADDER.index(common)
    for module in MOVED:
        for other in (place - 1, place + 1):
            if module not in chosen or not 0 <= other < len(LADDER):
                continue
            tried = {**chosen, module: LADDER[other]}
            found = relative_score(list(distances(tried)), start)
            if found < (1.0 - LEAST_GAIN) * lowest:
                chosen, lowest = tried, found
    return chosen
