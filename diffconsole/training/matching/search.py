"""The search behind a match: from several starts, by gradient through the console.

Settings are 0…1 over their ranges, frequencies and times on their logarithms. The raw vocal comes
in at −18 LUFS and the mix at the loudness that the console then gives it, so that thresholds and
makeup are of ordinary size. Five stages:

1. An EQ that brings the long-term spectrum to the mix's, then a few compressors and reverbs tried
   without gradients (:mod:`.starts`).
2. Adam from the best of them, on a short excerpt; the worse ones are dropped.
3. Adam on a longer excerpt, with steps that shrink. Between rounds the gradients get help where
   they are blind: pre-delays are tried across the range, and bells that do nothing move to where
   the spectrum is still off.
4. Where the mix shows the reverb's own noise, the samples themselves give the settings
   (:mod:`.polish`).
5. What the result does without is switched off, and the uncertainty of the rest is
   estimated (:mod:`.postprocess`).

The loss is the distance that is reported, on a random part of the frames at each step, and a pull
towards ordinary settings that is weak beside anything audible.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ...pairs import Pair
from ...strip.later import LATER
from ...strip.parameters import CHAIN, PARAMETERS
from .objective import HELD, INDEX, KEYS, SEARCHED, MatchObjective, render_all
from .plan import Plan, Round, plan_for
from .polish import pre_delay_in_mix, refine_least_squares
from .postprocess import estimate_sensitivity, levelled, prune_inaudible
from .search_result import SearchResult
from .starts import first_guesses, move_idle_bells, ordinary

__all__ = ["SearchResult", "Plan", "Round", "plan_for", "search"]

PULL = 0.02
MOMENTUM, SMOOTHING, ADAM_EPS = 0.8, 0.95, 1e-4
BLIND = (
    *HELD,
    *(p.key for p in PARAMETERS if not p.has_gradient),
    *(key for place, key in enumerate(KEYS) if place not in SEARCHED),
)
"""What gradients do not move: a sample more of pre-delay turns the phases of the whole return, so
its gradient is large, and points anywhere; and modules that the search leaves off."""

CHANGED = tuple(m.key for m in CHAIN if m.place in ("insert", "send") and m.key not in LATER)
"""Modules of which a further search changes one, or all of them."""

PRE_DELAYS = 8
# Of a time budget; the rest is for what comes after the search.
SEARCH_SHARE, SOLVE_UNTIL = 0.85, 0.95
SHORT_SECONDS = 20.0
"""Budgets up to this leave no time for many starts and for help between the rounds."""

HOPS, HOP_STEPS, LAST_STEPS, KICK = 3, 50, 200, 0.15


def search(
    pairs: Sequence[Pair],
    plan: Plan,
    *,
    seconds: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    report_progress: Callable[[float, float], None] = lambda *_: None,
) -> tuple[list[SearchResult], bool]:
    """Find the settings that turn raw vocals into their mixes, those of all pairs in one batch.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned; they run in one batch if their lengths and channels are equal.
    plan : Plan
        What is done.
    seconds : float, optional
        Time budget for all. More than the plan needs is spent on further searches from changed
        settings, less makes each round shorter. Without it the steps are the plan's, and the
        result is the same on every run.
    seed : int
        Seed of every random choice.
    device : str
        ``"cpu"`` or ``"cuda"``.
    report_progress : callable
        Called after each step with the share of the work done, 0…1, and the mean distance.

    Returns
    -------
    found : list of SearchResult
        One per pair.
    stopped : bool
        Whether Ctrl-C ended it: these are the best until then.
    """
    run = _Search(pairs, plan, seconds, seed, device, report_progress)
    try:
        run.run()
    except KeyboardInterrupt:
        return run.found, True
    return run.found, False


class _Search:
    def __init__(
        self,
        pairs: Sequence[Pair],
        plan: Plan,
        seconds: float | None,
        seed: int,
        device: str,
        report: Callable[[float, float], None],
    ) -> None:
        self.pairs, self.plan, self.device, self.report = pairs, plan, device, report
        self.rng = np.random.default_rng(seed)
        self.began, self.seconds = time.monotonic(), seconds
        self.length = 0.0
        self.objectives: list[MatchObjective] = []
        objectives = self.at(plan.rounds[0].seconds)
        self.found = [SearchResult(ordinary(), s.input_db, s.output_db) for s in objectives]
        self.work = sum(r.seconds * r.steps * r.keep for r in plan.rounds)
        self.done = 0.0

    def at(self, seconds: float) -> list[MatchObjective]:
        """The pairs' loudest parts of this length."""
        if seconds != self.length:
            self.objectives = [MatchObjective(pair, seconds, self.device) for pair in self.pairs]
            self.length = seconds
        return self.objectives

    def spent(self) -> float:
        """Share of the time budget that is gone, 0 without one."""
        return (time.monotonic() - self.began) / self.seconds if self.seconds else 0.0

    def run(self) -> None:
        """Do the plan, then what the time allows, then leave out what is inaudible."""
        rounds = self.plan.rounds
        many = self.plan.thorough and (self.seconds is None or self.seconds > SHORT_SECONDS)
        points = [
            align_predelay(objective, first_guesses(objective, many=many))
            for objective in self.at(rounds[0].seconds)
        ]
        self.remember([some[:1] for some in points])
        for number, round_ in enumerate(rounds):
            if number and self.spent() > SEARCH_SHARE:
                break
            objectives = self.at(round_.seconds)
            if number and many:
                points = [
                    refine_non_gradient(s, p) for s, p in zip(objectives, points, strict=True)
                ]
            points = [best_of(s, p, round_.keep) for s, p in zip(objectives, points, strict=True)]
            points = self.descend(objectives, points, round_)
            self.remember(points)
        if self.seconds and self.spent() < SEARCH_SHARE:
            self.continue_from_best()
        for objective, found in zip(self.objectives, self.found, strict=True):
            if self.plan.thorough and self.spent() < 1.0:
                found.point = refine_least_squares(
                    objective, found.point, functools.partial(self.may_continue_solving, found)
                )
            found.point = levelled(objective, found.point)
            alone = self.plan.thorough and self.spent() < 1.0
            found.off = prune_inaudible(objective, found.point, one_by_one=alone)
            if self.plan.thorough and self.spent() < 1.0:
                found.ranges = estimate_sensitivity(objective, found.point, found.off)

    def remember(self, points: list[Tensor]) -> None:
        for objective, found, some in zip(self.objectives, self.found, points, strict=True):
            distances = objective.distances(torch.cat((found.point[None], some)))
            least = int(distances.argmin())
            if least or not math.isfinite(found.distance):
                found.point = torch.cat((found.point[None], some))[least]
            found.distance = float(distances[least])

    def continue_from_best(self) -> None:
        """Search from changed copies of the best settings until the budget is spent."""
        round_ = self.plan.rounds[-1]
        again = Round(round_.seconds, HOP_STEPS, 0.03, round_.part, HOPS)
        while self.spent() < SEARCH_SHARE * 0.8:
            points = [
                objective.in_the_middle(
                    torch.stack([perturb(found.point, self.rng) for _ in range(HOPS)])
                )
                for objective, found in zip(self.objectives, self.found, strict=True)
            ]
            points = [
                refine_non_gradient(s, p) for s, p in zip(self.objectives, points, strict=True)
            ]
            self.remember(self.descend(self.objectives, points, again))
        points = [found.point[None] for found in self.found]
        settle = Round(round_.seconds, LAST_STEPS, 0.01, 2, 1)
        self.remember(self.descend(self.objectives, points, settle))

    def may_continue_solving(self, found: SearchResult) -> bool:
        """Report that the search is alive; whether there is time left."""
        self.report(1.0, found.distance)
        return self.spent() < SOLVE_UNTIL

    def descend(
        self, objectives: list[MatchObjective], points: list[Tensor], round_: Round
    ) -> list[Tensor]:
        """Adam, each point for itself, with steps that shrink; Ctrl-C keeps what it has."""
        most = 1.0
        if self.seconds:
            most = round_.seconds * round_.steps * round_.keep / self.work
            most = min(self.spent() + SEARCH_SHARE * most, SEARCH_SHARE)
        state = _Adam(torch.cat(points))
        sizes = [len(some) for some in points]
        try:
            for step in range(round_.steps):
                least = self.step(objectives, state, sizes, round_, step)
                for found, value in zip(self.found, least, strict=True):
                    found.history.append(value)
                self.done += round_.seconds * round_.keep
                share = self.spent() / SEARCH_SHARE if self.seconds else self.done / self.work
                self.report(min(share, 1.0), sum(least) / len(least))
                if self.spent() > most:
                    break
        except KeyboardInterrupt:
            self.remember(list(state.points.split(sizes)))
            raise
        return list(state.points.split(sizes))

    def step(
        self,
        objectives: list[MatchObjective],
        state: _Adam,
        sizes: list[int],
        round_: Round,
        number: int,
    ) -> list[float]:
        """Move all points once; return the least distance of each pair before."""
        leaf = state.points.clone().requires_grad_()
        part = (int(self.rng.integers(round_.part)), round_.part)
        rendered = render_all(objectives, leaf, sizes)
        distances = [s.distance(r, part) for s, r in zip(objectives, rendered, strict=True)]
        pull = PULL * (leaf - ordinary()).square().mean(dim=1) * (len(KEYS) / len(SEARCHED))
        (gradient,) = torch.autograd.grad((torch.cat(distances).cpu() + pull).sum(), leaf)
        gradient = torch.nan_to_num(gradient)
        gradient[:, [INDEX[key] for key in BLIND]] = 0.0
        cosine = 0.5 + 0.5 * math.cos(math.pi * number / round_.steps)
        state.move(gradient, round_.step_size * (0.05 + 0.95 * cosine))
        parts = zip(objectives, state.points.split(sizes), strict=True)
        state.points = torch.cat([objective.in_the_middle(some) for objective, some in parts])
        return [float(d.detach().min()) for d in distances]


class _Adam:
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


def best_of(objective: MatchObjective, points: Tensor, keep: int) -> Tensor:
    """Return the best points, the best first."""
    return points[objective.distances(points, part=(0, 2)).argsort()[:keep]]


def perturb(point: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a point with one of its modules, or all of it, changed at random."""
    module = (*CHANGED, "")[int(rng.integers(len(CHANGED) + 1))]
    size = KICK if module else KICK / 2.0
    noise = torch.zeros_like(point)
    noise[SEARCHED] = torch.from_numpy(rng.normal(0.0, size, len(SEARCHED))).to(point)
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
    place = INDEX["reverb.pre_delay_ms"]
    better = []
    for point in points:
        found_at = pre_delay_in_mix(objective, point)
        # The point as it is, with other pre-delays, and with its idle bells moved.
        others = (
            torch.linspace(0.0, 1.0, PRE_DELAYS) if found_at is None else torch.tensor([found_at])
        )
        tried = point.repeat(len(others) + 1, 1)
        tried[1:, place] = others
        moved = move_idle_bells(objective, point)
        distances = objective.distances(torch.cat((tried, moved[None])), part=(0, 2))
        pre_delay = tried[int(distances[:-1].argmin()), place] if found_at is None else found_at
        # A bell that has moved need not be better yet.
        point = (moved if float(distances[-1]) < 1.01 * float(distances[0]) else point).clone()
        point[place] = pre_delay
        better.append(point)
    return torch.stack(better)
