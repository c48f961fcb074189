"""Pictures of presets: EQ, compressor and reverb curves, values, and what they do to a vocal.

:func:`plot_presets` writes a PNG, SVG or PDF; up to four presets are drawn over each other to be
compared, more in a row of small panels each. The curves come from the console's own functions, so
a picture shows what is audible. Equal arguments give equal bytes.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import SettingsError
from .curves import draw_eq
from .multiples import MOST_OVERLAID, draw_multiples, multiples_inches
from .names import numbered
from .page import (
    ABOVE_INCHES,
    BELOW_INCHES,
    MARGIN_INCHES,
    TEXT_LEFT_INCHES,
    TITLE_PT,
    UNNAMED,
    WIDTH_INCHES,
    legend_of_names,
    legend_rows,
    plain_style,
    row_of_axes,
    save,
    shorten,
    text_at,
    write,
)
from .panels import draw_panels, is_in_use, panels_inches
from .signals import SIGNAL_PANELS, Measured, measure, signal_panels
from .strip import StripView, checked, draw_strip, strip_inches

__all__ = ["StripView", "draw_presets", "image_of_presets", "plot_presets"]

TITLE_INCHES, LEGEND_ROW_INCHES = 0.34, 0.19

PANEL_HEIGHTS_INCHES = {
    "eq": 2.25,
    "levels": 1.5,
    "gain_reduction": 1.05,
    "spectra": 2.0,
}
STRIP_GAP_INCHES = 0.12

Preset = StripView | tuple[str, Mapping[str, float], Collection[str]]


def plot_presets(
    presets: Sequence[Preset],
    path: str | Path,
    *,
    raw: tuple[np.ndarray, int] | None = None,
    processed: np.ndarray | None = None,
    measured: Measured | None = None,
    sample_rate: int = 48000,
    title: str | None = None,
    force: bool = False,
) -> None:
    """Draw presets and write the picture, whole or not at all.

    Parameters
    ----------
    presets : sequence of StripView or (name, settings, bypass)
        What to draw; up to four are overlaid, more stand below each other.
    path : str or Path
        The picture; ``.png``, ``.svg`` or ``.pdf`` says which kind.
    raw : (ndarray, int), optional
        A vocal, ``(channels, samples)``, full scale 1, and its rate in Hz: adds the levels, the
        gain reduction and the long-term spectra over it.
    processed : ndarray, optional
        What the first preset made of `raw`, ``(channels, samples)`` at the same rate, perhaps
        with a tail. What is not given is rendered here.
    measured : Measured, optional
        In place of both, what a recording too long to be held in memory was found to be.
    sample_rate : int
        Hz, at which the EQ's curves are drawn when there is no `raw`.
    title : str, optional
        Above everything; a single preset's name by default.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        Another ending; the file exists and ``force`` is false; it cannot be written.
    SettingsError
        No preset; a setting missing or not finite; an unknown name to bypass; audio of a shape
        or a rate that the console does not take.
    """
    write(
        path,
        lambda: draw_presets(
            presets,
            raw=raw,
            processed=processed,
            measured=measured,
            sample_rate=sample_rate,
            title=title,
        ),
        force=force,
    )


def image_of_presets(
    presets: Sequence[Preset],
    kind: str,
    *,
    raw: tuple[np.ndarray, int] | None = None,
    processed: np.ndarray | None = None,
    title: str | None = None,
) -> bytes:
    """Draw presets and return what :func:`plot_presets` would write.

    Parameters
    ----------
    presets, raw, processed, title
        As of :func:`plot_presets`.
    kind : str
        ``"png"``, ``"svg"`` or ``"pdf"``.

    Raises
    ------
    SettingsError
        As :func:`plot_presets`.
    """
    image = io.BytesIO()
    save(draw_presets(presets, raw=raw, processed=processed, title=title), image, kind)
    return image.getvalue()


def draw_presets(
    presets: Sequence[Preset],
    *,
    raw: tuple[np.ndarray, int] | None = None,
    processed: np.ndarray | None = None,
    measured: Measured | None = None,
    sample_rate: int = 48000,
    title: str | None = None,
) -> Figure:
    """Draw presets and return the figure; see :func:`plot_presets`.

    Returns
    -------
    Figure
        Its axes, one of each kind or one a preset, are labelled ``"eq"``, ``"compressor"``,
        ``"decay_by_band"``, ``"decay_over_time"`` and, with `raw`, ``"levels"``,
        ``"gain_reduction"``, ``"spectra"``; a module that brings its curve along has one by its
        key. Of several presets, what is off in all of them has none.
    """
    views = [checked(StripView(*preset)) for preset in presets]
    if not views:
        raise SettingsError("no preset to plot; give at least one")
    if raw is not None:
        sample_rate = raw[1]
    if title is None and len(views) == 1:
        title = views[0].name or UNNAMED
    names = numbered([view.name or UNNAMED for view in views])
    views = [view._replace(name=name) for view, name in zip(views, names, strict=True)]
    with plain_style():
        if raw is not None:
            measured = measure(views, *raw, processed)
        many = len(views) > MOST_OVERLAID
        rows = ["eq"] if is_in_use("eq", views) else []
        signals = [] if measured is None else signal_panels(views, measured)
        head = MARGIN_INCHES + (TITLE_INCHES if title else 0.0)
        legend = LEGEND_ROW_INCHES * legend_rows(len(views))
        panels = panels_inches(views) + sum(
            ABOVE_INCHES + PANEL_HEIGHTS_INCHES[row] + BELOW_INCHES for row in (*rows, *signals)
        )
        if many:
            panels = multiples_inches(views, signals=measured is not None)
        strips = [strip_inches(views, index) for index in range(len(views))]
        height = head + legend + panels + sum(strips) + STRIP_GAP_INCHES
        figure = Figure(figsize=(WIDTH_INCHES, height))
        if title:
            room = WIDTH_INCHES - TEXT_LEFT_INCHES - MARGIN_INCHES
            line = shorten(title, room, TITLE_PT, bold=True)
            text_at(figure, TEXT_LEFT_INCHES, MARGIN_INCHES + 0.1, line, bold=True, size=TITLE_PT)
        if legend:
            legend_of_names(figure, [view.name for view in views], head)

        if many:
            draw_multiples(figure, views, sample_rate, measured, head + legend)
        else:
            _draw_overlaid(figure, views, sample_rate, measured, rows, signals, head + legend)
        top = head + legend + panels + STRIP_GAP_INCHES
        for index, inches in enumerate(strips):
            draw_strip(figure, views, index, top, named=len(views) > 1)
            top += inches
    return figure


def _draw_overlaid(
    figure: Figure,
    views: Sequence[StripView],
    sample_rate: int,
    measured: Measured | None,
    rows: Sequence[str],
    signals: Sequence[str],
    top: float,
) -> None:
    """Draw panels in which the presets lie over each other."""

    def wide(row: str) -> Axes:
        nonlocal top
        (axes,) = row_of_axes(figure, top + ABOVE_INCHES, PANEL_HEIGHTS_INCHES[row], 1)
        top += ABOVE_INCHES + PANEL_HEIGHTS_INCHES[row] + BELOW_INCHES
        return axes

    for row in rows:
        draw_eq(wide(row), views, sample_rate)
    draw_panels(figure, views, sample_rate, top)
    top += panels_inches(views)
    if measured is not None:
        for row in signals:
            SIGNAL_PANELS[row](wide(row), views, measured)
