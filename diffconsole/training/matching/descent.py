"""Steps of Adam by which the search moves its points, each point for itself."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ...pairs import PAIR_RATE
from ...strip.parameters import PARAMETERS
from .beside import each
from .objective import HELD, INDEX, KEYS, SEARCHED, MatchObjective, render_all
from .plan import Round
from .starts import ordinary

__all__ = ["BLIND", "Adam", "descent", "take_step"]

PULL = 0.02
MOMENTUM, SMOOTHING, ADAM_EPS = 0.8, 0.95, 1e-4
SHORT_SECONDS = 8.0
BLIND = (*HELD, *(p.key for p in PARAMETERS if not p.has_gradient))
"""What gradients do not move: a sample more of pre-delay turns the phases of the whole return, so
its gradient is large, and points anywhere."""


class Adam:
    """Points in 0…1 and the running moments of their gradients (Kingma and Ba, 2015).

    Not ``torch.optim.Adam``: its first use imports 870 modules of torch's compiler, 1.3 s of a
    quick search that takes a few, and its steps are no faster (98 µs; these take 89 µs).
    """

    def __init__(self, points: Tensor) -> None:
        self.points, self.steps = points, 0
        self.mean, self.square = torch.zeros_like(points), torch.zeros_like(points)

    def move(self, gradient: Tensor, size: float) -> None:
        """One step of this size, held within 0…1."""
        self.steps += 1
        self.mean = MOMENTUM * self.mean + (1.0 - MOMENTUM) * gradient
        self.square = SMOOTHING * self.square + (1.0 - SMOOTHING) * gradient.square()
        ahead = self.mean / (1.0 - MOMENTUM**self.steps)
        spread = (self.square / (1.0 - SMOOTHING**self.steps)).sqrt() + ADAM_EPS
        self.points = (self.points - size * ahead / spread).clamp(0.0, 1.0)


def take_step(
    objectives: list[MatchObjective],
    state: Adam,
    sizes: list[int],
    round_: Round,
    number: int,
    rng: np.random.Generator,
) -> list[float]:
    """Move all points once; return the least distance of each pair before.

    Parameters
    ----------
    objectives : list of MatchObjective
        The pairs.
    state : Adam
        The points of all pairs, one after the other.
    sizes : list of int
        How many each pair has.
    round_ : Round
        Whose step it is.
    number : int
        Of the step, from 0.
    rng : numpy.random.Generator
        Draws the frames that are compared.
    """
    part = (int(rng.integers(round_.part)), round_.part)
    alone = [objective.raw is objectives[0].raw for objective in objectives]
    if all(alone) and objectives[0].raw.device.type == "cpu":
        gradient, distances = _by_groups(objectives, state.points, sizes, part)
    else:
        gradient, distances = _gradient(objectives, state.points, sizes, part)
    gradient = torch.nan_to_num(gradient) * _moved(objectives, sizes)
    cosine = 0.5 + 0.5 * math.cos(math.pi * number / round_.steps)
    state.move(gradient, round_.step_size * (0.05 + 0.95 * cosine))
    parts = zip(objectives, state.points.split(sizes), strict=True)
    state.points = torch.cat([objective.in_the_middle(some) for objective, some in parts])
    return [float(one.min()) for one in distances]


def _by_groups(
    objectives: list[MatchObjective], points: Tensor, sizes: list[int], part: tuple[int, int]
) -> tuple[Tensor, list[Tensor]]:
    """:func:`_gradient` of one pair's points, beside each other."""
    together = _together(objectives[0])
    groups = [
        (number, some)
        for number, own in enumerate(points.split(sizes))
        for some in own.split(together)
    ]

    def of_group(group: tuple[int, Tensor]) -> tuple[Tensor, Tensor]:
        number, some = group
        gradient, (distances,) = _gradient([objectives[number]], some, [len(some)], part)
        return gradient, distances

    found = each(of_group, groups)
    gradient = torch.cat([one for one, _ in found])
    return gradient, list(torch.cat([one for _, one in found]).split(sizes))


def _together(objective: MatchObjective) -> int:
    """Points that share each step, beside others: of a short excerpt two cost less together."""
    return 2 if objective.raw.shape[-1] < SHORT_SECONDS * PAIR_RATE else 1


def _gradient(
    objectives: list[MatchObjective], points: Tensor, sizes: list[int], part: tuple[int, int]
) -> tuple[Tensor, list[Tensor]]:
    """The gradient at each point, and the distances of each pair's points."""
    leaf = points.clone().requires_grad_()
    rendered = render_all(objectives, leaf, sizes)
    distances = [s.distance(r, part) for s, r in zip(objectives, rendered, strict=True)]
    pull = PULL * (leaf - ordinary()).square().mean(dim=1) * (len(KEYS) / len(SEARCHED))
    (gradient,) = torch.autograd.grad((torch.cat(distances).cpu() + pull).sum(), leaf)
    return gradient, [one.detach() for one in distances]


def _moved(objectives: list[MatchObjective], sizes: list[int]) -> Tensor:
    """1 where gradients move a point, 0 elsewhere: ``(points, parameters)``."""
    rows = []
    for objective, size in zip(objectives, sizes, strict=True):
        row = torch.zeros(len(KEYS))
        row[objective.searched] = 1.0
        row[[INDEX[key] for key in BLIND]] = 0.0
        rows.append(row.expand(size, -1))
    return torch.cat(rows)


def descent(
    objective: MatchObjective, point: Tensor, round_: Round, rng: np.random.Generator
) -> Tensor:
    """Return a pair's point after the steps of a round."""
    state = Adam(point[None])
    for step in range(round_.steps):
        take_step([objective], state, [1], round_, step, rng)
    return state.points[0]
