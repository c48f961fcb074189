"""Figures of the pages, drawn by the package's own plots when the site is built."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffconsole.audio import read_audio
from diffconsole.console import pan
from diffconsole.docs.modules import shown_settings
from diffconsole.plots.curves import (
    draw_compressor,
    draw_decay_by_band,
    draw_decay_over_time,
    draw_eq,
)
from diffconsole.plots.more_curves import curve_modules, draw_curve
from diffconsole.plots.page import heading, look, plain_style
from diffconsole.plots.signals import draw_gain_reduction, draw_levels, measure
from diffconsole.plots.strip import StripView
from diffconsole.strip.module import Module
from diffconsole.strip.parameters import SWITCHES
from diffconsole.strip.preset import find_preset

__all__ = ["draw_all"]

VOCAL = Path(__file__).parents[2] / "examples" / "vocal.wav"
PRESET = "lead_vocal_pop"
WIDTH_INCHES = 7.2


def draw_all() -> dict[str, bytes]:
    """Return every figure as SVG, by the name that the pages use."""
    drawings: dict[str, Callable[[Figure], None]] = {
        "gain": _gain,
        "equalizer": _equalizer,
        "compressor": _compressor,
        "pan": _pan,
        "reverb": _reverb,
    }
    # Other modules: the curve that each brings along.
    others = [module for module in curve_modules() if module.key not in drawings]
    drawings |= {module.key: functools.partial(_curve, module) for module in others}
    return {name: _svg(draw) for name, draw in drawings.items()}


def _only(module: str, **changed: float) -> StripView:
    """Return the preset with one module of it on, and some of its settings changed."""
    settings = find_preset(PRESET).settings()
    settings |= {f"{module}.{name}": value for name, value in changed.items()}
    off = {switch for switch in SWITCHES if switch.split(".")[0] != module}
    return StripView(module.replace("_", " "), settings, off)


def _gain(figure: Figure) -> None:
    view = _only("input_gain", gain_db=-12.0)
    draw_levels(figure.subplots(), [view], measure([view], *read_audio(VOCAL)))


def _equalizer(figure: Figure) -> None:
    draw_eq(figure.subplots(), [_only("eq")], 48000)


def _compressor(figure: Figure) -> None:
    view = _only("compressor")
    curve, reduction = figure.subplots(1, 2, width_ratios=(1, 1.6))
    draw_compressor(curve, [view])
    draw_gain_reduction(reduction, [view], measure([view], *read_audio(VOCAL)))


def _pan(figure: Figure) -> None:
    position = torch.linspace(-1.0, 1.0, 201)
    one = torch.ones(len(position), 1, 1)
    sides = pan(one, position)[..., 0].square().clamp(min=1e-4)
    axes: Axes = figure.subplots()
    heading(axes, "Pan", "position", "dB")
    for index, label in enumerate(("left", "right")):
        level_db = 10.0 * np.log10(sides[:, index].numpy())
        axes.plot(position.numpy(), level_db, lw=2.0, label=label, **look(index))
    axes.set(xlim=(-1.0, 1.0), ylim=(-24.0, 6.0), yticks=range(-24, 7, 6))
    axes.legend(loc="lower center", frameon=False)


def _reverb(figure: Figure) -> None:
    view = _only("reverb")
    by_band, over_time = figure.subplots(1, 2)
    draw_decay_by_band(by_band, [view])
    draw_decay_over_time(over_time, [view])


def _curve(module: Module, figure: Figure) -> None:
    view = _only(module.key)
    view = view._replace(settings={**view.settings, **shown_settings(module)})
    draw_curve(figure.subplots(), module, [view], 48000)


def _svg(draw: Callable[[Figure], None]) -> bytes:
    file = io.BytesIO()
    with plain_style():
        figure = Figure(figsize=(WIDTH_INCHES, 3.2), layout="constrained")
        draw(figure)
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
