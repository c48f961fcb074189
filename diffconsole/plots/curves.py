"""The panels of a preset's own curves: EQ, compressor and reverb, from the console's functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ..modules.compressor.process import mixed_curve_db
from ..modules.equalizer.process import HIGHEST_FREQUENCY, equalizer_sections, response
from ..modules.reverb.noise import BAND_CENTRES_HZ
from ..modules.reverb.process import band_decays
from ..strip.parameters import EQ_BANDS
from .page import FEW, GREY, SMALL_PT, frequency_axis, heading, look, note_off
from .strip import StripView, arrays

__all__ = [
    "DRAWN",
    "FREQUENCY_TICKS",
    "HIGHEST_HZ",
    "LOWEST_HZ",
    "SMALL_PANELS",
    "draw_compressor",
    "draw_decay_by_band",
    "draw_decay_over_time",
    "draw_eq",
]

DRAWN = ("eq", "compressor", "reverb")
"""The modules whose curves are drawn here; others bring theirs along."""

LOWEST_HZ, HIGHEST_HZ = 20.0, 20000.0
POINTS = 600
WIDEST_DB = 18.0
LABELLED_INCHES = 1.5
"""A lower panel has no room for the bands' names."""

FLAT_DB = 0.05
"""A band that does less is not drawn."""

BAND_LABELS = dict(zip(EQ_BANDS, ("HP", "LS", "1", "2", "3", "4", "HS", "LP"), strict=True))
FREQUENCY_TICKS = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)


def _decibels(gain: np.ndarray) -> np.ndarray:
    found: np.ndarray = 20.0 * np.log10(np.maximum(np.abs(gain), 1e-9))
    return found


def draw_eq(axes: Axes, views: Sequence[StripView], sample_rate: float, *, first: int = 0) -> None:
    """Draw each active band faintly and their sum strongly, 20 Hz to 20 kHz.

    Of more than `FEW` presets only the sums are drawn.

    Parameters
    ----------
    axes : Axes
        The panel; lines get the ids ``eq.sum.0``, ``eq.peak_1.0`` and so on.
    views : sequence of StripView
        The presets.
    sample_rate : float
        Hz; nothing is drawn above half of it.
    first : int
        The number of the first preset on the page, for its colour.

    Notes
    -----
    The axis shows all of a single preset's curve but its cuts. Of several, ±18 dB are shown at
    most, so that one of them does not flatten the others.
    """
    axes.set_label("eq")
    heading(axes, f"EQ at {sample_rate / 1000:g} kHz", "Hz", "dB")
    frequency_axis(axes, LOWEST_HZ, HIGHEST_HZ, FREQUENCY_TICKS)
    top_hz = min(HIGHEST_HZ, 0.4999 * sample_rate)
    freq_hz = np.geomspace(LOWEST_HZ, top_hz, POINTS)
    extent = 10.0
    for index, view in enumerate(views, first):
        if view.is_off("eq"):
            continue
        settings, style = arrays(view), look(index)
        bands = [band for band in EQ_BANDS if not view.is_off(f"eq.{band}")]
        own = [settings[f"eq.{band}.freq_hz"].item() for band in bands]
        # The very centres are points of the curve, so that a narrow bell reaches its gain.
        grid = np.unique(np.concatenate((freq_hz, [f for f in own if LOWEST_HZ <= f <= top_hz])))
        sections = equalizer_sections(sample_rate, settings, view.bypass)
        gains_db = _decibels(response(sections, sample_rate, grid)[0])
        for band, gain_db in zip(bands, gains_db, strict=True):
            if np.abs(gain_db).max() < FLAT_DB or len(views) > FEW:
                continue
            axes.plot(grid, gain_db, lw=0.9, alpha=0.35, gid=f"eq.{band}.{index}", **style)
            if len(views) == 1:
                axes.fill_between(grid, gain_db, alpha=0.06, lw=0, color=style["color"])
        total_db = gains_db.sum(axis=0)
        axes.plot(grid, total_db, lw=2.0, gid=f"eq.sum.{index}", **style)
        uncut = [g for band, g in zip(bands, gains_db, strict=True) if not band.endswith("pass")]
        extent = max(extent, total_db.max(), *(np.abs(g).max() for g in [*uncut, sum(uncut)]))
    alone = len(views) == 1 and first == 0
    extent = 1.15 * extent if alone else min(1.15 * extent, WIDEST_DB)
    step = 6.0 if extent <= 23.0 else 12.0
    steps = math.ceil(extent / step)
    axes.set_ylim(-steps * step, steps * step)
    axes.set_yticks(step * np.arange(-steps, steps + 1))
    axes.axhline(0.0, color=GREY, lw=0.8, zorder=1)
    has_room = axes.bbox.height > LABELLED_INCHES * axes.figure.dpi
    if len(views) == 1 and has_room and not views[0].is_off("eq"):
        _label_bands(axes, views[0], HIGHEST_FREQUENCY * sample_rate)
    note_off(axes, "EQ", [view.is_off("eq") for view in views])


def _label_bands(axes: Axes, view: StripView, highest_hz: float) -> None:
    """Mark the bands' frequencies at the top; labels that would touch step down a row."""
    bands = [
        band
        for band in EQ_BANDS
        if not view.is_off(f"eq.{band}")
        and abs(view.settings.get(f"eq.{band}.gain_db", math.inf)) >= FLAT_DB
    ]
    places = sorted((min(view.settings[f"eq.{b}.freq_hz"], highest_hz), b) for b in bands)
    ends = [0.0] * len(EQ_BANDS)
    for freq_hz, band in places:
        shown_hz = min(max(freq_hz, LOWEST_HZ), HIGHEST_HZ)
        along = math.log(shown_hz / LOWEST_HZ) / math.log(HIGHEST_HZ / LOWEST_HZ)
        row = next(i for i, end in enumerate(ends) if along >= end)
        ends[row] = along + 0.032
        axes.axvline(shown_hz, color=GREY, lw=0.6, ls=":", zorder=1)
        axes.text(
            shown_hz, 0.98 - 0.075 * row, BAND_LABELS[band], transform=axes.get_xaxis_transform(),
            ha="center", va="top", fontsize=SMALL_PT - 1, color=GREY,
            bbox={"fc": "white", "ec": "none", "pad": 0.8},
        )  # fmt: skip


def draw_compressor(axes: Axes, views: Sequence[StripView], *, first: int = 0) -> None:
    """Draw output over input level without makeup; the knee broad, the threshold as a dot.

    Parameters
    ----------
    axes : Axes
        The panel; lines get the ids ``compressor.0``, ``compressor.knee.0``,
        ``compressor.threshold.0``.
    views : sequence of StripView
        The presets.
    """
    axes.set_label("compressor")
    heading(axes, "Compressor", "input, dBFS", "output before makeup, dBFS")
    axes.set(xlim=(-60.0, 0.0), ylim=(-60.0, 0.0), xticks=range(-60, 1, 12))
    axes.set_yticks(range(-60, 1, 12))
    axes.plot([-60.0, 0.0], [-60.0, 0.0], color=GREY, lw=0.8, ls=(0, (4, 3)), zorder=1)
    off = [view.is_off("compressor") for view in views]
    for index, view in enumerate(views, first):
        if off[index - first]:
            if len(views) <= FEW and not all(off):
                _note(axes, index - first, "off", look(index)["color"])
            continue
        settings, style = arrays(view), look(index)
        names = ("threshold_db", "ratio", "knee_db", "makeup_db", "mix")
        curve = [settings[f"compressor.{n}"] for n in names]
        threshold, ratio, knee, _, mix = (value.item() for value in curve)
        corners = [threshold - knee / 2.0, threshold, threshold + knee / 2.0]
        steps = np.concatenate((np.linspace(-60.0, 0.0, 241), corners))
        level = np.unique(np.clip(steps, -60.0, 0.0))
        output = mixed_curve_db(level, *curve)
        axes.plot(level, output, lw=2.0, gid=f"compressor.{index}", **style)
        bent = (level >= corners[0]) & (level <= corners[2])
        axes.plot(
            level[bent], output[bent], lw=7.0, alpha=0.25, solid_capstyle="butt",
            color=style["color"], gid=f"compressor.knee.{index}",
        )  # fmt: skip
        at_threshold = float(mixed_curve_db(np.array([threshold]), *curve)[0])
        axes.plot(
            [threshold], [at_threshold], "o", ms=4.5, color=style["color"], clip_on=False,
            gid=f"compressor.threshold.{index}",
        )  # fmt: skip
        if len(views) == 1:
            axes.plot([threshold] * 2, [-60.0, at_threshold], lw=0.8, ls=":", color=GREY)
        if len(views) <= FEW:
            text = f"{threshold:.0f} dBFS  {ratio:.3g}:1".replace("-", "−")
            _note(axes, index - first, text, style["color"])
        if len(views) == 1:
            _note(axes, 1, f"knee {knee:.3g} dB", style["color"])
            if mix < 100.0:
                _note(axes, 2, f"mix {mix:.3g} %", style["color"])
    if all(off):
        note_off(axes, "Compressor", off)


def _note(axes: Axes, row: int, text: str, colour: str) -> None:
    """Write one line into the upper left corner, where no compressor's curve comes."""
    axes.text(
        0.03, 0.97 - 0.085 * row, text, transform=axes.transAxes, va="top",
        fontsize=SMALL_PT - 1, color=colour,
    )  # fmt: skip


def _decays(view: StripView) -> np.ndarray:
    settings = arrays(view)
    names = ("decay_s", "low_ratio", "high_ratio")
    found: np.ndarray = band_decays(*(settings[f"reverb.{name}"] for name in names))[0]
    return found


def draw_decay_by_band(axes: Axes, views: Sequence[StripView], *, first: int = 0) -> None:
    """Draw the reverb's T60 in octave bands; lines get the ids ``t60.0`` and so on."""
    axes.set_label("decay_by_band")
    heading(axes, "Reverb time by band", "Hz", "T60, s")
    frequency_axis(axes, 50.0, HIGHEST_HZ, (63, 250, 1000, 4000, 16000), fine=False)
    longest = 0.0
    for index, view in enumerate(views, first):
        if not view.is_off("reverb"):
            t60 = _decays(view)
            axes.plot(
                BAND_CENTRES_HZ, t60, marker="o", ms=3, lw=1.6, gid=f"t60.{index}", **look(index)
            )
            longest = max(longest, float(t60.max()))
    axes.set_ylim(0.0, 1.15 * longest or 1.0)
    note_off(axes, "Reverb", [view.is_off("reverb") for view in views], high=True)


def draw_decay_over_time(axes: Axes, views: Sequence[StripView], *, first: int = 0) -> None:
    """Draw the return's level against the dry, falling from ``wet_db`` at the pre-delay.

    The line at 1 kHz is strong, those at 250 Hz (dashed) and 8 kHz (dotted) faint; their ids are
    ``decay.1000.0``, ``decay.250.0``, ``decay.8000.0`` and so on.
    """
    axes.set_label("decay_over_time")
    heading(axes, "Reverb over time", "s after the dry sound", "dB against dry")
    active = [(i, view) for i, view in enumerate(views, first) if not view.is_off("reverb")]
    latest, wets = 0.0, [view.settings["reverb.wet_db"] for _, view in active] or [0.0]
    for index, view in active:
        start = view.settings["reverb.pre_delay_ms"] / 1000.0
        wet = view.settings["reverb.wet_db"]
        style = look(index)
        t60 = dict(zip(BAND_CENTRES_HZ, _decays(view), strict=True))
        for band, line in ((250.0, "--"), (1000.0, style["linestyle"]), (8000.0, ":")):
            strong = band == 1000.0
            axes.plot(
                [start, start, start + t60[band]], [wet - 60.0, wet, wet - 60.0],
                color=style["color"], ls=line, lw=1.8 if strong else 1.1,
                alpha=1.0 if strong else 0.55, gid=f"decay.{band:.0f}.{index}",
                label={250.0: "250 Hz", 1000.0: "1 kHz", 8000.0: "8 kHz"}[band],
            )  # fmt: skip
            latest = max(latest, start + t60[band])
    axes.set_xlim(0.0, 1.02 * latest or 1.0)
    axes.set_ylim(min(wets) - 60.0, max(wets) + 6.0)
    if len(views) == 1 and active:
        axes.legend(loc="upper right", fontsize=SMALL_PT - 1, frameon=False, handlelength=1.6)
    note_off(axes, "Reverb", [view.is_off("reverb") for view in views], high=True)


SMALL_PANELS = (
    ("compressor", draw_compressor),
    ("reverb", draw_decay_by_band),
    ("reverb", draw_decay_over_time),
)
"""By module, what stands side by side below the EQ."""
