"""The commands of a studio that learns: finetune and evaluate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import (
    PATH,
    FiniteRange,
    Report,
    command,
    device_option,
    force_option,
    load_model,
    model_option,
    one_line,
    seed_option,
)
from .encoder_options import StartingModel, encoder_options
from .pair_options import about_pair, find_files, load_pairs, pair_options, shortened
from .runs import check_model_folder, stopped

if TYPE_CHECKING:
    from ..model.predictor import Predictor
    from ..pairs import Pair
    from ..pairs.evaluation import FixedPreset
    from ..training.distributed import Workers
    from ..training.finetuning.finetune import FinetuneOptions

__all__ = ["evaluate", "finetune"]

CURVES = "finetune.png"


def _choose_fixed(pairs: Sequence[Pair], report: Report) -> FixedPreset:
    """Choose the factory preset that is nearest to these mixes, with a bar."""
    from ..pairs.evaluation import choose_fixed
    from ..progress import bar
    from ..strip.preset import factory_presets

    choice = factory_presets()
    with bar("choosing the fixed preset", silent=report.silent) as update:
        heard = iter(range(1, len(choice) + 1))
        return choose_fixed(pairs, choice, lambda: update(next(heard) / len(choice), ""))


@command("finetune", "diffconsole finetune --raw raw/ --mixed mixed/ -o studio/")
@pair_options
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the model.")
@encoder_options
@click.option(
    "--minutes", type=FiniteRange(min=0.01), default=10.0, show_default=True,
    help="Time budget in minutes, for labels and training.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(min=1),
    help="Most training steps, instead of --minutes: the same result on slow and fast machines.",
)  # fmt: skip
@click.option(
    "--held-out", type=FiniteRange(0.01, 0.9), default=None,
    help="Share of the pairs that is not trained on and decides when to stop.  [default: 0.2; "
    "of fewer than 20 pairs none, each decides as the others predict it]",
)  # fmt: skip
@device_option
@seed_option
@force_option
def finetune(
    report: Report,
    raw: Path | None,
    mixed: Path | None,
    pairs: Path | None,
    output: Path,
    start: StartingModel,
    minutes: float,
    steps: int | None,
    held_out: float | None,
    device: str,
    seed: int,
    force: bool,
) -> None:
    """Fine-tune on a studio's pairs of raw and mixed vocals.

    Files pair by name; endings such as _raw or _mix are ignored. Stop with Ctrl-C and repeat the
    command to go on. Ends with distances to the mixes held out, or of few pairs to all, each
    predicted from the others (lower is better; of longer pairs the loudest 20 s count), the log
    and the curves beside the model. Several GPUs or machines: start it by torchrun.
    """
    from ..files import check_folder
    from ..jobs.process import check_device
    from ..training.distributed import joined
    from ..training.finetuning.finetune import LOG, STATE_FILES, FinetuneOptions, split_pairs

    options = FinetuneOptions(held_out=held_out, minutes=minutes, steps=steps, seed=seed)
    check_device(device)
    with joined(device) as (workers, own_device):
        if not workers.is_first:
            report = Report(quiet=True, as_json=False)
        else:
            check_folder(output)
        files = find_files(raw, mixed, pairs, report)
        if workers.is_first:
            inputs = [path for pair in files for path in (pair.raw, pair.mixed)]
            inputs += [*start.inputs, *([] if pairs is None else [pairs])]
            check_model_folder(output, STATE_FILES, force, others=(LOG, CURVES), inputs=inputs)
        predictor, base = start(seed)
        loaded = load_pairs(files, report, change=shortened)
        train, held = split_pairs(loaded, options)
        if len(train) + len(held) > len(loaded):
            report.say(f"{len(train)} pairs: each decides as the others predict it")
        else:
            report.say(f"{len(train)} pairs to train on, {len(held)} held out")
        _finetune(
            report, predictor, base, train, held, output, options, own_device, workers, force
        )  # fmt: skip


def _finetune(
    report: Report,
    predictor: Predictor,
    base: str,
    train: list[Pair],
    held: list[Pair],
    output: Path,
    options: FinetuneOptions,
    device: str,
    workers: Workers,
    force: bool,
) -> None:
    """Run; the first process measures before and after, and writes."""
    from ..files import atomic_set, remove_output, results_folder
    from ..pairs.evaluation import mean_and_median, measure_pair, model_distance, preset_distance
    from ..plots.training import plot_training
    from ..progress import bar
    from ..strip.preset import Preset
    from ..training.finetuning.crossing import settings_of
    from ..training.finetuning.finetune import STATE_FILES
    from ..training.finetuning.finetune import finetune as run
    from ..training.pretraining.card import finetune_card

    if not workers.is_first:
        run(predictor, train, held, output, options, device=device, workers=workers)
        return
    before = [model_distance(p, predictor) for p in held]
    with results_folder(output):
        if force:
            for name in STATE_FILES:
                (output / name).unlink(missing_ok=True)
        try:
            with bar("fine-tuning", silent=report.silent) as update:
                result = run(
                    predictor, train, held, output, options,
                    device=device, workers=workers, report=_finetune_progress(update),
                )  # fmt: skip
        except KeyboardInterrupt:
            raise stopped(output, STATE_FILES) from None
        predictor.to("cpu")
        fixed = _choose_fixed(train, report)
        measured = [measure_pair(p, fixed, predictor) for p in held]
        crossed = [pair.name for pair in train] == [pair.name for pair in held]
        after = [row["model"] for row in measured]
        if crossed and result.best == "before":
            after = before
        elif result.crossed:
            strips = map(Preset.from_settings, settings_of(result.crossed, held))
            after = [preset_distance(p, strip) for p, strip in zip(held, strips, strict=True)]
        figures = {
            "level only": [row["level_only"] for row in measured],
            f"one preset ({fixed.name})": [row["fixed"] for row in measured],
            "before": before,
            "after": after,
        }
        table = {name: mean_and_median(values) for name, values in figures.items()}
        labelled = [entry["labelled"] for entry in result.history if entry["stage"] == "labels"]
        by_steps = options.steps is not None
        budget = {"steps": options.steps} if by_steps else {"minutes": options.minutes}
        info = {
            "base": base,
            "pairs": len(train) + (0 if crossed else len(held)),
            "crossed": crossed,
            "held_out": [p.name for p in held],
            "distance": {name: round(mean, 4) for name, (mean, _) in table.items()},
            "median": {name: round(median, 4) for name, (_, median) in table.items()},
            "distances": {
                pair.name: {name: round(values[i], 4) for name, values in figures.items()}
                for i, pair in enumerate(held)
            },
            "scores": {name: round(value, 4) for name, value in result.scores.items()},
            "best": result.best,
            "labelled": sum(labelled),
            "epochs": result.epochs,
            "steps": result.steps,
            "budget": budget,
            "seconds": round(result.seconds, 1),
            "history": result.history,
            "seed": options.seed,
        }
        # What the curves show is a robust distance: no single pair decides it.
        rivals = {n: median for n, (_, median) in table.items() if n not in ("before", "after")}
        with atomic_set():
            plot_training(result.history, output / CURVES, levels=rivals, force=True)
            predictor.save(output, info, finetune_card(info))
            for name in STATE_FILES:
                remove_output(output / name)
    whose = "mixes, each predicted from the others" if crossed else "mixes held out"
    report.say(f"Distance to the {len(held)} {whose}, mean and median (lower is better):")
    width = max(map(len, table))
    lines = [
        f"  {name:<{width}}  {mean:.3f}  {median:.3f}" for name, (mean, median) in table.items()
    ]
    report.say(_held_out_lines([p.name for p in held], before, figures["after"]))
    report.result({"model": str(output), **info}, "\n".join(lines))
    report.say(f"→ {output}")


def _held_out_lines(names: Sequence[str], before: Sequence[float], after: Sequence[float]) -> str:
    """Each pair that decided, before and after."""
    width = max(len(one_line(name)) for name in names)
    rows = zip(names, before, after, strict=True)
    lines = [f"  {one_line(name):<{width}}  {b:.3f} → {a:.3f}" for name, b, a in rows]
    return "\n".join(["Each of them, before → after:", *lines])


STAGE_SHARES = {
    "labels": (0.0, 0.25), "studio": (0.25, 0.35), "near": (0.35, 0.75), "head": (0.75, 0.85),
    "top": (0.85, 1.0),
}  # fmt: skip
"""Of the bar, by what the stages take on a hundred pairs."""


def _finetune_progress(update: Callable[[float, str], None]) -> Callable[[dict[str, Any]], None]:
    """Turn the events of a run into one bar over all stages."""
    last = {"held_out": float("nan"), "share": 0.0}

    def show(event: dict[str, Any]) -> None:
        last["held_out"] = event.get("held_out", last["held_out"])
        first, end = STAGE_SHARES.get(event["stage"], (0.0, 0.0))
        share = first + (end - first) * event.get("fraction", 0.0)
        last["share"] = max(last["share"], share)
        loss = f", loss {event['loss']:.3f}" if "loss" in event else ""
        update(last["share"], f"{event['stage']}{loss}, held out {last['held_out']:.3f}")

    return show


@command("evaluate", "diffconsole evaluate --raw raw/ --mixed mixed/ --model studio/")
@pair_options
@model_option
@click.option(
    "--optimum", type=click.Choice(["quick", "full"]),
    help="Also each pair's own optimum, as match finds it: seconds, or up to a minute a pair.",
)  # fmt: skip
@device_option
@seed_option
def evaluate(
    report: Report,
    raw: Path | None,
    mixed: Path | None,
    pairs: Path | None,
    model: Path | None,
    optimum: str | None,
    device: str,
    seed: int,
) -> None:
    """Measure distances to a studio's mixes: level only, one fixed preset, the model.

    Of pairs longer than 20 s the loudest 20 s count, as in finetune. The fixed preset is the best
    of the factory presets for these pairs, on raw levelled to -18 LUFS and with one output gain
    for all, so it is a fair rival. The optimum is the nearest
    that the console's settings come to each mix.
    """
    from ..jobs.process import check_device
    from ..pairs.evaluation import mean_and_median, measure_pair
    from ..progress import steps

    check_device(device)
    files = find_files(raw, mixed, pairs, report)
    predictor, name = load_model(model, device)
    loaded = load_pairs(files, report, change=shortened)
    fixed = _choose_fixed(loaded, report)
    rows: list[dict[str, Any]] = [
        {
            "pair": p.name,
            "lag_seconds": round(p.lag_seconds, 6),
            "polarity": p.polarity,
            **about_pair(p),
            **measure_pair(p, fixed, predictor),
        }
        for p in steps(loaded, "measuring", silent=report.silent)
    ]
    columns = ["level_only", "fixed", "model"]
    if optimum is not None:
        columns.append("match")
        found = _optima(loaded, optimum == "quick", device, seed, report)
        for row, distance in zip(rows, found, strict=True):
            row["match"] = distance
    both = {c: mean_and_median([r[c] for r in rows]) for c in columns}
    mean, median = ({c: both[c][i] for c in columns} for i in range(2))
    ends = [{"pair": "mean", **mean}, {"pair": "median", **median}]
    text = _evaluation_table([*rows, *ends], columns)
    text += f"\none preset: {fixed.name}; model: {name}; lower is better to the mix"
    data = {
        "pairs": rows,
        "mean": mean,
        "median": median,
        "fixed_preset": fixed.name,
        "model": name,
    }
    if optimum is not None:
        data["optimum"] = optimum
    report.result(data, text)


def _optima(
    pairs: Sequence[Pair], quick: bool, device: str, seed: int, report: Report
) -> list[float]:
    """Each pair's distance with the settings that match finds for it."""
    from ..progress import bar
    from ..training.matching.match import MatchOptions, match

    found = []
    with bar("matching", silent=report.silent) as update:

        def show(event: dict[str, Any]) -> None:
            share = (event["pair"] + event["fraction"]) / len(pairs)
            update(share, f"{one_line(event['name'])}, distance {event['loss']:.3f}")

        options = MatchOptions(quick=quick, seed=seed)
        for result in match(pairs, options, device=device, report=show):
            if result.stopped:
                raise KeyboardInterrupt
            found.append(result.distance)
    return found


HEADINGS = {
    "level_only": "level only",
    "fixed": "one preset",
    "model": "model",
    "match": "match",
}


def _evaluation_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    width = max(len(one_line(row["pair"])) for row in rows)
    lines = ["  ".join([" " * width, *(HEADINGS[c] for c in columns)])]
    for row in rows:
        cells = [f"{row[c]:{len(HEADINGS[c])}.3f}" for c in columns]
        lines.append("  ".join([f"{one_line(row['pair']):<{width}}", *cells]))
    return "\n".join(lines)
