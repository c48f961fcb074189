"""What moves the points of a search between its rounds, where gradients do not lead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...strip.later import LATER, is_later
from ...strip.parameter import Parameter
from ...strip.parameters import CHAIN, PARAMETERS
from .beside import each
from .objective import HELD, INDEX, MatchObjective
from .polish import pre_delay_in_mix
from .starts import move_idle_bells
from .tried import SEND_TIMES

__all__ = [
    "SHORT_REACHES_MS",
    "align_predelay",
    "beside_guess",
    "best_of",
    "nearby",
    "perturb",
    "refine_non_gradient",
    "refine_times",
]

CHANGED = tuple(m.key for m in CHAIN if m.place in ("insert", "send") and m.key not in LATER)
"""Modules of which a further search changes one, or all of them."""

REACHES_MS, NEARBY = (3.0, 0.8, 0.2, 0.05), (-1.0, -0.5, 0.5, 1.0)
"""How far from a time others are tried, and at which shares of it: a sample at last."""

SHORT_REACHES_MS = REACHES_MS[2:]
"""Where times have been refined before."""

KICK = 0.15
PRE_DELAYS = 8


def best_of(objective: MatchObjective, points: Tensor, keep: int) -> Tensor:
    """Return the best points, the best first."""
    return points[objective.distances(points, part=(0, 2)).argsort()[:keep]]


def beside_guess(objective: MatchObjective, points: Tensor, guesses: Tensor) -> Tensor:
    """Return points, and behind them the best of the guesses with which a search began.

    Modules that join early, before the rest of the strip has made up for them, may lead to other
    settings.
    """
    guess = refine_non_gradient(objective, best_of(objective, guesses, 1))
    return torch.cat((points, guess))


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


def nearby(parameter: Parameter, value: float, reach_ms: float) -> list[float]:
    """Return times around one, all in 0…1, as far from it as `reach_ms`."""
    now_ms = float(parameter.to_physical(value))
    there_ms = [parameter.clip(now_ms + share * reach_ms) for share in NEARBY]
    return [float(parameter.to_normalised(time_ms)) for time_ms in there_ms]


def refine_times(
    objective: MatchObjective, point: Tensor, reaches_ms: Sequence[float] = REACHES_MS
) -> Tensor:
    """Return the point with the times that gradients do not move where the distance is lowest.

    An echo, and the return of a reverb, agree with those of a mix in phase only within a fraction
    of a millisecond. What correlations say is often off by that much, and the distance has a narrow
    valley there: times around it are tried, closer and closer.
    """
    distance = float(objective.distances(point[None]))
    for parameter in SEND_TIMES:
        if is_later(parameter) and parameter.module not in objective.tried:
            continue
        place = INDEX[parameter.key]
        for reach_ms in reaches_ms:
            tried = point.repeat(len(NEARBY), 1)
            tried[:, place] = torch.tensor(nearby(parameter, float(point[place]), reach_ms))
            distances = objective.distances(tried)
            least = int(distances.argmin())
            if float(distances[least]) < distance:
                point, distance = tried[least], float(distances[least])
    return point


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
