"""Modules that came later, found in the samples of a mix that a console like this one made.

There the difference of the samples shows more than the distance does. A matching pursuit (Mallat
and Zhang 1993; orthogonal: Pati, Rezaiifar and Krishnaprasad 1993) finds which modules the mix has
besides: many settings of each module are rendered once, and what each of them changes is compared
with what the strip leaves of the mix, as far as the settings of the strip that are there already do
not explain it by their slopes. The settings that explain most are switched on, one of each module,
and damped least squares moves all modules together (:mod:`.samples`); then what is still left is
compared again. In the end a module is switched off where the samples are matched as well without
it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...strip.later import is_later
from ...strip.module import Module
from ...strip.parameters import CHAIN
from .objective import INDEX, INSERTS, MatchObjective
from .polish import near_in_samples
from .samples import (
    Fit,
    changes_of,
    fit_of,
    free_places,
    least_squares,
    products_of,
    slopes_of,
)
from .tried import at_rest, latency_ms, later_by, signals_of, starting_points, tryable

__all__ = ["closer_fit", "pursue"]

FIRST_STEPS, PASS_STEPS, LAST_STEPS, TRIAL_STEPS = 3, 6, 12, 3
SHORT_SECONDS = 5.0
"""Modules are looked for at the beginning of the excerpt, which takes half the time."""

FAR, FARTHEST = 0.3, 0.7
"""With more of the mix's energy left, the mix is from another desk: after modules were looked for,
and before."""

EXACT = 1e-6
"""Below this share of the mix's energy nothing is left that a module could explain."""

CLOSE = 1e-4
"""Above this share, modules are looked for once more in the whole excerpt."""

DRAWS, SPREAD = 14, 0.15
"""Settings of each module beside those that its evidence offers: around its defaults, with this
deviation of 0…1."""

EXPLAINS, HINT = 0.03, 0.002
"""A module is switched on if one of its settings explains this share of what is left; by the second
share when what stands out is on already. What a module comes to when it moves with the rest of the
strip is seen afterwards."""

LEAST_SHARE, MOST_STEP = 0.1, 0.12
"""The least part of its change that a candidate must have in what is left, and the farthest that a
setting that is on already moves with it."""

NEEDED, HOPELESS = 0.12, 10.0
"""A module stays on if the difference rises by more than the first share without it, and without a
trial if it rises by the second factor."""

DAMPING, FLOOR = 1e-3, 1e-9


class _Candidate(NamedTuple):
    """A module that is off, and a point with it."""

    module: Module
    point: Tensor


def closer_fit(
    objective: MatchObjective,
    point: Tensor,
    without: Collection[str],
    seed: int,
    may_continue: Callable[[], bool],
) -> Fit | None:
    """Return what :func:`pursue` finds from a point, None where it is no closer to the mix.

    Also None where the samples lead nowhere (:func:`.polish.near_in_samples`).
    """
    start = near_in_samples(objective, point)
    fit = None if start is None else pursue(objective, start, without, seed, may_continue)
    if fit is None:
        return None
    distance = float(objective.trying(fit.tried).distances(fit.point[None]))
    return fit if distance < float(objective.distances(point[None])) else None


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
    fit = least_squares(short, point, FIRST_STEPS, may_continue)
    if fit.left > FARTHEST:
        return None
    fit = _looked(short, fit, without, rng, (EXPLAINS, HINT, HINT), may_continue)
    fit = least_squares(objective.trying(fit.tried), fit.point, LAST_STEPS, may_continue)
    if fit.left > FAR:
        return None
    fit = _needed(objective, fit, may_continue)
    if fit.left > CLOSE and may_continue():
        before = fit
        fit = _looked(objective, fit, without, rng, (HINT,), may_continue)
        if fit is not before:
            fit = least_squares(objective.trying(fit.tried), fit.point, LAST_STEPS, may_continue)
            fit = _needed(objective, fit, may_continue)
    return fit


def _looked(
    objective: MatchObjective,
    fit: Fit,
    without: Collection[str],
    rng: np.random.Generator,
    shares: Sequence[float],
    may_continue: Callable[[], bool],
) -> Fit:
    """The fit with modules that explain these shares of what is left, one share after the other."""
    failed: frozenset[str] = frozenset()
    most = len(CHAIN)
    for least in shares:
        if fit.left < EXACT or not may_continue():
            break
        here = objective.trying(fit.tried)
        candidates = _candidates(here, fit.point, failed | set(without), rng)
        start, fresh = _joined(here, fit, candidates, least, most)
        if not fresh and least == HINT:
            break
        if not fresh:
            continue
        joined = least_squares(here.trying(fit.tried | fresh), start, PASS_STEPS, may_continue)
        if joined.left < fit.left:
            fit = joined
        elif len(fresh) > 1:
            most = 1
        else:
            failed |= fresh
    return fit


def _later(module: Module) -> list[int]:
    """Where the settings of a module lie that came later."""
    return [INDEX[p.key] for p in module.parameters if is_later(p)]


@torch.no_grad()
def _candidates(
    objective: MatchObjective, point: Tensor, without: Collection[str], rng: np.random.Generator
) -> list[_Candidate]:
    """Points with one more module each: by its evidence, and around its defaults."""
    signals = signals_of(objective, point)
    found = []
    for module in CHAIN:
        if module.key not in tryable(without) or module.key in objective.tried:
            continue
        points = starting_points(point, module, signals)
        later = [p for p in module.parameters if is_later(p)]
        # Where gradients do not lead, nothing but evidence does.
        for _ in range(DRAWS if all(p.has_gradient for p in later) else 0):
            other = point.clone()
            for parameter in later:
                usual = parameter.to_normalised(parameter.default)
                other[INDEX[parameter.key]] = float(np.clip(rng.normal(usual, SPREAD), 0.0, 1.0))
            points.append(other)
        late_ms = latency_ms({module.key})
        points = [later_by(other, -late_ms) for other in points]
        found += [_Candidate(module, objective.in_the_middle(other)) for other in points]
    return found


@torch.no_grad()
def _joined(
    objective: MatchObjective, fit: Fit, candidates: list[_Candidate], least: float, most: int
) -> tuple[Tensor, frozenset[str]]:
    """The point with the modules that explain at least this share each, and which these are."""
    if not candidates:
        return fit.point, frozenset()
    free = free_places(objective)
    rows = [slopes_of(objective, fit, free)]
    for module in dict.fromkeys(candidate.module for candidate in candidates):
        here = objective.trying(objective.tried | {module.key})
        points = torch.stack([point for own, point in candidates if own is module])
        rows.append(changes_of(here, fit, points, behind=module.key not in INSERTS))
    products = products_of(torch.cat((*rows, fit.off.reshape(1, -1))))
    keys = [module.key for module, _ in candidates]
    chosen, step = _chosen(products, len(free), keys, least, most)
    if not chosen:
        return fit.point, frozenset()
    point = fit.point.clone()
    for module, other in (candidates[number] for number in chosen):
        point[_later(module)] = other[_later(module)]
    fresh = frozenset(keys[number] for number in chosen)
    point = later_by(point, -latency_ms(fresh))
    point[free] = (point[free] + step.to(point)).clamp(0.0, 1.0)
    return objective.trying(objective.tried | fresh).in_the_middle(point), fresh


def _chosen(
    products: Tensor, count: int, keys: list[str], least: float, most: int
) -> tuple[list[int], Tensor]:
    """Numbers of the candidates that explain most together, and the step of what is on beside them.

    `products` are those of the slopes of `count` settings, of the candidates' changes and of what
    is left, each with each.
    """
    last = len(products) - 1

    def solved(numbers: list[int]) -> tuple[float, Tensor]:
        places = [*range(count), *(count + number for number in numbers)]
        normal, downhill = products[places][:, places], products[places, last]
        damped = normal.clone()
        damped.diagonal()[:count] *= 1.0 + DAMPING
        damped.diagonal().add_(FLOOR * float(products[last, last]))
        step = torch.linalg.solve(damped, -downhill)
        return float(products[last, last] + 2.0 * step @ downhill + step @ normal @ step), step

    chosen: list[int] = []
    left, step = solved(chosen)
    while len(chosen) < most:
        on = {keys[number] for number in chosen}
        trials = [
            (*solved([*chosen, number]), number) for number, key in enumerate(keys) if key not in on
        ]
        trials = [trial for trial in trials if float(trial[1][count:].min()) > LEAST_SHARE]
        if not trials:
            break
        best, its, number = min(trials, key=lambda trial: trial[0])
        if best > (1.0 - least) * left:
            break
        chosen, left, step = [*chosen, number], best, its
    return chosen, step[:count].clamp(-MOST_STEP, MOST_STEP)


def _needed(objective: MatchObjective, fit: Fit, may_continue: Callable[[], bool]) -> Fit:
    """The fit without the modules that the samples do as well without."""
    certain: frozenset[str] = frozenset()
    while fit.tried - certain and may_continue():
        rests = [
            fit_of(objective.trying(fit.tried - {key}), at_rest(fit.point, key))
            for key in sorted(fit.tried - certain)
        ]
        rest = min(rests, key=lambda rest: rest.left)
        most = max((1.0 + NEEDED) * fit.left, EXACT)
        if most < rest.left < HOPELESS * most:
            here = objective.trying(rest.tried)
            rest = least_squares(here, rest.point, TRIAL_STEPS, may_continue)
        if rest.left <= most:
            fit = rest
        else:
            certain |= fit.tried - rest.tried
    return fit
