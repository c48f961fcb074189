"""Results of the studio benchmark: a file of JSON lines, the table, the gap closed, the bars."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["SYSTEMS", "Bar", "Cell", "Result", "Table", "append", "bars_of", "gap_closed", "read"]

SYSTEMS = ("level", "fixed", "ridge", "random", "pretrained", "optimum")
WITHOUT_TRAINING = ("level", "optimum")
"""Nothing of them depends on the studio's pairs: one cell a studio, with 0 pairs."""

GAP_BARS = {50: 0.50, 100: 0.60, 200: 0.65}
FEW_PAIRS = 50


@dataclass(frozen=True)
class Cell:
    """One measurement: a system that learnt from some pairs of a studio."""

    studio: str
    pairs: int
    seed: int
    system: str


@dataclass(frozen=True)
class Result:
    """Distances of a cell.

    Attributes
    ----------
    cell : Cell
        What was measured.
    materials, model : str
        Digests of what the studio's pairs follow from, and of the pretrained weights.
    distances : list of float
        To each mix of the unheard people.
    seconds : float
        That the cell took.
    info : dict
        More about it.
    """

    cell: Cell
    materials: str
    model: str
    distances: list[float]
    seconds: float
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def distance(self) -> float:
        """Mean over the vocals."""
        return float(np.mean(self.distances))

    def is_of(self, cell: Cell, materials: str, model: str, vocals: int) -> bool:
        """Whether it is the measurement of this cell on this material."""
        same = self.cell == cell and self.materials == materials and self.model == model
        return same and len(self.distances) == vocals

    def to_json(self) -> str:
        """Return one line without its end."""
        data = {**asdict(self), "cell": None, **asdict(self.cell), "distance": self.distance}
        del data["cell"]
        return json.dumps(data)

    @classmethod
    def from_json(cls, line: str) -> Result:
        """Read a line.

        Raises
        ------
        ValueError
            Half a line, or no result.
        """
        try:
            data = json.loads(line)
            cell = Cell(data["studio"], int(data["pairs"]), int(data["seed"]), data["system"])
            distances = [float(d) for d in data["distances"]]
            texts = data["materials"], data["model"]
            return cls(cell, *texts, distances, float(data["seconds"]), data["info"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a result: {line[:60]!r} ({error})") from None


def read(path: Path) -> list[Result]:
    """Read the results there are; half a line, from a run that was killed, is none."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(Result.from_json(line))
        except ValueError:
            continue
    return found


def append(path: Path, result: Result) -> None:
    """Add a result, on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        # A run that was killed may have left half a line, which the next must not join.
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(result.to_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def gap_closed(fixed: float, ours: float, optimum: float) -> float:
    """Share of the way from the best fixed preset to the per-pair optimum."""
    return (fixed - ours) / (fixed - optimum) if fixed > optimum else math.nan


class Table:
    """Mean distances by studio, number of pairs and system.

    Parameters
    ----------
    results : iterable of Result
        Of one set of materials; seeds are averaged.
    studios : sequence of str
        That a mean over studios needs, all of them.
    """

    def __init__(self, results: Iterable[Result], studios: Sequence[str]) -> None:
        self.studios = list(studios)
        found: dict[tuple[str, int, str], list[float]] = {}
        for result in results:
            cell = result.cell
            found.setdefault((cell.studio, cell.pairs, cell.system), []).append(result.distance)
        self.found = {key: float(np.mean(values)) for key, values in found.items()}
        self.sizes = sorted({size for _, size, _ in self.found if size > 0})

    def distance(self, studio: str | None, size: int, system: str) -> float:
        """Return a mean distance, of all studios where none is named; NaN where one lacks."""
        if system in WITHOUT_TRAINING:
            size = 0
        some = self.studios if studio is None else [studio]
        return float(np.mean([self.found.get((s, size, system), math.nan) for s in some]))

    def gap(self, studio: str | None, size: int) -> float:
        """Return the share of the gap that the pretrained network closes."""
        systems = ("fixed", "pretrained", "optimum")
        return gap_closed(*(self.distance(studio, size, system) for system in systems))

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a studio and number of pairs, the means over studios last."""
        return [
            {
                "studio": studio or "mean",
                "pairs": size,
                **{system: self.distance(studio, size, system) for system in SYSTEMS},
                "gap_closed": self.gap(studio, size),
            }
            for studio in (*self.studios, None)
            for size in self.sizes
        ]

    def __str__(self) -> str:
        names = (*SYSTEMS, "gap_closed")
        head = f"{'studio':<16}{'pairs':>6}" + "".join(f"{name:>12}" for name in names)
        lines = [head]
        for row in self.rows():
            cells = "".join(
                f"{'–':>12}" if math.isnan(row[name]) else f"{row[name]:12.3f}" for name in names
            )
            lines.append(f"{row['studio']:<16}{row['pairs']:>6}{cells}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Bar:
    """A figure and the bar it has to reach, from below or from above."""

    name: str
    value: float
    bar: float
    most: bool = False

    @property
    def missed(self) -> bool:
        """Whether it is; a figure that is not there yet is not."""
        reached = self.value <= self.bar if self.most else self.value >= self.bar
        return self.measured and not reached

    @property
    def measured(self) -> bool:
        """Whether all that the figure needs is there."""
        return not (math.isnan(self.value) or math.isnan(self.bar))

    def __str__(self) -> str:
        verdict = "MISSED" if self.missed else "met" if self.measured else "not measured yet"
        sign = "≤" if self.most else "≥"
        return f"{self.name:<52}{self.value:8.3f}  {sign} {self.bar:.3f}  {verdict}"


def bars_of(table: Table) -> list[Bar]:
    """Return the bars for the means over studios."""
    bars = [
        Bar(f"gap closed with {size} pairs", table.gap(None, size), least)
        for size, least in GAP_BARS.items()
    ]
    with_random = [s for s in table.sizes if not math.isnan(table.distance(None, s, "random"))]
    # At the same size or a smaller one it would say nothing about what pretraining saves.
    largest = with_random[-1] if with_random and with_random[-1] > FEW_PAIRS else 0
    random = table.distance(None, largest, "random")
    few = table.distance(None, FEW_PAIRS, "pretrained")
    name = f"pretrained with {FEW_PAIRS} pairs, random with {largest or 'more'}"
    return [*bars, Bar(name, few, random, most=True)]
