"""Where the results of takes go; what could not be written is refused before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputError
from ..files import check_folder
from ..files.results import check_results

__all__ = ["ENDINGS", "TakeFiles", "plan_presets", "plan_takes", "same_result", "take_files"]

ENDINGS = (".preset.json", ".processed.wav", ".png", ".html")
"""Of the results of a take: preset, audio, picture, audition page."""


@dataclass(frozen=True)
class TakeFiles:
    """A take and where its results go; None for a picture or a page that is not wanted."""

    raw: Path
    preset: Path
    audio: Path
    plot: Path | None
    page: Path | None

    @property
    def results(self) -> dict[str, Path]:
        """What is to be written, by ``"preset"``, ``"audio"``, ``"plot"`` and ``"page"``."""
        return {key: path for key, path in vars(self).items() if path and key != "raw"}


def take_files(raw: Path, stem: Path, *, plot: bool = True, page: bool = True) -> TakeFiles:
    """Return the results of a take: `stem` with their endings; with a picture and a page or not."""
    preset, audio, picture, site = (Path(f"{stem}{ending}") for ending in ENDINGS)
    return TakeFiles(raw, preset, audio, picture if plot else None, site if page else None)


def plan_takes(
    raws: Sequence[Path],
    folder: Path | None,
    force: bool,
    inputs: Sequence[Path] = (),
    *,
    plot: bool = True,
    page: bool = True,
) -> list[TakeFiles]:
    """Name the results of every take, and refuse before any work what could not be written.

    Parameters
    ----------
    raws : sequence of Path
        The takes.
    folder : Path, optional
        For all results; by default beside each take.
    force : bool
        Whether files may be replaced.
    inputs : sequence of Path
        What else the command reads.
    plot, page : bool
        Whether a picture and an audition page are wanted.

    Raises
    ------
    OutputError
        Two takes with one stem, a result that exists or would replace an input, a folder that
        cannot be written.
    """
    if folder is not None:
        check_folder(folder)
    takes: dict[Path, TakeFiles] = {}
    for raw in raws:
        stem = (raw.parent if folder is None else folder) / raw.stem
        if stem in takes:
            raise same_result(takes[stem].raw, raw, Path(f"{stem}{ENDINGS[0]}"))
        takes[stem] = take_files(raw, stem, plot=plot, page=page)
    results = {take.raw: tuple(take.results.values()) for take in takes.values()}
    _check_several(results, force, inputs)
    return list(takes.values())


def plan_presets(
    raws: Sequence[Path], output: Path, force: bool, inputs: Sequence[Path] = ()
) -> dict[Path, Path]:
    """Name the preset of every take: `output`, or a file in the folder `output` for several.

    Raises
    ------
    OutputError
        As :func:`plan_takes`.
    """
    if len(raws) == 1 and not output.is_dir():
        check_results([output], raws, force, inputs=inputs)
        return {raws[0]: output}
    check_folder(output)
    takes: dict[Path, Path] = {}
    for raw in raws:
        target = output / f"{raw.stem}{ENDINGS[0]}"
        if target in takes:
            raise same_result(takes[target], raw, target)
        takes[target] = raw
    if output.is_dir():
        _check_several({raw: (target,) for target, raw in takes.items()}, force, inputs)
    return {raw: target for target, raw in takes.items()}


def same_result(first: Path, second: Path, target: Path) -> OutputError:
    """Return the error of two takes with the same result."""
    return OutputError(
        f"{first} and {second} would both write {target}; rename one or run them into "
        "different folders"
    )


def _check_several(
    results: Mapping[Path, Sequence[Path]], force: bool, inputs: Sequence[Path]
) -> None:
    """Refuse as :func:`check_results`; where some takes are done, name the way to do the rest."""
    # A folder that is not there yet is made later; or no take is there, which is said later too.
    there = [path for paths in results.values() for path in paths if path.parent.is_dir()]
    one = len(results) == 1
    check_results(there, list(results), force if one else True, inputs=inputs)
    done = [raw for raw, paths in results.items() if any(path.exists() for path in paths)]
    if one or force or not done:
        return
    path = next(path for path in results[done[0]] if path.exists())
    others = ""
    if len(done) < len(results):
        others = "give only the others to continue, or "
    raise OutputError(
        f"{path}: exists already, there are results of {len(done)} of {len(results)} takes; "
        f"{others}add --force to replace them"
    )
