"""Modules that came later, found in what a studio does to all of its vocals.

The labels of a studio's pairs are searched without them (:mod:`.labels`). What these labels leave
of the mixes shows modules by the evidence that the search of a match reads
(:mod:`diffconsole.modules.evidence`), and what shows in most of the mixes is tried, with the same
settings for all of them:

1. The evidence of every pair; a module counts where at least half of the mixes show it, and a
   time that no gradient moves, as a delay's, where at least half of them show the same.
2. Of the settings to begin from, medians over the pairs, those at the lowest distance are taken.
3. The gradient moves them, common to a half of the pairs, beside each pair's own strip
   (:mod:`.shared_settings`).
4. The other half decides, whose settings they were not fitted to: a module is kept if their
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
from .module_trial import finished, kept_modules, module_of, trying_all
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

FEWEST_PAIRS, MOST_PAIRS = 4, 8
"""Labelled pairs from which modules are looked for, and how many of them are asked."""

LEAST_SHARE = 0.5
"""Of the mixes that have to show a module."""

EVIDENCE_SECONDS, SECONDS = 8.0, 4.0
FIT = Round(SECONDS, 20, 0.05, 8, 1)
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
    chosen = chosen[: len(chosen) // 2 * 2]
    objectives = common_level([MatchObjective(pairs[n], SECONDS, device) for n in chosen])
    points = torch.stack(
        [
            objective.in_the_middle(from_label(labels[n], objective))
            for n, objective in zip(chosen, objectives, strict=True)
        ]
    )
    shown = _shown([pairs[n] for n in chosen], labels[chosen], objectives, points, device, report)
    if not shown:
        return StudioModules()
    half = len(chosen) // 2
    fitted = _fitted(objectives[:half], points[:half], shown, half, rng, report)
    if fitted is None:
        return StudioModules()
    settings, tried = fitted
    checked = int(rng.integers(2**31))
    kept = kept_modules(objectives[half:], points[half:], settings, tried, checked, report)
    if not kept.nearer:
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
    flat = [(number, start) for number, own in enumerate(starts) for start in own]
    if blind:
        groups = _alike(flat, blind, needed)
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
    starts: Sequence[tuple[int, Tensor]], blind: list[int], needed: float
) -> list[list[tuple[int, Tensor]]]:
    """Groups of settings whose blind ones are the same in enough pairs, one group a time.

    Of the settings that one pair offers at a time each makes a group with those of the others.
    """
    left, found = list(starts), []
    while left:
        around = [[each for each in left if _near(each[1], start, blind)] for _, start in left]
        best = max(around, key=lambda group: len({number for number, _ in group}))
        if len({number for number, _ in best}) < needed:
            break
        by_pair: dict[int, list[Tensor]] = {}
        for number, start in best:
            by_pair.setdefault(number, []).append(start)
        most = max(map(len, by_pair.values()))
        found += [
            [(number, own[min(i, len(own) - 1)]) for number, own in by_pair.items()]
            for i in range(most)
        ]
        left = [each for each in left if not any(each[1] is other[1] for other in best)]
    return found


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
    tried: frozenset[str] = frozenset()
    scanned = min(SCANNED, half)
    here = [objective.trying(tried) for objective in objectives]
    usual = distances_of(here[:scanned], points[:scanned], (0, SCAN_PART)).sum()
    for module, starts in shown:
        also = [objective.trying(tried | {module.key}) for objective in objectives]
        own = [INDEX[p.key] for p in module.parameters]
        every = points.repeat(len(starts), 1, 1)
        every[:, :, own] = starts[:, :half][:, :, own]
        totals = [
            distances_of(also[:scanned], some[:scanned], (0, SCAN_PART)).sum() for some in every
        ]
        least = int(np.argmin(totals))
        if totals[least] > (1.0 + FARTHER) * usual:
            continue
        points, tried, usual = every[least], also[0].tried, min(usual, totals[least])
    if not tried:
        return None
    places = places_of(tried)
    shared = shared_places(places)
    moved = descend(
        trying_all(objectives, tried), points, FIT, rng, shared=shared, moves_shared=True,
        report_progress=lambda share, loss: report(0.35 + 0.25 * share, loss),
    )  # fmt: skip
    return torch.where(shared, moved[0], points[0]), tried
