"""A pair at the levels at which the search of a match works, and what settings make of it."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...audio import loudness_lufs
from ...console import Console
from ...kernels.operators import name_for
from ...losses import MixTarget
from ...model.predictor import level_gain_db
from ...modules.reverb.process import band_decays
from ...pairs import PAIR_RATE, Pair, loudest_start
from ...strip.later import LATER, is_later
from ...strip.parameters import CHAIN, PARAMETERS, denormalize
from .beside import each
from .kept_results import KeptResults, render_kept

__all__ = [
    "HELD",
    "INDEX",
    "INSERTS",
    "KEYS",
    "SEARCHED",
    "MatchObjective",
    "parts_of",
    "places_of",
    "render_all",
]

KEYS = tuple(p.key for p in PARAMETERS)
INDEX = {key: place for place, key in enumerate(KEYS)}
HELD = ("input_gain.gain_db", "output_gain.gain_db")
"""Level is found by the gains around the strip, not by the search."""

SEARCHED = [place for place, p in enumerate(PARAMETERS) if not is_later(p)]
"""Settings that every search moves; those that came later are moved where their module is tried."""

OFF = frozenset({"input_gain", "output_gain"})

INSERTS = frozenset(module.key for module in CHAIN if module.place == "insert")

PAN = "pan.position"
WIDTHS = [INDEX[p.key] for p in PARAMETERS if p.name == "width"]
LOSS_STRIDE = 32
# Channels that differ by no more than this share of the peak are one.
MONO = 1e-4
# Points rendered together on a GPU where nothing asks for a gradient.
TOGETHER_ON_GPU = 6


def places_of(tried: Collection[str]) -> list[int]:
    """Return where the settings lie that came later in these modules."""
    return [place for place, p in enumerate(PARAMETERS) if is_later(p) and p.module in tried]


class MatchObjective:
    """A pair, or a part of it, at the levels at which the search works.

    Parameters
    ----------
    pair : Pair
        Aligned.
    seconds : float, optional
        Length of the part.
    device : str
        ``"cpu"`` or ``"cuda"``.
    tried : frozenset of str
        Modules whose later settings take part; a module that came later and is not among them is
        off.
    start : int, optional
        Sample at which the part begins; by default the loudest one is taken.
    lead : float
        Seconds before the part that are rendered along and not compared: what they leave in the
        detectors, echoes and rooms is there when the part begins. Before the file there is silence.
    """

    def __init__(
        self,
        pair: Pair,
        seconds: float,
        device: str,
        tried: frozenset[str] = frozenset(),
        start: int | None = None,
        lead: float = 0.0,
    ) -> None:
        self.tried, self.left_out = tried, frozenset[str]()
        self.input_db, _ = level_gain_db(pair.raw, PAIR_RATE)
        both = np.broadcast_to(pair.raw, (2, pair.raw.shape[1]))
        # A strip that leaves the loudness alone then has nothing left to make up.
        self.output_db = loudness_lufs(pair.mixed, PAIR_RATE) - (
            loudness_lufs(both, PAIR_RATE) + self.input_db
        )
        length = int(seconds * PAIR_RATE)
        if start is None:
            start = loudest_start(pair.raw, length, mixed=pair.mixed)
        part = slice(start, start + length)
        gain = np.float32(10.0 ** (self.input_db / 20.0))
        led = round(lead * PAIR_RATE)
        missing = max(led - start, 0)
        before = pair.raw[:, max(start - led, 0) : start] * gain
        before = np.pad(before, ((0, 0), (missing, 0)))
        raw = np.ascontiguousarray(pair.raw[:, part]) * gain
        mix = np.ascontiguousarray(pair.mixed[:, part])
        mix = mix * np.float32(10.0 ** (-self.output_db / 20.0))
        self.before, self.raw, self.mix = (
            torch.from_numpy(audio)[None].to(device) for audio in (before, raw, mix)
        )
        apart = float((self.mix[:, 0] - self.mix[:, 1]).abs().max())
        self.is_mono = apart <= MONO * float(self.mix.abs().max())
        # The distance has a floor of its own: what counts is at the level of the files.
        self.level = 10.0 ** (self.output_db / 20.0)
        self.target = MixTarget(self.level * self.mix, PAIR_RATE, stride=LOSS_STRIDE)
        # Shared with what :meth:`trying` and :meth:`leaving` return: the raw vocal is the same.
        self.results = KeptResults()

    @property
    def played(self) -> Tensor:
        """The raw vocal that is rendered: the part, and what comes before it."""
        return torch.cat((self.before, self.raw), dim=-1) if self.before.shape[-1] else self.raw

    @property
    def searched(self) -> list[int]:
        """Places of the settings that take part."""
        return sorted(SEARCHED + places_of(self.tried))

    def off(self, more: frozenset[str] = frozenset()) -> frozenset[str]:
        """Return the switches that are off: of later modules that are not tried, and `more`."""
        return more | self.left_out | (LATER - self.tried)

    def trying(self, tried: frozenset[str]) -> MatchObjective:
        """Return the same pair with other modules that take part."""
        other = copy.copy(self)
        other.tried = tried
        return other

    def leaving(self, off: frozenset[str]) -> MatchObjective:
        """Return the same pair without these modules and bands."""
        other = copy.copy(self)
        other.left_out = off
        return other

    def with_lead(self) -> MatchObjective:
        """Return the same pair, of which what lies before the part is rendered as a part of it.

        There is nothing to compare it with.
        """
        if not self.before.shape[-1]:
            return self
        other = copy.copy(self)
        other.raw, other.before = self.played, self.before[..., :0]
        other.results = KeptResults()
        return other

    def beginning(self, seconds: float) -> MatchObjective:
        """Return the first part of the excerpt, for which nothing that came before is missing."""
        other = copy.copy(self)
        samples = int(seconds * PAIR_RATE)
        other.raw, other.mix = self.raw[..., :samples], self.mix[..., :samples]
        other.target = MixTarget(self.level * other.mix, PAIR_RATE, stride=LOSS_STRIDE)
        other.results = KeptResults()
        return other

    def in_the_middle(self, points: Tensor) -> Tensor:
        """Return points whose sides are equal if those of the mix are.

        From a silent side a narrow reverb is as far as a wide one: no gradient leads there.
        """
        points = points.clone()
        if self.is_mono:
            points[..., INDEX[PAN]] = 0.5
            points[..., WIDTHS] = 0.0
        return points

    def render(self, points: Tensor, off: frozenset[str] = frozenset()) -> Tensor:
        """Return what the strip makes of the raw vocal, ``(points, 2, samples)``."""
        if len(points) == 1 and self._keeps_results():
            return self._render_kept(points[0], off)
        settings = denormalize(points.to(self.raw.device))
        raw = self.played
        console = _console(settings, raw, self.tried)
        rendered = console(raw.expand(len(points), -1, -1), settings, self.off(off))
        return rendered.expand(-1, 2, -1)[..., self.before.shape[-1] :]

    def render_near(self, point: Tensor, off: frozenset[str] = frozenset()) -> Tensor:
        """Return :meth:`render` of one point, ``(1, 2, samples)``, but for rounding.

        For comparing many points without a gradient, with rooms that are kept (see
        :mod:`diffconsole.modules.reverb.kept`): on the CPU the reverb's return differs by less
        than −95 dB.
        """
        if self._keeps_results():
            return self._render_kept(point, off, is_near=True)
        return self.render(point[None], off)

    def _keeps_results(self) -> bool:
        return not torch.is_grad_enabled() and name_for(self.raw) == "cpu"

    def _render_kept(self, point: Tensor, off: frozenset[str], *, is_near: bool = False) -> Tensor:
        settings, raw = denormalize(point[None]), self.played
        seconds, off = _reverb_seconds(settings, raw), OFF | self.off(off)
        rendered = render_kept(raw, point, settings, off, self.results, seconds, keep_rooms=is_near)
        return rendered.expand(-1, 2, -1)[..., self.before.shape[-1] :]

    def response(self, point: Tensor) -> Tensor:
        """Return what becomes of an impulse behind the inserts, ``(2, samples)``."""
        other = copy.copy(self)
        other.raw, other.before = torch.zeros_like(self.raw[:, :1]), self.before[:, :1, :0]
        other.raw[..., 0] = 1.0
        other.results = KeptResults()
        return other.render(point[None], INSERTS)[0]

    def distance(self, result: Tensor, part: tuple[int, int] = (0, 1)) -> Tensor:
        """Return how far rendered results ``(points, 2, samples)`` are from the mix, ``(points,)``.

        Both at the level of the mix's file; `part` as in :meth:`MixTarget.terms`.
        """
        return self.target.distance(self.level * result, part=part)

    @torch.no_grad()
    def distances(
        self, points: Tensor, off: frozenset[str] = frozenset(), part: tuple[int, int] = (0, 1)
    ) -> Tensor:
        """Return each point's distance to the mix, ``(points,)``."""
        if self._keeps_results():
            one = functools.partial(self._distance_near, off=off, part=part)
            return torch.cat(each(one, list(points)))
        found = [
            self.distance(self.render(some, off), part) for some in points.split(TOGETHER_ON_GPU)
        ]
        return torch.cat(found).cpu()

    def _distance_near(self, point: Tensor, off: frozenset[str], part: tuple[int, int]) -> Tensor:
        return self.distance(self.render_near(point, off), part)


def parts_of(
    pairs: Sequence[Pair],
    seconds: float,
    device: str,
    *,
    lead: float,
    starts: Sequence[int] | None = None,
) -> list[MatchObjective]:
    """Return a part of each pair, with what comes before it.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned.
    seconds : float
        Length of the parts.
    device : str
        ``"cpu"`` or ``"cuda"``.
    lead : float
        Seconds before a part that are rendered along, as far as any of the files has them: parts
        of one shape are rendered together.
    starts : sequence of int, optional
        Samples at which the parts begin; by default the loudest ones are taken.
    """
    if starts is None:
        length = int(seconds * PAIR_RATE)
        starts = [loudest_start(pair.raw, length, mixed=pair.mixed) for pair in pairs]
    lead = min(lead, max(starts) / PAIR_RATE)
    return [
        MatchObjective(pair, seconds, device, start=start, lead=lead)
        for pair, start in zip(pairs, starts, strict=True)
    ]


def render_all(objectives: list[MatchObjective], points: Tensor, sizes: list[int]) -> list[Tensor]:
    """Render every objective's points for a step: in one batch where shapes and modules agree.

    Through the rooms of a search, as what is compared without a gradient.
    """
    with objectives[0].results.rooms_in_use():
        return _rendered_together(objectives, points, sizes)


def _rendered_together(
    objectives: list[MatchObjective], points: Tensor, sizes: list[int]
) -> list[Tensor]:
    raws = [objective.played for objective in objectives]
    shapes = {(o.before.shape, o.raw.shape, o.off()) for o in objectives}
    if len(shapes) > 1:
        return [s.render(p) for s, p in zip(objectives, points.split(sizes), strict=True)]
    rows = torch.cat([raw.expand(size, -1, -1) for raw, size in zip(raws, sizes, strict=True)])
    settings = denormalize(points.to(rows.device))
    console = _console(settings, rows, objectives[0].tried)
    rendered = console(rows, settings, objectives[0].off())
    rendered = rendered.expand(-1, 2, -1)[..., objectives[0].before.shape[-1] :]
    return list(rendered.split(sizes))


@functools.lru_cache(maxsize=32)
def _console_for(reverb_seconds: float, others: tuple[tuple[str, float], ...]) -> Console:
    seconds = {"reverb": reverb_seconds, **dict(others)}
    return Console(PAIR_RATE, bypass=OFF, reverb_seconds=seconds)


def _console(settings: Mapping[str, Tensor], audio: Tensor, tried: frozenset[str]) -> Console:
    """The console with room for the longest of these responses, as far as the excerpt holds it.

    In whole halves of a second: a new length at each step would make new noise each time. On the
    CPU the other sends are loops, which take no time of their own for a long tail.
    """
    most = audio.shape[-1] / PAIR_RATE
    others = []
    for module in (m for m in CHAIN if m.key in tried and m.place == "send"):
        if name_for(audio) == "cpu":
            continue
        own, longest = {k: v.detach() for k, v in module.own(settings).items()}, 0.0
        for row in zip(*(values.tolist() for values in own.values()), strict=True):
            tail = module.code().tail_samples(PAIR_RATE, dict(zip(own, row, strict=True)))
            longest = max(longest, tail / PAIR_RATE)
        others.append((module.key, _halves(min(longest, most))))
    return _console_for(_reverb_seconds(settings, audio), tuple(others))


def _reverb_seconds(settings: Mapping[str, Tensor], audio: Tensor) -> float:
    """Length of the longest of these reverbs, as far as the excerpt holds it."""
    names = ("decay_s", "low_ratio", "high_ratio")
    decays = band_decays(*(settings[f"reverb.{name}"].detach() for name in names))
    return _halves(min(float(decays.max()), audio.shape[-1] / PAIR_RATE))


def _halves(seconds: float) -> float:
    return 0.5 * math.ceil(2.0 * seconds)
