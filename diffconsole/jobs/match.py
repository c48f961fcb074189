"""Files of the matches of a folder: what is done already, what is refused, the table at the end."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError, PresetError
from ..files import atomic_path, check_folder, check_output, clear_unfinished
from ..files.results import check_results, protect_inputs
from ..files.spreadsheet import as_text
from ..pairs import PairFiles
from ..strip.preset import Preset
from .plan import ENDINGS, same_result

if TYPE_CHECKING:
    from ..training.matching.match import MatchOptions

__all__ = [
    "PICTURE_ENDING",
    "TABLE",
    "PlannedMatch",
    "check_inputs",
    "contents_of",
    "figures",
    "plan_matches",
    "write_table",
]

TABLE = "match.csv"
PICTURE_ENDING = ".match.png"
FIGURES = ("distance", "level_distance", "lag_seconds", "polarity", "correlation", "seconds")
LEAST_DISTANCE = 0.05
"""From the raw vocal at the mix's level to the mix: below it there is nothing to explain."""

COLUMNS = ("name", *FIGURES, "preset")


@dataclass(frozen=True)
class PlannedMatch:
    """A pair and where its results go.

    Attributes
    ----------
    files : PairFiles
        The pair.
    preset : Path
        To be written.
    picture : Path or None
        To be written, if pictures are asked for.
    found : Preset or None
        What the same command found before; it is kept.
    replace : bool
        Whether the results may replace what is there: by --force, or of a search that was stopped.
    """

    files: PairFiles
    preset: Path
    picture: Path | None
    found: Preset | None
    replace: bool

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.found is not None and (self.picture is None or self.picture.exists())


def plan_matches(
    files: Sequence[PairFiles],
    output: Path,
    pictures: Path | None,
    options: MatchOptions,
    force: bool,
    inputs: Sequence[Path] = (),
) -> list[PlannedMatch]:
    """Name the results of every pair, and refuse before any work what could not be written.

    A preset that lies there already is kept if its provenance names the same pair, seed and
    options; if that search was stopped, it is replaced.

    Parameters
    ----------
    files : sequence of PairFiles
        The pairs.
    output : Path
        Folder for presets and table.
    pictures : Path, optional
        Folder for pictures.
    options : MatchOptions
        Of the search.
    force : bool
        Search every pair again, and replace whatever is there.
    inputs : sequence of Path
        What else the command reads: the list of the pairs.

    Raises
    ------
    OutputError
        Two pairs with one stem, a result that is another's or would replace an input, a folder
        that cannot be written.
    """
    folders = [output] if pictures is None else [output, pictures]
    for folder in folders:
        check_folder(folder)
    clear_unfinished(folder for folder in folders if folder.is_dir())
    by_target: dict[Path, PlannedMatch] = {}
    for pair in files:
        preset = output / f"{pair.raw.stem}{ENDINGS[0]}"
        if preset in by_target:
            raise same_result(by_target[preset].files.raw, pair.raw, preset)
        picture = None if pictures is None else pictures / f"{pair.raw.stem}{PICTURE_ENDING}"
        earlier = None if force else _earlier(preset, pair, options)
        stopped = earlier is not None and bool(earlier.provenance.get("stopped"))
        found = None if stopped else earlier
        by_target[preset] = PlannedMatch(pair, preset, picture, found, force or stopped)
    planned = list(by_target.values())
    for match in planned:
        results = [] if match.found else [match.preset]
        results += [match.picture] if match.picture and not match.is_done else []
        there = [path for path in results if path.parent.is_dir()]
        check_inputs(there, files, inputs)
        for path in there:
            check_output(path, force=match.replace)
    if output.is_dir():
        check_inputs([output / TABLE], files, inputs)
        _check_table(output / TABLE, force)
    return planned


def check_inputs(
    results: Iterable[Path], files: Sequence[PairFiles], inputs: Iterable[Path] = ()
) -> None:
    """Refuse results that would replace a raw take, a mix or another input, even with --force.

    Raises
    ------
    OutputError
        Names the result.
    """
    results = list(results)
    protect_inputs(results, [pair.mixed for pair in files], "is a mix")
    check_results(results, [pair.raw for pair in files], True, inputs=inputs)


def contents_of(pair: PairFiles) -> str:
    """Return what distinguishes these two files from all others, whatever their names."""
    digest = hashlib.sha256()
    try:
        for path in (pair.raw, pair.mixed):
            with open(path, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
            digest.update(b"|")
    except OSError:
        # Who reads its sound says what is wrong with it.
        return ""
    return digest.hexdigest()[:16]


def _earlier(path: Path, pair: PairFiles, options: MatchOptions) -> Preset | None:
    """The preset that an earlier run of the same command left; one of anything else is refused."""
    if not path.exists():
        return None
    asked = {
        "contents": contents_of(pair),
        "source": pair.raw.name,
        "mix": pair.mixed.name,
        "seed": options.seed,
        "match": options.recorded(),
    }
    try:
        preset = Preset.read(path)
    except PresetError:
        preset = Preset()
    known = preset.provenance
    if any(known.get(key) != value for key, value in asked.items()) or not known.keys() >= {
        *FIGURES
    }:
        raise OutputError(
            f"{path}: exists already and is not of {pair.raw.name} and {pair.mixed.name} with "
            "these options; add --force to replace it, or choose another folder"
        )
    return preset


def _check_table(path: Path, force: bool) -> None:
    """An earlier run's table is replaced; another's is not."""
    if force or not path.exists():
        return
    check_output(path, force=True)
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        first = file.readline().strip()
    if first != ",".join(COLUMNS):
        raise OutputError(
            f"{path}: exists already and is no table of matches; add --force to replace it"
        )


def figures(name: str, path: Path, preset: Preset) -> dict[str, Any]:
    """Return a pair's line of the table, from the preset's provenance."""
    found = {key: preset.provenance[key] for key in FIGURES}
    return {"name": name, **found, "explained": _explained(found), "preset": str(path)}


def _explained(found: dict[str, Any]) -> float | None:
    """Share of the distance that the strip takes away; None where there is hardly any."""
    before, after = float(found["level_distance"]), float(found["distance"])
    if not (math.isfinite(before) and math.isfinite(after) and before >= LEAST_DISTANCE):
        return None
    return round(max(1.0 - after / before, 0.0), 4)


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the lines as CSV, whole or not at all; the presets by their names in its folder."""
    with (
        atomic_path(path, force=True) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            line = {**{key: row[key] for key in COLUMNS}, "preset": Path(row["preset"]).name}
            writer.writerow({k: as_text(v) if isinstance(v, str) else v for k, v in line.items()})
