"""What the commands on pairs share: the options that name them, and reading them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import AudioError, PairError
from .common import PATH, Report, add_options, one_line

if TYPE_CHECKING:
    from ..pairs import Pair, PairFiles
    from ..progress import Progress

__all__ = ["find_files", "load_pairs", "pair_options", "progress_bars", "try_pair"]


def pair_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name pairs."""
    return add_options(
        function,
        click.option("--raw", type=PATH, help="Folder of raw vocals."),
        click.option("--mixed", type=PATH, help="Folder of mixed vocals, of the same names."),
        click.option("--pairs", type=PATH, help="CSV with columns raw and mixed, instead."),
    )


def find_files(
    raw: Path | None, mixed: Path | None, pairs: Path | None, report: Report
) -> list[PairFiles]:
    """Find the files of the pairs; a line for each that has no partner."""
    from ..pairs import find_pairs, read_pair_list

    if pairs is not None and raw is None and mixed is None:
        return read_pair_list(pairs)
    if pairs is not None or raw is None or mixed is None:
        raise click.UsageError("give --raw DIR and --mixed DIR, or --pairs CSV")
    found, left_over = find_pairs(raw, mixed)
    for line in left_over:
        report.say(f"Left out: {one_line(line)}")
    return found


def try_pair(files: PairFiles, refused: list[str] | None = None) -> Pair | None:
    """Load a pair; one that is refused gets a line, which is kept in `refused` too."""
    from ..pairs import load_pair

    try:
        return load_pair(files)
    except (AudioError, PairError) as error:
        line = one_line(str(error))
        # Not an error of the command, but nobody may miss it: --quiet does not hide it.
        click.echo(f"Refused: {line}", err=True)
        if refused is not None:
            refused.append(line)
        return None


@contextmanager
def progress_bars(report: Report) -> Iterator[Progress]:
    """Show the progress of a job as bars, one after the other, with notes that can be printed."""
    from ..progress import bars

    with bars(silent=report.silent) as show:
        yield lambda label, done, note: show(label, done, one_line(note))


def load_pairs(
    files: Sequence[PairFiles], report: Report, *, change: Callable[[Pair], Pair] = lambda p: p
) -> list[Pair]:
    """Load pairs; a line for each that is refused.

    Parameters
    ----------
    files : sequence of PairFiles
        What to load.
    report : Report
        Where the words go.
    change : callable
        Done to each pair as it comes, so that what it leaves out is never held for all.

    Raises
    ------
    PairError
        None is left.
    """
    from ..progress import steps

    tried = (try_pair(entry) for entry in steps(files, "reading pairs", silent=report.silent))
    loaded = []
    for pair in tried:
        if pair is None:
            continue
        for line in pair.messages:
            report.say(f"{one_line(pair.name)}: {line}")
        loaded.append(change(pair))
    if not loaded:
        raise PairError("no usable pair is left; see the lines above")
    return loaded
