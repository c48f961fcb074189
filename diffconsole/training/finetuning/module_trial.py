"""Whether pairs are closer with the modules of a studio that they were not fitted to.

Modules are left out one after the other, the one first whose absence is missed least, as in the
search of a match (:mod:`diffconsole.training.matching.tried`); here all pairs decide together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...losses import MixTarget
from ...pairs import PAIR_RATE
from ...strip.module import Module
from ...strip.parameters import BY_KEY, CHAIN, PARAMETERS
from ..matching.objective import INDEX, LOSS_STRIDE, MatchObjective, places_of
from ..matching.plan import Round
from ..matching.search_result import LEVEL_DEPENDENT
from ..matching.tried import at_rest, latency_ms, later_by
from .selection import trimmed_mean
from .shared_settings import MAKEUP, OUTPUT, descend, distances_of, shared_places
from .studio_modules import StudioModules, later_keys

__all__ = ["felt_by", "finished", "kept_modules", "module_of", "trying_all", "without_idle"]

SETTLE, FINISH = Round(4.0, 8, 0.03, 8, 1), Round(4.0, 10, 0.03, 8, 1)
"""Steps of the rest of the strip before a module counts, and of all in the end."""

WORTH, MOST_FARTHER = 0.012, 0.25
"""A module is kept if the distances fall by this share, and those of at most so many of the pairs
rise by it."""

FEWEST_FELT = 2
"""Pairs that decide: those for which a module changes so little that it cannot bring them closer
by what it has to say nothing of it."""

RISING_SECONDS = 0.25
"""For so long a detector may rise from rest at the beginning of an excerpt: that is no change that
a mix could show."""

IDLE = 0.004
"""A module without which the distances rise by less than this share, when the gradient has moved it
for a while, moves along no more."""

CERTAIN = 0.2
"""A module without which the distances rise by this share stays without a trial."""

ReportProgress = Callable[[float, float], None]


class Kept(NamedTuple):
    """What is kept, and the pairs that decided.

    Attributes
    ----------
    points, without : Tensor
        ``(pairs, parameters)`` in 0…1, with what is kept and without modules.
    settings : Tensor
        ``(parameters,)``, the modules' settings are of this point; times as they are with what is
        kept.
    closer, asked : dict of str to int
        By module that is kept, how many of the pairs it brings closer, and for how many it changes
        anything.
    """

    points: Tensor
    without: Tensor
    settings: Tensor
    closer: dict[str, int]
    asked: dict[str, int]


def kept_modules(
    objectives: Sequence[MatchObjective],
    points: Tensor,
    settings: Tensor,
    tried: frozenset[str],
    seed: int,
    report: ReportProgress,
) -> Kept:
    """Return the modules with which pairs are closer that they were not fitted to.

    Parameters
    ----------
    objectives : sequence of MatchObjective
        The pairs that decide.
    points : Tensor
        ``(pairs, parameters)`` in 0…1, their strips without later modules.
    settings : Tensor
        ``(parameters,)``, the modules' settings are of this point.
    tried : frozenset of str
        The modules.
    seed : int
        Of the frames that are compared: the same for all trials.
    report : callable
        Called with the share of the work done and a distance.
    """
    places = places_of(tried)
    on = later_by(points, -latency_ms(tried))
    on[:, places] = settings[places]

    def settled(modules: frozenset[str]) -> tuple[Tensor, np.ndarray]:
        # From where all begin: what one trial has moved is of no use to the next.
        there = on.clone()
        for key in tried - modules:
            there = torch.stack([at_rest(point, key) for point in there])
        moved = _settled(objectives, there, modules, seed)
        both = [distances_of(trying_all(objectives, modules), some) for some in (there, moved)]
        # Some were as close as a few steps bring them.
        closest = torch.from_numpy(both[1] < both[0])[:, None]
        return torch.where(closest, moved, there), np.minimum(*both)

    without, lowest = settled(frozenset())
    here, distances = settled(tried)
    left, closer, asked = tried, dict[str, int](), dict[str, int]()
    while left - closer.keys():
        report(0.6 + 0.2 * len(closer) / len(tried), float(distances.mean()))
        gains, felts = {}, {}
        for key in sorted(left - closer.keys()):
            others = trying_all(objectives, left - {key})
            rest = _at_rest(objectives, here, left, key)
            felts[key] = felt_by(trying_all(objectives, left), here, others, rest, WORTH)
            gains[key] = np.log(distances_of(others, rest) / distances)[felts[key]]
        means = {key: _mean(gain) for key, gain in gains.items()}
        least = min(means, key=lambda key: means[key])
        enough = all(len(gain) >= FEWEST_FELT for gain in gains.values())
        if means[least] > CERTAIN and enough and np.all(gains[least] > 0.0):
            closer |= {key: int((gain > 0.0).sum()) for key, gain in gains.items()}
            asked |= {key: len(gain) for key, gain in gains.items()}
            break
        fewer, felt = left - {least}, felts[least]
        rest, best = settled(fewer) if fewer else (without, lowest)
        if _is_worth(best[felt], distances[felt]):
            # Nor does the strip get there from what the module has led it to.
            others = trying_all(objectives, fewer)
            again = _settled(objectives, _at_rest(objectives, here, left, least), fewer, seed)
            best = np.minimum(best, distances_of(others, again))
        if _is_worth(best[felt], distances[felt]):
            closer[least] = int((best > distances)[felt].sum())
            asked[least] = int(felt.sum())
        else:
            here, left = rest, fewer
            distances = distances_of(trying_all(objectives, fewer), here)
    settings = later_by(settings, latency_ms(tried - closer.keys()))
    return Kept(here, without, settings, closer, asked)


def _mean(gains: np.ndarray) -> float:
    return trimmed_mean(gains.tolist()) if len(gains) else 0.0


def _is_worth(without: np.ndarray, distances: np.ndarray) -> bool:
    """Whether distances of pairs that feel a module are enough below those without it."""
    gain = np.log(without / distances)
    return bool(
        len(gain) >= FEWEST_FELT
        and trimmed_mean(gain.tolist()) > WORTH
        and np.mean(gain > 0.0) > 0.5
        and np.mean(gain < -WORTH) <= MOST_FARTHER
    )


@torch.no_grad()
def felt_by(
    objectives: Sequence[MatchObjective],
    points: Tensor,
    others: Sequence[MatchObjective],
    rests: Tensor,
    share: float = WORTH,
) -> np.ndarray:
    """Return for which pairs a module changes enough to bring them closer, ``(pairs,)`` bool.

    The distance of the two results has to be at least this share of that to the mix: a module
    cannot lower the one by more than the other.

    Parameters
    ----------
    objectives, others : sequence of MatchObjective
        The pairs with the module, and without it.
    points, rests : Tensor
        ``(pairs, parameters)`` in 0…1, with the module, and without it.
    share : float
        Of the distance to the mix.
    """
    part, found, rising = (0, 2), [], int(RISING_SECONDS * PAIR_RATE)
    for objective, point, other, rest in zip(objectives, points, others, rests, strict=True):
        with_it, without = objective.render(point[None]), other.render(rest[None])
        with_it = torch.cat((without[..., :rising], with_it[..., rising:]), dim=-1)
        target = MixTarget(other.level * without, PAIR_RATE, stride=LOSS_STRIDE)
        change = float(target.distance(objective.level * with_it, part=part))
        found.append(change >= share * float(other.distance(without, part)))
    return np.array(found)


def without_idle(
    objectives: Sequence[MatchObjective], points: Tensor, tried: frozenset[str]
) -> tuple[Tensor, frozenset[str]]:
    """Return the points without the modules that do next to nothing for them, and the others.

    For the steps that follow: each module that moves along costs its time, and disturbs the others.
    """
    while tried:
        distances = distances_of(trying_all(objectives, tried), points)
        rests, gains = {}, {}
        for key in sorted(tried):
            rests[key] = _at_rest(objectives, points, tried, key)
            others = distances_of(trying_all(objectives, tried - {key}), rests[key])
            gains[key] = trimmed_mean(np.log(others / distances).tolist())
            if gains[key] <= IDLE:
                # Few pairs may feel it: the others say nothing of it.
                without = trying_all(objectives, tried - {key})
                felt = felt_by(trying_all(objectives, tried), points, without, rests[key], IDLE)
                own = np.log(others / distances)[felt]
                gains[key] = _mean(own)
        least = min(gains, key=lambda key: gains[key])
        if gains[least] > IDLE:
            break
        points, tried = rests[least], tried - {least}
    return points, tried


def _at_rest(
    objectives: Sequence[MatchObjective], points: Tensor, tried: frozenset[str], key: str
) -> Tensor:
    """The points without a module, as loud as with it where it has a gain of its own."""
    found = torch.stack([at_rest(point, key) for point in points])
    if not module_of(key).gain_after:
        return found
    makeup = BY_KEY[MAKEUP]
    for objective, point, other in zip(objectives, points, found, strict=True):
        power = [
            float(objective.trying(on).render(each[None]).double().square().mean())
            for on, each in ((tried, point), (tried - {key}, other))
        ]
        gain_db = 10.0 * math.log10((power[0] + 1e-12) / (power[1] + 1e-12))
        value = float(makeup.to_physical(float(other[INDEX[MAKEUP]])))
        other[INDEX[MAKEUP]] = makeup.to_normalised(makeup.clip(value + gain_db))
    return found


def finished(
    objectives: Sequence[MatchObjective],
    points: Tensor,
    kept: Kept,
    rng: np.random.Generator,
    report: ReportProgress,
) -> StudioModules:
    """Return what is kept, moved once more by all pairs.

    Parameters
    ----------
    objectives : sequence of MatchObjective
        All pairs, those that decided last.
    points : Tensor
        ``(pairs, parameters)`` in 0…1, their strips without later modules.
    kept : Kept
        The modules.
    rng : numpy.random.Generator
        Draws the frames that are compared.
    report : callable
        Called with the share of the work done and a distance.
    """
    tried = frozenset(kept.closer)
    keys, places = later_keys(tried), places_of(tried)
    own = later_by(points, -latency_ms(tried))
    own[len(own) - len(kept.points) :] = kept.points
    own[:, places] = kept.settings[places]
    moved = descend(
        trying_all(objectives, tried), own, FINISH, rng, shared=shared_places(places),
        moves_shared=True, report_progress=lambda share, loss: report(0.8 + 0.2 * share, loss),
    )  # fmt: skip
    # By what the same steps change without modules, the labels need not move.
    change = (kept.points - kept.without).median(dim=0).values
    on = moved[0].clone()
    if not tried.isdisjoint(LEVEL_DEPENDENT):
        # They need the level that was searched: the rest of it lies behind the strip.
        output_db, keys = objectives[0].output_db, keys | {OUTPUT}
        on[INDEX[OUTPUT]] = BY_KEY[OUTPUT].to_normalised(BY_KEY[OUTPUT].clip(output_db))
        makeup = BY_KEY[MAKEUP]
        change[INDEX[MAKEUP]] -= output_db / (makeup.high - makeup.low)
    return StudioModules(
        {p.key: float(on[INDEX[p.key]]) for p in PARAMETERS if p.key in keys},
        {p.key: float(change[INDEX[p.key]]) for p in PARAMETERS if p.key not in keys},
        kept.closer,
        kept.asked,
        len(kept.points),
    )


def trying_all(objectives: Sequence[MatchObjective], tried: frozenset[str]) -> list[MatchObjective]:
    """Return the pairs with other modules that take part."""
    return [objective.trying(tried) for objective in objectives]


def _settled(
    objectives: Sequence[MatchObjective], points: Tensor, tried: frozenset[str], seed: int
) -> Tensor:
    """The points after a few steps of the rest of the strip, the same frames for each."""
    shared = shared_places(places_of(tried))
    return descend(
        trying_all(objectives, tried),
        points,
        SETTLE,
        np.random.default_rng(seed),
        shared=shared,
        moves_shared=False,
    )


def module_of(key: str) -> Module:
    """Return the module of this key."""
    return next(module for module in CHAIN if module.key == key)
