"""Modules that came later, found in what a studio does to all of its vocals.

The labels of a studio's pairs are searched without them (:mod:`.labels`). What these labels leave
of the mixes shows modules by the evidence that the search of a match reads
(:mod:`diffconsole.modules.evidence`), and what shows in most of the mixes is tried, with the same
settings for all of them:

1. The evidence of every pair; a module counts where at least half of the mixes show it that can
   show it (:mod:`.module_evidence`), and a time that no gradient moves, as a delay's, where at
   least half of them show the same.
2. Of the settings to begin from, medians over the pairs, those at the lowest distance are taken.
3. The gradient moves them, common to some of the pairs, beside each pair's own strip; times that
   it does not move are tried closer and closer (:mod:`.shared_settings`).
4. Other pairs decide, whose settings they were not fitted to: a module is kept if their
   distances fall by more than it is worth, when the rest of the strip has had the same steps with
   it and without it, and if those of most pairs do. Pairs for which it changes next to nothing do
   not count.

What is kept is on in the studio's strip; the stages behind move it with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ...pairs import Pair
from ...strip.module import Module
from ..matching.objective import MatchObjective, places_of
from ..matching.plan import Round
from ..matching.tried import switched_on
from .module_evidence import (
    SCAN_PART,
    SCANNED,
    Shown,
    ask_pairs,
    begun_with,
    level_parts_of,
    shown_by,
)
from .module_trial import finished, kept_modules, trying_all, without_idle
from .shared_settings import (
    descend,
    distances_of,
    from_label,
    refine_shared_times,
    shared_places,
)
from .studio_modules import StudioModules

__all__ = ["FEWEST_PAIRS", "find_modules"]

FEWEST_PAIRS, MOST_FITTED, MOST_PAIRS = 4, 4, 10
"""Labelled pairs from which modules are looked for; how many of them the settings are fitted to,
and how many there are with those that decide."""

SECONDS = 4.0
"""Of the excerpts that are compared."""

FIT = Round(SECONDS, 8, 0.05, 8, 1), Round(SECONDS, 42, 0.04, 8, 1)
"""Steps of what is common to the pairs, before idle modules leave and after."""

FARTHER = 0.04
"""Settings to begin from may be further from the mixes by this share: gradients lead from there."""

ReportProgress = Callable[[float, float], None]


def find_modules(
    pairs: Sequence[Pair],
    labels: Tensor,
    *,
    seed: int = 0,
    device: str = "cpu",
    over: Callable[[], bool] = lambda: False,
    report: ReportProgress = lambda *_: None,
) -> StudioModules:
    """Look for the later modules of a studio in the mixes of its pairs.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned.
    labels : Tensor
        ``(pairs, parameters)`` in 0…1, NaN where there is none: settings without later modules.
    seed : int
        Of the pairs that are asked, and of the frames that are compared.
    device : str
        ``"cpu"`` or ``"cuda"``.
    over : callable
        Whether the time for it is spent; what was not decided by then is left out.
    report : callable
        Called with the share of the work done, 0…1, and a distance.

    Returns
    -------
    StudioModules
        Without modules where fewer than four pairs have a label.
    """
    known = (~labels.isnan().any(dim=1)).nonzero()[:, 0].numpy()
    if len(known) < FEWEST_PAIRS:
        return StudioModules()
    rng = np.random.default_rng((seed, 23))
    chosen = rng.permutation(known)[:MOST_PAIRS]
    asked = ask_pairs(
        [pairs[n] for n in chosen], labels[chosen], device,
        lambda done, distance: report(0.25 * done, distance),
    )  # fmt: skip
    shown = shown_by(asked)
    if not shown or over():
        return StudioModules()
    half = min(len(chosen) // 2, MOST_FITTED)
    order = _dealt(shown, half)
    begin = [each.excerpt_start(shown, SECONDS) for each in asked]
    objectives = level_parts_of([pairs[n] for n in chosen], begin, SECONDS, device)
    points = torch.stack(
        [
            objective.in_the_middle(from_label(labels[n], objective))
            for n, objective in zip(chosen, objectives, strict=True)
        ]
    )
    starts = [(each.module, begun_with(each, asked, objectives, points)) for each in shown]
    # What the evidence was read from is not needed any more.
    del asked
    objectives, points = [objectives[n] for n in order], points[order]
    begun = _begun(objectives[:half], points[:half], [(m, s[:, order]) for m, s in starts])
    fitted = _fitted(objectives[:half], *begun, rng, report)
    if fitted is None or over():
        return StudioModules()
    settings, tried = fitted
    checked = int(rng.integers(2**31))
    kept = kept_modules(objectives[half:], points[half:], settings, tried, checked, report)
    if not kept.closer or over():
        return StudioModules()
    return finished(objectives, points, kept, rng, report)


def _dealt(shown: Sequence[Shown], half: int) -> list[int]:
    """The pairs in order, those first to which settings are fitted.

    The mixes that can show what others cannot are dealt in turn, one to those that decide, one to
    those that are fitted, beginning with the module that the fewest can show.
    """
    pairs = len(shown[0].able)
    fitted: list[int] = []
    deciding: list[int] = []
    for able in sorted((each.able for each in shown if not each.able.all()), key=np.sum):
        for number in np.flatnonzero(able).tolist():
            if number in fitted or number in deciding:
                continue
            is_next = able[fitted].sum() < able[deciding].sum()
            if len(deciding) == pairs - half or (is_next and len(fitted) < half):
                fitted.append(number)
            else:
                deciding.append(number)
    rest = [number for number in range(pairs) if number not in fitted and number not in deciding]
    fitted += rest[: half - len(fitted)]
    return fitted + [number for number in range(pairs) if number not in fitted]


def _fitted(
    objectives: Sequence[MatchObjective],
    points: Tensor,
    tried: frozenset[str],
    rng: np.random.Generator,
    report: ReportProgress,
) -> tuple[Tensor, frozenset[str]] | None:
    """Settings that the gradient finds for all modules together, and which these are."""
    for round_, (first, share) in zip(FIT, ((0.35, 0.1), (0.45, 0.15)), strict=True):
        if not tried:
            return None
        # Out of phase an echo comes out too quiet and too dull.
        points = refine_shared_times(trying_all(objectives, tried), points, tried)
        shared = shared_places(places_of(tried))
        moved = descend(
            trying_all(objectives, tried), points, round_, rng, shared=shared, moves_shared=True,
            report_progress=lambda done, loss, a=first, b=share: report(a + b * done, loss),  # type: ignore[misc]
        )  # fmt: skip
        points = torch.where(shared, moved[:1], moved)
        if round_ is FIT[0]:
            points, tried = without_idle(objectives, points, tried)
    points = refine_shared_times(trying_all(objectives, tried), points, tried)
    return points[0], tried


def _begun(
    objectives: Sequence[MatchObjective],
    points: Tensor,
    shown: Sequence[tuple[Module, Tensor]],
) -> tuple[Tensor, frozenset[str]]:
    """The points with the settings to begin from, and which modules they have.

    The module that brings the pairs closest comes first, the others beside those that are on.
    """
    count, scanned = len(points), min(SCANNED, len(objectives))

    def total(tried: frozenset[str], some: Tensor) -> float:
        here = trying_all(objectives[:scanned], tried)
        return float(distances_of(here, some[:scanned], (0, SCAN_PART)).sum())

    ranked = []
    for module, starts in shown:
        alone = frozenset({module.key})
        totals = [total(alone, switched_on(points, start[:count], module)) for start in starts]
        least = int(np.argmin(totals))
        ranked.append((totals[least], module, starts[least]))
    usual, tried = total(frozenset(), points), frozenset[str]()
    for _, module, start in sorted(ranked, key=lambda each: each[0]):
        other = switched_on(points, start[:count], module, tried)
        found = total(tried | {module.key}, other)
        if found <= (1.0 + FARTHER) * usual:
            points, tried, usual = other, tried | {module.key}, min(usual, found)
    return points, tried
