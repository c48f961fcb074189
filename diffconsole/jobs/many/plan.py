"""The works of an archive: where the results go, what is there already, what may be replaced."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import OutputError
from ...files import check_folder, clear_unfinished
from ...files.results import protect_inputs
from ..plan import same_result
from .earlier import REPLACE_EDITED
from .manifest import DAMAGED, read_manifests, work_key
from .work import Work

__all__ = ["Planned", "manifest_folder", "outputs_at", "plan_works"]


@dataclass(frozen=True)
class Planned:
    """What is to be done.

    Attributes
    ----------
    works : list of Work
        In the order of the inputs; of one part of them only, where a part was asked for.
    keys : dict of int to str
        By the number of a work, what it is called in the manifest.
    folder : Path
        Of the manifest.
    notices : tuple of str
        What the user should know of earlier runs, one line each.
    """

    works: list[Work]
    keys: dict[int, str]
    folder: Path
    notices: tuple[str, ...] = ()


def manifest_folder(output: Path | None, roots: Sequence[Path]) -> Path:
    """Return where the manifest lies: in the folder of the results, or in that of all inputs."""
    if output is not None:
        return output
    folders = [path if path.is_dir() else path.parent for path in roots]
    try:
        return Path(os.path.commonpath([os.path.abspath(folder) for folder in folders]))
    except ValueError:
        line = "the inputs lie on several drives; give a folder for the results by -o"
        raise OutputError(line) from None


def plan_works(
    works: Sequence[Work],
    folder: Path,
    output: Path | None,
    *,
    force: bool,
    resume: bool,
    inputs: Iterable[Path] = (),
    shard: tuple[int, int] = (1, 1),
) -> Planned:
    """Refuse before any work what could not be written; add what is known of earlier runs.

    Parameters
    ----------
    works : sequence of Work
        All of them, with inputs and outputs.
    folder : Path
        Of the manifest.
    output : Path, optional
        The folder that no result may leave; by default results lie beside their inputs.
    force : bool
        Whether whatever is there may be replaced.
    resume : bool
        Whether what an earlier run did counts, and what it left undone may be replaced.
    inputs : iterable of Path
        What else the command reads.
    shard : tuple of int
        I and N: only the I-th, (I + N)-th … work is done.

    Raises
    ------
    OutputError
        Two works with one result, a result that would replace an input or lie outside of `output`,
        a file that is there and not known from an earlier run.
    """
    if output is not None:
        check_folder(output)
    _refuse_equal(works)
    mine = list(works[shard[0] - 1 :: shard[1]])
    parents = {Path(path).parent for work in mine for path in work.outputs.values()}
    there = [parent for parent in parents if parent.is_dir()]
    if output is not None:
        for place in parents:
            _check_inside(place, output)
    clear_unfinished(there)
    existing = {
        work.number: [Path(path) for path in work.outputs.values() if os.path.lexists(path)]
        for work in mine
    }
    paths = [path for some in existing.values() for path in some]
    protect_inputs(paths, (Path(p) for w in works for p in w.inputs.values()), "is an input")
    protect_inputs(paths, inputs, "is read by this command")
    if output is not None:
        for path in paths:
            _check_inside(path, output)
    keys = {work.number: work_key(work.outputs, work.inputs, folder) for work in mine}
    known: Mapping[str, Mapping[str, Any]] = {}
    damaged: list[Path] = []
    if resume and folder.is_dir():
        known = read_manifests(folder, damaged)
    planned = []
    foreign: list[Path] = []
    for work in mine:
        record = known.get(keys[work.number])
        strange = [] if force else _not_ours(work, record)
        foreign += strange[:1]
        may_replace = force or (record is not None and not strange)
        options = {**work.options, REPLACE_EDITED: True} if force else work.options
        earlier = None if force and not resume else record
        planned.append(replace(work, replace=may_replace, earlier=earlier, options=options))
    if foreign:
        raise _refusal(foreign, len(mine), resume)
    notices = _about(damaged)
    if works and not mine:
        files = "1 file" if len(works) == 1 else f"{len(works)} files"
        notices += (f"--shard {shard[0]}/{shard[1]}: none of {files} falls to this part",)
    return Planned(planned, keys, folder, notices)


def _about(damaged: Sequence[Path]) -> tuple[str, ...]:
    """One line for all damaged lines, of whatever manifests."""
    if not damaged:
        return ()
    lines = "1 line is" if len(damaged) == 1 else f"{len(damaged)} lines are"
    others = len(set(damaged)) - 1
    where = f"{damaged[0]}{f' and {others} more' if others else ''}"
    return (f"{where}: {lines} damaged, and counted as not done",)


def _not_ours(work: Work, record: Mapping[str, Any] | None) -> list[Path]:
    """The results that are there and that no run of the manifest has written or begun."""
    # A damaged line says of which work it is, and no more.
    if record is not None and DAMAGED in record:
        return []
    roles = set() if record is None else {*record.get("roles", ()), *record.get("outputs", {})}
    others = (path for role, path in work.outputs.items() if role not in roles)
    return [Path(path) for path in others if os.path.lexists(path)]


def _refusal(foreign: Sequence[Path], count: int, resume: bool) -> OutputError:
    some = "" if count == 1 else f", there are results of {len(foreign)} of {count} inputs"
    if resume:
        remedy = "no earlier run of this command wrote it: move it away, or add --force"
    else:
        remedy = "add --resume to keep what is done, or --force to replace it"
    return OutputError(f"{foreign[0]}: exists already{some}; {remedy}")


def _refuse_equal(works: Sequence[Work]) -> None:
    named: dict[str, Work] = {}
    for work in works:
        for path in work.outputs.values():
            place = os.path.normcase(os.path.abspath(path))
            other = named.setdefault(place, work)
            if other is not work:
                first, second = (Path(next(iter(w.inputs.values()))) for w in (other, work))
                raise same_result(first, second, Path(path))


def _check_inside(path: Path, output: Path) -> None:
    """Refuse a place that a link, or a step back, brings out of the folder of the results."""
    real, inside = Path(os.path.realpath(path)), Path(os.path.realpath(output))
    if real != inside and inside not in real.parents:
        raise OutputError(
            f"{path}: a link there leads out of {output}, to {real}; remove the link, or choose "
            "another folder"
        )


def outputs_at(
    output: Path | None, path: Path, place: Path, endings: Mapping[str, str]
) -> dict[str, str]:
    """Return the results of an input by role, at its mirrored place, with these endings."""
    folder = path.parent if output is None else output / place.parent
    return {role: str(folder / f"{path.stem}{ending}") for role, ending in endings.items()}
