"""The commands of a studio that learns: finetune and evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .archive import Archive, archive_options
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
from .pair_options import find_files, load_pairs, pair_options, progress_bars

if TYPE_CHECKING:
    from ..jobs.finetune import FinetunedModel

__all__ = ["HEADINGS", "evaluate", "evaluation_table", "finetune"]


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
    command to resume. At the end it prints the distances to the mixes held out (with few pairs:
    to all of them, each predicted from the others); lower is better, and of longer pairs the
    loudest 20 s count. The log and the curves lie beside the model. Several GPUs or
    machines: start it by torchrun.
    """
    from ..files import check_folder
    from ..jobs.finetune import check_finetune_folder, finetune_on_pairs
    from ..jobs.options import check_device
    from ..pairs.evaluation import shortened
    from ..training.distributed import process_group
    from ..training.finetuning.finetune_options import FinetuneOptions

    options = FinetuneOptions(held_out=held_out, minutes=minutes, steps=steps, seed=seed)
    check_device(device)
    with process_group(device) as (workers, own_device):
        if not workers.is_first:
            report = Report(quiet=True, as_json=False)
        else:
            check_folder(output)
        files = find_files(raw, mixed, pairs, report)
        if workers.is_first:
            inputs = [path for pair in files for path in (pair.raw, pair.mixed)]
            inputs += [*start.inputs, *([] if pairs is None else [pairs])]
            check_finetune_folder(output, force, inputs)
        predictor, base = start(seed)
        loaded = load_pairs(files, report, change=shortened)
        with progress_bars(report) as progress:
            made = finetune_on_pairs(
                loaded, output, options, model=predictor, base=base, device=own_device,
                workers=workers, force=force, progress=progress, messages=report.say,
            )  # fmt: skip
        if made is not None:
            _report_distances(report, made)


def _report_distances(report: Report, made: FinetunedModel) -> None:
    """Say what was written, with the distances before and after."""
    table = made.table()
    whose = "mixes, each predicted from the others" if made.crossed else "mixes held out"
    report.say(f"Distance to the {len(made.names)} {whose}, mean and median (lower is better):")
    width = max(map(len, table))
    lines = [
        f"  {name:<{width}}  {mean:.3f}  {median:.3f}" for name, (mean, median) in table.items()
    ]
    report.say(*_pair_lines(made.names, made.distances["before"], made.distances["after"]))
    report.result({"model": str(made.folder), **made.info}, "\n".join(lines))
    report.say(f"→ {made.folder}")


def _pair_lines(names: Sequence[str], before: Sequence[float], after: Sequence[float]) -> list[str]:
    """Each pair that decided, before and after."""
    width = max(len(one_line(name)) for name in names)
    rows = zip(names, before, after, strict=True)
    lines = [f"  {one_line(name):<{width}}  {b:.3f} → {a:.3f}" for name, b, a in rows]
    return ["Each of them, before → after:", *lines]


@command(
    "evaluate",
    "diffconsole evaluate --raw raw/ --mixed mixed/ --model studio/",
    "diffconsole evaluate --raw raw/ --mixed mixed/ --recursive --jobs 4 --results all.csv",
)
@pair_options
@model_option
@click.option(
    "--optimum", type=click.Choice(["quick", "full"]),
    help="Also each pair's own optimum, as match finds it: seconds, or up to a minute per pair.",
)  # fmt: skip
@archive_options
@device_option
@seed_option
def evaluate(
    report: Report,
    raw: Path | None,
    mixed: Path | None,
    pairs: Path | None,
    model: Path | None,
    optimum: str | None,
    archive: Archive,
    device: str,
    seed: int,
) -> None:
    """Measure distances to a studio's mixes: level only, one fixed preset, the model.

    Of pairs longer than 20 s the loudest 20 s count, as in finetune. The fixed preset is the best
    of the factory presets for these pairs, on raw levelled to -18 LUFS and with one output gain
    for all, so it is a fair baseline. The optimum is the lowest distance that a search finds for
    each mix.
    """
    from ..jobs.evaluate import evaluate_on_pairs
    from ..jobs.options import check_device
    from ..pairs.evaluation import shortened

    check_device(device)
    if archive.is_asked:
        from .archive_pairs import evaluate_many, pairs_of

        found_pairs = pairs_of(report, archive, raw, mixed, pairs)
        evaluate_many(report, archive, found_pairs, model, optimum, device, seed)
        return
    files = find_files(raw, mixed, pairs, report)
    predictor, name = load_model(model, device)
    loaded = load_pairs(files, report, change=shortened)
    with progress_bars(report) as progress:
        found = evaluate_on_pairs(
            loaded, predictor, optimum=optimum, device=device, seed=seed, progress=progress
        )
    fixed = found.pop("fixed_preset")
    ends = [{"pair": which, **found[which]} for which in ("mean", "median")]
    text = evaluation_table([*found["pairs"], *ends], list(found["mean"]))
    text += f"\none preset: {fixed}; model: {name}; lower is better to the mix"
    data = {**found, "fixed_preset": fixed, "model": name}
    if optimum is not None:
        data["optimum"] = optimum
    report.result(data, text)


HEADINGS = {
    "level_only": "level only",
    "fixed": "one preset",
    "model": "model",
    "match": "match",
}


def evaluation_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return a line of distances for each pair, with headings."""
    width = max(len(one_line(row["pair"])) for row in rows)
    lines = ["  ".join([" " * width, *(HEADINGS[c] for c in columns)])]
    for row in rows:
        cells = [f"{row[c]:{len(HEADINGS[c])}.3f}" for c in columns]
        lines.append("  ".join([f"{one_line(row['pair']):<{width}}", *cells]))
    return "\n".join(lines)
