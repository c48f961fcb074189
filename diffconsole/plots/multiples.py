"""Many presets in one picture: a row of small panels for each, all on the same axes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..strip.parameters import MODULES
from .curves import draw_eq
from .more_curves import rows_of
from .page import (
    LEFT_INCHES,
    MARGIN_INCHES,
    SMALL_PT,
    TEXT_PT,
    WIDTH_INCHES,
    axes_at,
    frequency_axis,
    look,
    shorten,
)
from .panels import Panel, panels_of
from .signals import SIGNAL_PANELS, Measured, signal_panels
from .strip import StripView

__all__ = ["MOST_OVERLAID", "draw_multiples", "multiples_inches"]

MOST_OVERLAID = 4
"""More curves than that in one panel cannot be followed."""

ROW_INCHES, ABOVE_INCHES, BELOW_INCHES, BETWEEN_INCHES = 1.1, 0.26, 0.4, 0.56
WIDEST_DB = 18.0
SHARES = {
    "curves": (2.2, 1.0, 1.0, 1.0),
    "signals": (1.6, 1.6, 1.6),
    "more": (1.3, 1.3, 1.3, 1.3),
}
"""Widths of the panels in a row, over each other; the first of the curves is the EQ."""

BESIDE_EQ, MORE_COLUMNS = len(SHARES["curves"]) - 1, len(SHARES["more"])

TITLES = {
    "compressor": "Compressor", "decay_by_band": "Reverb by band", "decay_over_time": "Reverb",
    "levels": "Level", "gain_reduction": "Gain reduction", "spectra": "Spectrum",
}  # fmt: skip
SHORT_LABELS = {
    "compressor": ("input, dBFS", "output, dBFS"), "decay_over_time": ("s", "dB against dry"),
}  # fmt: skip


def multiples_inches(views: Sequence[StripView], *, signals: bool) -> float:
    """Return the height of the rows of some presets, with or without those of a vocal."""
    rows = len(rows_of(panels_of(views)[BESIDE_EQ:], MORE_COLUMNS)) + (2 if signals else 1)
    return len(views) * rows * (ABOVE_INCHES + ROW_INCHES + BELOW_INCHES)


def draw_multiples(
    figure: Figure,
    views: Sequence[StripView],
    sample_rate: float,
    measured: Measured | None,
    top: float,
) -> None:
    """Draw a row of panels for each preset, and a second one of what it does to the vocal.

    Parameters
    ----------
    figure : Figure
        The page.
    views : sequence of StripView
        The presets.
    sample_rate : float
        Hz, for the EQ's curves.
    measured : Measured, optional
        What the presets make of a vocal.
    top : float
        Inches from the top of the page.
    """
    panels = panels_of(views)
    for index, view in enumerate(views):
        row, top = _row(figure, top, "curves")
        eq, beside = row[0], _drawn(row[1:], panels[:BESIDE_EQ], view, sample_rate, index)
        draw_eq(eq, [view], sample_rate, first=index)
        more: list[Axes] = []
        for some in rows_of(panels[BESIDE_EQ:], MORE_COLUMNS):
            row, top = _row(figure, top, "more")
            more += _drawn(row, some, view, sample_rate, index)
        signals: list[Axes] = []
        if measured is not None:
            names = signal_panels(views, measured)
            signals, top = _row(figure, top, "signals", len(names))
            for axes, name in zip(signals, names, strict=True):
                SIGNAL_PANELS[name](axes, [view], measured.of(index), first=index)
        for axes in (eq, *beside, *more, *signals):
            _make_small(axes)
        width = eq.bbox.width / figure.dpi
        eq.set_title(
            shorten(view.name, width, TEXT_PT, bold=True), loc="left", fontsize=TEXT_PT,
            fontweight="bold", color=look(index)["color"], pad=4,
        )  # fmt: skip
    _share_axes(figure)


def _drawn(
    row: Sequence[Axes], panels: Sequence[Panel], view: StripView, sample_rate: float, index: int
) -> list[Axes]:
    """Draw panels into a row; what is left over of it goes."""
    for axes, panel in zip(row, panels, strict=False):
        panel.draw(axes, [view], sample_rate, index)
    for axes in row[len(panels) :]:
        axes.remove()
    return list(row[: len(panels)])


def _row(
    figure: Figure, top: float, kind: str, columns: int | None = None
) -> tuple[list[Axes], float]:
    shares = SHARES[kind][:columns]
    room = WIDTH_INCHES - LEFT_INCHES - MARGIN_INCHES - (len(shares) - 1) * BETWEEN_INCHES
    left, panels = LEFT_INCHES, []
    for share in shares:
        width = room * share / sum(shares)
        panels.append(axes_at(figure, left, top + ABOVE_INCHES, width, ROW_INCHES))
        left += width + BETWEEN_INCHES
    return panels, top + ABOVE_INCHES + ROW_INCHES + BELOW_INCHES


def _make_small(axes: Axes) -> None:
    label = str(axes.get_label())
    axes.tick_params(labelsize=SMALL_PT - 1)
    title = TITLES.get(label, axes.get_title(loc="left"))
    axes.set_title(title, loc="left", fontsize=SMALL_PT, fontweight="bold", pad=4)
    if label in SHORT_LABELS:
        x_label, y_label = SHORT_LABELS[label]
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
    axes.set_ylabel(axes.get_ylabel().replace(" before makeup", ""))
    if label == "compressor":
        axes.set_xticks(range(-60, 1, 20))
        axes.set_yticks(range(-60, 1, 20))
    if label in ("eq", "spectra") or _is_frequency_axis(axes, label):
        low_hz, high_hz = axes.get_xlim()
        frequency_axis(axes, low_hz, high_hz, (50, 200, 1000, 5000))
    axes.xaxis.label.set_fontsize(SMALL_PT - 1)
    axes.yaxis.label.set_fontsize(SMALL_PT - 1)
    legend = axes.get_legend()
    if legend is not None:
        # There is no room for it; the picture of a single preset has it.
        legend.remove()


def _is_frequency_axis(axes: Axes, label: str) -> bool:
    """Whether a curve that a module brings along lies over a logarithmic frequency axis."""
    return label in MODULES and axes.get_xscale() == "log" and axes.get_xlabel() == "Hz"


def _share_axes(figure: Figure) -> None:
    """Give the panels of a kind the same axes: the widest that one of them needs."""
    for label in {str(axes.get_label()) for axes in figure.axes}:
        panels = [axes for axes in figure.axes if axes.get_label() == label]
        lows, highs = zip(*(axes.get_ylim() for axes in panels), strict=True)
        low, high = min(lows), max(highs)
        if label == "eq":
            low, high = max(low, -WIDEST_DB), min(high, WIDEST_DB)
        for axes in panels:
            axes.set_ylim(low, high)
        if label == "eq":
            for axes in panels:
                axes.set_yticks([tick for tick in range(-18, 19, 6) if low <= tick <= high])
        if label == "decay_over_time":
            longest = max(axes.get_xlim()[1] for axes in panels)
            for axes in panels:
                axes.set_xlim(0.0, longest)
