"""Fine-tune a model on a studio's pairs, measure it before and after, and write its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import PairError
from ..files import atomic_set, remove_output, results_folder
from ..model.predictor import Predictor, default_model
from ..pairs import Pair
from ..pairs.evaluation import (
    mean_and_median,
    measure_pair,
    model_distance,
    preset_distance,
    shortened,
)
from ..plots.training import plot_training
from ..progress import Progress
from ..strip.preset import Preset
from ..training.distributed import SINGLE_PROCESS, Workers
from ..training.finetuning.cross_validation import settings_of
from ..training.finetuning.finetune import (
    LOG,
    STATE_FILES,
    FinetuneOptions,
    FinetuneResult,
    finetune,
    split_pairs,
)
from ..training.finetuning.module_words import modules_record
from ..training.pretraining.card import finetune_card
from .evaluate import choose_factory_preset, no_progress
from .model_folder import check_model_folder, stopped

__all__ = ["FinetunedModel", "check_finetune_folder", "finetune_on_pairs"]

CURVES = "finetune.png"

STAGE_SHARES = {
    "labels": (0.0, 0.22), "modules": (0.22, 0.27), "studio": (0.27, 0.35), "near": (0.35, 0.75),
    "head": (0.75, 0.85), "top": (0.85, 1.0),
}  # fmt: skip
"""Of the bar, by what the stages take on a hundred pairs."""

RECORDED = {"held_out", "minutes", "steps", "seed"}
"""Options that the record of a run names in fields of their own."""

STAGE_WORDS = {
    "modules": "modules in the mixes", "studio": "mean settings", "near": "estimates",
    "ridge": "offsets by voice", "top": "encoder",
}  # fmt: skip
"""How the bar names stages whose names in logs say less."""


@dataclass(frozen=True)
class FinetunedModel:
    """A model that was fine-tuned and written, and its distances to the mixes.

    Attributes
    ----------
    folder : Path or None
        Where it was written; :meth:`diffconsole.Predictor.load` reads it. None where
        :meth:`diffconsole.Predictor.fine_tune` wrote none.
    model : Predictor
        The model, on the CPU.
    trained : int
        Number of pairs that it was trained on.
    names : list of str
        The pairs that the distances belong to: those held out, or all.
    crossed : bool
        No pair was held out: each was predicted from the others.
    distances : dict of str to list of float
        Distance of each of these pairs to its mix, by what was applied: ``"level only"``,
        ``"one preset (NAME)"``, ``"before"`` and ``"after"`` for the model.
    info : dict
        What ``model.json`` records of the run.
    """

    folder: Path | None
    model: Predictor
    trained: int
    names: list[str]
    crossed: bool
    distances: dict[str, list[float]]
    info: dict[str, Any]

    def __repr__(self) -> str:
        kind = "" if self.crossed else "held-out "
        count = len(self.names)
        of = f"{count} {kind}{'pair' if count == 1 else 'pairs'}"
        before, after = (self.table()[name][0] for name in ("before", "after"))
        return (
            f"FinetunedModel(folder={None if self.folder is None else str(self.folder)!r}, "
            f"trained={self.trained}, mean distance of {of}: {before:.3f} before, "
            f"{after:.3f} after)"
        )

    def table(self) -> dict[str, tuple[float, float]]:
        """Return mean and median of the distances, by what was applied; lower is better."""
        return {name: mean_and_median(values) for name, values in self.distances.items()}


def check_finetune_folder(folder: Path, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse a folder that :func:`finetune_on_pairs` could not write its model to.

    Parameters
    ----------
    folder : Path
        For the model.
    force : bool
        Whether a finished model may be replaced.
    inputs : iterable of Path
        What the run reads, which it must not replace.

    Raises
    ------
    OutputError
        As :func:`diffconsole.jobs.model_folder.check_model_folder`.
    """
    check_model_folder(folder, STATE_FILES, force, others=(LOG, CURVES), inputs=inputs)


def finetune_on_pairs(
    pairs: Sequence[Pair],
    folder: str | Path,
    options: FinetuneOptions,
    *,
    model: Predictor | None = None,
    base: str | None = None,
    device: str = "cpu",
    workers: Workers = SINGLE_PROCESS,
    force: bool = False,
    progress: Progress = no_progress,
    messages: Callable[[str], None] = lambda _: None,
) -> FinetunedModel | None:
    """Fine-tune a model on raw and mixed vocals of one studio, and write it with its report.

    Beside the model the folder gets a card with the distance of each validation pair, the log and
    the training curves. A run that was stopped leaves its state there, and the same call resumes
    it. Of pairs longer than 20 s the loudest 20 s count.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned, as :func:`diffconsole.pairs.load_pair` returns them.
    folder : str or Path
        For the model; made if it does not exist.
    options : FinetuneOptions
        Budget, share of the pairs held out, seed.
    model : Predictor, optional
        The model to start from, by default the shipped one; it is changed in place.
    base : str, optional
        Its name, for the record.
    device : str
        ``"cpu"`` or ``"cuda"``.
    workers : Workers
        Processes that share the work (:func:`diffconsole.training.distributed.process_group`);
        each calls this function with all pairs, and the first one measures, reports and writes.
    force : bool
        Replace a finished model, and start again where an unfinished run lies.
    progress : callable
        As :data:`diffconsole.progress.Progress`.
    messages : callable
        Called with each line that the user should read.

    Returns
    -------
    FinetunedModel or None
        What was written; None in all processes but the first.

    Raises
    ------
    OutputError
        The folder holds a finished model and `force` is not set, or cannot be written.
    ModelError
        The folder holds an unfinished run of other pairs, options or model; or Ctrl-C stopped the
        run, with what can be resumed.
    PairError
        There are too few pairs to hold some out.
    """
    folder = Path(folder)
    if not pairs:
        raise PairError("no pair to fine-tune on; give at least two")
    if workers.is_first:
        check_finetune_folder(folder, force)
    if model is None:
        from .predictor import Predictor as TrainedInPython

        model, base = TrainedInPython.load(), base or default_model().name
    train, held = split_pairs([shortened(pair) for pair in pairs], options)
    crossed = len(train) + len(held) > len(pairs)
    if not workers.is_first:
        finetune(model, train, held, folder, options, device=device, workers=workers)
        return None
    if crossed:
        messages(f"{len(train)} pairs: each is predicted from the others to decide what to keep")
    else:
        messages(f"{len(train)} pairs to train on, {len(held)} held out")
    before = [model_distance(pair, model) for pair in held]
    with results_folder(folder):
        if force:
            for name in STATE_FILES:
                (folder / name).unlink(missing_ok=True)
        progress("fine-tuning", 0.0, "")
        try:
            result = finetune(
                model, train, held, folder, options,
                device=device, workers=workers, report=_stage_progress(progress),
            )  # fmt: skip
        except KeyboardInterrupt:
            raise stopped(folder, STATE_FILES) from None
        model.to("cpu")
        distances = _distances(model, train, held, before, result, progress)
        info = _record(base or "unnamed model", options, train, held, result, distances)
        for each in info.get("modules", {}).values():
            messages(f"found in the mixes: {each['words']}")
        # What the curves show is a robust distance: no single pair decides it.
        baselines = {
            name: mean_and_median(values)[1]
            for name, values in distances.items()
            if name not in ("before", "after")
        }
        with atomic_set():
            plot_training(result.history, folder / CURVES, levels=baselines, force=True)
            model.save(folder, info, finetune_card(info))
            for name in STATE_FILES:
                remove_output(folder / name)
    names = [pair.name for pair in held]
    return FinetunedModel(folder, model, len(train), names, info["crossed"], distances, info)


def _distances(
    model: Predictor,
    train: Sequence[Pair],
    held: Sequence[Pair],
    before: list[float],
    result: FinetuneResult,
    progress: Progress,
) -> dict[str, list[float]]:
    """Distances of the validation pairs to their mixes, by what was applied."""
    fixed = choose_factory_preset(train, progress)
    measured = []
    for number, pair in enumerate(held):
        progress("measuring", number / len(held), f"{number + 1} of {len(held)}")
        measured.append(measure_pair(pair, fixed, model))
    after = [row["model"] for row in measured]
    if _is_crossed(train, held) and result.best == "before":
        after = before
    elif result.crossed:
        strips = map(Preset.from_settings, settings_of(result.crossed, held, model.off))
        after = [preset_distance(p, strip) for p, strip in zip(held, strips, strict=True)]
    return {
        "level only": [row["level_only"] for row in measured],
        f"one preset ({fixed.name})": [row["fixed"] for row in measured],
        "before": before,
        "after": after,
    }


def _is_crossed(train: Sequence[Pair], held: Sequence[Pair]) -> bool:
    return [pair.name for pair in train] == [pair.name for pair in held]


def _record(
    base: str,
    options: FinetuneOptions,
    train: Sequence[Pair],
    held: Sequence[Pair],
    result: FinetuneResult,
    distances: dict[str, list[float]],
) -> dict[str, Any]:
    """What ``model.json`` records of a run, and the card says."""
    crossed = _is_crossed(train, held)
    table = {name: mean_and_median(values) for name, values in distances.items()}
    labelled = [entry["labelled"] for entry in result.history if entry["stage"] == "labels"]
    by_steps = options.steps is not None
    shown = [entry for entry in result.history if entry["stage"] == "modules"]
    modules = {
        key: each
        for entry in shown
        for key, each in modules_record(
            result.modules, entry["closer"], entry["asked"], entry.get("decided", 0)
        ).items()
    }
    changed = {
        each.name: getattr(options, each.name)
        for each in fields(options)
        if each.name not in RECORDED and getattr(options, each.name) != each.default
    }
    return {
        "base": base,
        "pairs": len(train) + (0 if crossed else len(held)),
        "crossed": crossed,
        "held_out": [pair.name for pair in held],
        "distance": {name: round(mean, 4) for name, (mean, _) in table.items()},
        "median": {name: round(median, 4) for name, (_, median) in table.items()},
        "distances": {
            pair.name: {name: round(values[i], 4) for name, values in distances.items()}
            for i, pair in enumerate(held)
        },
        "scores": {name: round(value, 4) for name, value in result.scores.items()},
        "best": result.best,
        "labelled": sum(labelled),
        **({"modules": modules} if modules else {}),
        "epochs": result.epochs,
        "steps": result.steps,
        "budget": {"steps": options.steps} if by_steps else {"minutes": options.minutes},
        "seconds": round(result.seconds, 1),
        "history": result.history,
        "seed": options.seed,
        **({"options": changed} if changed else {}),
    }


def _stage_progress(progress: Progress) -> Callable[[dict[str, Any]], None]:
    """Turn the events of a run into one bar over all stages."""
    last = {"held_out": float("nan"), "share": 0.0}

    def show(event: dict[str, Any]) -> None:
        last["held_out"] = event.get("held_out", last["held_out"])
        first, end = STAGE_SHARES.get(event["stage"], (0.0, 0.0))
        share = first + (end - first) * event.get("fraction", 0.0)
        last["share"] = max(last["share"], share)
        loss = f", loss {event['loss']:.3f}" if "loss" in event else ""
        stage = STAGE_WORDS.get(event["stage"], event["stage"])
        note = f"{stage}{loss}, held out {last['held_out']:.3f}"
        progress("fine-tuning", last["share"], note)

    return show
