"""Pairs that are all learnt from and all decide: each is predicted by the others.

Where pairs are few, one or two held out would decide everything, and the rest would learn from too
few. The studio's strip begins at the middle of the labels, which is found again without those of
each fold; by how much it then moves, the trained strip is moved for the pairs of that fold. The
offsets are those of a regression on the other pairs, in closed form (:mod:`.ridge`). Strip and
offsets are trained on together once for each of three folds, without it; the epoch at which the
folds have the lowest distance to their mixes is that at which the training on all pairs ends. Folds
are pairs with like voices (:mod:`.voice_clusters`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...model.predictor import level_gain_db
from ...pairs import PAIR_RATE, Pair
from ...strip.later import NOT_DRAWN
from ...strip.parameters import BY_KEY, PARAMETERS
from .offsets import apply_offsets, blended_offsets, offset_points
from .studio_strip import middle_of
from .voice_clusters import cluster_voices

if TYPE_CHECKING:
    from .stages import Work

__all__ = [
    "FOLDS",
    "Fitted",
    "crossed_distances",
    "crossed_epochs",
    "crossed_points",
    "settings_of",
    "shifts_of",
]

FOLDS, TRAINED_FOLDS = 5, 3
"""Groups of like voices: of the labels, and where each costs a training."""


@dataclass(frozen=True)
class Fitted:
    """What the offsets were fitted by, to fit them again without some pairs.

    Attributes
    ----------
    estimates : Tensor
        ``(pairs, parameters)``, the estimates around the strip.
    confidence : Tensor
        ``(pairs,)``, in the estimates.
    weights : list of float
        Of the fit with each ridge penalty.
    amounts : dict of str to float
        Factors of the offsets by module; empty where the strip alone is better.
    """

    estimates: Tensor
    confidence: Tensor
    weights: list[float]
    amounts: dict[str, float]


def shifts_of(labels: Tensor, voice_features: Tensor) -> Tensor:
    """Return the logits by which the middle of the labels moves without those of like voices.

    Parameters
    ----------
    labels : Tensor
        ``(pairs, parameters)`` in 0…1, NaN where there is none.
    voice_features : Tensor
        ``(pairs, features)``, of the voices.

    Returns
    -------
    Tensor
        ``(pairs, parameters)``; 0 for pairs without a label, and where none are left.
    """
    shifts = torch.zeros_like(labels)
    numbers = (~labels.isnan().any(dim=1)).nonzero()[:, 0]
    if len(numbers) < 2:
        return shifts
    middle = torch.logit(middle_of(labels[numbers]))
    for fold in cluster_voices(voice_features[numbers], FOLDS):
        out = torch.zeros(len(numbers), dtype=torch.bool)
        out[fold] = True
        shifts[numbers[out]] = torch.logit(middle_of(labels[numbers[~out]])) - middle
    return shifts


def settings_of(
    points: Sequence[Sequence[float]], pairs: Sequence[Pair], off: Collection[str] = NOT_DRAWN
) -> list[dict[str, float]]:
    """Return physical settings that act on the raw files as they lie.

    Parameters
    ----------
    points : sequence of sequence of float
        ``(pairs, parameters)`` in 0…1, for raw vocals at −18 LUFS.
    pairs : sequence of Pair
        Whose they are.
    off : collection of str
        Modules that the model does not know; their settings are left out.
    """
    found = []
    for point, pair in zip(np.asarray(points, float), pairs, strict=True):
        gain_db, _ = level_gain_db(pair.raw, PAIR_RATE)
        shift: Mapping[str, float] = {"input_gain.gain_db": gain_db}
        found.append({
            p.key: BY_KEY[p.key].clip(float(p.to_physical(value)) + shift.get(p.key, 0.0))
            for p, value in zip(PARAMETERS, point, strict=True)
            if p.module not in off
        })  # fmt: skip
    return found


def crossed_points(
    work: Work, shifts: Tensor, moved: Tensor | None, amounts: Mapping[str, float]
) -> Tensor:
    """Return the settings of every pair as the others have them, ``(pairs, parameters)``.

    Parameters
    ----------
    work : Work
        The pairs and the model, which predicts the strip.
    shifts : Tensor
        ``(pairs, parameters)``, logits by which the strip moves without the pair's label.
    moved : Tensor, optional
        ``(pairs, parameters)``, offsets by the fit to the others.
    amounts : mapping of str to float
        Factors of these, by module.
    """
    strips = torch.sigmoid(torch.logit(work.strip().clamp(0.005, 0.995)) + shifts)
    return offset_points(
        work, strips, torch.zeros_like(strips) if moved is None else moved, amounts
    )


def crossed_distances(work: Work, points: Tensor) -> list[float]:
    """Return the mean distance of settings ``(pairs, parameters)`` on the pairs' segments."""
    owner = torch.tensor([place.pair for place in work.held_places])
    each = work.distances_at(points[owner], work.held_places)
    return [float(each[owner == pair].mean()) for pair in range(len(points))]


def crossed_epochs(
    work: Work,
    restore: Callable[[], None],
    fitted: Fitted,
    shifts: Tensor,
    epochs: int,
    is_over: Callable[[], bool],
    report: Callable[[dict[str, Any]], None],
) -> Tensor | None:
    """Train strip and offsets without each fold; return the settings of its pairs by epoch.

    Parameters
    ----------
    work : Work
        The pairs and the model.
    restore : callable
        Sets the model to the strip.
    fitted : Fitted
        What the offsets are fitted by.
    shifts : Tensor
        ``(pairs, parameters)``, logits by which the strip moves without a pair's label.
    epochs : int
        How many.
    is_over : callable
        Whether the time for it is spent.
    report : callable
        Called after each step.

    Returns
    -------
    Tensor or None
        ``(epochs, pairs, parameters)`` in 0…1; None where the time was over before.
    """
    count, head = len(work.train.pairs), work.model.head
    points = torch.zeros(epochs, count, len(PARAMETERS))
    folds = cluster_voices(work.voice_features, TRAINED_FOLDS)
    for number, fold in enumerate(folds):
        restore()
        with torch.no_grad():
            head.mean.bias.add_(shifts[fold].mean(dim=0).to(head.mean.bias))
        if fitted.amounts:
            found = blended_offsets(work, fitted.estimates, fitted.confidence, fitted.weights, fold)
            apply_offsets(work, found, fitted.amounts)
        else:
            work.standardise_inputs()
        work.set_anchor(work.model.state_dict())
        optimizer = work.optimizer("head")
        others = set(range(count)) - set(fold)

        def report_epoch(event: dict[str, Any], done: int = number) -> None:
            report({**event, "fraction": (done + event["fraction"]) / (len(folds) + 1)})

        for epoch in range(epochs):
            if is_over():
                return None
            work.epoch(optimizer, "head", epoch, epochs, report_epoch, pairs=others)
            points[epoch, fold] = _answers(work)[fold]
    return points


@torch.no_grad()
def _answers(work: Work) -> Tensor:
    """Settings that the model chooses for each pair, ``(pairs, parameters)``."""
    mean, log_variance = work.model.head.predict_from_pooled(
        work.means().to(work.device), work.voice_features.to(work.device)
    )
    chosen = work.model.point_estimate(mean, (log_variance / 2).exp()).cpu()
    return work.workers.broadcast(chosen)
