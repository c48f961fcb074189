"""A preset as the plots take it, and its values as a strip of text with units."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

from matplotlib.figure import Figure
from torch import Tensor

from ..errors import SettingsError
from ..strip.channel_strip import ChannelStrip, checked_switches
from ..strip.parameters import EQ_BANDS, PARAMETERS, Parameter, is_on, section_name
from .page import GREY, TEXT_LEFT_INCHES, TEXT_PT, WIDTH_INCHES, look, shorten, text_at

__all__ = ["STRIP_INCHES", "StripView", "checked", "draw_strip", "tensors", "value_text"]

ROW_INCHES = 0.152
STRIP_INCHES = 1.72
VALUE_PT = 7.5


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


def tensors(view: StripView) -> dict[str, Tensor]:
    """Return the settings as the console takes them: ``(1,)`` float64 each."""
    return ChannelStrip(view.settings, view.bypass).tensors()


def value_text(parameter: Parameter, value: float) -> str:
    """Return a value for people: ``"3.2 kHz"``, ``"+2.0 dB"``, ``"3.3:1"``, ``"0.71"``."""
    unit = parameter.unit
    if unit == "Hz":
        # 999.6 Hz would round to 1000 Hz beside 1 kHz
        text = f"{value:.0f} Hz" if value < 999.5 else f"{value / 1000:.3g} kHz"
    elif unit == "dB" and "gain" in parameter.name + parameter.section or "makeup" in parameter.key:
        text = "0.0 dB" if abs(value) < 0.05 else f"{value:+.1f} dB"
    elif parameter.is_decibel:
        text = f"{value:.1f} {unit}".replace("-0.0 ", "0.0 ")
    elif unit == ":1":
        text = f"{value:.3g}:1"
    elif unit in ("ms", "s"):
        text = f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"
    else:
        text = f"{value:.2f}".replace("-0.00", "0.00")
    return text.replace("-", "−")


def _label(parameter: Parameter) -> str:
    """Return a parameter's name without its unit: ``"Low cut"`` for ``low_cut_hz``."""
    words = parameter.name.split("_")
    if words[-1] in ("db", "hz", "ms", "s") and len(words) > 1:
        words = words[:-1]
    return " ".join(words).capitalize()


def draw_strip(figure: Figure, view: StripView, top: float, index: int, *, named: bool) -> None:
    """Write a preset's values in four blocks: EQ, compressor, reverb, levels.

    Parameters
    ----------
    figure : Figure
        The page.
    view : StripView
        The preset.
    top : float
        Inches from the top of the page; the strip takes `STRIP_INCHES`.
    index : int
        The preset's number, for its colour.
    named : bool
        Whether its name stands above the values.
    """
    if named:
        colour = look(index)["color"]
        name = shorten(view.name, WIDTH_INCHES - 2.0 * TEXT_LEFT_INCHES, TEXT_PT)
        text_at(figure, TEXT_LEFT_INCHES, top, name, size=TEXT_PT, colour=colour)
    top += ROW_INCHES * 1.25
    _eq_block(figure, view, top)
    _block(figure, view, top, 3.18, 1.45, "compressor", "Compressor")
    _block(figure, view, top, 4.98, 1.40, "reverb", "Reverb")
    left, width = 6.68, 1.17
    _write(figure, left, top, "Levels", bold=True)
    for row, (module, label) in enumerate(
        (("input_gain", "Input"), ("pan", "Pan"), ("output_gain", "Output")), start=1
    ):
        (parameter,) = _of(module)
        value = "off" if view.is_off(module) else _text(view, parameter)
        _line(figure, left, width, top + row * ROW_INCHES, label, value)


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
    figure: Figure, view: StripView, top: float, left: float, width: float, module: str, title: str
) -> None:
    _write(figure, left, top, title, bold=True)
    if view.is_off(module):
        _write(figure, left, top + ROW_INCHES, "off")
        return
    for row, parameter in enumerate(_of(module), start=1):
        value = _text(view, parameter)
        _line(figure, left, width, top + row * ROW_INCHES, _label(parameter), value)


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
