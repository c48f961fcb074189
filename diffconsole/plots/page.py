"""The page: places in inches, colours, names, the legend, files without dates."""

from __future__ import annotations

import bisect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter

from ..errors import OutputError
from ..files import atomic_path, check_output

__all__ = [
    "ABOVE_INCHES",
    "BELOW_INCHES",
    "COLOURS",
    "FAINT",
    "FEW",
    "GREY",
    "LEFT_INCHES",
    "MARGIN_INCHES",
    "SMALL_PT",
    "TEXT_LEFT_INCHES",
    "TEXT_PT",
    "TITLE_PT",
    "UNNAMED",
    "WIDTH_INCHES",
    "axes_at",
    "frequency_axis",
    "heading",
    "image_format",
    "legend_of_names",
    "legend_rows",
    "look",
    "note",
    "note_off",
    "plain_style",
    "row_of_axes",
    "save",
    "shorten",
    "text_at",
    "write",
]

WIDTH_INCHES = 8.0
DOTS_PER_INCH = 200
"""1600 px wide: sharp in print; shown at 800 px, 8 pt text is 11 px high."""

MARGIN_INCHES = 0.15
TEXT_LEFT_INCHES = 0.2
LEFT_INCHES, BETWEEN_INCHES = 0.62, 0.58
"""Of panels: room for the axis and its numbers."""

ABOVE_INCHES, BELOW_INCHES = 0.26, 0.42
"""Beside each row of panels: room for their titles, and for tick and axis labels."""

TITLE_PT, TEXT_PT, SMALL_PT = 11.0, 9.0, 8.0
GREY, FAINT = "#555555", "#D9D9D9"

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart with every kind of colour vision (without its yellow,
which is too light for lines on white)."""

LINE_STYLES = ("-", "--", ":", "-.")
LEGEND_COLUMNS = 3
FEW = 6
"""More presets than this have details only in their strips, not in the panels as well."""

UNNAMED = "unnamed"
LONGEST_NAME = 400
"""Letters; far more than fit on the page."""

# Scripts that DejaVu Sans, which matplotlib brings along, does not have.
FALLBACK_FONTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "Yu Gothic", "SimHei")

METADATA: dict[str, dict[str, Any]] = {
    # No dates: equal pictures are equal files.
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def image_format(path: str | Path) -> str:
    """Return ``"png"``, ``"svg"`` or ``"pdf"`` by the ending of `path`.

    Raises
    ------
    OutputError
        Any other ending.
    """
    ending = Path(path).suffix.lower().lstrip(".")
    if ending not in METADATA:
        found = f"the ending .{ending}" if ending else "no ending"
        raise OutputError(f"{path}: {found} is no picture; use .png, .svg or .pdf")
    return ending


@contextmanager
def plain_style() -> Iterator[None]:
    """Draw with matplotlib's own defaults, whatever the user's configuration says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        installed = set(font_manager.get_font_names())
        matplotlib.rcParams.update(
            {
                "font.family": [
                    "DejaVu Sans",
                    *(f for f in FALLBACK_FONTS if f in installed),
                    "sans-serif",
                ],
                # What a viewer of an SVG takes that does not have the first.
                "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
                # Text stays text, to be searched, copied and edited.
                "svg.fonttype": "none",
                "pdf.fonttype": 42,
                "font.size": SMALL_PT,
                # A name such as "$x_1$" is a name, not a formula.
                "text.parse_math": False,
                "svg.hashsalt": "diffconsole",
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.edgecolor": GREY,
                "axes.axisbelow": True,
            }
        )
        yield


def write(path: str | Path, draw: Callable[[], Figure], *, force: bool) -> None:
    """Draw a figure and write it by the ending of its path: equal figures, equal bytes.

    Raises
    ------
    OutputError
        Another ending than ``.png``, ``.svg`` or ``.pdf``; the file exists and `force` is false;
        it cannot be written.
    """
    kind = image_format(path)
    check_output(path, force=force)
    figure = draw()
    with atomic_path(path, force=force) as temporary:
        save(figure, temporary, kind)


def save(figure: Figure, file: str | Path | BinaryIO, kind: str) -> None:
    """Write a figure as ``"png"``, ``"svg"`` or ``"pdf"`` into a file or a stream."""
    with plain_style(), _quiet():
        figure.savefig(file, format=kind, dpi=DOTS_PER_INCH, metadata=METADATA[kind])


def look(index: int) -> dict[str, Any]:
    """Return colour and line style of the preset of this number."""
    style = LINE_STYLES[index // len(COLOURS) % len(LINE_STYLES)]
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": style}


def shorten(name: str, inches: float, size_pt: float = SMALL_PT, *, bold: bool = False) -> str:
    """Return a name on one line, cut with an ellipsis where it is wider than the room for it."""
    line = "".join(c for c in " ".join(name[:LONGEST_NAME].split()) if c.isprintable())
    line = line or UNNAMED
    weight = "bold" if bold else "normal"
    font = font_manager.FontProperties(weight=weight, size=size_pt)
    ruler = RendererAgg(1, 1, DOTS_PER_INCH)

    def fits(text: str) -> bool:
        dots, _, _ = ruler.get_text_width_height_descent(text, font, ismath=False)
        return dots <= DOTS_PER_INCH * inches

    with _quiet():
        if len(name) <= LONGEST_NAME and fits(line):
            return line
        kept = bisect.bisect_left(
            range(len(line)), True, key=lambda n: not fits(line[: n + 1].rstrip() + "…")
        )
    return line[:kept].rstrip() + "…"


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # A script that no installed font has shows as boxes; that is no reason to alarm.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add a panel at a place in inches, from the left and the top of the page."""
    page_width, page_height = figure.get_size_inches()
    bottom = page_height - top - height
    return figure.add_axes(
        (left / page_width, bottom / page_height, width / page_width, height / page_height)
    )


def row_of_axes(figure: Figure, top: float, height: float, columns: int) -> list[Axes]:
    """Add panels side by side over the width of the page, `top` inches from its top."""
    room = WIDTH_INCHES - LEFT_INCHES - MARGIN_INCHES
    width = (room - (columns - 1) * BETWEEN_INCHES) / columns
    step = width + BETWEEN_INCHES
    panels = [axes_at(figure, LEFT_INCHES + i * step, top, width, height) for i in range(columns)]
    for panel in panels:
        panel.tick_params(labelsize=SMALL_PT)
    return panels


def text_at(
    figure: Figure,
    left: float,
    top: float,
    text: str,
    *,
    bold: bool = False,
    align: str = "left",
    size: float = SMALL_PT,
    colour: str = "black",
) -> None:
    """Write one line, its middle `top` inches below the top of the page."""
    page_width, page_height = figure.get_size_inches()
    figure.text(
        left / page_width,
        1.0 - top / page_height,
        text,
        ha=align,
        va="center_baseline",
        color=colour,
        fontsize=size,
        fontweight="bold" if bold else "normal",
    )


def legend_rows(presets: int) -> int:
    """Return the rows of names above the panels; a single preset needs none."""
    return -(-presets // LEGEND_COLUMNS) if presets > 1 else 0


def legend_of_names(figure: Figure, names: Sequence[str], top: float) -> None:
    """Write the names with their lines, in columns, from `top` inches down."""
    page_width, page_height = figure.get_size_inches()
    column = (page_width - TEXT_LEFT_INCHES - MARGIN_INCHES) / LEGEND_COLUMNS
    for index, name in enumerate(names):
        row, place = divmod(index, LEGEND_COLUMNS)
        left, middle = TEXT_LEFT_INCHES + place * column, top + 0.19 * row + 0.08
        height = 1.0 - middle / page_height
        line = Line2D(
            [left / page_width, (left + 0.3) / page_width], [height, height], lw=2, **look(index)
        )
        figure.add_artist(line)
        text_at(figure, left + 0.36, middle, shorten(name, column - 0.5))


def heading(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Give a panel its title, its axis labels and its grid."""
    axes.set_title(title, loc="left", fontsize=TEXT_PT, fontweight="bold", pad=5)
    axes.set_xlabel(x_label, fontsize=SMALL_PT, labelpad=2)
    axes.set_ylabel(y_label, fontsize=SMALL_PT, labelpad=3)
    axes.grid(True, color=FAINT, linewidth=0.6)


def frequency_axis(
    axes: Axes, low_hz: float, high_hz: float, ticks: Sequence[int], *, fine: bool = True
) -> None:
    """Make x a logarithmic frequency axis with labels such as 500 and 2k, `fine` lines between."""
    axes.set_xscale("log")
    axes.set_xlim(low_hz, high_hz)
    shown = [tick for tick in ticks if low_hz <= tick <= high_hz]
    axes.set_xticks(shown, [f"{t // 1000}k" if t >= 1000 else str(t) for t in shown])
    between = [digit * 10**power for power in (1, 2, 3, 4) for digit in range(1, 10) if fine]
    axes.xaxis.set_minor_locator(FixedLocator([f for f in between if low_hz <= f <= high_hz]))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="minor", axis="x", color=FAINT, linewidth=0.35)


def note(axes: Axes, words: str, *, high: bool = False) -> None:
    """Say in a line why a panel shows nothing: across its middle, or in its upper right corner."""
    across, height = (0.98, 0.94) if high else (0.5, 0.5)
    axes.text(
        across, height, words, transform=axes.transAxes, ha="right" if high else "center",
        va="top" if high else "center", color=GREY,
        fontsize=SMALL_PT, bbox={"fc": "white", "ec": "none", "pad": 1.5},
    )  # fmt: skip


def note_off(axes: Axes, what: str, off: Sequence[bool], *, high: bool = False) -> None:
    """Say that a module is off: across the panel, or in the colours of the presets concerned.

    Parameters
    ----------
    axes : Axes
        The panel.
    what : str
        The module's name.
    off : sequence of bool
        One a preset.
    high : bool
        Whether the words go to the upper right corner, not the lower.
    """
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "right", "color": GREY}
    if all(off):
        place |= {"ha": "center", "va": "center", "fontsize": TEXT_PT + 1}
        axes.text(0.5, 0.5, f"{what} off", bbox={"fc": "white", "ec": "none"}, **place)
        return
    if len(off) > FEW:
        return
    row = 0.16 * axes.figure.dpi / axes.bbox.height
    for line, index in enumerate(index for index, is_off in enumerate(off) if is_off):
        height = 0.97 - row * line if high else 0.03 + row * line
        place |= {"color": look(index)["color"], "va": "top" if high else "bottom"}
        axes.text(0.98, height, "off", fontsize=SMALL_PT - 1, **place)
