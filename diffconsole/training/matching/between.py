"""What moves the points of a search between its rounds, where gradients do not lead."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...strip.later import LATER
from ...strip.parameters import CHAIN, PARAMETERS
from .beside import each
from .objective import HELD, INDEX, MatchObjective
from .polish import pre_delay_in_mix
from .starts import move_idle_bells

__all__ = ["align_predelay", "best_of", "perturb", "refine_non_gradient"]

CHANGED = tuple(m.key for m in CHAIN if m.place in ("insert", "send") and m.key not in LATER)
"""Modules of which a further search changes one, or all of them."""

KICK = 0.15
PRE_DELAYS = 8


def best_of(objective: MatchObjective, points: Tensor, keep: int) -> Tensor:
    """Return the best points, the best first."""
    return points[objective.distances(points, part=(0, 2)).argsort()[:keep]]


def perturb(objective: MatchObjective, point: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a point with one of its modules, or all of it, changed at random."""
    changed = (*CHANGED, *sorted(objective.tried - set(CHANGED)), "")
    module = changed[int(rng.integers(len(changed)))]
    size = KICK if module else KICK / 2.0
    noise = torch.zeros_like(point)
    places = objective.searched
    noise[places] = torch.from_numpy(rng.normal(0.0, size, len(places))).to(point)
    mine = torch.tensor(
        [(p.module == module or not module) and p.key not in HELD for p in PARAMETERS]
    )
    return (point + noise * mine).clamp(0.0, 1.0)


def align_predelay(objective: MatchObjective, points: Tensor) -> Tensor:
    """Return the points with the pre-delay at which the best of them is found in the mix."""
    found_at = pre_delay_in_mix(objective, points[0])
    if found_at is not None:
        points = points.clone()
        points[:, INDEX["reverb.pre_delay_ms"]] = found_at
    return points


def refine_non_gradient(objective: MatchObjective, points: Tensor) -> Tensor:
    """Return each point, or a better one where gradients do not lead."""
    return torch.stack(each(lambda point: _better(objective, point), list(points)))


def _better(objective: MatchObjective, point: Tensor) -> Tensor:
    place = INDEX["reverb.pre_delay_ms"]
    found_at = pre_delay_in_mix(objective, point)
    # The point as it is, with other pre-delays, and with its idle bells moved.
    others = torch.linspace(0.0, 1.0, PRE_DELAYS) if found_at is None else torch.tensor([found_at])
    tried = point.repeat(len(others) + 1, 1)
    tried[1:, place] = others
    moved = move_idle_bells(objective, point)
    distances = objective.distances(torch.cat((tried, moved[None])), part=(0, 2))
    pre_delay = tried[int(distances[:-1].argmin()), place] if found_at is None else found_at
    # A bell that has moved need not be better yet.
    point = (moved if float(distances[-1]) < 1.01 * float(distances[0]) else point).clone()
    point[place] = pre_delay
    return point
