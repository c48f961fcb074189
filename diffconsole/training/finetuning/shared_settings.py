"""Settings that all pairs of a studio share, moved by the gradient beside each pair's own strip.

A pair alone leaves open what its mix owes to which module: a second compressor to the first, the
tail of a reverb to a delay. What a studio does to every vocal is one point for all pairs, while
the rest of the strip is each pair's own:

    min over s, p_1 … p_n of Σ distance_i(s, p_i)

by the steps of Adam that the search of a match takes (:mod:`..matching.descent`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from ...strip.parameters import BY_KEY
from ..matching.between import nearby
from ..matching.descent import BLIND, Adam
from ..matching.objective import INDEX, KEYS, SEARCHED, MatchObjective, render_all
from ..matching.plan import Round
from ..matching.tried import SEND_TIMES

__all__ = [
    "common_level",
    "descend",
    "distances_of",
    "from_label",
    "refine_shared_times",
    "shared_places",
    "with_output",
]

REACHES_MS = (0.8, 0.2, 0.05, 0.0125)
"""How far from a time others are tried: half a sample at last."""

MAKEUP, OUTPUT = "compressor.makeup_db", "output_gain.gain_db"


def common_level(objectives: Sequence[MatchObjective]) -> list[MatchObjective]:
    """Return the pairs with one gain behind the strip, the median of theirs.

    What follows the level behind the makeup, as a second compressor, meets the same level in every
    mix then, as it does in the studio.
    """
    output_db = float(np.median([objective.output_db for objective in objectives]))
    return [with_output(objective, output_db) for objective in objectives]


def with_output(objective: MatchObjective, output_db: float) -> MatchObjective:
    """Return a pair with another gain behind the strip; its mix stays as loud as it is."""
    other = copy.copy(objective)
    other.mix = objective.mix * 10.0 ** ((objective.output_db - output_db) / 20.0)
    other.output_db, other.level = output_db, 10.0 ** (output_db / 20.0)
    return other


def from_label(label: Tensor, objective: MatchObjective) -> Tensor:
    """Return a label (:func:`.labels.label_of`) without the gain that lies behind the strip."""
    level_db = sum(
        float(BY_KEY[key].to_physical(float(label[INDEX[key]]))) for key in (MAKEUP, OUTPUT)
    )
    point = label.clone()
    for key, gain_db in ((MAKEUP, level_db - objective.output_db), (OUTPUT, 0.0)):
        point[INDEX[key]] = BY_KEY[key].to_normalised(BY_KEY[key].clip(gain_db))
    return point


def shared_places(places: Sequence[int]) -> Tensor:
    """Return which settings are shared, ``(parameters,)`` bool."""
    found = torch.zeros(len(KEYS), dtype=torch.bool)
    found[list(places)] = True
    return found


@torch.no_grad()
def distances_of(
    objectives: Sequence[MatchObjective], points: Tensor, part: tuple[int, int] = (0, 2)
) -> np.ndarray:
    """Return the distance of each pair's point to its mix, ``(pairs,)``."""
    found = [
        objective.distances(point[None], part=part)
        for objective, point in zip(objectives, points, strict=True)
    ]
    return torch.cat(found).double().numpy()


def descend(
    objectives: Sequence[MatchObjective],
    points: Tensor,
    round_: Round,
    rng: np.random.Generator,
    *,
    shared: Tensor,
    moves_shared: bool,
    report_progress: Callable[[float, float], None] = lambda *_: None,
) -> Tensor:
    """Move each pair's strip, and what all pairs share by the mean of their gradients.

    Parameters
    ----------
    objectives : sequence of MatchObjective
        The pairs, with the same modules tried.
    points : Tensor
        ``(pairs, parameters)`` in 0…1, equal where they share settings.
    round_ : Round
        The steps.
    rng : numpy.random.Generator
        Draws the frames that are compared.
    shared : Tensor
        ``(parameters,)`` bool.
    moves_shared : bool
        Whether these move as well, or stay as they are.
    report_progress : callable
        Called after each step with the share of the steps done and the mean distance.

    Returns
    -------
    Tensor
        ``(pairs, parameters)``.
    """
    places = torch.zeros(len(KEYS), dtype=torch.bool)
    places[SEARCHED] = True
    moved = places & ~shared
    if moves_shared:
        moved |= shared
    moved[[INDEX[key] for key in BLIND]] = False
    state, ones = Adam(points.clone()), [1] * len(objectives)
    for step in range(round_.steps):
        leaf = state.points.clone().requires_grad_()
        part = (int(rng.integers(round_.part)), round_.part)
        rendered = render_all(list(objectives), leaf, ones)
        each = torch.cat(
            [o.distance(r, part) for o, r in zip(objectives, rendered, strict=True)]
        ).cpu()
        (gradient,) = torch.autograd.grad(each.sum(), leaf)
        gradient = torch.nan_to_num(gradient) * moved
        gradient[:, shared] = gradient[:, shared].mean(dim=0)
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / round_.steps)
        state.move(gradient, round_.step_size * (0.05 + 0.95 * cosine))
        rows = zip(objectives, state.points, strict=True)
        centred = torch.stack([objective.in_the_middle(row) for objective, row in rows])
        state.points = torch.where(shared, state.points, centred)
        report_progress((step + 1) / round_.steps, float(each.detach().mean()))
    return state.points


def refine_shared_times(
    objectives: Sequence[MatchObjective], points: Tensor, tried: Collection[str]
) -> Tensor:
    """Return the points with the shared times that gradients do not move where pairs are closest.

    In one mix an echo's phase also follows from the rest of the strip; an echo that is out of
    phase comes out too quiet.

    Parameters
    ----------
    objectives : sequence of MatchObjective
        The pairs, with the same modules tried.
    points : Tensor
        ``(pairs, parameters)`` in 0…1, with equal settings of the modules.
    tried : collection of str
        The modules whose times are moved.
    """
    moved = [parameter for parameter in SEND_TIMES if parameter.module in tried]
    if not moved:
        return points
    least = float(distances_of(objectives, points).sum())
    for parameter in moved:
        place = INDEX[parameter.key]
        for reach_ms in REACHES_MS:
            for value in nearby(parameter, float(points[0, place]), reach_ms):
                other = points.clone()
                other[:, place] = value
                total = float(distances_of(objectives, other).sum())
                if total < least:
                    points, least = other, total
    return points
