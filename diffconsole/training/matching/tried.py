"""Modules that came after version 1.0 of the preset format, tried where a mix shows them.

A module's own code says where a search for it begins (:mod:`diffconsole.modules.evidence`); a mix
that shows nothing of it is not searched for it. Modules that it shows move together with the rest
of the strip in the last round. After it a module stays only if the distance to the whole excerpt
would rise by more than the module is worth without it, when the rest of the strip has had some
steps to make up for it: a module has to pay for its settings, as in the minimum description length
of Rissanen (1978).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...modules.evidence import Signals
from ...pairs import PAIR_RATE
from ...strip.later import is_later, rest_value
from ...strip.module import Module
from ...strip.parameter import Parameter
from ...strip.parameters import BY_KEY, CHAIN, PARAMETERS, denormalize
from .beside import each
from .objective import INDEX, MatchObjective
from .plan import Round

__all__ = [
    "SEND_TIMES",
    "TRIED",
    "as_loud",
    "at_rest",
    "drop_idle",
    "join_modules",
    "keep_worthy",
    "later_by",
    "latency_ms",
    "realign",
    "signals_of",
    "starting_points",
    "switched_on",
    "tryable",
    "worth",
]

WORTH, LEAST_WORTH = 0.005, 0.003
"""A module is kept if the distance falls by this share of it; by so much at least."""

SCAN_PART = 4
"""One frame of so many is compared to choose among settings."""

FARTHER = 8.0
"""Settings to begin from may be further from the mix by so many times the worth: gradients lead
from there."""

IDLE = 1.0
"""A module without which the distance rises by less than so many times its worth, when the gradient
has moved it for a while, moves along no more."""

CERTAIN = 5.0
"""A module without which the distance rises by so many times its worth stays without a trial."""


class Descent(Protocol):
    """A few steps by gradient."""

    def __call__(self, objective: MatchObjective, point: Tensor, round_: Round) -> Tensor:
        """Return the point after them."""


def worth(distance: float) -> float:
    """Return by how much a module has to lower this distance."""
    return max(WORTH * distance, LEAST_WORTH)


def _tried() -> tuple[str, ...]:
    later = {p.module for p in PARAMETERS if is_later(p)}
    return tuple(m.key for m in CHAIN if m.key in later and hasattr(m.code(), "starts"))


TRIED = _tried()
"""Modules with settings that came after version 1.0, whose code says where a search begins."""


def tryable(without: Collection[str] = ()) -> tuple[str, ...]:
    """Return the modules that are tried."""
    return tuple(key for key in TRIED if key not in without)


SEND_TIMES = tuple(p for p in PARAMETERS if not p.has_gradient)
"""When what the sends return begins: the delay's time and the reverb's pre-delay."""


def latency_ms(modules: Collection[str]) -> float:
    """Return by how much these modules delay what they let through."""
    samples = sum(
        getattr(module.code(), "latency_samples", 0.0) for module in CHAIN if module.key in modules
    )
    return 1000.0 * samples / PAIR_RATE


def later_by(points: Tensor, by_ms: float, times: Sequence[Parameter] = SEND_TIMES) -> Tensor:
    """Return points whose returns begin later by so much, ``(…, parameters)`` in 0…1.

    Against what a module with a latency lets through, the returns of the sends begin as early as
    before if their times are shorter by the latency. It is a fraction of a millisecond, but
    returns that are out of phase with those of the mix are as far from it as other returns.
    """
    if not by_ms:
        return points
    points = points.clone()
    for parameter in times:
        if parameter.has_gradient:
            continue
        place = INDEX[parameter.key]
        now_ms = parameter.to_physical(points[..., place].double())
        there_ms = (now_ms + by_ms).clamp(parameter.low, parameter.high)
        points[..., place] = parameter.to_normalised(there_ms).to(points)
    return points


def at_rest(point: Tensor, module: str) -> Tensor:
    """Return the point with the later settings of a module where they change least."""
    point = point.clone()
    for parameter in PARAMETERS:
        if parameter.module == module and is_later(parameter):
            point[INDEX[parameter.key]] = parameter.to_normalised(rest_value(parameter))
    return later_by(point, latency_ms({module}))


def switched_on(
    points: Tensor, starts: Tensor, module: Module, fresh: Collection[str] = ()
) -> Tensor:
    """Return points with a module at the settings of others.

    Parameters
    ----------
    points, starts : Tensor
        ``(…, parameters)`` in 0…1: without the module, and with its settings.
    module : Module
        Which.
    fresh : collection of str
        Modules that were switched on since the module's evidence was read.
    """
    own = [INDEX[p.key] for p in module.parameters]
    points = points.clone()
    points[..., own] = starts[..., own]
    points = later_by(points, -latency_ms(fresh), module.parameters)
    return later_by(points, -latency_ms({module.key}))


@torch.no_grad()
def signals_of(objective: MatchObjective, point: Tensor) -> Signals:
    """Return what evidence is read from: the pair, and what the strip makes of the raw vocal.

    Its key and settings are those of no module yet.
    """
    sends = frozenset(module.key for module in CHAIN if module.place == "send")
    rendered, dry = each(
        lambda off: objective.render_near(point, off)[0].cpu().numpy(), (frozenset(), sends)
    )
    raw, mixed = objective.raw[0].cpu().numpy(), objective.mix[0].cpu().numpy()
    return Signals(PAIR_RATE, raw, mixed, rendered, dry, key="", settings={})


def starting_points(point: Tensor, module: Module, signals: Signals) -> list[Tensor]:
    """Return a point with each of a module's settings to begin from; none where nothing shows."""
    found = []
    now = {key: float(value) for key, value in denormalize(point).items()}
    asked = signals._replace(key=module.key, settings=module.own(now))
    for settings in module.code().starts(asked):
        other = point.clone()
        for parameter in module.parameters:
            name = parameter.key[len(module.key) + 1 :]
            if name in settings or is_later(parameter):
                value = settings.get(name, parameter.default)
                other[INDEX[parameter.key]] = parameter.to_normalised(parameter.clip(value))
        found.append(other)
    return found


@torch.no_grad()
def as_loud(objective: MatchObjective, points: Tensor, module: Module, signals: Signals) -> Tensor:
    """Return points with the gain behind the module that gives the level of before."""
    if not module.gain_after:
        return points
    key = f"{module.key}.{module.gain_after}"
    makeup, points = BY_KEY[key], points.clone()
    wanted = float(np.square(signals.rendered, dtype=np.float64).mean())
    powers = each(
        lambda row: float(objective.render_near(row).double().square().mean()), list(points)
    )
    for row, power in zip(points, powers, strict=True):
        gain_db = 10.0 * math.log10((wanted + 1e-12) / (power + 1e-12))
        value = float(makeup.to_physical(float(row[INDEX[key]])))
        row[INDEX[key]] = makeup.to_normalised(makeup.clip(value + gain_db))
    return points


def join_modules(
    objective: MatchObjective, point: Tensor, without: Collection[str]
) -> tuple[Tensor, frozenset[str]]:
    """Return the point with each module of which the mix shows something, and which these are.

    Of a module's settings to begin from those at the lowest distance are taken, beside the modules
    that are on already. No gradient is taken.

    Parameters
    ----------
    objective : MatchObjective
        The pair, with the modules that are on already.
    point : Tensor
        ``(parameters,)`` in 0…1, the best so far. It is returned as it is if nothing shows.
    without : collection of str
        Modules that are not tried.
    """
    signals = signals_of(objective, point)
    shown = [
        (module, points)
        for module in CHAIN
        if module.key in tryable({*without, *objective.tried})
        and (points := starting_points(point, module, signals))
    ]
    tried = objective.tried
    distance = float(objective.distances(point[None], part=(0, SCAN_PART)))
    for module, points in shown:
        here = objective.trying(tried | {module.key})
        every = point.repeat(len(points), 1)
        every = switched_on(every, torch.stack(points), module, tried - objective.tried)
        every = as_loud(here, here.in_the_middle(every), module, signals)
        distances = here.distances(every, part=(0, SCAN_PART))
        least = int(distances.argmin())
        if float(distances[least]) > distance + FARTHER * worth(distance):
            continue
        point, tried = every[least], here.tried
        distance = min(distance, float(distances[least]))
    return point, tried


def drop_idle(objective: MatchObjective, point: Tensor) -> tuple[Tensor, frozenset[str]]:
    """Return the point without the modules that do nothing for it, and the others that are tried.

    For the steps that follow: each module that moves along costs its time.
    """
    tried = objective.tried
    centre = float(objective.distances(point[None], part=(0, SCAN_PART)))
    for key in sorted(tried):
        other, fewer = at_rest(point, key), objective.trying(tried - {key})
        distance = float(fewer.distances(other[None], part=(0, SCAN_PART)))
        if distance - centre < IDLE * worth(centre):
            point, tried, centre = other, fewer.tried, distance
    return point, tried


def realign(objective: MatchObjective, point: Tensor) -> Tensor:
    """Return the point with what gradients do not move where the mix shows it now.

    Of a delay that is its time: what the rest of the strip leaves of the mix, now that it has been
    searched, shows it more clearly.
    """
    for module in CHAIN:
        blind = [INDEX[p.key] for p in module.parameters if is_later(p) and not p.has_gradient]
        if module.key not in objective.tried or not blind:
            continue
        rest = objective.trying(objective.tried - {module.key})
        found = starting_points(point, module, signals_of(rest, at_rest(point, module.key)))
        if found:
            every = point.repeat(len(found) + 1, 1)
            every[1:, blind] = torch.stack(found)[:, blind]
            point = every[int(objective.distances(every).argmin())]
    return point


def keep_worthy(
    objective: MatchObjective, point: Tensor, trial: Round, descend: Descent
) -> tuple[Tensor, frozenset[str]]:
    """Return the point without the modules that are not worth it, and those that are.

    The module whose absence is missed least goes first. Where it is missed by little, the rest of
    the strip may make up for it in a few steps before it counts.

    Parameters
    ----------
    objective : MatchObjective
        The pair, with the modules that are tried.
    point : Tensor
        ``(parameters,)`` in 0…1, after the gradient has moved them together.
    trial : Round
        The steps that the rest of the strip may take.
    descend : callable
        Moves a point by gradient.
    """
    tried = objective.tried
    certain: frozenset[str] = frozenset()
    while tried - certain:
        centre = float(objective.trying(tried).distances(point[None]))

        def rise(key: str) -> float:
            other = at_rest(point, key)  # noqa: B023
            rest = objective.trying(tried - {key})  # noqa: B023
            return float(rest.distances(other[None])) - centre  # noqa: B023

        keys = sorted(tried - certain)
        rises = dict(zip(keys, each(rise, keys), strict=True))
        least = min(rises, key=lambda key: rises[key])
        if rises[least] > CERTAIN * worth(centre):
            break
        other, fewer = at_rest(point, least), objective.trying(tried - {least})
        if rises[least] > 0.0:
            settled = descend(fewer, other, trial)
            both = torch.stack((other, settled))
            distances = fewer.distances(both)
            other = both[int(distances.argmin())]
            if float(distances.min()) - centre > worth(centre):
                certain |= {least}
                continue
        point, tried = other, fewer.tried
    return point, tried
