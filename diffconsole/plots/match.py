"""The picture of a match: the strip that was found, and what it leaves unexplained of the mix.

Beside the strip's own curves: levels by third octaves and over time of mix, result and the
difference of their magnitudes; and the difference by band over time, where a delay shows as more
in the pauses after words, a de-esser as less high up in the esses, saturation as more high up in
loud words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..pairs import PAIR_RATE, Pair
from ..pairs.residual import BANDS_HZ, Residual, in_words, measure_residual
from ..strip.preset import Preset
from .curves import (
    FREQUENCY_TICKS,
    draw_compressor,
    draw_decay_by_band,
    draw_decay_over_time,
    draw_eq,
)
from .more_curves import draw_more, more_inches
from .page import (
    ABOVE_INCHES,
    BELOW_INCHES,
    COLOURS,
    GREY,
    MARGIN_INCHES,
    SMALL_PT,
    TEXT_LEFT_INCHES,
    TITLE_PT,
    UNNAMED,
    WIDTH_INCHES,
    frequency_axis,
    heading,
    plain_style,
    row_of_axes,
    shorten,
    text_at,
    write,
)
from .strip import StripView, checked, draw_strip, strip_inches
from .times import time_axis

__all__ = ["draw_match", "plot_match"]

TITLE_INCHES, LINE_INCHES = 0.34, 0.17
HEIGHTS_INCHES = {
    "eq": 1.9, "curves": 1.7, "bands": 1.7, "signed": 1.25, "levels": 1.5, "map": 1.9,
}  # fmt: skip
RANGE_DB = 72.0
MAP_DB = 12.0
"""Differences beyond it have the map's last colour."""

MIX, RESULT, ERROR = COLOURS[6], COLOURS[0], COLOURS[1]
TERMS = {
    "mss_lr": "spectra L/R",
    "mss_ms": "spectra M/S",
    "mldr_lr": "dynamics L/R",
    "mldr_ms": "dynamics M/S",
    "total": "total",
}
MOST_WORDS = 8


def plot_match(
    pair: Pair, preset: Preset, path: str | Path, *, title: str | None = None, force: bool = False
) -> None:
    """Draw a match and write the picture, whole or not at all.

    Parameters
    ----------
    pair : Pair
        Aligned.
    preset : Preset
        The strip for its raw vocal as it lies.
    path : str or Path
        The picture; ``.png``, ``.svg`` or ``.pdf`` says which kind.
    title : str, optional
        Above everything; the preset's name by default.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        Another ending; the file exists and ``force`` is false; it cannot be written.
    """
    write(
        path, lambda: draw_match(preset, measure_residual(pair, preset), title=title), force=force
    )


def draw_match(preset: Preset, residual: Residual, *, title: str | None = None) -> Figure:
    """Draw a match and return the figure.

    Returns
    -------
    Figure
        Its axes are labelled ``"eq"``, ``"compressor"``, ``"decay_by_band"``,
        ``"decay_over_time"``, ``"residual_bands"``, ``"residual_signed"``, ``"residual_levels"``
        and ``"residual_map"``.
    """
    view = checked(StripView(preset.name or UNNAMED, preset.settings(), preset.bypass()))
    words = in_words(residual)[:MOST_WORDS] or ["nothing that stands out"]
    text_inches = LINE_INCHES * (2 + len(TERMS)), LINE_INCHES * (1 + len(words))
    with plain_style():
        head = MARGIN_INCHES + TITLE_INCHES
        panels = sum(ABOVE_INCHES + h + BELOW_INCHES for h in HEIGHTS_INCHES.values())
        panels += more_inches([view])
        height = head + max(text_inches) + strip_inches([view]) + panels
        figure = Figure(figsize=(WIDTH_INCHES, height))
        room = WIDTH_INCHES - TEXT_LEFT_INCHES - MARGIN_INCHES
        line = shorten(title or view.name, room, TITLE_PT, bold=True)
        text_at(figure, TEXT_LEFT_INCHES, MARGIN_INCHES + 0.1, line, bold=True, size=TITLE_PT)
        _write_figures(figure, residual, head)
        _write_words(figure, words, head)
        top = head + max(text_inches)
        draw_strip(figure, [view], 0, top, named=False)
        top += strip_inches([view])
        places: dict[str, list[Axes]] = {}
        for row, panel_height in HEIGHTS_INCHES.items():
            top += ABOVE_INCHES
            places[row] = row_of_axes(figure, top, panel_height, 3 if row == "curves" else 1)
            top += panel_height + BELOW_INCHES
            if row == "curves":
                draw_more(figure, [view], PAIR_RATE, top)
                top += more_inches([view])
        draw_eq(places["eq"][0], [view], PAIR_RATE)
        compressor, by_band, over_time = places["curves"]
        draw_compressor(compressor, [view])
        draw_decay_by_band(by_band, [view])
        draw_decay_over_time(over_time, [view])
        _draw_bands(places["bands"][0], residual)
        _draw_signed(places["signed"][0], residual)
        _draw_levels(places["levels"][0], residual)
        _draw_map(figure, places["map"][0], residual)
    return figure


def _write_figures(figure: Figure, residual: Residual, top: float) -> None:
    """The distance's terms: the raw vocal at the mix's loudness, the result."""
    columns = TEXT_LEFT_INCHES + 2.05, TEXT_LEFT_INCHES + 2.55, TEXT_LEFT_INCHES + 3.25
    text_at(figure, TEXT_LEFT_INCHES, top, "Distance to the mix", bold=True)
    for place, name in zip(columns, ("level only", "strip", "explained"), strict=True):
        text_at(figure, place, top, name, align="right", colour=GREY)
    for row, (key, name) in enumerate(TERMS.items(), start=1):
        middle, bold = top + row * LINE_INCHES, key == "total"
        before, after = residual.before[key], residual.after[key]
        share = f"{100.0 * (1.0 - after / before):.0f} %".replace("-", "−") if before else "–"
        text_at(figure, TEXT_LEFT_INCHES, middle, name, colour=GREY)
        for place, text in zip(columns, (f"{before:.3f}", f"{after:.3f}", share), strict=True):
            text_at(figure, place, middle, text, align="right", bold=bold)


def _write_words(figure: Figure, words: Sequence[str], top: float) -> None:
    left = TEXT_LEFT_INCHES + 3.6
    text_at(figure, left, top, "What the strip leaves", bold=True)
    for row, line in enumerate(words, start=1):
        room = WIDTH_INCHES - left - MARGIN_INCHES
        text_at(figure, left, top + row * LINE_INCHES, shorten(line, room))


def _three(axes: Axes, x: np.ndarray, levels: Sequence[np.ndarray], name: str) -> None:
    """Mix, result and error in their colours, with their names above the panel."""
    names = ("mix", "result", "difference of magnitudes")
    for level, colour, label in zip(levels, (MIX, RESULT, ERROR), names, strict=True):
        axes.plot(
            x, level, color=colour, lw=1.0 if colour == ERROR else 1.4, label=label,
            gid=f"{name}.{label.split()[0]}",
        )  # fmt: skip
    top = 6.0 * np.ceil((max(level.max() for level in levels) + 1.0) / 6.0)
    axes.set_ylim(top - RANGE_DB, top)
    axes.legend(
        loc="lower right", ncols=3, fontsize=SMALL_PT - 1, frameon=False, handlelength=1.6,
        borderaxespad=0.0, bbox_to_anchor=(1.0, 1.01),
    )  # fmt: skip


def _draw_bands(axes: Axes, residual: Residual) -> None:
    axes.set_label("residual_bands")
    heading(axes, "Level by third octaves", "Hz", "dBFS")
    frequency_axis(axes, BANDS_HZ[0] / 1.12, BANDS_HZ[-1] * 1.12, FREQUENCY_TICKS)
    levels = residual.mix_band_db, residual.result_band_db, residual.error_band_db
    _three(axes, BANDS_HZ, levels, "band")


def _draw_signed(axes: Axes, residual: Residual) -> None:
    axes.set_label("residual_signed")
    heading(axes, "Mix over result by third octaves, while sung: mean and spread", "Hz", "dB")
    frequency_axis(axes, BANDS_HZ[0] / 1.12, BANDS_HZ[-1] * 1.12, FREQUENCY_TICKS)
    signed, deviation = residual.signed_db, residual.deviation_db
    axes.fill_between(BANDS_HZ, signed - deviation, signed + deviation, color=ERROR, alpha=0.15)
    axes.plot(BANDS_HZ, signed, color=ERROR, lw=1.8, marker="o", ms=2.5, gid="signed")
    axes.axhline(0.0, color=GREY, lw=0.8, zorder=1)
    extent = 6.0 * np.ceil(max(6.0, np.abs(signed).max() + 1.0) / 6.0)
    axes.set_ylim(-extent, extent)
    axes.set_yticks(np.linspace(-extent, extent, 5))
    for height, text, place in ((0.95, "mix has more", "top"), (0.05, "result has more", "bottom")):
        axes.text(
            0.01, height, text, transform=axes.transAxes, va=place, fontsize=SMALL_PT - 1,
            color=GREY,
        )  # fmt: skip


def _draw_levels(axes: Axes, residual: Residual) -> None:
    axes.set_label("residual_levels")
    heading(axes, "Level over time, 93 ms", "", "dBFS")
    levels = residual.mix_level_db, residual.result_level_db, residual.error_level_db
    _three(axes, residual.seconds, levels, "level")
    time_axis(axes, max(float(residual.seconds[-1]), 0.1))


def _draw_map(figure: Figure, axes: Axes, residual: Residual) -> None:
    axes.set_label("residual_map")
    heading(axes, "Mix over result by band over time", "", "Hz")
    axes.grid(False)
    half = 2.0 ** (1.0 / 6.0)
    step = float(residual.seconds[1]) if len(residual.seconds) > 1 else 0.1
    edges_s = np.append(residual.seconds, residual.seconds[-1] + step) - step / 2.0
    edges_hz = np.append(BANDS_HZ / half, BANDS_HZ[-1] * half)
    # rasterized: a vector file with a rectangle a cell would be megabytes
    mesh = axes.pcolormesh(
        edges_s, edges_hz, residual.difference_db, cmap="PuOr_r", vmin=-MAP_DB, vmax=MAP_DB,
        rasterized=True,
    )  # fmt: skip
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_yticks([100, 1000, 10000], ["100", "1k", "10k"])
    time_axis(axes, max(float(residual.seconds[-1]), 0.1))
    page_width, page_height = figure.get_size_inches()
    place = axes.get_position()
    bar_axes = figure.add_axes(
        (place.x1 - 2.0 / page_width, place.y1 + 0.1 / page_height, 1.6 / page_width,
         0.08 / page_height)
    )  # fmt: skip
    bar_axes.set_label("residual_scale")
    bar = figure.colorbar(mesh, cax=bar_axes, orientation="horizontal", ticks=[])
    bar.outline.set_linewidth(0.5)
    for side, align, text in (
        (-0.06, "right", f"−{MAP_DB:g} dB"),
        (1.06, "left", f"+{MAP_DB:g} dB"),
    ):
        bar_axes.text(
            side, 0.5, text, transform=bar_axes.transAxes, ha=align, va="center",
            fontsize=SMALL_PT - 1,
        )  # fmt: skip
