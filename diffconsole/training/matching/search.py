"""The search behind a match: from several starts, by gradient through the console.

Settings are 0…1 over their ranges, frequencies and times on their logarithms. The raw vocal comes
in at −18 LUFS and the mix at the loudness that the console then gives it, so that thresholds and
makeup are of ordinary size. Six stages:

1. An EQ that brings the long-term spectrum to the mix's, then a few compressors and reverbs tried
   without gradients (:mod:`.starts`).
2. Adam from the best of them, on a short excerpt; the worse ones are dropped.
3. Adam on a longer excerpt, with steps that shrink. Between rounds the gradients get help where
   they are blind: pre-delays are tried across the range, and bells that do nothing move to where
   the spectrum is still off.
4. Before the last of these rounds: a module that came later is tried where the mix shows it, and
   kept only where the distance falls by more than it is worth (:mod:`.tried`).
5. Where the mix shows the reverb's own noise, the samples themselves give the modules and the
   settings, and there is neither a trial nor a last round (:mod:`.pursuit`, :mod:`.polish`).
6. What the result does without is switched off, and the uncertainty of the rest is
   estimated (:mod:`.postprocess`).

The loss is the distance that is reported, on a random part of the frames at each step, and a pull
towards ordinary settings that is weak beside anything audible.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from ...pairs import Pair
from ...strip.later import LATER
from ...strip.parameters import CHAIN, PARAMETERS
from .beside import each, shared_threads
from .descent import Adam, descent, take_step
from .objective import HELD, INDEX, MatchObjective
from .plan import Plan, Round, plan_for
from .polish import near_in_samples, pre_delay_in_mix, refine_least_squares
from .postprocess import estimate_sensitivity, levelled, prune_inaudible
from .pursuit import pursue
from .samples import Fit
from .search_result import SearchResult
from .starts import first_guesses, move_idle_bells, ordinary
from .tried import drop_idle, join_modules, keep_worthy, realign

__all__ = ["SearchResult", "Plan", "Round", "plan_for", "search"]

IDLE_AFTER = 0.2
"""Share of the last round's steps after which a module that does nothing moves along no more."""

CHANGED = tuple(m.key for m in CHAIN if m.place in ("insert", "send") and m.key not in LATER)
"""Modules of which a further search changes one, or all of them."""

PRE_DELAYS = 8
# Of a time budget; the rest is for what comes after the search.
SEARCH_SHARE, SOLVE_UNTIL = 0.85, 0.95
SHORT_SECONDS = 20.0
"""Budgets up to this leave no time for many starts and for help between the rounds."""

SENSITIVE_SECONDS = 6.0
"""How far each setting may go shows in a part of the excerpt."""

HOPS, HOP_STEPS, LAST_STEPS, KICK = 3, 50, 200, 0.15


def search(
    pairs: Sequence[Pair],
    plan: Plan,
    *,
    seconds: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    without: Collection[str] = (),
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
    without : collection of str
        Modules that are not tried.
    report_progress : callable
        Called after each step with the share of the work done, 0…1, and the mean distance.

    Returns
    -------
    found : list of SearchResult
        One per pair.
    stopped : bool
        Whether Ctrl-C ended it: these are the best until then.
    """
    with shared_threads(device):
        run = _Search(pairs, plan, seconds, seed, device, report_progress, without)
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
        without: Collection[str] = (),
    ) -> None:
        self.pairs, self.plan, self.device, self.report = pairs, plan, device, report
        self.seed, self.without = seed, without
        self.rng = np.random.default_rng(seed)
        self.began, self.seconds = time.monotonic(), seconds
        self.length = 0.0
        self.exact: dict[int, Fit] = {}
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
        has_time = self.seconds is None or self.seconds > SHORT_SECONDS
        many = self.plan.thorough and has_time
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
            tries = number == len(rounds) - 1 and self.plan.trial is not None and has_time
            if tries:
                self.pursue(points)
                if len(self.exact) == len(self.pairs):
                    break
                points = self.join_modules(points)
            points = self.descend(self.objectives, points, round_, drops_idle=tries)
            self.remember(points)
            if tries:
                self.keep_worthy()
        for number in self.exact:
            self.take(number)
        others = len(self.exact) < len(self.pairs)
        if self.seconds and self.spent() < SEARCH_SHARE and others:
            self.continue_from_best()
        for number, found in enumerate(self.found):
            if self.plan.thorough and self.spent() < 1.0 and number not in self.exact:
                self.solve(number, looks=has_time)
            objective = self.objectives[number]
            exact = number in self.exact
            found.point = found.point if exact else levelled(objective, found.point)
            alone = self.plan.thorough and self.spent() < 1.0
            found.off = prune_inaudible(objective, found.point, one_by_one=alone, of_samples=exact)
            if self.plan.thorough and self.spent() < 1.0:
                part = objective.beginning(SENSITIVE_SECONDS)
                found.ranges = estimate_sensitivity(part, found.point, found.off)

    def take(self, number: int) -> None:
        """Make what the samples say the result of a pair."""
        fit, found = self.exact[number], self.found[number]
        objective = self.objectives[number] = self.objectives[number].trying(fit.tried)
        found.tried, found.point = fit.tried, fit.point
        found.distance = float(objective.distances(fit.point[None]))

    def solve(self, number: int, *, looks: bool) -> None:
        """Let the samples of a pair say what they can, of the modules too if it looks for them."""
        objective, found = self.objectives[number], self.found[number]
        fit = self.pursued(objective, found.point, found) if looks and self.plan.trial else None
        if fit is not None:
            self.exact[number] = fit
            self.take(number)
        else:
            may_continue = functools.partial(self.may_continue_solving, found)
            found.point = refine_least_squares(objective, found.point, may_continue)

    def pursue(self, points: list[Tensor]) -> None:
        """Look in the samples of each pair whose mix was made by a console like this one."""
        for number, (objective, some) in enumerate(zip(self.objectives, points, strict=True)):
            fit = self.pursued(objective, some[0], self.found[number])
            if fit is not None:
                self.exact[number] = fit

    def pursued(self, objective: MatchObjective, point: Tensor, found: SearchResult) -> Fit | None:
        """The fit of a pair's samples from a point, if its distance is lower."""
        start = near_in_samples(objective, point) if self.plan.thorough else None
        if start is None:
            return None
        may_continue = functools.partial(self.may_continue_solving, found)
        fit = pursue(objective, start, self.without, self.seed, may_continue)
        if fit is None:
            return None
        distance = float(objective.trying(fit.tried).distances(fit.point[None]))
        return fit if distance < float(objective.distances(point[None])) else None

    def join_modules(self, points: list[Tensor]) -> list[Tensor]:
        """Switch on what each mix shows, at each pair's best point."""
        results = []
        for number, (objective, some) in enumerate(zip(self.objectives, points, strict=True)):
            self.say_alive(self.found[number])
            point, tried = join_modules(objective, some[0], self.without)
            self.objectives[number] = objective.trying(tried)
            self.found[number].tried = tried
            results.append(torch.cat((point[None], some[1:])))
        return results

    def drop_idle(self, state: Adam, sizes: list[int]) -> None:
        """Switch off what does nothing for the pairs' points, in the middle of a round."""
        points = list(state.points.split(sizes))
        for number, objective in enumerate(self.objectives):
            if not objective.tried:
                continue
            point, tried = drop_idle(objective, points[number][0])
            points[number] = torch.cat((point[None], points[number][1:]))
            self.objectives[number] = objective.trying(tried)
            self.found[number].tried = tried
        state.points = torch.cat(points)

    def keep_worthy(self) -> None:
        """Switch off again what is not worth it."""
        assert self.plan.trial is not None
        for number, (objective, found) in enumerate(zip(self.objectives, self.found, strict=True)):
            settle = functools.partial(self.settle, found, np.random.default_rng(self.seed))
            point = realign(objective, found.point)
            found.point, found.tried = keep_worthy(objective, point, self.plan.trial, settle)
            self.objectives[number] = objective.trying(found.tried)
            found.distance = float(self.objectives[number].distances(found.point[None]))

    def settle(
        self,
        found: SearchResult,
        rng: np.random.Generator,
        objective: MatchObjective,
        point: Tensor,
        round_: Round,
    ) -> Tensor:
        """Return a point after some steps, or as it is if no time is left for them."""
        self.say_alive(found)
        return point if self.spent() > SEARCH_SHARE else descent(objective, point, round_, rng)

    def say_alive(self, found: SearchResult) -> None:
        """Report what is known already; Ctrl-C ends the search here."""
        share = self.spent() / SEARCH_SHARE if self.seconds else self.done / self.work
        self.report(min(share, 1.0), found.distance)

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
                    torch.stack([perturb(objective, found.point, self.rng) for _ in range(HOPS)])
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
        self,
        objectives: list[MatchObjective],
        points: list[Tensor],
        round_: Round,
        *,
        drops_idle: bool = False,
    ) -> list[Tensor]:
        """Adam, each point for itself, with steps that shrink; Ctrl-C keeps what it has."""
        most = 1.0
        if self.seconds:
            most = round_.seconds * round_.steps * round_.keep / self.work
            most = min(self.spent() + SEARCH_SHARE * most, SEARCH_SHARE)
        state = Adam(torch.cat(points))
        sizes = [len(some) for some in points]
        try:
            for step in range(round_.steps):
                if drops_idle and step == round(IDLE_AFTER * round_.steps):
                    self.drop_idle(state, sizes)
                least = take_step(objectives, state, sizes, round_, step, self.rng)
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
