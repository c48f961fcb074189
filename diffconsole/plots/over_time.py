"""The picture of a model's settings along a song: the EQ as a map, the rest as lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..modules.equalizer.process import equalizer_sections, response
from ..strip.parameters import BY_KEY, PARAMETERS, section_name
from ..strip.words import parameter_name, value_text
from .curves import FREQUENCY_TICKS, HIGHEST_HZ, LOWEST_HZ
from .page import (
    COLOURS,
    FAINT,
    GREY,
    MARGIN_INCHES,
    SMALL_PT,
    TEXT_LEFT_INCHES,
    TITLE_PT,
    WIDTH_INCHES,
    axes_at,
    heading,
    plain_style,
    shorten,
    text_at,
    write,
)
from .times import LONG_SECONDS, time_axis

if TYPE_CHECKING:
    from ..model.timeline import SettingsTimeline

__all__ = ["draw_over_time", "plot_over_time"]

SHOWN = (
    "compressor.threshold_db", "compressor.ratio", "compressor.attack_ms",
    "compressor.release_ms", "reverb.wet_db", "reverb.decay_s", "reverb.pre_delay_ms",
    "output_gain.gain_db",
)  # fmt: skip
TITLES = {
    "compressor.threshold_db": "Threshold", "compressor.ratio": "Ratio",
    "compressor.attack_ms": "Attack", "compressor.release_ms": "Release",
    "reverb.wet_db": "Reverb level", "reverb.decay_s": "Reverb decay",
    "reverb.pre_delay_ms": "Pre-delay", "output_gain.gain_db": "Output gain",
}  # fmt: skip
PLACED = {"input_gain", "eq", "compressor", "pan", "reverb", "output_gain"}
"""Modules of which the picture shows the map or the lines above; of others it shows all lines."""

LEFT_INCHES, BETWEEN_INCHES, TOP_INCHES = 0.62, 0.66, 0.62
ABOVE_INCHES, BELOW_INCHES = 0.28, 0.3
LEVEL_INCHES, MAP_INCHES, LINE_INCHES, BAR_INCHES = 0.8, 1.7, 0.85, 0.12
MAP_DB, MAP_POINTS = 12.0, 120
LEVEL_BLOCKS, LEVEL_FLOOR_DB = 700, -60.0


def plot_over_time(
    timeline: SettingsTimeline,
    raw: tuple[np.ndarray, int],
    path: str | Path,
    *,
    title: str = "",
    force: bool = False,
) -> None:
    """Draw the settings along a song and write the picture, whole or not at all.

    Parameters
    ----------
    timeline : SettingsTimeline
        What :func:`diffconsole.model.timeline.predict_timeline` returned.
    raw : (ndarray, int)
        The vocal, ``(channels, samples)``, and its rate in Hz.
    path : str or Path
        The picture; ``.png``, ``.svg`` or ``.pdf`` says which kind.
    title : str
        Above everything.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        Another ending; the file exists and ``force`` is false; it cannot be written.
    """
    write(path, lambda: draw_over_time(timeline, raw, title=title), force=force)


def draw_over_time(
    timeline: SettingsTimeline, raw: tuple[np.ndarray, int], *, title: str = ""
) -> Figure:
    """Draw the settings along a song and return the figure.

    Returns
    -------
    Figure
        Its axes are labelled ``"level"``, ``"eq"``, ``"eq.scale"`` and by the key of each
        parameter: a line for the windows, a band for one deviation, dashes for the whole song.
    """
    shown = (*SHOWN, *_more(timeline))
    rows = -(-len(shown) // 2)
    height = TOP_INCHES + 2 * ABOVE_INCHES + LEVEL_INCHES + MAP_INCHES + 2 * BELOW_INCHES
    height += rows * (ABOVE_INCHES + LINE_INCHES + BELOW_INCHES) + 0.12
    seconds = raw[0].shape[1] / raw[1]
    with plain_style():
        figure = Figure(figsize=(WIDTH_INCHES, height))
        room = WIDTH_INCHES - TEXT_LEFT_INCHES - MARGIN_INCHES
        line = shorten(title or "Settings over time", room, TITLE_PT, bold=True)
        text_at(figure, TEXT_LEFT_INCHES, MARGIN_INCHES + 0.1, line, bold=True, size=TITLE_PT)
        unit = "minutes:seconds" if seconds >= LONG_SECONDS else "seconds"
        words = f"over {unit}; line: each five seconds by themselves; band: one deviation; "
        words += "dashes: the whole song"
        text_at(figure, TEXT_LEFT_INCHES, MARGIN_INCHES + 0.32, words, colour=GREY)
        wide = WIDTH_INCHES - LEFT_INCHES - MARGIN_INCHES - 0.55
        top = TOP_INCHES + ABOVE_INCHES
        _draw_level(axes_at(figure, LEFT_INCHES, top, wide, LEVEL_INCHES), raw)
        top += LEVEL_INCHES + BELOW_INCHES + ABOVE_INCHES
        eq = axes_at(figure, LEFT_INCHES, top, wide, MAP_INCHES)
        scale = axes_at(figure, LEFT_INCHES + wide + 0.1, top, BAR_INCHES, MAP_INCHES)
        _draw_eq(figure, eq, scale, timeline, raw[1], seconds)
        top += MAP_INCHES + BELOW_INCHES
        narrow = (WIDTH_INCHES - LEFT_INCHES - MARGIN_INCHES - BETWEEN_INCHES) / 2.0
        for place, key in enumerate(shown):
            row, column = divmod(place, 2)
            left = LEFT_INCHES + column * (narrow + BETWEEN_INCHES)
            step = ABOVE_INCHES + LINE_INCHES + BELOW_INCHES
            axes = axes_at(figure, left, top + row * step + ABOVE_INCHES, narrow, LINE_INCHES)
            _draw_line(axes, timeline, key)
        for axes in figure.axes:
            if axes is not scale:
                _time_axis(axes, seconds)
    return figure


def _more(timeline: SettingsTimeline) -> list[str]:
    """Return the keys of other modules that the model predicts: what never moves has no line."""
    whole = timeline.whole.settings
    keys = [p.key for p in PARAMETERS if p.module not in PLACED and p.key in whole]
    return [key for key in keys if np.nanmin(timeline.low[key]) < np.nanmax(timeline.high[key])]


def _draw_level(axes: Axes, raw: tuple[np.ndarray, int]) -> None:
    samples, rate = raw
    block = max(int(0.05 * rate), -(-samples.shape[1] // LEVEL_BLOCKS))
    count = max(samples.shape[1] // block, 1)
    blocks = samples[:, : count * block].reshape(len(samples), count, -1).astype(np.float64)
    level_db = 10.0 * np.log10(np.maximum((blocks**2).mean(axis=(0, 2)), 1e-12))
    axes.set_label("level")
    heading(axes, "Level of the raw vocal", "", "dBFS")
    middles = (np.arange(count) + 0.5) * block / rate
    axes.fill_between(middles, LEVEL_FLOOR_DB, level_db, color=GREY, alpha=0.5, lw=0, gid="level")
    axes.set_ylim(LEVEL_FLOOR_DB, 0.0)


def _draw_eq(
    figure: Figure, axes: Axes, scale: Axes, timeline: SettingsTimeline, rate: int, seconds: float
) -> None:
    top_hz = min(HIGHEST_HZ, 0.4999 * rate)
    freq_hz = np.geomspace(LOWEST_HZ, top_hz, MAP_POINTS)
    settings = {p.key: np.nan_to_num(timeline.settings[p.key], nan=p.default) for p in PARAMETERS}
    gain = np.maximum(np.abs(response(equalizer_sections(rate, settings), rate, freq_hz)), 1e-6)
    gain_db = (20.0 * np.log10(gain)).sum(axis=1)
    gain_db[np.isnan(timeline.settings["eq.peak_1.gain_db"])] = np.nan
    edges = _edges(timeline.seconds, seconds)
    axes.set_label("eq")
    heading(axes, "EQ", "", "Hz")
    ratio = (freq_hz[1] / freq_hz[0]) ** 0.5
    bands = np.append(freq_hz / ratio, freq_hz[-1] * ratio)
    colours = axes.pcolormesh(
        edges, bands, gain_db.T, cmap="PuOr_r", vmin=-MAP_DB, vmax=MAP_DB, rasterized=True
    )
    axes.set_yscale("log")
    shown = [tick for tick in FREQUENCY_TICKS if LOWEST_HZ < tick <= top_hz]
    axes.set_yticks(shown, [f"{t // 1000}k" if t >= 1000 else str(t) for t in shown])
    axes.set_yticks([], minor=True)
    axes.set_ylim(LOWEST_HZ, top_hz)
    axes.grid(False)
    scale.set_label("eq.scale")
    bar = figure.colorbar(colours, cax=scale, ticks=[-12, -6, 0, 6, 12], extend="both")
    bar.outline.set_visible(False)
    scale.tick_params(labelsize=SMALL_PT - 1)
    scale.set_title("dB", fontsize=SMALL_PT - 1, pad=9)


def _draw_line(axes: Axes, timeline: SettingsTimeline, key: str) -> None:
    parameter = BY_KEY[key]
    unit = {"": "", ":1": ":1"}.get(parameter.unit, parameter.unit)
    axes.set_label(key)
    own = f"{section_name(parameter.section)} {parameter_name(parameter)}"
    heading(axes, TITLES.get(key, own), "", unit)
    colour = COLOURS[0]
    axes.fill_between(
        timeline.seconds, timeline.low[key], timeline.high[key], color=colour, alpha=0.18, lw=0,
        gid=f"{key}.band",
    )  # fmt: skip
    # A single window, or one between quiet ones, has no line: the dots show it.
    few = len(timeline.seconds) <= 60
    axes.plot(
        timeline.seconds, timeline.settings[key], color=colour, lw=1.4, marker="o" if few else None,
        ms=2.5, gid=key,
    )  # fmt: skip
    whole = timeline.whole.settings[key]
    axes.axhline(whole, color=COLOURS[1], lw=1.2, ls="--", gid=f"{key}.whole")
    axes.text(
        1.0, 1.05, value_text(parameter, whole), transform=axes.transAxes, ha="right", va="bottom",
        fontsize=SMALL_PT - 0.5, color=COLOURS[1],
    )  # fmt: skip
    if parameter.scale == "log":
        axes.set_yscale("log")
        axes.set_yticks([], minor=True)
        low, high = _reach(timeline, key)
        ticks = _log_ticks(low, high)
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_ylim(low, high)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))


def _reach(timeline: SettingsTimeline, key: str) -> tuple[float, float]:
    values = np.concatenate((timeline.low[key], timeline.high[key], [timeline.whole.settings[key]]))
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return low / 1.15, high * 1.15


def _log_ticks(low: float, high: float) -> Sequence[float]:
    """Ticks at 1, 2 and 5 of each decade in a range; at least two."""
    for digits in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [d * 10.0**p for p in range(-3, 5) for d in digits if low <= d * 10.0**p <= high]
        if len(ticks) >= 2:
            return ticks if len(ticks) <= 5 else ticks[:: -(-len(ticks) // 5)]
    return [float(f"{low:.2g}"), float(f"{high:.2g}")]


def _edges(middles: np.ndarray, seconds: float) -> np.ndarray:
    """Borders half-way between windows; the first and the last reach to the song's ends."""
    return np.concatenate(([0.0], (middles[1:] + middles[:-1]) / 2.0, [seconds]))


def _time_axis(axes: Axes, seconds: float) -> None:
    time_axis(axes, seconds, label=False)
    axes.tick_params(labelsize=SMALL_PT - 1)
    axes.grid(True, color=FAINT, linewidth=0.5, axis="x")
