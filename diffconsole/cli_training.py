"""The commands that learn and measure: finetune, evaluate, pretrain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .cli import (
    FILE,
    Report,
    add_options,
    command,
    device_option,
    force_option,
    main,
    model_option,
    seed_option,
)
from .errors import ModelError, OutputError, PairError


def pair_options(function: Any) -> Any:
    """Add the options that name pairs."""
    return add_options(
        function,
        click.option("--raw", type=FILE, help="Folder of raw vocals."),
        click.option("--mixed", type=FILE, help="Folder of mixed vocals, of the same names."),
        click.option("--pairs", type=FILE, help="CSV with columns raw and mixed, instead."),
    )


def _find(raw: Path | None, mixed: Path | None, pairs: Path | None, report: Report) -> list[Any]:
    from .pairs import find_pairs, read_pair_list

    if pairs is not None and raw is None and mixed is None:
        return read_pair_list(pairs)
    if pairs is not None or raw is None or mixed is None:
        raise click.UsageError("give --raw DIR and --mixed DIR, or --pairs CSV")
    found, left_over = find_pairs(raw, mixed)
    for line in left_over:
        report.say(f"Left out: {line}")
    return found


def _load(files: list[Any], label: str, report: Report) -> list[Any]:
    """Load pairs; a line for each that is refused."""
    from .errors import AudioError
    from .pairs import load_pair
    from .progress import steps

    loaded = []
    for entry in steps(files, label, silent=report.silent):
        try:
            loaded.append(load_pair(entry))
        except (AudioError, PairError) as error:
            report.say(f"Refused: {error}")
    if not loaded:
        raise PairError("no usable pair is left")
    return loaded


def _table(rows: dict[str, float]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"  {name:<{width}}  {value:.3f}" for name, value in rows.items())


@command(main, "finetune", "diffconsole finetune --raw raw/ --mixed mixed/ -o studio/")
@pair_options
@click.option("-o", "--output", type=FILE, required=True, help="Folder for the model.")
@model_option
@click.option(
    "--minutes", type=click.FloatRange(min=0.01), default=20.0, show_default=True,
    help="Most time for training.",
)  # fmt: skip
@click.option(
    "--held-out", type=click.FloatRange(0.01, 0.9), default=0.2, show_default=True,
    help="Share of the pairs that decides when to stop.",
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
    model: Path | None,
    minutes: float,
    held_out: float,
    device: str,
    seed: int,
    force: bool,
) -> None:
    """Fine-tune on a studio's pairs of raw and mixed vocals.

    Files pair by name; endings such as _raw or _mix are ignored. Stop with Ctrl-C and repeat the
    command to go on. Ends with distances to the mixes held out (smaller is nearer).
    """
    from .evaluation import choose_fixed, fixed_distance, level_distance, model_distance
    from .preset import factory_presets
    from .progress import bar
    from .training.card import finetune_card
    from .training.finetune import CHECKPOINT, FinetuneOptions, split_pairs
    from .training.finetune import finetune as run
    from .workflow import check_device, make_folder

    options = FinetuneOptions(held_out=held_out, minutes=minutes, seed=seed)
    check_device(device)
    files = _find(raw, mixed, pairs, report)
    if (output / "model.json").exists() and not force:
        raise OutputError(f"{output}: holds a model already; add --force to replace it")
    make_folder(output)
    if force:
        (output / CHECKPOINT).unlink(missing_ok=True)
    from .cli import _load_model

    predictor, base = _load_model(model)
    loaded = _load(files, "reading pairs", report)
    train_names, held_names = split_pairs(loaded, options)
    report.say(f"{len(train_names)} pairs to train on, {len(held_names)} held out")
    before = [model_distance(p, predictor) for p in held_names]

    with bar("fine-tuning", silent=report.silent) as update:
        last = {"held_out": float("nan"), "share": 0.0}

        def show(event: dict[str, Any]) -> None:
            if "held_out" in event:
                last["held_out"] = event["held_out"]
            half = 0.0 if event["stage"] == "head" else 0.5
            last["share"] = max(last["share"], half + 0.5 * event.get("fraction", 0.0))
            loss = f", loss {event['loss']:.3f}" if "loss" in event else ""
            update(last["share"], f"{event['stage']}{loss}, held out {last['held_out']:.3f}")

        try:
            result = run(
                predictor, train_names, held_names, output, options, device=device, report=show
            )
        except KeyboardInterrupt:
            raise ModelError(
                f"stopped; the state is in {output}: repeat the command to go on"
            ) from None
    predictor.to("cpu")
    fixed = choose_fixed(train_names, factory_presets())
    figures = {
        "level only": [level_distance(p) for p in held_names],
        f"one preset ({fixed.name})": [fixed_distance(p, fixed) for p in held_names],
        "before": before,
        "after": [model_distance(p, predictor) for p in held_names],
    }
    table = {name: sum(values) / len(values) for name, values in figures.items()}
    info = {
        "base": base,
        "pairs": len(loaded),
        "held_out": [p.name for p in held_names],
        "distance": {name: round(value, 4) for name, value in table.items()},
        "epochs": result.epochs,
        "seconds": round(result.seconds, 1),
        "history": result.history,
        "seed": seed,
    }
    predictor.save(output, info, finetune_card(info))
    (output / CHECKPOINT).unlink(missing_ok=True)
    report.say(f"Mean distance to the {len(held_names)} mixes held out (smaller is nearer):")
    report.result({"model": str(output), **info}, _table(table))
    report.say(f"→ {output}")


@command(main, "evaluate", "diffconsole evaluate --raw raw/ --mixed mixed/ --model studio/")
@pair_options
@model_option
def evaluate(
    report: Report,
    raw: Path | None,
    mixed: Path | None,
    pairs: Path | None,
    model: Path | None,
) -> None:
    """Measure distances to a studio's mixes: level only, one fixed preset, the model.

    The fixed preset is the best of the factory presets for these pairs, on raw levelled to
    -18 LUFS and with one output gain for all, so it is a fair rival.
    """
    from .cli import _load_model
    from .evaluation import choose_fixed, fixed_distance, level_distance, model_distance
    from .preset import factory_presets
    from .progress import bar, steps

    predictor, name = _load_model(model)
    loaded = _load(_find(raw, mixed, pairs, report), "reading pairs", report)
    choice = factory_presets()
    with bar("choosing the fixed preset", silent=report.silent) as update:
        heard = iter(range(1, len(choice) + 1))
        fixed = choose_fixed(loaded, choice, lambda: update(next(heard) / len(choice), ""))
    rows: list[dict[str, Any]] = [
        {
            "pair": p.name,
            "lag_seconds": round(p.lag_seconds, 6),
            "polarity": p.polarity,
            "level_only": level_distance(p),
            "fixed": fixed_distance(p, fixed),
            "model": model_distance(p, predictor),
        }
        for p in steps(loaded, "measuring", silent=report.silent)
    ]
    columns = ("level_only", "fixed", "model")
    mean = {c: sum(r[c] for r in rows) / len(rows) for c in columns}
    width = max(len("mean"), *(len(str(r["pair"])) for r in rows))
    lines = [f"{'':<{width}}  level only  one preset  model"]
    for row in [*rows, {"pair": "mean", **mean}]:
        figures = f"{row['level_only']:10.3f}  {row['fixed']:10.3f}  {row['model']:5.3f}"
        lines.append(f"{row['pair']!s:<{width}}  {figures}")
    lines.append(f"one preset: {fixed.name}; model: {name}; smaller is nearer to the mix")
    data = {"pairs": rows, "mean": mean, "fixed_preset": fixed.name, "model": name}
    report.result(data, "\n".join(lines))


@command(
    main, "pretrain",
    "diffconsole pretrain voices/ --rooms ir/ --held-out anna,ben --minutes 50 -o model/",
)  # fmt: skip
@click.argument("voices", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="Folder for the model.")
@click.option("--rooms", type=FILE, help="Folder of impulse responses.")
@click.option("--held-out", default="", metavar="NAMES", help="People never trained on.")
@click.option(
    "--reference", default="", metavar="NAMES",
    help="People whose recordings sound finished.  [default: the mean of all]",
)  # fmt: skip
@click.option(
    "--minutes", type=click.FloatRange(min=0.01), default=50.0, show_default=True,
    help="Time budget.",
)  # fmt: skip
@seed_option
@force_option
def pretrain(
    report: Report,
    voices: Path,
    output: Path,
    rooms: Path | None,
    held_out: str,
    reference: str,
    minutes: float,
    seed: int,
    force: bool,
) -> None:
    """Train an encoder and a head from nothing on folders of voices, one folder a person.

    Raw vocals whose right settings are known are made from the voices on the fly. Stop with
    Ctrl-C and repeat the command to go on.
    """
    from .progress import bar
    from .training.pretrain import CHECKPOINT, PretrainOptions
    from .training.pretrain import pretrain as run
    from .workflow import make_folder

    if (output / "model.json").exists() and not force:
        raise OutputError(f"{output}: holds a model already; add --force to replace it")
    options = PretrainOptions(
        voices=str(voices),
        rooms=None if rooms is None else str(rooms),
        held_out=tuple(n.strip() for n in held_out.split(",") if n.strip()),
        reference=tuple(n.strip() for n in reference.split(",") if n.strip()),
        minutes=minutes,
        seed=seed,
    )
    make_folder(output)
    if force:
        (output / CHECKPOINT).unlink(missing_ok=True)
    with bar("pretraining", silent=report.silent) as update:
        last = {"held_out": ""}

        def show(event: dict[str, Any]) -> None:
            if "held_out" in event:
                last["held_out"] = f", held out {event['held_out']['total']:.3f}"
            else:
                note = f"step {event['step']}, loss {event['loss']:.3f}{last['held_out']}"
                update(event["fraction"], note)

        figures = run(options, output, report=show)
    fixed = figures.pop("fixed")
    lines = [f"{'':<11}model   middle of the statistics"]
    lines += [f"{key:<10} {value:6.3f}   {fixed[key]:6.3f}" for key, value in figures.items()]
    report.result({"model": str(output), "held_out": figures, "fixed": fixed}, "\n".join(lines))
    report.say(f"→ {output}")
