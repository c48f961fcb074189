"""Match: the channel strip that turns a raw vocal into a mix of it.

The settings of each pair are searched by :mod:`.search`, those of several pairs in one batch where
that pays. They act on the raw file as it lies and give the mix's absolute level; the mix's timing
and polarity are the pair's, not the strip's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ... import __version__
from ...errors import SettingsError
from ...files.dates import created
from ...pairs import Pair
from ...pairs.evaluation import level_distance, preset_distance
from ...strip.later import missing_modules
from ...strip.preset import Preset
from .plan import Plan, plan_for
from .search import search
from .search_result import SearchResult
from .side_by_side import side_by_side
from .tried import TRIED

__all__ = [
    "QUICK_TOGETHER",
    "TOGETHER_ON_GPU",
    "TRIED",
    "Match",
    "MatchOptions",
    "groups_of",
    "match",
]

Reporter = Callable[[dict[str, Any]], None]

# Pairs of one length that share each step: on a CPU it saves what a step costs beside the samples.
QUICK_TOGETHER, TOGETHER_ON_GPU = 6, 32


@dataclass(frozen=True)
class MatchOptions:
    """How to search.

    Attributes
    ----------
    seconds : float, optional
        Time budget for a pair; by default a fixed effort, the same on every computer.
    quick : bool
        A coarse search in seconds, for labels.
    seed : int
        Seed of every random choice.
    without : tuple of str
        Modules that are not tried; all of those in :data:`TRIED` for the strip of version 1.0. A
        quick search tries none.
    """

    seconds: float | None = None
    quick: bool = False
    seed: int = 0
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = sorted(set(self.without) - set(TRIED))
        if unknown:
            raise SettingsError(
                f"cannot leave out {unknown[0]!r}: modules that a search tries are "
                f"{', '.join(TRIED)}"
            )

    def recorded(self) -> dict[str, Any]:
        """Return what a preset's provenance says of the search, beside its seed."""
        found: dict[str, Any] = {"seconds": self.seconds, "quick": self.quick}
        if self.without:
            found["without"] = sorted(self.without)
        return found


@dataclass(frozen=True)
class Match:
    """The strip that was found for a pair.

    Attributes
    ----------
    name : str
        Of the pair.
    settings : dict of str to float
        Every parameter by key, physical units; for the raw file as it lies.
    bypass : frozenset of str
        Modules and bands that are not used.
    distance, level_distance : float
        To the mix: of the strip's result, and of the raw vocal at the mix's loudness.
    uncertainty : dict of str to tuple of float
        By key, the physical values between which the distance rises by less than 1 %; empty for a
        quick search, and for one that was stopped.
    seconds : float
        That the search took.
    steps : int
        Of the search.
    history : list of float
        Loss, step by step.
    lag_seconds, polarity, correlation : float, int, float
        As in :class:`diffconsole.pairs.Pair`.
    drift_ppm, lag_uncertain_seconds : float
        As there.
    options : MatchOptions
        Of the search.
    stopped : bool
        Ctrl-C ended the search: the best until then.
    """

    name: str
    settings: dict[str, float]
    bypass: frozenset[str]
    distance: float
    level_distance: float
    uncertainty: dict[str, tuple[float, float]]
    seconds: float
    steps: int
    history: list[float]
    lag_seconds: float
    polarity: int
    correlation: float
    options: MatchOptions = field(default_factory=MatchOptions)
    stopped: bool = False
    drift_ppm: float = 0.0
    lag_uncertain_seconds: float = 0.0

    def preset(self, source: str = "", mix: str = "", contents: str = "") -> Preset:
        """Return the strip as a preset; its provenance records the files and the distance.

        Parameters
        ----------
        source, mix : str
            Names of the raw and of the mixed file.
        contents : str
            What distinguishes the two files from others of these names.
        """
        provenance: dict[str, Any] = {
            "source": source or self.name,
            "mix": mix,
            "contents": contents,
            "created": created(),
            "diffconsole": __version__,
            "distance": round(self.distance, 4),
            "level_distance": round(self.level_distance, 4),
            "lag_seconds": round(self.lag_seconds, 7),
            "polarity": self.polarity,
            "correlation": round(self.correlation, 4),
            "match": self.options.recorded(),
            "seconds": round(self.seconds, 2),
            "steps": self.steps,
            "seed": self.options.seed,
            "uncertainty": {
                key: [float(f"{low:.4g}"), float(f"{high:.4g}")]
                for key, (low, high) in self.uncertainty.items()
            },
        }
        if self.drift_ppm:
            provenance["drift_ppm"] = round(self.drift_ppm, 1)
        if self.lag_uncertain_seconds:
            provenance["lag_uncertain_ms"] = round(1000.0 * self.lag_uncertain_seconds, 2)
        if self.stopped:
            provenance["stopped"] = True
        return Preset.from_settings(
            self.settings, bypass=self.bypass, name=self.name, provenance=provenance
        )


def match(
    pairs: Sequence[Pair],
    options: MatchOptions,
    *,
    device: str = "cpu",
    report: Reporter = lambda _: None,
) -> Iterator[Match]:
    """Search the strips of a batch of pairs.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned.
    options : MatchOptions
        How.
    device : str
        ``"cpu"`` or ``"cuda"``.
    report : callable
        Called after each step with ``pair`` (its index), ``name``, ``fraction`` (0…1 of this
        pair) and ``loss``.

    Yields
    ------
    Match
        One per pair, in their order, as soon as it is there. After Ctrl-C the best so far of the
        pairs that had begun, ``stopped``, and nothing more.
    """
    plan = plan_for(options.quick)
    most = TOGETHER_ON_GPU if device != "cpu" else QUICK_TOGETHER if options.quick else 1
    groups = groups_of(pairs, most)

    def job(group: list[int]) -> Callable[[Callable[[float, float], None]], list[Match]]:
        def run(report_progress: Callable[[float, float], None]) -> list[Match]:
            some = [pairs[index] for index in group]
            return _search_group(some, plan, options, device, report_progress)

        return run

    def report_progress(number: int, share: float, loss: float) -> None:
        # The pairs of a group advance together; the bar moves through them in turn.
        group = groups[number]
        place = min(int(share * len(group)), len(group) - 1)
        share = share * len(group) - place
        pair = group[place]
        report({"pair": pair, "name": pairs[pair].name, "fraction": share, "loss": loss})

    # A time budget is for all of the machine.
    shared = device == "cpu" and options.seconds is None
    threads = min(torch.get_num_threads(), len(groups)) if shared else 1
    stopped = False
    for found in side_by_side([job(group) for group in groups], threads, report_progress):
        yield from found
        stopped = stopped or found[0].stopped
        if stopped and threads == 1:
            return


def _search_group(
    pairs: list[Pair],
    plan: Plan,
    options: MatchOptions,
    device: str,
    report_progress: Callable[[float, float], None],
) -> list[Match]:
    began = time.monotonic()
    budget = None if options.seconds is None else options.seconds * len(pairs)
    found, stopped = search(
        pairs, plan, seconds=budget, seed=options.seed, device=device, without=options.without,
        report_progress=report_progress,
    )  # fmt: skip
    took = (time.monotonic() - began) / len(pairs)
    return [
        _match_of(pair, each, options, took, stopped)
        for pair, each in zip(pairs, found, strict=True)
    ]


def groups_of(pairs: Sequence[Pair], most: int) -> list[list[int]]:
    """Numbers of neighbours of one length and layout, which can run in one batch."""
    groups: list[list[int]] = []
    for index, pair in enumerate(pairs):
        last = groups[-1] if groups else []
        if last and len(last) < most and pairs[last[0]].raw.shape == pair.raw.shape:
            last.append(index)
        else:
            groups.append([index])
    return groups


def _match_of(
    pair: Pair, found: SearchResult, options: MatchOptions, took: float, stopped: bool
) -> Match:
    settings = found.settings()
    written = Preset.from_json(Preset.from_settings(settings, bypass=found.off).to_json())
    return Match(
        name=pair.name,
        settings=settings,
        bypass=found.off | missing_modules(settings),
        distance=preset_distance(pair, written),
        level_distance=level_distance(pair),
        uncertainty=found.uncertainty(),
        seconds=took,
        steps=len(found.history),
        history=found.history,
        lag_seconds=pair.lag_seconds,
        polarity=pair.polarity,
        correlation=pair.correlation,
        options=options,
        stopped=stopped,
        drift_ppm=pair.drift_ppm,
        lag_uncertain_seconds=pair.lag_uncertain_seconds,
    )
