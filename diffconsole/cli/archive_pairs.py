"""The commands match and evaluate on many pairs, in several processes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .archive import Archive, run_archive
from .archive_takes import model_of
from .common import Report, one_line
from .pair_options import find_files, progress_bars

if TYPE_CHECKING:
    from ..jobs.many import Outcome, Work
    from ..pairs import Pair, PairFiles
    from ..training.matching.match import MatchOptions

__all__ = ["evaluate_many", "match_many", "pairs_of"]

Placed = tuple[Path, "PairFiles"]


def pairs_of(
    report: Report,
    archive: Archive,
    raw: Path | None,
    mixed: Path | None,
    pairs: Path | None,
    outputs: tuple[Path, ...] = (),
) -> list[Placed]:
    """Find the pairs, each with its folder's place below --raw; a line for each left over."""
    if not archive.recursive:
        return [(Path(), pair) for pair in find_files(raw, mixed, pairs, report)]
    if pairs is not None or raw is None or mixed is None:
        raise click.UsageError("--recursive goes with --raw DIR and --mixed DIR")
    from ..jobs.many.pair_paths import find_pairs_below

    found, left_over = find_pairs_below(raw, mixed, outputs)
    for line in left_over:
        report.say(f"Left out: {one_line(line)}")
    return found


def match_many(
    report: Report,
    archive: Archive,
    found: Sequence[Placed],
    output: Path,
    pictures: Path | None,
    options: MatchOptions,
    device: str,
    force: bool,
    inputs: Sequence[Path],
) -> None:
    """Do what ``match`` does on folders, a pair for each work."""
    from ..files import check_folder, results_folder
    from ..jobs.many import Work
    from ..jobs.many.fingerprint import task_of
    from ..jobs.many.pairs import search_options
    from ..jobs.many.plan import plan_works
    from ..jobs.match import PICTURE_ENDING, TABLE, write_table
    from ..jobs.plan import ENDINGS

    works = []
    for number, (place, pair) in enumerate(found):
        files = {"preset": str(output / place / f"{pair.raw.stem}{ENDINGS[0]}")}
        if pictures is not None:
            files["picture"] = str(pictures / place / f"{pair.raw.stem}{PICTURE_ENDING}")
        paths = {"raw": str(pair.raw), "mixed": str(pair.mixed)}
        works.append(Work(number, str(place / pair.name), paths, files))
    if pictures is not None:
        check_folder(pictures)
    search: dict[str, Any] = {"search": search_options(options), "device": device}
    _check_results(archive, works, inputs, force, search, output)
    planned = plan_works(
        works, output, output if pictures is None else None, force=force, resume=archive.resume,
        inputs=inputs, shard=archive.part,
    )  # fmt: skip
    rows: list[dict[str, Any]] = []

    def text(outcomes: Iterable[Outcome]) -> str:
        rows.extend(dict(outcome.row) for outcome in outcomes if outcome.row is not None)
        if rows:
            part = "" if archive.shard is None else f"{archive.shard.replace('/', '-of-')}."
            write_table(output / f"{part}{TABLE}", rows)
        return ""

    with results_folder(pictures):
        run_archive(
            report, archive, task_of("match", search), planned, output, **_columns("match"),
            force=force, text=text,
        )  # fmt: skip


def evaluate_many(
    report: Report,
    archive: Archive,
    found: Sequence[Placed],
    model: Path | None,
    optimum: str | None,
    device: str,
    seed: int,
) -> None:
    """Do what ``evaluate`` does, a pair for each work; the fixed preset is chosen before."""
    from ..files.results import files_of_model
    from ..jobs.evaluate import choose_factory_preset
    from ..jobs.many import Work
    from ..jobs.many.fingerprint import task_of
    from ..jobs.many.plan import plan_works
    from ..model.shipped import default_model

    if archive.resume and archive.results is None:
        raise click.UsageError("evaluate --resume needs --results, beside which it remembers")
    works = [
        Work(number, str(place / pair.name), {"raw": str(pair.raw), "mixed": str(pair.mixed)})
        for number, (place, pair) in enumerate(found)
    ]
    options: dict[str, Any] = {**model_of(model, device), "optimum": optimum, "seed": seed}
    files = files_of_model(default_model() if model is None else model)
    _check_results(archive, works, files, False, options)
    with progress_bars(report) as progress:
        fixed = choose_factory_preset(_some(found), progress)
    options["fixed"] = {"name": fixed.name, "preset": fixed.preset.to_json()}
    with tempfile.TemporaryDirectory(prefix="diffconsole-") as temporary:
        folder = Path(temporary) if archive.results is None else archive.results.parent
        planned = plan_works(
            works, folder, None, force=False, resume=archive.resume, shard=archive.part
        )
        run_archive(
            report, archive, task_of("evaluate", options, files), planned, None,
            **_columns("evaluate"),
            text=lambda outcomes: _evaluation(outcomes, fixed.name, options["model_name"]),
        )  # fmt: skip


def _some(found: Sequence[Placed]) -> list[Pair]:
    """The pairs that the fixed preset is chosen by: spread evenly, as without processes."""
    from ..audio.windows import spread_evenly
    from ..errors import AudioError, PairError
    from ..pairs import load_pair
    from ..pairs.evaluation import MOST_FOR_CHOICE, shortened

    usable, refused = [], []
    for place in spread_evenly(len(found), MOST_FOR_CHOICE):
        try:
            usable.append(shortened(load_pair(found[place][1])))
        except (AudioError, PairError) as error:
            # Its own work says so, too.
            refused.append(str(error))
    if not usable:
        for line in refused:
            click.echo(f"Refused: {one_line(line)}", err=True)
        raise PairError("no usable pair is left; see the lines above")
    return usable


def _evaluation(outcomes: Sequence[Outcome], fixed: str, model: str) -> str:
    from ..pairs.evaluation import mean_and_median
    from .training import HEADINGS, evaluation_table

    rows = [dict(outcome.row) for outcome in outcomes if outcome.row is not None]
    if not rows:
        return ""
    measured = [column for column in HEADINGS if column in rows[0]]
    both = {column: mean_and_median([row[column] for row in rows]) for column in measured}
    for place, name in enumerate(("mean", "median")):
        rows.append({"pair": name, **{column: both[column][place] for column in measured}})
    table = evaluation_table(rows, measured)
    return f"{table}\none preset: {fixed}; model: {model}; lower is better to the mix\n"


def _check_results(
    archive: Archive,
    works: Sequence[Work],
    inputs: Sequence[Path],
    force: bool,
    options: dict[str, Any],
    output: Path | None = None,
) -> None:
    from ..jobs.many.table import check_table

    if archive.results is None:
        return
    files = [*inputs, *(Path(path) for work in works for path in work.inputs.values())]
    check_table(archive.results, replace=force or archive.resume, output=output, inputs=files)
    options["table"] = True


def _columns(command: str) -> dict[str, Any]:
    from ..jobs.many.rows import columns, texts

    return {"columns": columns(command), "texts": texts(command)}
