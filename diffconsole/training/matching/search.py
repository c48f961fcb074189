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
   kept only where the distance falls by more than it is worth (:mod:`.tried`). This round begins
   from the best point and from the best guess. Of the better one of them, echoes and the reverb's
   return are moved to the times nearby at which the distance is lowest (:mod:`.between`), and it
   takes the last steps as it is and with its idle bells moved; the better result is taken
   (:mod:`.alternatives`).
5. Where the mix shows the reverb's own noise, the samples themselves give the modules and the
   settings, and there is neither a trial nor a last round (:mod:`.pursuit`, :mod:`.polish`).
6. What the result does without is switched off, a few small steps make up for it, and the
   uncertainty of the rest is estimated (:mod:`.postprocess`).

Points run beside each other on the CPU's cores (:mod:`.beside`), with the same result on any number
of them.

The loss is the distance that is reported, on a random part of the frames at each step, and a pull
towards ordinary settings that is weak beside anything audible.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from ...pairs import Pair
from .alternatives import Alternatives, joined
from .beside import each, shared_threads
from .between import (
    SHORT_REACHES_MS,
    align_predelay,
    beside_guess,
    best_of,
    perturb,
    refine_non_gradient,
    refine_times,
)
from .descent import Adam, descent, take_step
from .objective import MatchObjective, parts_of
from .plan import Plan, Round, plan_for
from .polish import refine_least_squares
from .postprocess import estimate_sensitivity, levelled, prune_inaudible
from .pursuit import closer_fit
from .samples import Fit
from .search_result import SearchResult
from .starts import first_guesses, ordinary
from .tried import keep_worthy, realign

__all__ = ["SearchResult", "Plan", "Round", "plan_for", "search"]

IDLE_AFTER = 0.2
"""Share of the last round's steps after which a module that does nothing moves along no more."""

# Of a time budget; the rest is for what comes after the search.
SEARCH_SHARE, SOLVE_UNTIL = 0.85, 0.95
SHORT_SECONDS = 20.0
"""Budgets up to this leave no time for many starts and for help between the rounds."""

LEAD_SECONDS = 2.0
"""Before the excerpt of the last rounds: what is sung there rings on in it. Shorter rounds before
them are too coarse for it. The mean distance of 16 quick searches in mixes by this console falls
from 0.522 to 0.380, that of 12 in mixes by pedalboard's plug-ins from 0.854 to 0.828, in a tenth
more time."""

SENSITIVE_SECONDS = 6.0
"""How far each setting may go shows in a part of the excerpt."""

HOPS, HOP_STEPS, LAST_STEPS = 3, 50, 200


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
        self.thread, self.is_stopping = threading.get_ident(), False
        self.exact: dict[int, Fit] = {}
        # Of these the samples gave the settings; the distance has nothing to add.
        self.solved: set[int] = set()
        self.objectives: list[MatchObjective] = []
        objectives = self.at(plan.rounds[0].seconds)
        self.found = [SearchResult(ordinary(), s.input_db, s.output_db) for s in objectives]
        self.work = sum(r.work for r in (*plan.rounds, plan.last) if r is not None)
        self.done = 0.0

    def at(self, seconds: float) -> list[MatchObjective]:
        """The pairs' loudest parts of this length."""
        if seconds != self.length:
            is_last = seconds == self.plan.rounds[-1].seconds
            lead = LEAD_SECONDS if is_last else 0.0
            self.objectives = parts_of(self.pairs, seconds, self.device, lead=lead)
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
        guesses = points
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
                self.say_alive(self.found[0])
                if round_.keep > 1:
                    points = [
                        beside_guess(objective, some[: round_.keep - 1], first)
                        for objective, some, first in zip(
                            self.objectives, points, guesses, strict=True
                        )
                    ]
                last = joined(self.objectives, points, frozenset(self.without))
                last = self.descend(last, round_, joined=True, drops_idle=True)
                self.keep_worthy(self.settled(last))
            else:
                points = self.descend(self.all_of(points), round_).points
                self.remember(points)
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
            if self.plan.polish is not None and number not in self.solved:
                self.polish(number, self.plan.polish)
            if self.plan.thorough and self.spent() < 1.0:
                part = objective.beginning(SENSITIVE_SECONDS)
                found.ranges = estimate_sensitivity(part, found.point, found.off)

    def take(self, number: int) -> None:
        """Make what the samples say the result of a pair."""
        fit, found = self.exact[number], self.found[number]
        objective = self.objectives[number] = self.objectives[number].trying(fit.tried)
        found.tried, found.point = fit.tried, fit.point
        found.distance = float(objective.distances(fit.point[None]))
        self.solved.add(number)

    def polish(self, number: int, round_: Round) -> None:
        """Let what is left on make up for what was switched off, by small steps."""
        found = self.found[number]
        here = self.objectives[number].leaving(found.off)
        state, rng = Adam(found.point[None]), np.random.default_rng(self.seed)
        for step in range(round_.steps):
            if not self.may_continue_solving(found):
                break
            take_step([here], state, [1], round_, step, rng)
        both = torch.cat((found.point[None], state.points))
        found.point = both[int(here.distances(both).argmin())]

    def solve(self, number: int, *, looks: bool) -> None:
        """Let the samples of a pair say what they can, of the modules too if it looks for them."""
        objective, found = self.objectives[number], self.found[number]
        fit = self.pursued(objective, found.point, found) if looks and self.plan.trial else None
        if fit is not None:
            self.exact[number] = fit
            self.take(number)
        else:
            may_continue = functools.partial(self.may_continue_solving, found)
            point = refine_least_squares(objective, found.point, may_continue)
            if point is not found.point:
                self.solved.add(number)
            found.point = point

    def pursue(self, points: list[Tensor]) -> None:
        """Look in the samples of each pair whose mix was made by a console like this one."""
        for number, (objective, some) in enumerate(zip(self.objectives, points, strict=True)):
            fit = self.pursued(objective, some[0], self.found[number])
            if fit is not None:
                self.exact[number] = fit

    def pursued(self, objective: MatchObjective, point: Tensor, found: SearchResult) -> Fit | None:
        """The fit of a pair's samples from a point, if its distance is lower."""
        if not self.plan.thorough:
            return None
        may_continue = functools.partial(self.may_continue_solving, found)
        return closer_fit(objective, point, self.without, self.seed, may_continue)

    def all_of(self, points: list[Tensor]) -> Alternatives:
        """Each pair's points, with the modules that are on."""
        return Alternatives(list(range(len(points))), list(self.objectives), list(points))

    def settled(self, last: Alternatives) -> Alternatives:
        """Each pair's best point with better times, after more steps."""
        round_, last = self.plan.last, last.best()
        if round_ is None or self.spent() > SEARCH_SHARE:
            return last
        try:
            both = last.beside_refined()
        except KeyboardInterrupt:
            self.remember_best(last)
            raise
        return self.descend(both, round_, joined=True).best()

    def keep_worthy(self, last: Alternatives) -> None:
        """Switch off again what is not worth it, and take what is left if it is the best."""
        assert self.plan.trial is not None
        trial = self.plan.trial

        def worthy(number: int) -> tuple[Tensor, frozenset[str]]:
            rng = np.random.default_rng(self.seed)
            settle = functools.partial(self.settle, self.found[last.owners[number]], rng)
            objective = last.objectives[number]
            try:
                point = realign(objective, last.points[number][0])
                if self.plan.last is not None:
                    point = refine_times(objective, point, SHORT_REACHES_MS)
                return keep_worthy(objective, point, trial, settle)
            except KeyboardInterrupt:
                self.is_stopping = True
                raise

        for number, (point, tried) in enumerate(each(worthy, range(len(last.points)))):
            last.points[number] = point[None]
            last.objectives[number] = last.objectives[number].trying(tried)
        self.remember_best(last)

    def remember_best(self, last: Alternatives) -> None:
        """Take each pair's best point and its modules."""
        for number, found in enumerate(self.found):
            distance, objective, point = last.best_of(number)
            if distance < float(self.objectives[number].distances(found.point[None])):
                self.objectives[number] = objective
                found.distance, found.point, found.tried = distance, point, objective.tried

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
        """Report what is known already; Ctrl-C ends the search here, on every thread."""
        if self.is_stopping:
            raise KeyboardInterrupt
        if threading.get_ident() != self.thread:
            return
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
            self.remember(self.descend(self.all_of(points), again).points)
        points = [found.point[None] for found in self.found]
        settle = Round(round_.seconds, LAST_STEPS, 0.01, 2, 1)
        self.remember(self.descend(self.all_of(points), settle).points)

    def may_continue_solving(self, found: SearchResult) -> bool:
        """Report that the search is alive; whether there is time left."""
        self.report(1.0, found.distance)
        return self.spent() < SOLVE_UNTIL

    def descend(
        self,
        moving: Alternatives,
        round_: Round,
        *,
        joined: bool = False,
        drops_idle: bool = False,
    ) -> Alternatives:
        """Adam, each point for itself, with steps that shrink; Ctrl-C keeps what it has."""
        most = 1.0
        if self.seconds:
            most = round_.work / self.work
            most = min(self.spent() + SEARCH_SHARE * most, SEARCH_SHARE)
        sizes = [len(some) for some in moving.points]
        state = Adam(torch.cat(moving.points))
        try:
            for step in range(round_.done):
                if drops_idle and step == round(IDLE_AFTER * round_.steps):
                    moving.without_idle()
                    state.points = torch.cat(moving.points)
                least = take_step(moving.objectives, state, sizes, round_, step, self.rng)
                moving.points = list(state.points.split(sizes))
                now = [math.inf] * len(self.found)
                for owner, value in zip(moving.owners, least, strict=True):
                    now[owner] = min(now[owner], value)
                for found, value in zip(self.found, now, strict=True):
                    found.history.append(value)
                self.done += round_.seconds * round_.keep
                share = self.spent() / SEARCH_SHARE if self.seconds else self.done / self.work
                self.report(min(share, 1.0), sum(now) / len(now))
                if self.spent() > most:
                    break
        except KeyboardInterrupt:
            if joined:
                self.remember_best(moving)
            else:
                self.remember(moving.points)
            raise
        return moving
