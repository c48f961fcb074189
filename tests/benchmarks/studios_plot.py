"""Draw what the studio benchmark measured: distance to the studios' mixes by number of pairs.

Means over studios, one line a system; what needs no pairs lies level. Readable at 800 pixels.

Run: ``python -m tests.benchmarks.studios_plot --results FILE -o IMAGE.png [--model FOLDER]``
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from diffconsole.model.predictor import default_model
from tests.benchmarks.studio_materials import Materials
from tests.benchmarks.studio_results import SYSTEMS, WITHOUT_TRAINING, Result, Table, read
from tests.benchmarks.studios import model_digest
from tests.benchmarks.virtual_studios import STUDIOS

# Okabe and Ito's colours, which colour-blind people tell apart; marks tell them in print too.
STYLES: dict[str, tuple[str, str, str]] = {
    "level": ("level only", "#777777", ""),
    "fixed": ("best fixed preset", "#E69F00", "s"),
    "ridge": ("ridge regression", "#CC79A7", "^"),
    "random": ("ours, from random weights", "#56B4E9", "v"),
    "pretrained": ("ours, pretrained", "#0072B2", "o"),
    "optimum": ("per-pair optimum", "#009E73", ""),
}
WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 8.0, 4.8, 200
LINE_HEIGHT = 0.05
"""Of a label, as a share of the axis."""


def current(results: list[Result], model: Path, vocals: int) -> list[Result]:
    """Results of the present materials and this model."""
    digest = model_digest(model)
    keys = {name: Materials(studio, Path()).key for name, studio in STUDIOS.items()}
    return [
        r
        for r in results
        if r.materials == keys.get(r.cell.studio)
        and r.model in ("", digest)
        and len(r.distances) == vocals
    ]


def draw(table: Table) -> Any:
    """Return the figure.

    Raises
    ------
    ValueError
        There is no number of pairs for which all studios are measured.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ends: dict[str, float] = {}
    drawn: set[int] = set()
    for system in SYSTEMS:
        _, colour, mark = STYLES[system]
        points = [(size, table.distance(None, size, system)) for size in table.sizes]
        points = [(size, value) for size, value in points if not math.isnan(value)]
        if not points:
            continue
        ends[system] = points[-1][1]
        if system in WITHOUT_TRAINING:
            axes.axhline(points[-1][1], color=colour, linestyle="--", linewidth=1.8)
            continue
        drawn |= {size for size, _ in points}
        bold = 3.0 if system == "pretrained" else 1.8
        axes.plot(*zip(*points, strict=True), color=colour, marker=mark, linewidth=bold)
    if not drawn:
        raise ValueError("no number of pairs for which every studio is measured")
    axes.set_xscale("log")
    axes.set_xticks(sorted(drawn), [str(size) for size in sorted(drawn)])
    axes.minorticks_off()
    axes.set_ylim(0.0, 1.06 * max(ends.values()))
    axes.set_xlabel("raw/mixed pairs of the studio", fontsize=12)
    axes.set_ylabel("distance to the studio's mixes", fontsize=12)
    axes.tick_params(labelsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd")
    for system, height in _spread(ends, LINE_HEIGHT * axes.get_ylim()[1]).items():
        axes.annotate(
            STYLES[system][0], (1.0, height), (6, 0), color=STYLES[system][1], fontsize=11,
            xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
            fontweight="bold" if system == "pretrained" else "normal", annotation_clip=False,
        )  # fmt: skip
    axes.set_title("Vocals of people nobody has heard, mean of three virtual studios", fontsize=12)
    return figure


def _spread(ends: dict[str, float], least: float) -> dict[str, float]:
    """Heights of labels, each at least so far above the one below."""
    heights: dict[str, float] = {}
    below = -math.inf
    for system, value in sorted(ends.items(), key=lambda item: item[1]):
        below = max(value, below + least)
        heights[system] = below
    return heights


def main() -> int:
    """Draw; 1 where there is not enough to draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=default_model())
    parser.add_argument("--vocals", type=int, default=12)
    parser.add_argument("--studios", default=",".join(STUDIOS), help="by commas")
    arguments = parser.parse_args()
    studios = arguments.studios.split(",")
    results = current(read(arguments.results), arguments.model, arguments.vocals)
    try:
        figure = draw(Table(results, studios))
    except ValueError as error:
        print(f"{arguments.results}: {error}")
        return 1
    figure.savefig(arguments.output, dpi=DOTS_PER_INCH)
    print(f"→ {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
