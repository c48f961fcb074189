"""A preset as the plots take it, and its values as a strip of text with units."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ..errors import SettingsError
from ..strip.channel_strip import ChannelStrip, checked_switches
from ..strip.module import Module
from ..strip.parameters import CHAIN, EQ_BANDS, PARAMETERS, Parameter, is_on, section_name
from ..strip.versions import is_spare
from ..strip.words import parameter_name, value_text
from .page import GREY, TEXT_LEFT_INCHES, TEXT_PT, WIDTH_INCHES, look, shorten, text_at

__all__ = [
    "StripView",
    "checked",
    "draw_strip",
    "is_shown",
    "strip_inches",
    "value_text",
]

ROW_INCHES = 0.152
VALUE_PT = 7.5

PLACED = {"compressor": (3.18, 1.45), "reverb": (4.98, 1.40)}
"""Left edge and width in inches of the blocks beside that of the EQ, which has the first place."""

LEVELS = tuple(m for m in CHAIN if m.place not in ("insert", "send") and len(m.parameters) == 1)
"""Modules of a single value at the ends of the chain share the last block."""

MORE = tuple(m for m in CHAIN if m.key not in ("eq", *PLACED) and m not in LEVELS)
"""Modules whose blocks follow below, in rows."""

MORE_COLUMNS, MORE_STEP_INCHES, MORE_WIDTH_INCHES = 4, 1.92, 1.6
FIRST_INCHES = 1.72


def _row_inches(modules: Sequence[Module], view: StripView) -> float:
    """Height of a row of blocks: of a module that is off, only that is said."""
    lines = [1 if view.is_off(module.key) else len(module.parameters) for module in modules]
    return ROW_INCHES * (2.0 + max(lines))


class StripView(NamedTuple):
    """One preset to draw.

    Attributes
    ----------
    name : str
        Shown as it is, on one line, shortened where there is no room.
    settings : mapping of str to float
        Every key of the parameter table, in physical units.
    bypass : collection of str
        Modules and EQ bands that are off: ``{"reverb", "eq.low_pass"}``.
    """

    name: str
    settings: Mapping[str, float]
    bypass: Collection[str] = ()

    def is_off(self, switch: str) -> bool:
        """Whether a module is off, or a band (itself or with the EQ)."""
        return not is_on(switch, self.bypass)


def is_shown(module: Module, views: Sequence[StripView]) -> bool:
    """Return whether a module has a place on a page: by default, or since a preset has it on."""
    return module.is_on_by_default or any(not view.is_off(module.key) for view in views)


def strip_inches(views: Sequence[StripView], index: int = 0) -> float:
    """Return the height of the strip that :func:`draw_strip` writes for a preset of a page."""
    view = views[index]
    return FIRST_INCHES + sum(_row_inches(modules, view) for modules in _more_rows(views))


def _more_rows(views: Sequence[StripView]) -> list[Sequence[Module]]:
    modules = [module for module in MORE if is_shown(module, views)]
    return [modules[start : start + MORE_COLUMNS] for start in range(0, len(modules), MORE_COLUMNS)]


def checked(view: StripView) -> StripView:
    """Return the view if it can be drawn.

    Raises
    ------
    SettingsError
        A setting that is missing or not finite, or an unknown name to bypass.
    """
    bypass = checked_switches(view.bypass, subject=f"preset {view.name!r}: ")
    for parameter in PARAMETERS:
        if parameter.key not in view.settings:
            raise SettingsError(f"preset {view.name!r}: setting {parameter.key!r} is missing")
        value = float(view.settings[parameter.key])
        if not math.isfinite(value):
            raise SettingsError(
                f"preset {view.name!r}: {parameter.key} is {value}; "
                f"it must lie in {parameter.low:g} to {parameter.high:g} {parameter.unit}".rstrip()
            )
    return view._replace(bypass=bypass)


def arrays(view: StripView) -> dict[str, np.ndarray]:
    """Return the settings as the console takes them: ``(1,)`` float64 each."""
    return ChannelStrip(view.settings, view.bypass).arrays()


def _label(parameter: Parameter) -> str:
    return parameter_name(parameter).capitalize()


def draw_strip(
    figure: Figure, views: Sequence[StripView], index: int, top: float, *, named: bool
) -> None:
    """Write a preset's values in blocks: EQ, compressor, reverb, levels, then all other modules.

    Parameters
    ----------
    figure : Figure
        The page.
    views : sequence of StripView
        The presets of the page. A module that is not on by default, and in none of them, has no
        block.
    index : int
        The preset's number, for its colour.
    top : float
        Inches from the top of the page; the strip takes :func:`strip_inches`.
    named : bool
        Whether its name stands above the values.
    """
    view = views[index]
    if named:
        colour = look(index)["color"]
        name = shorten(view.name, WIDTH_INCHES - 2.0 * TEXT_LEFT_INCHES, TEXT_PT)
        text_at(figure, TEXT_LEFT_INCHES, top, name, size=TEXT_PT, colour=colour)
    top += ROW_INCHES * 1.25
    _eq_block(figure, view, top)
    for module in CHAIN:
        if module.key in PLACED:
            _block(figure, view, top, *PLACED[module.key], module)
    left, width = 6.68, 1.17
    _write(figure, left, top, "Levels", bold=True)
    for row, module in enumerate(LEVELS, start=1):
        label = module.title.removesuffix(" gain")
        value = "off" if view.is_off(module.key) else _text(view, module.parameters[0])
        _line(figure, left, width, top + row * ROW_INCHES, label, value)
    top += FIRST_INCHES - ROW_INCHES * 1.25
    for modules in _more_rows(views):
        for column, module in enumerate(modules):
            left = TEXT_LEFT_INCHES + column * MORE_STEP_INCHES
            _block(figure, view, top, left, MORE_WIDTH_INCHES, module)
        top += _row_inches(modules, view)


def _of(section: str) -> list[Parameter]:
    return [p for p in PARAMETERS if p.section == section]


def _text(view: StripView, parameter: Parameter) -> str:
    return value_text(parameter, float(view.settings[parameter.key]))


def _write(
    figure: Figure, left: float, top: float, text: str, *, align: str = "left", bold: bool = False
) -> None:
    colour = GREY if text == "off" else "black"
    text_at(figure, left, top, text, align=align, bold=bold, size=VALUE_PT, colour=colour)


def _line(figure: Figure, left: float, width: float, top: float, label: str, value: str) -> None:
    text_at(figure, left, top, label, size=VALUE_PT, colour=GREY)
    _write(figure, left + width, top, value, align="right")


def _block(
    figure: Figure, view: StripView, top: float, left: float, width: float, module: Module
) -> None:
    _write(figure, left, top, module.title, bold=True)
    if view.is_off(module.key):
        _write(figure, left, top + ROW_INCHES, "off")
        return
    row = 0
    for parameter in module.parameters:
        band = "" if parameter.section == module.key else section_name(parameter.section)
        is_off = view.is_off(parameter.section)
        if is_off and parameter is not _of(parameter.section)[0]:
            continue
        if is_spare(parameter.key, view.settings[parameter.key]):
            continue
        row += 1
        label = band if is_off else f"{band} {parameter_name(parameter)}" if band else ""
        value = "off" if is_off else _text(view, parameter)
        _line(figure, left, width, top + row * ROW_INCHES, label or _label(parameter), value)


def _eq_block(figure: Figure, view: StripView, top: float) -> None:
    left = TEXT_LEFT_INCHES
    _write(figure, left, top, "EQ", bold=True)
    if view.is_off("eq"):
        _write(figure, left, top + ROW_INCHES, "off")
        return
    columns = {"freq_hz": left + 1.42, "gain_db": left + 2.05, "q": left + 2.6}
    for row, band in enumerate(EQ_BANDS, start=1):
        middle = top + row * ROW_INCHES
        text_at(figure, left, middle, section_name(band), size=VALUE_PT, colour=GREY)
        if view.is_off(f"eq.{band}"):
            _write(figure, columns["freq_hz"], middle, "off", align="right")
            continue
        for parameter in _of(f"eq.{band}"):
            prefix = "Q " if parameter.name == "q" else ""
            value = prefix + _text(view, parameter)
            _write(figure, columns[parameter.name], middle, value, align="right")
