"""Panels of the modules that have no drawing of their own here: the curve that each brings along.

A module whose code has ``curve`` gets a panel; see :mod:`diffconsole.modules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..modules.curve import Curve
from ..strip.module import Module
from ..strip.parameters import CHAIN
from .curves import DRAWN
from .page import (
    ABOVE_INCHES,
    BELOW_INCHES,
    FEW,
    GREY,
    SMALL_PT,
    frequency_axis,
    heading,
    look,
    note_off,
    row_of_axes,
)
from .strip import StripView, is_shown

__all__ = ["curve_modules", "draw_curve", "draw_more", "more_inches", "rows_of"]

T = TypeVar("T")

ROW_INCHES, COLUMNS = 1.9, 3
TICKS_HZ = (20, 100, 500, 2000, 10000)
LEAST_EXTENT_DB = 6.0
"""A curve in dB is shown on an axis of at least that, so that little looks like little."""


def curve_modules(views: Sequence[StripView] | None = None) -> list[Module]:
    """Return the modules that bring a curve and are not drawn by :mod:`.curves`, in their order.

    Parameters
    ----------
    views : sequence of StripView, optional
        The presets of a page: a module that is not on by default, and in none of them, is left out.
    """
    found = [m for m in CHAIN if m.key not in DRAWN and hasattr(m.code(), "curve")]
    return found if views is None else [m for m in found if is_shown(m, views)]


def rows_of(panels: Sequence[T], columns: int) -> list[Sequence[T]]:
    """Return modules, or their panels, in rows of so many."""
    return [panels[start : start + columns] for start in range(0, len(panels), columns)]


def more_inches(views: Sequence[StripView]) -> float:
    """Return the height of the rows that :func:`draw_more` draws; 0 where there are none."""
    rows = len(rows_of(curve_modules(views), COLUMNS))
    return rows * (ABOVE_INCHES + ROW_INCHES + BELOW_INCHES)


def draw_more(figure: Figure, views: Sequence[StripView], sample_rate: float, top: float) -> None:
    """Draw the panels, three in a row.

    Parameters
    ----------
    figure : Figure
        The page.
    views : sequence of StripView
        The presets, over each other.
    sample_rate : float
        Hz, which a curve may depend on.
    top : float
        Inches from the top of the page; the rows take :func:`more_inches`.
    """
    for modules in rows_of(curve_modules(views), COLUMNS):
        top += ABOVE_INCHES
        panels = row_of_axes(figure, top, ROW_INCHES, COLUMNS)
        for axes, module in zip(panels, modules, strict=False):
            draw_curve(axes, module, views, sample_rate)
        for axes in panels[len(modules) :]:
            axes.remove()
        top += ROW_INCHES + BELOW_INCHES


def draw_curve(
    axes: Axes, module: Module, views: Sequence[StripView], sample_rate: float, *, first: int = 0
) -> None:
    """Draw a module's curve: its first line strongly, the others faintly.

    Of more than `FEW` presets only the first lines are drawn.

    Parameters
    ----------
    axes : Axes
        The panel, labelled by the module's key; lines get ids such as ``tilt.0``, the faint ones
        ``tilt.high.0``.
    module : Module
        Its code has ``curve``.
    views : sequence of StripView
        The presets.
    sample_rate : float
        Hz.
    first : int
        The number of the first preset on the page, for its colour.
    """
    axes.set_label(module.key)
    off = [view.is_off(module.key) for view in views]
    # Where all are off, the axes are those of the defaults.
    curves = [_curve(module, view, sample_rate) for view in views]
    _prepare(axes, module, curves)
    for index, (curve, is_off) in enumerate(zip(curves, off, strict=True), first):
        if is_off:
            continue
        for place, (name, y) in enumerate(curve.lines.items()):
            if place and len(views) > FEW:
                continue
            strong: dict[str, Any] = {"lw": 2.0, "gid": f"{module.key}.{index}"}
            faint: dict[str, Any] = {"lw": 1.1, "alpha": 0.55}
            faint["gid"] = f"{module.key}.{name}.{index}"
            axes.plot(curve.x, y, label=name, **look(index), **(faint if place else strong))
    if len(views) == 1 and not off[0] and len(curves[0].lines) > 1:
        axes.legend(fontsize=SMALL_PT - 1, frameon=False, handlelength=1.6)
    note_off(axes, module.title, off)


def _curve(module: Module, view: StripView, sample_rate: float) -> Curve:
    settings = {key: float(value) for key, value in module.own(view.settings).items()}
    curve: Curve = module.code().curve(sample_rate, settings, module.off_bands(view.bypass))
    return curve


def _prepare(axes: Axes, module: Module, curves: Sequence[Curve]) -> None:
    """Give the panel its title and axes that hold all curves."""
    shown = curves[0]
    heading(axes, module.title, shown.x_label, shown.y_label)
    low, high = min(float(c.x[0]) for c in curves), max(float(c.x[-1]) for c in curves)
    if shown.is_log and shown.x_label == "Hz":
        frequency_axis(axes, low, high, TICKS_HZ)
    else:
        axes.set_xscale("log" if shown.is_log else "linear")
        axes.set_xlim(low, high)
    if shown.y_label != "dB":
        return
    lines = [y for curve in curves for y in curve.lines.values()]
    if shown.x_label != "Hz":
        # Levels: 0 dB is among them, so that little looks like little.
        lowest, highest = min(float(y.min()) for y in lines), max(float(y.max()) for y in lines)
        axes.set_ylim(lowest, max(highest, 0.0) + LEAST_EXTENT_DB)
    else:
        extent = max(LEAST_EXTENT_DB, *(float(np.abs(y).max()) for y in lines))
        axes.set_ylim(-1.1 * extent, 1.1 * extent)
        axes.axhline(0.0, color=GREY, lw=0.8, zorder=1)
