"""Modules that came later, found in what a studio does to all of its vocals.

The labels of a studio's pairs are searched without them (:mod:`.labels`). What these labels leave
of the mixes shows modules by the evidence that the search of a match reads
(:mod:`diffconsole.modules.evidence`), and what shows in most of the mixes is tried, with the same
settings for all of them:

1. The evidence of every pair; a module counts where at least half of the mixes show it, and a
   time that no gradient moves, as a delay's, where at least half of them show the same.
2. Of the settings to begin from, medians over the pairs, those at the lowest distance are taken.
3. The gradient moves them, common to some of the pairs, beside each pair's own strip
   (:mod:`.shared_settings`).
4. Other pairs decide, whose settings they were not fitted to: a module is kept if their
   distances fall by more than it is worth, when the rest of the strip has had the same steps with
   it and without it, and if those of most pairs do.

What is kept is on in the studio's strip; the stages behind move it with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...pairs import Pair
from ...strip.module import Module
from ...strip.parameters import PARAMETERS
from ..matching.objective import INDEX, MatchObjective, places_of
from ..matching.plan import Round
from ..matching.tried import TRIED, as_loud, signals_of, starting_points
from .module_trial import finished, kept_modules, module_of, trying_all, without_idle
from .shared_settings import (
    common_level,
    descend,
    distances_of,
    from_label,
    shared_places,
    with_output,
)
from .studio_modules import StudioModules

__all__ = ["FEWEST_PAIRS", "find_modules"]

FEWEST_PAIRS, MOST_FITTED, MOST_PAIRS = 4, 4, 10
"""Labelled pairs from which modules are looked for; how many of them the settings are fitted to,
and how many there are with those that decide."""

LEAST_SHARE = 0.5
"""Of the mixes that have to show a module."""

EVIDENCE_SECONDS, SECONDS = 8.0, 4.0
FIT = Round(SECONDS, 6, 0.05, 8, 1), Round(SECONDS, 14, 0.04, 8, 1)
"""Steps of what is common to the pairs, before idle modules leave and after."""

SCANNED, SCAN_PART = 3, 8
"""Pairs by which the settings to begin from are chosen, and one frame of so many."""

FARTHER = 0.04
"""Settings to begin from may be further from the mixes by this share: gradients lead from there."""

SAME_TIME = 0.003
"""Of the range: times that mixes show count as the same."""

ReportProgress = Callable[[float, float], None]


class _Shown(NamedTuple):
    """A module that most mixes show, with points to begin from: ``(starts, pairs, parameters)``."""

    module: Module
    starts: Tensor


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
    objectives = common_level([MatchObjective(pairs[n], SECONDS, device) for n in chosen])
    points = torch.stack(
        [
            objective.in_the_middle(from_label(labels[n], objective))
            for n, objective in zip(chosen, objectives, strict=True)
        ]
    )
    shown = _shown([pairs[n] for n in chosen], labels[chosen], objectives, points, device, report)
    if not shown or over():
        return StudioModules()
    half = min(len(chosen) // 2, MOST_FITTED)
    fitted = _fitted(objectives[:half], points[:half], shown, half, rng, report)
    if fitted is None or over():
        return StudioModules()
    settings, tried = fitted
    checked = int(rng.integers(2**31))
    kept = kept_modules(objectives[half:], points[half:], settings, tried, checked, report)
    if not kept.closer or over():
        return StudioModules()
    return finished(objectives, points, settings, kept, rng, report)


def _shown(
    pairs: Sequence[Pair],
    labels: Tensor,
    objectives: Sequence[MatchObjective],
    points: Tensor,
    device: str,
    report: ReportProgress,
) -> list[_Shown]:
    """The modules that most mixes show, with settings to begin from."""
    starts: dict[str, list[list[Tensor]]] = {key: [] for key in TRIED}
    for number, (pair, label) in enumerate(zip(pairs, labels, strict=True)):
        longer = MatchObjective(pair, EVIDENCE_SECONDS, device)
        longer = with_output(longer, objectives[number].output_db)
        point = longer.in_the_middle(from_label(label, longer))
        signals = signals_of(longer, point)
        for key in TRIED:
            found = starting_points(points[number], module_of(key), signals)
            starts[key].append(_as_loud(objectives[number], points[number], found, key))
        rendered = torch.from_numpy(signals.rendered)[None].to(device)
        distance = float(longer.distance(rendered, (0, SCAN_PART)))
        report(0.3 * (number + 1) / len(pairs), distance)
    shown = []
    for key in TRIED:
        module, each = module_of(key), starts[key]
        needed = LEAST_SHARE * len(pairs)
        if sum(map(bool, each)) < needed:
            continue
        common = _common(module, points, each, needed)
        if len(common):
            shown.append(_Shown(module, common))
    return shown


def _as_loud(
    objective: MatchObjective, point: Tensor, starts: list[Tensor], key: str
) -> list[Tensor]:
    """The settings to begin from, as loud as without the module where a gain lies behind it."""
    if not starts or not module_of(key).gain_after:
        return starts
    signals = signals_of(objective, point)
    every = objective.in_the_middle(torch.stack(starts))
    return list(as_loud(objective.trying(frozenset({key})), every, module_of(key), signals))


def _common(
    module: Module, points: Tensor, starts: Sequence[Sequence[Tensor]], needed: float
) -> Tensor:
    """Settings to begin from that all pairs share, ``(starts, pairs, parameters)``.

    The later settings are medians over the pairs that show the module; what else an evidence
    changes is each pair's own.
    """
    places = places_of({module.key})
    blind = [place for place in places if not PARAMETERS[place].has_gradient]
    groups: list[list[tuple[int, Tensor]]]
    if blind:
        groups = _alike(starts, blind, needed)
    else:
        most = max(map(len, starts))
        groups = [
            [(number, own[i]) for number, own in enumerate(starts) if i < len(own)]
            for i in range(most)
        ]
    found = []
    for group in groups:
        every = points.clone()
        for number, start in group:
            every[number] = start
        every[:, places] = torch.stack([start[places] for _, start in group]).median(dim=0).values
        found.append(every)
    return torch.stack(found) if found else points.new_zeros((0, *points.shape))


def _alike(
    starts: Sequence[Sequence[Tensor]], blind: list[int], needed: float
) -> list[list[tuple[int, Tensor]]]:
    """Groups of the settings whose blind ones most pairs show, one of each pair in each group.

    An evidence offers first what stands out most: the n-th that a pair offers counts 1/n.
    """
    flat = [
        (number, place, start)
        for number, own in enumerate(starts)
        for place, start in enumerate(own)
    ]
    best, most = [], 0.0
    for _, _, middle in flat:
        group = [each for each in flat if _near(each[2], middle, blind)]
        first = {number: place for number, place, _ in reversed(group)}
        score = sum(1.0 / (1 + place) for place in first.values())
        if len(first) >= needed and score > most:
            best, most = group, score
    by_pair: dict[int, list[Tensor]] = {}
    for number, _, start in best:
        by_pair.setdefault(number, []).append(start)
    return [
        [(number, own[min(i, len(own) - 1)]) for number, own in by_pair.items()]
        for i in range(max(map(len, by_pair.values()), default=0))
    ]


def _near(one: Tensor, other: Tensor, places: list[int]) -> bool:
    return float((one[places] - other[places]).abs().max()) <= SAME_TIME


def _fitted(
    objectives: Sequence[MatchObjective],
    points: Tensor,
    shown: Sequence[_Shown],
    half: int,
    rng: np.random.Generator,
    report: ReportProgress,
) -> tuple[Tensor, frozenset[str]] | None:
    """Settings that the gradient finds for all modules together, and which these are."""
    points, tried = _begun(objectives, points, shown, half)
    for round_, (first, share) in zip(FIT, ((0.35, 0.1), (0.45, 0.15)), strict=True):
        if not tried:
            return None
        shared = shared_places(places_of(tried))
        moved = descend(
            trying_all(objectives, tried), points, round_, rng, shared=shared, moves_shared=True,
            report_progress=lambda done, loss, a=first, b=share: report(a + b * done, loss),  # type: ignore[misc]
        )  # fmt: skip
        points = torch.where(shared, moved[:1], moved)
        if round_ is FIT[0]:
            points, tried = without_idle(objectives, points, tried)
    return points[0], tried


def _begun(
    objectives: Sequence[MatchObjective], points: Tensor, shown: Sequence[_Shown], half: int
) -> tuple[Tensor, frozenset[str]]:
    """The points with the settings to begin from, and which modules they have.

    The module that brings the pairs closest comes first, the others beside those that are on.
    """
    scanned = min(SCANNED, half)

    def total(tried: frozenset[str], some: Tensor) -> float:
        here = trying_all(objectives[:scanned], tried)
        return float(distances_of(here, some[:scanned], (0, SCAN_PART)).sum())

    def with_module(module: Module, start: Tensor, at: Tensor) -> Tensor:
        own = [INDEX[p.key] for p in module.parameters]
        found = at.clone()
        found[:, own] = start[:half][:, own]
        return found

    ranked = []
    for module, starts in shown:
        alone = frozenset({module.key})
        totals = [total(alone, with_module(module, start, points)) for start in starts]
        least = int(np.argmin(totals))
        ranked.append((totals[least], module, starts[least]))
    usual, tried = total(frozenset(), points), frozenset[str]()
    for _, module, start in sorted(ranked, key=lambda each: each[0]):
        other = with_module(module, start, points)
        found = total(tried | {module.key}, other)
        if found <= (1.0 + FARTHER) * usual:
            points, tried, usual = other, tried | {module.key}, min(usual, found)
    return points, tried
