"""What the commands share that work on many files: the options, the bar, the report at the end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import DiffconsoleError, SettingsError
from .common import PATH, Report, add_options, one_line
from .storage_paths import in_storage

if TYPE_CHECKING:
    from ..jobs.many import Executor, Outcome, Task
    from ..jobs.many.paths import Found
    from ..jobs.many.plan import Planned
    from ..jobs.many.run import Summary
    from ..jobs.many.storage import Places
    from ..jobs.many.table import Table

__all__ = ["Archive", "archive_options", "folder_option_is_no_file", "run_archive"]

MOST_JOBS = 1024
MOST_NOTICES = 1000


@dataclass(frozen=True)
class Archive:
    """How a command goes through many files.

    Attributes
    ----------
    recursive : bool
        Also the folders below a folder.
    jobs : int
        Processes.
    resume : bool
        Keep what an earlier run did.
    results : Path or None
        Table to write.
    shard : str or None
        ``"I/N"``, the part of the list that is done.
    ray : str or None
        Address of the Ray cluster that does the work.
    places : Places or None
        What of the paths lies in a storage.
    """

    recursive: bool = False
    jobs: int = 1
    resume: bool = False
    results: Path | None = None
    shard: str | None = None
    ray: str | None = None
    places: Places | None = None

    @property
    def is_asked(self) -> bool:
        """Whether any of the options is given."""
        return self != Archive()

    @property
    def part(self) -> tuple[int, int]:
        """I and N of the shard."""
        from ..jobs.many.paths import parse_shard

        return (1, 1) if self.shard is None else parse_shard(self.shard)

    @property
    def executor(self) -> Executor:
        """Where the works are done."""
        from ..jobs.many import InThisProcess
        from ..jobs.many.processes import Processes

        if self.ray is not None:
            from ..jobs.many.on_ray import OnRay

            return OnRay(self.ray, self.jobs if self.jobs > 1 else None, self.places)
        return InThisProcess() if self.jobs == 1 else Processes(self.jobs)


def archive_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands on many files, gathered as `archive`."""

    @functools.wraps(function)
    def run(
        *args: Any,
        recursive: bool,
        jobs: int,
        resume: bool,
        results: Path | None,
        shard: str | None,
        ray: str | None,
        **kwargs: Any,
    ) -> None:
        archive = Archive(recursive, jobs, resume, results, shard, ray)
        try:
            _ = archive.part
        except SettingsError as error:
            raise click.UsageError(str(error)) from None
        with in_storage(archive, kwargs) as (archive, kwargs):
            function(*args, archive=archive, **kwargs)

    return add_options(
        run,
        click.option(
            "--recursive", is_flag=True, help="Also the folders in a folder; -o mirrors them."
        ),
        click.option(
            "--jobs", type=click.IntRange(1, MOST_JOBS), default=1, show_default=True, metavar="N",
            help="Processes, each with the model in its memory; they share the cores.",
        ),
        click.option(
            "--resume", is_flag=True,
            help="Keep what an earlier run did, if its files, options and model are the same.",
        ),
        click.option(
            "--results", type=PATH, metavar="PATH",
            help="Also one table of all files: .csv, or .parquet (extra parquet).",
        ),
        click.option(
            "--shard", metavar="I/N",
            help="Only the I-th of N parts of the list, for several machines at once.",
        ),
        click.option(
            "--ray", metavar="ADDRESS",
            help="Work on the nodes of a Ray cluster, auto or HOST:PORT (extra ray); files may "
            "then be URLs, as s3://…",
        ),
    )  # fmt: skip


def folder_option_is_no_file(output: Path | None, endings: Sequence[str]) -> None:
    """Refuse for -o what looks like a file: the results of many files need a folder.

    Raises
    ------
    SettingsError
        Names it.
    """
    if output is not None and output.name.lower().endswith(tuple(endings)):
        if output.is_dir():
            return
        raise SettingsError(f"-o {output}: the results of many files need a folder; give one")


def run_archive(
    report: Report,
    archive: Archive,
    task: Task,
    planned: Planned,
    output: Path | None,
    *,
    columns: Sequence[str] = (),
    texts: Sequence[str] = (),
    force: bool = False,
    problems: Iterable[str] = (),
    text: Callable[[list[Outcome]], str] | None = None,
) -> list[Outcome]:
    """Run an archive, report failures one line each, write the table, give the summary.

    Parameters
    ----------
    report : Report
        Where the words go.
    archive : Archive
        The options.
    task, planned
        What is done.
    output : Path, optional
        The folder of the results, made if it is missing.
    columns, texts
        Of the table (:class:`diffconsole.jobs.many.table.Table`).
    force : bool
        Whether a table that exists is replaced; with --resume it always is.
    problems : iterable of str
        What failed before: a line each.
    text : callable, optional
        Makes the text of the result of all outcomes, to be shown above the summary. Outcomes are
        only kept, and returned, for it or for --json.

    Raises
    ------
    DiffconsoleError
        Ctrl-C, with how to go on.
    """
    from ..files import results_folder
    from ..jobs.many.run import Summary
    from ..jobs.many.run import run_archive as run
    from ..jobs.many.table import Table
    from ..progress import bar

    for line in planned.notices:
        report.say(f"Note: {line}")
    for line in problems:
        _fail(report, line)
    summary, notes = Summary(len(planned.works)), _Notes(report)
    keep = report.as_json or text is not None
    kept: list[Outcome] = []
    part = "" if archive.shard is None else archive.shard.replace("/", "-of-")
    with ExitStack() as stack:
        stack.enter_context(results_folder(output))
        table = None
        if archive.results is not None:
            table = stack.enter_context(Table(archive.results, columns, texts))
        update = stack.enter_context(bar(task.command, silent=report.silent))
        outcomes = run(task, planned, archive.executor, part, _Shown(summary, update))
        try:
            for outcome in stack.enter_context(closing(outcomes)):
                _report_one(report, outcome, table, notes)
                if keep:
                    kept.append(outcome)
        except KeyboardInterrupt:
            left = summary.total - summary.ended
            raise DiffconsoleError(
                f"stopped, {left} of {summary.total} {'is' if left == 1 else 'are'} left; repeat "
                "the command with --resume to go on"
            ) from None
        if table is not None:
            table.write(replace=force or archive.resume)
    notes.close()
    data: dict[str, Any] = {
        "files": [_data(outcome) for outcome in kept if outcome.state != "failed"],
        "failed": report.failed,
        "summary": {
            "done": summary.done, "kept": summary.kept, "failed": summary.failed,
            "seconds": round(summary.seconds, 2),
        },
    }  # fmt: skip
    if planned.notices:
        data["notices"] = list(planned.notices)
    above = "" if text is None else text(kept)
    above = f"{above}\n" if above else ""
    if archive.results is not None:
        data["results"] = str(archive.results)
    report.result(data, above + summary.table())
    if archive.results is not None:
        report.say(f"→ {archive.results}")
    return kept


class _Shown:
    """A summary that moves a bar as it counts."""

    def __init__(self, summary: Summary, update: Callable[[float, str], None]) -> None:
        self.summary, self.update = summary, update

    def add(self, outcome: Outcome) -> None:
        summary = self.summary
        summary.add(outcome)
        failed = f"{summary.failed} failed" if summary.failed else ""
        parts = (f"{summary.ended} of {summary.total}", summary.rate(), failed)
        self.update(summary.ended / summary.total, ", ".join(part for part in parts if part))


class _Notes:
    """Notices of an archive: the same words once, with the first file that has them."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.counts: dict[str, int] = {}

    def add(self, outcome: Outcome) -> None:
        for notice in outcome.notices:
            if notice in self.counts:
                self.counts[notice] += 1
                continue
            # Notices that name their file are all different: the list would grow with the archive.
            if len(self.counts) < MOST_NOTICES:
                self.counts[notice] = 1
            paths = (str(file["path"]) for file in outcome.inputs.values())
            named = any(name in notice for name in (outcome.name, *paths))
            self.report.say(f"Note: {notice if named else f'{outcome.name}: {notice}'}")

    def close(self) -> None:
        """Say how many more files have them."""
        for notice, count in self.counts.items():
            if count > 1:
                self.report.say(f"Note: {count - 1} more like this: {notice}")


def _report_one(report: Report, outcome: Outcome, table: Table | None, notes: _Notes) -> None:
    if outcome.failure:
        _fail(report, outcome.failure)
    notes.add(outcome)
    if table is not None:
        first: dict[str, Any] = {
            "name": outcome.name, "state": outcome.state, "failure": outcome.failure or None,
            "notices": "; ".join(outcome.notices) or None,
        }  # fmt: skip
        paths = {role: file["path"] for role, file in outcome.outputs.items()}
        table.add({**paths, **(outcome.row or {}), **first})


def _fail(report: Report, line: str) -> None:
    line = one_line(line)
    report.failed.append(line)
    click.echo(f"Error: {line}", err=True)


def _data(outcome: Outcome) -> Mapping[str, Any]:
    paths = {
        role: file["path"] for role, file in (*outcome.inputs.items(), *outcome.outputs.items())
    }
    return {
        **paths, "state": outcome.state, **outcome.data, "notices": list(outcome.notices),
    }  # fmt: skip


def found_files(
    given: Sequence[Path], archive: Archive, output: Path | None, presets: bool = False
) -> Found:
    """Return the files that the arguments stand for, of takes or of presets."""
    from ..jobs.many.paths import AUDIO, PRESETS, find_inputs

    kind = PRESETS if presets else AUDIO
    return find_inputs(given, kind, recursive=archive.recursive, output=output)
