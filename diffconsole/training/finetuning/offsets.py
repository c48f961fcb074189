"""Offsets of a studio's settings from its strip by the voice: fitted, and put into the head."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...audio.windows import spread_evenly
from ...model.predictor import ESTIMATE_BIAS_STD
from ...strip.parameters import MODULES, PARAMETERS
from .amounts import choose_amounts, weigh
from .engineer_prior import prior_at_strip, shipped_prior
from .label_confidence import confidence_of
from .map_estimates import spread_places
from .ridge import ALPHAS, FEWEST, OffsetFit, blend, fit
from .selection import relative_score
from .studio_strip import MAX_STD, MIN_STD
from .voice_clusters import cluster_voices

if TYPE_CHECKING:
    from .stages import Work

__all__ = [
    "apply_offsets",
    "blended_offsets",
    "confidence_at",
    "select_offsets",
    "cross_validated_offsets",
    "fit_offsets",
    "mean_alpha",
    "offset_points",
]

GROUPS = 5
"""Clusters of similar voices that are left out together."""

MOST_CROSSED, CROSSED_SEGMENTS = 40, 1
"""Pairs that decide by which amounts the offsets are applied, and segments of each."""


def fit_offsets(
    work: Work,
    estimates: Tensor,
    confidence: Tensor,
    alpha: float,
    without: Collection[int] = (),
) -> OffsetFit:
    """Fit the offsets of the settings from the strip that the model predicts.

    Parameters
    ----------
    work : Work
        The pairs and the model.
    estimates : Tensor
        ``(pairs, parameters)``, the estimates around this strip, NaN where there are none.
    confidence : Tensor
        ``(pairs,)``, the weight of each.
    alpha : float
        Ridge penalty.
    without : collection of int
        Pairs that are left out.
    """
    head = work.model.head
    known = ~estimates.isnan().any(dim=1)
    known[list(without)] = False
    mean = work.standardise_inputs(known)
    strip = work.strip()
    encoder_features = head.standardise_pooled(mean.to(head.feature_mean.device)).cpu()[known]
    voice_features = work.voice_features.to(head.voice_mean.device)
    voice_features = head.standardise_voice(voice_features).cpu()[known]
    prior = prior_at_strip(shipped_prior(), strip, head.voice_std)
    moves = (estimates[known] - strip) * work.seen
    groups = cluster_voices(work.voice_features[known], GROUPS) if bool(known.any()) else None
    return fit(encoder_features, voice_features, moves, alpha, prior, confidence[known], groups)


def confidence_at(work: Work, estimates: Tensor) -> Tensor:
    """Return the confidence in each estimate around the predicted strip, ``(pairs,)``."""
    found = torch.ones(len(estimates))
    numbers = (~estimates.isnan().any(dim=1)).nonzero()[:, 0].tolist()
    if not numbers:
        return found
    own = [spread_places(work.places[0], number) for number in numbers]
    places = [place for some in own for place in some]
    owner = torch.tensor([place.pair for place in places])
    strips = work.strip().expand(len(estimates), -1)
    both = [work.distances_at(points[owner], places) for points in (strips, estimates)]
    before, after = ([each[owner == n].tolist() for n in numbers] for each in both)
    lags = [work.train.pairs[number].lag_uncertain_seconds for number in numbers]
    found[numbers] = torch.from_numpy(confidence_of(before, after, lags)).float()
    return found


def apply_offsets(work: Work, found: OffsetFit, amounts: Mapping[str, float]) -> None:
    """Make the head predict the strip plus the fitted offsets times these amounts, by module."""
    head, strip = work.model.head, work.strip()
    by_logit = _by_logit(strip, amounts, work.seen).unsqueeze(1)
    with torch.no_grad():
        deviation = (head.log_variance.bias / 2.0).exp()
        side = deviation.new_tensor([ESTIMATE_BIAS_STD.get(p.key, 0.0) for p in PARAMETERS])
        head.skip.weight.copy_(found.encoder_weight * by_logit)
        head.voice.weight.copy_(found.voice_weight * by_logit)
        left = found.left.sqrt().to(deviation.device)
        less = (deviation * left).clamp(MIN_STD, MAX_STD)
        chosen = strip.to(deviation.device)
        head.mean.bias.copy_(torch.logit((chosen - side * less).clamp(0.005, 0.995)))
        head.log_variance.bias.copy_(2.0 * less.log())


def _by_logit(strip: Tensor, amounts: Mapping[str, float], seen: Tensor) -> Tensor:
    """From shares of the range to logits, on the tangent at the strip, ``(parameters,)``."""
    amount = torch.tensor([amounts.get(p.module, 1.0) for p in PARAMETERS])
    return seen * amount / (strip * (1.0 - strip)).clamp(min=0.05)


def offset_points(
    work: Work, strips: Tensor, moved: Tensor, amounts: Mapping[str, float]
) -> Tensor:
    """Return settings in 0…1: strips plus offsets, which are in shares of the range."""
    by_logit = _by_logit(work.strip(), amounts, work.seen)
    return torch.sigmoid(torch.logit(strips.clamp(0.005, 0.995)) + moved * by_logit)


def cross_validated_offsets(work: Work, found: OffsetFit, estimates: Tensor) -> Tensor:
    """Return every pair's offsets predicted by the fit to the others, ``(pairs, parameters)``."""
    head = work.model.head
    encoder_features = head.standardise_pooled(work.means().to(head.feature_mean.device)).cpu()
    voice_features = head.standardise_voice(work.voice_features.to(head.voice_mean.device)).cpu()
    moved = encoder_features @ found.encoder_weight.T + voice_features @ found.voice_weight.T
    moved[~estimates.isnan().any(dim=1)] = found.crossed
    return moved


def blended_offsets(
    work: Work,
    estimates: Tensor,
    confidence: Tensor,
    weights: Sequence[float],
    without: Collection[int] = (),
) -> OffsetFit:
    """Return the weighted mean of the fits with all ridge penalties."""
    fits = [fit_offsets(work, estimates, confidence, alpha, without) for alpha in ALPHAS]
    return blend(fits, weights)


def mean_alpha(weights: Sequence[float]) -> float:
    """Return the weighted geometric mean of the ridge penalties, for a log."""
    return round(float(np.exp(np.dot(weights, np.log(ALPHAS)))), 3)


def select_offsets(
    work: Work, estimates: Tensor, confidence: Tensor
) -> tuple[list[float], OffsetFit, dict[str, float]]:
    """Fit with each ridge penalty; choose weights and amounts by the distance through the console.

    Every pair is predicted from those with other voices (:mod:`.amounts`, :mod:`.voice_clusters`).

    Parameters
    ----------
    work : Work
        The pairs and the model, which answers the strip.
    estimates : Tensor
        ``(pairs, parameters)``, NaN where nothing is known.
    confidence : Tensor
        ``(pairs,)``.

    Returns
    -------
    weights : list of float
        Of the fit with each ridge penalty.
    found : OffsetFit
        Their weighted mean.
    amounts : dict of str to float
        Factors of the offsets, by module.
    """
    fits = [fit_offsets(work, estimates, confidence, alpha) for alpha in ALPHAS]
    numbers = (~estimates.isnan().any(dim=1)).nonzero()[:, 0].tolist()
    equal = [1.0 / len(fits)] * len(fits)
    if len(numbers) < FEWEST:
        return equal, blend(fits, equal), dict.fromkeys(MODULES, 0.0)
    some = spread_evenly(len(numbers), MOST_CROSSED)
    chosen = [numbers[i] for i in some]
    places = [place for n in chosen for place in spread_places(work.places[0], n, CROSSED_SEGMENTS)]
    owner, strip = torch.tensor([place.pair for place in places]), work.strip()

    def distances(found: OffsetFit, amounts: Mapping[str, float]) -> list[float]:
        moved = cross_validated_offsets(work, found, estimates)[owner]
        each = work.distances_at(offset_points(work, strip, moved, amounts), places)
        return [float(each[owner == number].mean()) for number in chosen]

    every = [distances(found, dict.fromkeys(MODULES, 1.0)) for found in fits]
    start = distances(fits[0], dict.fromkeys(MODULES, 0.0))
    weights = weigh([relative_score(each, start) for each in every])
    found = blend(fits, weights)
    return weights, found, choose_amounts(lambda amounts: distances(found, amounts), MODULES)
