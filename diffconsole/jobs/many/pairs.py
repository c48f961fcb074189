"""The works of match and evaluate: one pair of an archive each."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import SettingsError
from ...pairs import Pair, PairFiles, about_pair, load_pair
from ...pairs.evaluation import FixedPreset, measure_pair, shortened
from ...strip.preset import Preset
from .registry import Runner
from .rows import row_of
from .work import Result, Task, Work

__all__ = ["files_of", "match_options", "prepare_evaluate", "prepare_match", "search_options"]


def search_options(options: Any) -> dict[str, Any]:
    """Return options of a search as JSON has them (:func:`match_options`)."""
    return asdict(options)


def match_options(options: Mapping[str, Any]) -> Any:
    """Return the options of a search from JSON."""
    from ...training.matching.match import MatchOptions

    return MatchOptions(**{**options, "without": tuple(options.get("without", ()))})


def files_of(work: Work) -> PairFiles:
    """Return the pair of a work."""
    return PairFiles(work.name, Path(work.inputs["raw"]), Path(work.inputs["mixed"]))


def prepare_match(task: Task) -> Runner:
    """Return what recovers the settings of a pair.

    Options of the task: ``"search"`` (:func:`search_options`), ``"device"``.
    """
    from ...files import atomic_set
    from ...training.matching.match import match
    from ..match import contents_of, figures

    options, device = match_options(task.options["search"]), task.options["device"]

    def row(work: Work, preset: Preset) -> dict[str, Any]:
        found = figures(work.name, Path(work.outputs["preset"]), preset)
        return {**found, **(row_of(work, preset) if task.options.get("table") else {})}

    def do(work: Work) -> Result:
        files = files_of(work)
        pair = load_pair(files)
        (found,) = match([pair], options, device=device, report=lambda event: None)
        if found.stopped:
            raise KeyboardInterrupt
        preset = found.preset(files.raw.name, files.mixed.name, contents_of(files))
        with atomic_set():
            preset.write(Path(work.outputs["preset"]), force=work.replace)
            if "picture" in work.outputs:
                _draw(work, files, pair, preset)
        notices = tuple(f"{work.name}: {line}" for line in pair.messages)
        return Result(notices, row(work, preset), about_pair(pair))

    return Runner(do, lambda work: Result((), row(work, Preset.read(work.outputs["preset"]))))


def _draw(work: Work, files: PairFiles, pair: Pair, preset: Preset) -> None:
    from ...plots.match import plot_match

    title = f"{files.raw.name} → {files.mixed.name}"
    plot_match(pair, preset, Path(work.outputs["picture"]), title=title, force=work.replace)


def prepare_evaluate(task: Task) -> Runner:
    """Return what measures the distances of pairs, with the model loaded once.

    Options of the task: ``"model"``, ``"trust"``, ``"device"``; ``"fixed"`` with the ``"name"`` and
    the ``"preset"`` (text) of the one preset; ``"optimum"`` (None, ``"quick"`` or ``"full"``) and
    ``"seed"``.
    """
    from ...training.matching.match import MatchOptions, match
    from .takes import trained_predictor_of

    loaded = functools.cache(lambda: trained_predictor_of(task))
    device = task.options.get("device", "cpu")
    chosen = task.options["fixed"]
    fixed = FixedPreset(chosen["name"], Preset.from_json(chosen["preset"]))
    optimum = task.options.get("optimum")

    def do(work: Work) -> Result:
        pair = shortened(load_pair(files_of(work)))
        row: dict[str, Any] = {
            "pair": work.name,
            "lag_seconds": round(pair.lag_seconds, 6),
            "polarity": pair.polarity,
            **about_pair(pair),
            **measure_pair(pair, fixed, loaded()),
        }
        if optimum is not None:
            options = MatchOptions(quick=optimum == "quick", seed=task.options["seed"])
            (found,) = match([pair], options, device=device, report=lambda event: None)
            if found.stopped:
                raise KeyboardInterrupt
            row["match"] = found.distance
        notices = tuple(f"{work.name}: {line}" for line in pair.messages)
        return Result(notices, row, row)

    def recall(work: Work) -> Result:
        known = dict((work.earlier or {}).get("data", {}))
        if not known:
            raise SettingsError(f"{work.name}: the manifest holds no figures of this pair")
        return Result((), known, known)

    return Runner(do, recall, loaded)
