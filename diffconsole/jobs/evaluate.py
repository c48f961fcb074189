"""Measure a model on pairs of raw and mixed vocals, beside what costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..model.predictor import Predictor
from ..pairs import Pair, about_pair
from ..pairs.evaluation import (
    FixedPreset,
    choose_fixed,
    mean_and_median,
    measure_pair,
    shortened,
)
from ..progress import Progress
from ..strip.preset import factory_presets
from ..training.matching.match import MatchOptions, match

__all__ = ["choose_factory_preset", "evaluate_on_pairs", "no_progress"]


def no_progress(label: str, done: float, note: str) -> None:
    """Report nothing."""


def choose_factory_preset(pairs: Sequence[Pair], progress: Progress = no_progress) -> FixedPreset:
    """Return the factory preset with the lowest median distance to these mixes, with its gain.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned; see :func:`diffconsole.pairs.evaluation.choose_fixed`.
    progress : callable
        As :data:`diffconsole.progress.Progress`.
    """
    choice, label = factory_presets(), "choosing the fixed preset"
    tried = iter(range(1, len(choice) + 1))
    progress(label, 0.0, "")
    return choose_fixed(pairs, choice, lambda: progress(label, next(tried) / len(choice), ""))


def evaluate_on_pairs(
    pairs: Sequence[Pair],
    model: Predictor,
    *,
    optimum: str | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Return the distances of a studio's mixes to level only, one fixed preset and a model.

    Of pairs longer than 20 s the loudest 20 s count, as in
    :func:`diffconsole.jobs.finetune.finetune_on_pairs`. Lower is better.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned, as :func:`diffconsole.pairs.load_pair` returns them; one at least.
    model : Predictor
        The model, on whatever device.
    optimum : str, optional
        ``"quick"`` or ``"full"`` also searches each pair's own optimum
        (:func:`diffconsole.training.matching.match.match`).
    device : str
        ``"cpu"`` or ``"cuda"``, of that search.
    seed : int
        Random seed of that search.
    progress : callable
        As :data:`diffconsole.progress.Progress`.

    Returns
    -------
    dict
        ``pairs``: a dict for each with its name, alignment and distances ``level_only``, ``fixed``,
        ``model`` and, with an optimum, ``match``; ``mean`` and ``median`` of each distance;
        ``fixed_preset``, the name of the preset that was chosen for these pairs.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C, in the search of an optimum too.
    """
    pairs = [shortened(pair) for pair in pairs]
    fixed = choose_factory_preset(pairs, progress)
    rows: list[dict[str, Any]] = []
    for number, pair in enumerate(pairs):
        progress("measuring", number / len(pairs), f"{number + 1} of {len(pairs)}")
        rows.append({
            "pair": pair.name,
            "lag_seconds": round(pair.lag_seconds, 6),
            "polarity": pair.polarity,
            **about_pair(pair),
            **measure_pair(pair, fixed, model),
        })  # fmt: skip
    columns = ["level_only", "fixed", "model"]
    if optimum is not None:
        columns.append("match")
        options = MatchOptions(quick=optimum == "quick", seed=seed)
        for row, distance in zip(rows, _optima(pairs, options, device, progress), strict=True):
            row["match"] = distance
    both = {column: mean_and_median([row[column] for row in rows]) for column in columns}
    return {
        "pairs": rows,
        "mean": {column: mean for column, (mean, _) in both.items()},
        "median": {column: median for column, (_, median) in both.items()},
        "fixed_preset": fixed.name,
    }


def _optima(
    pairs: Sequence[Pair], options: MatchOptions, device: str, progress: Progress
) -> list[float]:
    """Each pair's distance with the settings that a search finds for it."""

    def show(event: dict[str, Any]) -> None:
        share = (event["pair"] + event["fraction"]) / len(pairs)
        progress("matching", share, f"{event['name']}, distance {event['loss']:.3f}")

    found = []
    progress("matching", 0.0, "")
    for result in match(pairs, options, device=device, report=show):
        if result.stopped:
            raise KeyboardInterrupt
        found.append(result.distance)
    return found
