"""Modules that came later, found in the samples where a mix was made by a console like this one.

There the difference of the samples says more than the distance does. Which modules a mix has besides
is asked of it by a matching pursuit (Mallat and Zhang 1993; orthogonal: Pati, Rezaiifar and
Krishnaprasad 1993): many settings of each module are rendered once, and what each of them changes is
compared with what the strip leaves of the mix, as far as the settings of the strip that is there
already, by their slopes, do not explain it. Those that explain most of it are switched on, one a
module; damped least squares then moves all of them together (:mod:`.polish`), and what is still
left is asked again. In the end a module is switched off again where the samples are matched as
well without it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...strip.later import is_later
from ...strip.module import Module
from ...strip.parameters import CHAIN
from .objective import INDEX, INSERTS, MatchObjective
from .samples import Fit, changes_of, fit_of, free_places, least_squares, slopes_of
from .tried import at_rest, signals_of, starting_points, tryable

__all__ = ["pursue"]

PASSES, PASS_STEPS, LAST_STEPS, TRIAL_STEPS = 4, 6, 10, 3
SHORT_SECONDS = 5.0
FAR = 0.3
"""With more of the mix's energy left, it is from another desk."""

DRAWS, SPREAD = 14, 0.15
"""Settings of each module that are rendered beside those that its evidence offers; around its
defaults, with this deviation of 0…1."""

EXPLAINS = 0.03
"""Modules that are switched on together have to explain this share of what was left."""

HINT = 0.002
"""A module is switched on if one of its settings explains this share of what is left: what it
comes to when it moves with the rest of the strip is seen afterwards."""

NEEDED = 0.12
"""A module stays on if without it the difference rises by this share."""

EXACT = 1e-6
"""Below this share of the mix's energy nothing is left that a module could explain."""

DAMPING = 1e-3


def pursue(
    objective: MatchObjective,
    point: Tensor,
    without: Collection[str],
    seed: int,
    may_continue: Callable[[], bool],
) -> Fit | None:
    """Return the fit of the samples with the modules that they ask for; none where they lead away.

    Parameters
    ----------
    objective : MatchObjective
        The pair.
    point : Tensor
        ``(parameters,)`` in 0…1, with the return at its place.
    without : collection of str
        Modules that are not tried.
    seed : int
        Of the settings that are drawn.
    may_continue : callable
        Asked before each step.
    """
    rng = np.random.default_rng(seed)
    short = objective.beginning(SHORT_SECONDS)
    fit = _solved(short, point, TRIAL_STEPS, may_continue)
    failed: frozenset[str] = frozenset()
    least, most = EXPLAINS, len(CHAIN)
    for _ in range(PASSES):
        if fit.left < EXACT or not may_continue():
            break
        if fit.left > FAR:
            return None
        here, start = _joined(
            short.trying(fit.tried), fit, failed | set(without), rng, (least, most)
        )
        fresh = here.tried - fit.tried
        if not fresh and least == HINT:
            break
        least = HINT
        if not fresh:
            continue
        joined = _solved(here, start, PASS_STEPS, may_continue)
        if joined.left < fit.left:
            fit = joined
        elif len(fresh) > 1:
            most = 1
        else:
            failed |= fresh
    fit = _solved(objective.trying(fit.tried), fit.point, LAST_STEPS, may_continue)
    return _needed(objective, fit, may_continue) if fit.left < FAR else None


def _solved(
    objective: MatchObjective, point: Tensor, steps: int, may_continue: Callable[[], bool]
) -> Fit:
    return least_squares(objective, point, steps, may_continue)


class _Candidates(NamedTuple):
    modules: list[str]
    points: list[Tensor]


def _drawn(point: Tensor, module: Module, rng: np.random.Generator) -> list[Tensor]:
    """The point with settings of a module around its defaults."""
    later = [p for p in module.parameters if is_later(p)]
    if any(not p.has_gradient for p in later):
        return []
    found = []
    for _ in range(DRAWS):
        other = point.clone()
        for parameter in later:
            usual = parameter.to_normalised(parameter.default)
            other[INDEX[parameter.key]] = float(np.clip(rng.normal(usual, SPREAD), 0.0, 1.0))
        found.append(other)
    return found


@torch.no_grad()
def _joined(
    objective: MatchObjective, fit: Fit, without: Collection[str], rng: np.random.Generator,
    limits: tuple[float, int],
) -> tuple[MatchObjective, Tensor]:
    """The objective and the point with the modules that explain what is left."""
    point, free = fit.point, free_places(objective)
    slopes = slopes_of(objective, fit, free)
    signals = signals_of(objective, point)
    found = _Candidates([], [])
    for module in CHAIN:
        if module.key not in tryable(without) or module.key in objective.tried:
            continue
        some = starting_points(point, module, signals) + _drawn(point, module, rng)
        found.modules.extend([module.key] * len(some))
        found.points.extend(objective.in_the_middle(each) for each in some)
    changes = []
    for key in dict.fromkeys(found.modules):
        mine = [p for p, k in zip(found.points, found.modules, strict=True) if k == key]
        here = objective.trying(objective.tried | {key})
        behind = key not in INSERTS
        changes.append(changes_of(here, fit, torch.stack(mine), behind=behind))
    if not changes:
        return objective, point
    rows = torch.cat((slopes, *changes, fit.off.reshape(1, -1)))
    products = (rows @ rows.T).double()
    chosen, steps = _choose(products, len(free), found.modules, limits)
    moved = point.clone()
    if not chosen:
        return objective, point
    for number in chosen:
        other = found.points[number]
        own = [
            INDEX[p.key]
            for m in CHAIN
            if m.key == found.modules[number]
            for p in m.parameters
            if is_later(p)
        ]
        moved[own] = other[own]
    moved[free] = (moved[free] + steps.to(moved)).clamp(0.0, 1.0)
    tried = objective.tried | {found.modules[number] for number in chosen}
    here = objective.trying(tried)
    both = torch.stack((moved, here.in_the_middle(moved)))
    return here, both[1]


def _choose(
    products: Tensor, count: int, modules: list[str], limits: tuple[float, int]
) -> tuple[list[int], Tensor]:
    """Numbers of the candidates that explain most together, and the steps of what is on."""
    last = len(products) - 1
    slopes = list(range(count))

    def solved(numbers: list[int]) -> tuple[float, Tensor]:
        places = slopes + [count + number for number in numbers]
        normal, downhill = products[places][:, places], products[places, last]
        damped = normal.clone()
        damped.diagonal()[:count] *= 1.0 + DAMPING
        damped.diagonal().add_(1e-9 * float(products[last, last]))
        step = torch.linalg.solve(damped, -downhill)
        left = float(products[last, last] + 2.0 * step @ downhill + step @ normal @ step)
        return left, step

    chosen: list[int] = []
    left, step = solved(chosen)
    while len(chosen) < limits[1]:
        on = {modules[number] for number in chosen}
        trials = []
        for number, key in enumerate(modules):
            if key in on:
                continue
            trial, its = solved([*chosen, number])
            if float(its[count:].min()) > 0.1:
                trials.append((trial, number, its))
        if not trials:
            break
        import os
        if os.environ.get("DBG"):
            by={}
            for tr,nu,it in trials: by[modules[nu]]=min(by.get(modules[nu],9),(tr/left))
            print("      explains", {k: round(v,4) for k,v in by.items()}, "damped left", round(left/float(products[last,last]),3))
        best, number, its = min(trials, key=lambda some: some[0])
        if best > (1.0 - limits[0]) * left:
            break
        chosen, left, step = [*chosen, number], best, its
    return chosen, step[:count].clamp(-0.12, 0.12)


def _needed(
    objective: MatchObjective, fit: Fit, may_continue: Callable[[], bool]
) -> Fit:
    """The point without the modules that the samples do as well without."""
    certain: frozenset[str] = frozenset()
    while fit.tried - certain and may_continue():
        rests = {}
        for key in sorted(fit.tried - certain):
            here = objective.trying(fit.tried - {key})
            rests[key] = fit_of(here, at_rest(fit.point, key))
        key = min(rests, key=lambda key: rests[key].left)
        most = max((1.0 + NEEDED) * fit.left, EXACT)
        rest = rests[key]
        if rest.left > most and rest.left < 10.0 * most:
            here = objective.trying(rest.tried)
            rest = _solved(here, rest.point, TRIAL_STEPS, may_continue)
        if rest.left <= most:
            fit = rest
        else:
            certain |= {key}
    return fit
