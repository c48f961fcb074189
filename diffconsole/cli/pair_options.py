"""What the commands on pairs share: the options that name them, and reading them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import AudioError, PairError
from .common import PATH, Report, add_options, one_line

if TYPE_CHECKING:
    from ..pairs import Pair, PairFiles

__all__ = ["about_pair", "find_files", "load_pairs", "pair_options", "shortened", "try_pair"]


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


def about_pair(pair: Pair) -> dict[str, Any]:
    """Return what alignment found beside lag and polarity, as data."""
    return {
        "drift_ppm": round(pair.drift_ppm, 1),
        "lag_uncertain_ms": round(1000.0 * pair.lag_uncertain_seconds, 2),
        "messages": list(pair.messages),
    }


def shortened(pair: Pair) -> Pair:
    """Return the loudest twenty seconds of a pair: hundreds of them stay in memory."""
    from ..pairs import PAIR_RATE, loudest_start
    from ..pairs.evaluation import WHOLE_SECONDS

    length = int(WHOLE_SECONDS * PAIR_RATE)
    if pair.raw.shape[1] <= length:
        return pair
    start = loudest_start(pair.raw, length, mixed=pair.mixed)
    raw, mixed = (a[:, start : start + length].copy() for a in (pair.raw, pair.mixed))
    return replace(pair, raw=raw, mixed=mixed)


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
