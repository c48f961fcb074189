"""How a studio's settings depart from its strip with the voice: fitted, and put into the head."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...audio.windows import spread_evenly
from ...model.predictor import SAFE_SIDE
from ...strip.parameters import MODULES, PARAMETERS
from .alike import groups_of
from .amounts import choose_amounts, weigh
from .certainty import certainty_of
from .habits import at_strip, shipped_prior
from .near import spread_places
from .ridge import FEWEST, STRENGTHS, Departures, blend, fit
from .selection import relative_score
from .stages import SEEN
from .studio_strip import LEAST_SPREAD, WIDEST_SPREAD

if TYPE_CHECKING:
    from .stages import Work

__all__ = [
    "answer_departures",
    "blended_departures",
    "certainty_at",
    "chosen_departures",
    "crossed_departures",
    "departures_of",
    "mean_strength",
    "moved_points",
]

GROUPS = 5
"""Of voices that are alike, that are left out together."""

MOST_CROSSED, CROSSED_SEGMENTS = 40, 1
"""Pairs that decide how much of the departures counts, and segments of each."""


def departures_of(
    work: Work,
    near: Tensor,
    certainty: Tensor,
    strength: float,
    without: Collection[int] = (),
) -> Departures:
    """Fit how settings depart from the strip that the model answers.

    Parameters
    ----------
    work : Work
        The pairs and the model.
    near : Tensor
        ``(pairs, parameters)``, the estimates around this strip, NaN where there are none.
    certainty : Tensor
        ``(pairs,)``, what each counts.
    strength : float
        Of the regression.
    without : collection of int
        Pairs that are left out.
    """
    head = work.model.head
    known = ~near.isnan().any(dim=1)
    known[list(without)] = False
    mean = work.centre(known)
    strip = work.strip()
    heard = head.standardised(mean.to(head.centre.device)).cpu()[known]
    described = head.unusual(work.described.to(head.usual.device)).cpu()[known]
    habits = at_strip(shipped_prior(), strip, head.usual_spread)
    moves = (near[known] - strip) * SEEN
    groups = groups_of(work.described[known], GROUPS) if bool(known.any()) else None
    return fit(heard, described, moves, strength, habits, certainty[known], groups)


def certainty_at(work: Work, near: Tensor) -> Tensor:
    """Return what each estimate around the strip that the model predicts counts, ``(pairs,)``."""
    found = torch.ones(len(near))
    numbers = (~near.isnan().any(dim=1)).nonzero()[:, 0].tolist()
    if not numbers:
        return found
    own = [spread_places(work.places[0], number) for number in numbers]
    places = [place for some in own for place in some]
    owner = torch.tensor([place.pair for place in places])
    strips = work.strip().expand(len(near), -1)
    both = [work.distances_at(points[owner], places) for points in (strips, near)]
    before, after = ([each[owner == n].tolist() for n in numbers] for each in both)
    lags = [work.train.pairs[number].lag_uncertain_seconds for number in numbers]
    found[numbers] = torch.from_numpy(certainty_of(before, after, lags)).float()
    return found


def answer_departures(work: Work, found: Departures, amounts: Mapping[str, float]) -> None:
    """Make the head answer the strip, and what was fitted by these amounts, by module."""
    head, strip = work.model.head, work.strip()
    by_logit = _by_logit(strip, amounts).unsqueeze(1)
    with torch.no_grad():
        deviation = (head.log_variance.bias / 2.0).exp()
        side = deviation.new_tensor([SAFE_SIDE.get(p.key, 0.0) for p in PARAMETERS])
        head.skip.weight.copy_(found.heard_weight * by_logit)
        head.voice.weight.copy_(found.voice_weight * by_logit)
        left = found.left.sqrt().to(deviation.device)
        less = (deviation * left).clamp(LEAST_SPREAD, WIDEST_SPREAD)
        chosen = strip.to(deviation.device)
        head.mean.bias.copy_(torch.logit((chosen - side * less).clamp(0.005, 0.995)))
        head.log_variance.bias.copy_(2.0 * less.log())


def _by_logit(strip: Tensor, amounts: Mapping[str, float]) -> Tensor:
    """From shares of the range to logits, on the tangent at the strip, ``(parameters,)``."""
    amount = torch.tensor([amounts.get(p.module, 1.0) for p in PARAMETERS])
    return SEEN * amount / (strip * (1.0 - strip)).clamp(min=0.05)


def moved_points(work: Work, strips: Tensor, moved: Tensor, amounts: Mapping[str, float]) -> Tensor:
    """Return settings in 0…1: strips, and departures from them in shares of the range."""
    by_logit = _by_logit(work.strip(), amounts)
    return torch.sigmoid(torch.logit(strips.clamp(0.005, 0.995)) + moved * by_logit)


def crossed_departures(work: Work, found: Departures, near: Tensor) -> Tensor:
    """Return the departures of every pair by the fit to the others, ``(pairs, parameters)``."""
    head = work.model.head
    heard = head.standardised(work.means().to(head.centre.device)).cpu()
    described = head.unusual(work.described.to(head.usual.device)).cpu()
    moved = heard @ found.heard_weight.T + described @ found.voice_weight.T
    moved[~near.isnan().any(dim=1)] = found.crossed
    return moved


def blended_departures(
    work: Work,
    near: Tensor,
    certainty: Tensor,
    weights: Sequence[float],
    without: Collection[int] = (),
) -> Departures:
    """Return the mean of the fits with all strengths, by what each counts."""
    fits = [departures_of(work, near, certainty, strength, without) for strength in STRENGTHS]
    return blend(fits, weights)


def mean_strength(weights: Sequence[float]) -> float:
    """Return the geometric mean of the strengths by what each counts, for a log."""
    return round(float(np.exp(np.dot(weights, np.log(STRENGTHS)))), 3)


def chosen_departures(
    work: Work, near: Tensor, certainty: Tensor
) -> tuple[list[float], Departures, dict[str, float]]:
    """Fit with each strength; weigh the fits, and what they say, by what the console makes of it.

    Every pair is predicted from those with other voices (:mod:`.amounts`, :mod:`.alike`).

    Parameters
    ----------
    work : Work
        The pairs and the model, which answers the strip.
    near : Tensor
        ``(pairs, parameters)``, NaN where nothing is known.
    certainty : Tensor
        ``(pairs,)``.

    Returns
    -------
    weights : list of float
        What the fit with each strength counts.
    found : Departures
        Their mean.
    amounts : dict of str to float
        How much of them counts, by module.
    """
    fits = [departures_of(work, near, certainty, strength) for strength in STRENGTHS]
    numbers = (~near.isnan().any(dim=1)).nonzero()[:, 0].tolist()
    equal = [1.0 / len(fits)] * len(fits)
    if len(numbers) < FEWEST:
        return equal, blend(fits, equal), dict.fromkeys(MODULES, 0.0)
    some = spread_evenly(len(numbers), MOST_CROSSED)
    chosen = [numbers[i] for i in some]
    places = [place for n in chosen for place in spread_places(work.places[0], n, CROSSED_SEGMENTS)]
    owner, strip = torch.tensor([place.pair for place in places]), work.strip()

    def distances(found: Departures, amounts: Mapping[str, float]) -> list[float]:
        moved = crossed_departures(work, found, near)[owner]
        each = work.distances_at(moved_points(work, strip, moved, amounts), places)
        return [float(each[owner == number].mean()) for number in chosen]

    every = [distances(found, dict.fromkeys(MODULES, 1.0)) for found in fits]
    start = distances(fits[0], dict.fromkeys(MODULES, 0.0))
    weights = weigh([relative_score(each, start) for each in every])
    found = blend(fits, weights)
    return weights, found, choose_amounts(lambda amounts: distances(found, amounts), MODULES)
