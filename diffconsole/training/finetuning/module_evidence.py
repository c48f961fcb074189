"""What a studio's mixes show of modules that came later, and which of the mixes can show them.

Of each pair a part with levels of many kinds is asked (:mod:`.excerpts`). A module counts where at
least half of the mixes show it. Where fewer do, those are left out that cannot: the module is put
into the pair's own strip, at the settings that the others show, and if this result does not show
it either, the mix says nothing of it. A gate, say, shows where there is something quiet between the
phrases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...modules.evidence import Signals, frame_levels_db
from ...pairs import PAIR_RATE, Pair
from ...strip.module import Module
from ...strip.parameters import PARAMETERS
from ..matching.objective import INDEX, MatchObjective, parts_of, places_of
from ..matching.tried import TRIED, as_loud, signals_of, starting_points
from .excerpts import FRAME_MS, acting_start, varied_start
from .module_trial import module_of
from .shared_settings import common_level, from_label

__all__ = [
    "SCANNED",
    "SCAN_PART",
    "Asked",
    "Shown",
    "ask_pairs",
    "begun_with",
    "level_parts_of",
    "shown_by",
]

LEAST_SHARE, FEWEST_SHOWN = 0.5, 2
"""Of the mixes that can show a module, those that have to; so many at least."""

SECONDS = 8.0
"""Of the part that is asked."""

LEAD_SECONDS = 2.0
"""Before a part: what is sung there rings on in it."""

SCANNED, SCAN_PART = 3, 8
"""Pairs by which the settings to begin from are chosen, and one frame of so many."""

SAME_TIME = 0.003
"""Of the range: times that mixes show count as the same."""

Group = list[tuple[int, int]]
"""Pairs that show the same: the number of the pair, and that of its settings to begin from."""


class Asked(NamedTuple):
    """A pair that was asked: what its mix shows.

    Attributes
    ----------
    pair : Pair
        Aligned.
    start : int
        Sample at which the part begins that was asked.
    objective : MatchObjective
        This part.
    point : Tensor
        ``(parameters,)``, its strip without later modules.
    signals : Signals
        What the evidence was read from.
    starts : dict of str to list of Tensor
        By module, points to begin from; none where the mix shows nothing of it.
    """

    pair: Pair
    start: int
    objective: MatchObjective
    point: Tensor
    signals: Signals
    starts: dict[str, list[Tensor]]

    def changed(self, module: Module, later: Tensor) -> tuple[MatchObjective, Tensor]:
        """Return the part and its point with the later settings of a module."""
        point = self.point.clone()
        point[places_of({module.key})] = later
        return self.objective.trying(frozenset({module.key})), self.objective.in_the_middle(point)

    @torch.no_grad()
    def would_show(self, module: Module, later: Tensor) -> bool:
        """Return whether the strip's own result would show a module at these settings."""
        objective, point = self.changed(module, later)
        mixed = objective.render(point[None])[0].cpu().numpy()
        return bool(starting_points(self.point, module, self.signals._replace(mixed=mixed)))

    @torch.no_grad()
    def excerpt_start(self, shown: Sequence[Shown], seconds: float) -> int:
        """Return where the loudest part of what was asked begins in which these modules act."""
        length = int(seconds * PAIR_RATE)
        changes = []
        for each in shown if self.signals.raw.shape[-1] > length else ():
            objective, point = self.changed(each.module, each.usual)
            result = objective.render(point[None])[0].cpu().numpy()
            with_it, without = (
                frame_levels_db(audio, PAIR_RATE, FRAME_MS)
                for audio in (result, self.signals.rendered)
            )
            changes.append(with_it - without)
        return self.start + acting_start(self.signals.raw, self.signals.mixed, changes, length)


class Shown(NamedTuple):
    """A module that enough of the mixes show.

    Attributes
    ----------
    module : Module
        Which.
    groups : list of Group
        Of each settings to begin from, the pairs that show them.
    later : Tensor
        ``(groups, later settings)`` in 0…1: what these pairs have in common.
    able : ndarray
        ``(pairs,)`` bool, the mixes that can show it.
    """

    module: Module
    groups: list[Group]
    later: Tensor
    able: np.ndarray

    @property
    def usual(self) -> Tensor:
        """Later settings from the middle of those to begin from."""
        return self.later[len(self.later) // 2]


def ask_pairs(
    pairs: Sequence[Pair], labels: Tensor, device: str, report: Callable[[float, float], None]
) -> list[Asked]:
    """Read the evidence of each pair.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned.
    labels : Tensor
        ``(pairs, parameters)`` in 0…1, settings without later modules.
    device : str
        ``"cpu"`` or ``"cuda"``.
    report : callable
        Called with the share of the work done and a distance.
    """
    length = int(SECONDS * PAIR_RATE)
    starts = [varied_start(pair, length) for pair in pairs]
    objectives = level_parts_of(pairs, starts, SECONDS, device)
    found = []
    for number, (objective, label) in enumerate(zip(objectives, labels, strict=True)):
        point = objective.in_the_middle(from_label(label, objective))
        signals = signals_of(objective, point)
        shown = {key: starting_points(point, module_of(key), signals) for key in TRIED}
        found.append(Asked(pairs[number], starts[number], objective, point, signals, shown))
        rendered = torch.from_numpy(signals.rendered)[None].to(device)
        report((number + 1) / len(pairs), float(objective.distance(rendered, (0, SCAN_PART))))
        # Nothing else is compared with the mix's spectra, which take 45 MB.
        del objective.target
    return found


def level_parts_of(
    pairs: Sequence[Pair], starts: Sequence[int], seconds: float, device: str
) -> list[MatchObjective]:
    """Return parts of the pairs at one level, with what comes before them, if anything does."""
    return common_level(parts_of(pairs, seconds, device, lead=LEAD_SECONDS, starts=starts))


def shown_by(asked: Sequence[Asked]) -> list[Shown]:
    """Return the modules that enough of the mixes show which can show them."""
    found = []
    for key in asked[0].starts:
        module, starts = module_of(key), [each.starts[key] for each in asked]
        most = max(FEWEST_SHOWN, math.ceil(LEAST_SHARE * len(asked)))
        if sum(map(bool, starts)) < FEWEST_SHOWN:
            continue
        groups = _groups(module, starts, most)
        few = not groups
        if few:
            groups = _groups(module, starts, FEWEST_SHOWN)
        if not groups:
            continue
        places = places_of({key})
        later = [
            torch.stack([starts[number][i][places] for number, i in group]).median(dim=0).values
            for group in groups
        ]
        shown = Shown(module, groups, torch.stack(later), np.ones(len(asked), bool))
        if few:
            showing = {number for number, _ in groups[0]}
            able = [n in showing or a.would_show(module, shown.usual) for n, a in enumerate(asked)]
            shown = shown._replace(able=np.array(able))
        if len(groups[0]) >= LEAST_SHARE * shown.able.sum():
            found.append(shown)
    return found


def begun_with(
    shown: Shown,
    asked: Sequence[Asked],
    objectives: Sequence[MatchObjective],
    points: Tensor,
) -> Tensor:
    """Return settings to begin from that all pairs share, ``(starts, pairs, parameters)``.

    The later settings are medians over the pairs that show the module; what else an evidence
    changes is each pair's own.

    Parameters
    ----------
    shown : Shown
        The module.
    asked : sequence of Asked
        The pairs.
    objectives : sequence of MatchObjective
        What is compared of them.
    points : Tensor
        ``(pairs, parameters)`` in 0…1, their strips without later modules.
    """
    key = shown.module.key
    own, places = [INDEX[p.key] for p in shown.module.parameters], places_of({key})
    starts: dict[int, Tensor] = {}
    for number in {number for group in shown.groups for number, _ in group}:
        objective, shows = objectives[number], torch.stack(asked[number].starts[key])
        here = points[number].repeat(len(shows), 1)
        here[:, own] = shows[:, own]
        here = objective.in_the_middle(here)
        if shown.module.gain_after:
            # As loud as without the module.
            signals = signals_of(objective, points[number])
            here = as_loud(objective.trying(frozenset({key})), here, shown.module, signals)
        starts[number] = here
    found = []
    for group in shown.groups:
        every = points.clone()
        for number, i in group:
            every[number] = starts[number][i]
        later = torch.stack([starts[number][i][places] for number, i in group])
        every[:, places] = later.median(dim=0).values
        found.append(every)
    return torch.stack(found)


def _groups(module: Module, starts: Sequence[Sequence[Tensor]], needed: int) -> list[Group]:
    """Of each settings to begin from the pairs that share them; none where too few do."""
    blind = [place for place in places_of({module.key}) if not PARAMETERS[place].has_gradient]
    if blind:
        return _alike(starts, blind, needed)
    groups = [
        [(number, i) for number, own in enumerate(starts) if i < len(own)]
        for i in range(max(map(len, starts)))
    ]
    return groups if groups and len(groups[0]) >= needed else []


def _alike(starts: Sequence[Sequence[Tensor]], blind: list[int], needed: int) -> list[Group]:
    """Groups of the settings whose blind ones most pairs show, one of each pair in each group.

    An evidence offers first what stands out most: the n-th that a pair offers counts 1/n.
    """
    flat = [(number, place) for number, own in enumerate(starts) for place in range(len(own))]
    best: Group = []
    most = 0.0
    for number, place in flat:
        middle = starts[number][place]
        group = [(n, i) for n, i in flat if _near(starts[n][i], middle, blind)]
        first = dict(reversed(group))
        score = sum(1.0 / (1 + i) for i in first.values())
        if len(first) >= needed and score > most:
            best, most = group, score
    by_pair: dict[int, list[int]] = {}
    for number, place in best:
        by_pair.setdefault(number, []).append(place)
    return [
        [(number, own[min(i, len(own) - 1)]) for number, own in by_pair.items()]
        for i in range(max(map(len, by_pair.values()), default=0))
    ]


def _near(one: Tensor, other: Tensor, places: list[int]) -> bool:
    return float((one[places] - other[places]).abs().max()) <= SAME_TIME
