"""Panels side by side below the EQ's: which of them a page has, and their rows.

They come from :mod:`.curves`, then from the modules that bring a curve along. On a page of several
presets a module that is off in all of them has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..strip.module import Module
from .curves import SMALL_PANELS
from .more_curves import curve_modules, draw_curve, rows_of
from .page import ABOVE_INCHES, BELOW_INCHES, row_of_axes
from .strip import StripView

__all__ = ["Panel", "draw_panels", "is_in_use", "panels_inches", "panels_of"]

ROW_INCHES, COLUMNS = 1.9, 3


class Panel(NamedTuple):
    """A panel of a page.

    Attributes
    ----------
    module : str
        Key of the module that it shows.
    draw : callable
        Draws into the axes the presets, at a sample rate in Hz, the first of which has a number.
    """

    module: str
    draw: Callable[[Axes, Sequence[StripView], float, int], None]


def is_in_use(module: str, views: Sequence[StripView]) -> bool:
    """Return whether a module's panel has a place: always on the page of a single preset."""
    return len(views) == 1 or any(not view.is_off(module) for view in views)


def panels_of(views: Sequence[StripView]) -> list[Panel]:
    """Return the panels of a page with these presets, in their order."""
    found = [Panel(key, _built_in(draw)) for key, draw in SMALL_PANELS]
    found += [Panel(module.key, _brought_along(module)) for module in curve_modules(views)]
    return [panel for panel in found if is_in_use(panel.module, views)]


def _built_in(draw: Callable[..., None]) -> Callable[..., None]:
    return lambda axes, views, _, first: draw(axes, views, first=first)


def _brought_along(module: Module) -> Callable[..., None]:
    return lambda axes, views, rate, first: draw_curve(axes, module, views, rate, first=first)


def panels_inches(views: Sequence[StripView]) -> float:
    """Return the height of the rows that :func:`draw_panels` draws; 0 where there are none."""
    rows = -(-len(panels_of(views)) // COLUMNS)
    return rows * (ABOVE_INCHES + ROW_INCHES + BELOW_INCHES)


def draw_panels(figure: Figure, views: Sequence[StripView], sample_rate: float, top: float) -> None:
    """Draw the panels, three in a row, the presets over each other.

    Parameters
    ----------
    figure : Figure
        The page.
    views : sequence of StripView
        The presets.
    sample_rate : float
        Hz, which a curve may depend on.
    top : float
        Inches from the top of the page; the rows take :func:`panels_inches`.
    """
    for panels in rows_of(panels_of(views), COLUMNS):
        top += ABOVE_INCHES
        row = row_of_axes(figure, top, ROW_INCHES, COLUMNS)
        for axes, panel in zip(row, panels, strict=False):
            panel.draw(axes, views, sample_rate, 0)
        for axes in row[len(panels) :]:
            axes.remove()
        top += ROW_INCHES + BELOW_INCHES
