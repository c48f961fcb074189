"""The panels of what presets do to a vocal: levels, gain reduction, long-term spectra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes

from ..console import compressor
from ..console.render import run_strip
from ..console.streams import SHOWN_DYNAMICS
from ..errors import SettingsError
from ..kernels.arrays import as_tensor
from ..kernels.choice import loops_serve
from ..kernels.shapes import check_audio
from ..modules.compressor.process import share_at_rest
from ..strip.channel_strip import ChannelStrip
from ..strip.parameters import MODULES
from .curves import FREQUENCY_TICKS, HIGHEST_HZ, LOWEST_HZ
from .page import GREY, SMALL_PT, frequency_axis, heading, look, note, note_off
from .running import BlockPowers, LongTermSpectrum
from .strip import StripView, arrays
from .times import time_axis

__all__ = [
    "SIGNAL_PANELS",
    "Measured",
    "block_samples",
    "decibels",
    "draw_gain_reduction",
    "draw_levels",
    "draw_spectra",
    "frequencies",
    "gain_reduction_db",
    "is_silent",
    "measure",
    "signal_panels",
]

BLOCK_SECONDS = 0.05
MOST_BLOCKS = 700
"""More would be finer than a picture's dots."""

FLOOR_DB = -90.0
SILENCE_POWER = 1e-10
"""Below this (−100 dBFS) a gain reduction cannot be read from two levels."""

FEWEST_BLOCKS = 4
"""Fewer are no course of a level."""

SHORTEST_SECONDS = 0.25
SPECTRUM_PERIODS = 1.0 / (2.0 ** (1.0 / 12.0) - 2.0 ** (-1.0 / 12.0))
"""A recording must hold so many periods of a frequency for a sixth of an octave to be resolved."""

SPECTRUM_POINTS = 240
PART_SAMPLES = 1 << 19


@dataclass(frozen=True)
class Measured:
    """What the panels show.

    Attributes
    ----------
    block_seconds : float
        Time between two points of the levels.
    raw_level, processed_levels : ndarray, list of ndarray
        RMS in dBFS, block by block; one for the raw, one a preset.
    gain_reductions : list of ndarray or None
        Of the compressors together: dB, 0 and below, NaN in silence; None where all are off.
    freq_hz : ndarray
        ``(points,)``.
    raw_spectrum, processed_spectra : ndarray, list of ndarray
        dBFS in a sixth of an octave around each frequency.
    seconds : float
        Length of the raw.
    is_silent : bool
        Whether no block of the raw is above the floor of the level panel.
    """

    block_seconds: float
    raw_level: np.ndarray
    processed_levels: list[np.ndarray]
    gain_reductions: list[np.ndarray | None]
    freq_hz: np.ndarray
    raw_spectrum: np.ndarray
    processed_spectra: list[np.ndarray]
    seconds: float
    is_silent: bool

    def of(self, index: int) -> Measured:
        """Return what is measured of one preset alone."""
        return replace(
            self,
            processed_levels=[self.processed_levels[index]],
            gain_reductions=[self.gain_reductions[index]],
            processed_spectra=[self.processed_spectra[index]],
        )


def measure(
    views: Sequence[StripView],
    samples: np.ndarray,
    sample_rate: int,
    processed: np.ndarray | None = None,
) -> Measured:
    """Run a vocal through presets and measure it before, inside and after.

    Parameters
    ----------
    views : sequence of StripView
        The presets.
    samples : ndarray
        The raw vocal, ``(channels, samples)``.
    sample_rate : int
        Hz.
    processed : ndarray, optional
        What the first preset made of it; without it, and for the other presets, it is rendered
        here.

    Raises
    ------
    SettingsError
        Audio of a shape or a rate that the console does not take.
    """
    audio = _batch(samples)
    block, freq_hz = block_samples(audio.shape[-1], sample_rate), frequencies(sample_rate)
    reductions, levels, spectra = [], [], []
    for index, view in enumerate(views):
        reductions.append(_gain_reduction_db(audio, sample_rate, view, block))
        if index == 0 and processed is not None:
            result = _batch(processed)
        else:
            strip = ChannelStrip(view.settings, view.bypass)
            result = run_strip(audio[0], sample_rate, strip)[None]
        levels.append(decibels(_power(result, block)))
        spectra.append(_spectrum_db(result, sample_rate, freq_hz))
    raw = _power(audio, block)
    return Measured(
        block / sample_rate,
        decibels(raw),
        levels,
        reductions,
        freq_hz,
        _spectrum_db(audio, sample_rate, freq_hz),
        spectra,
        audio.shape[-1] / sample_rate,
        is_silent(raw),
    )


def is_silent(powers: np.ndarray) -> bool:
    """Return whether no block is above the floor of the level panel."""
    return bool(powers.max() <= 10.0 ** (FLOOR_DB / 10.0))


def block_samples(samples: int, sample_rate: int) -> int:
    """Return the length of the blocks whose levels are shown."""
    return max(int(BLOCK_SECONDS * sample_rate), -(-samples // MOST_BLOCKS))


def frequencies(sample_rate: int) -> np.ndarray:
    """Return where the spectra are shown, Hz."""
    return np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, 0.49 * sample_rate), SPECTRUM_POINTS)


def _batch(samples: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(np.atleast_2d(samples), dtype=np.float32)
    if array.ndim != 2:
        raise SettingsError(f"audio has shape {array.shape}; it must be (channels, samples)")
    check_audio(array[None])
    return array[None]


def decibels(power: np.ndarray) -> np.ndarray:
    """Return powers in dB, the floor at the least."""
    return 10.0 * np.log10(np.maximum(power, 10.0 ** (FLOOR_DB / 10.0)))


def _power(audio: np.ndarray, block: int) -> np.ndarray:
    """Mean square over channels and blocks; the last block may be shorter."""
    powers = BlockPowers(block, audio.shape[-1])
    for part in _parts(audio):
        powers.add(part)
    return powers.mean_squares()


def _parts(audio: np.ndarray) -> Iterator[np.ndarray]:
    whole = audio[0]
    for start in range(0, whole.shape[1], PART_SAMPLES):
        yield whole[:, start : start + PART_SAMPLES]


def _gain_reduction_db(
    audio: np.ndarray, sample_rate: int, view: StripView, block: int
) -> np.ndarray | None:
    """Level after each compressor over level before it, makeup left out."""
    settings = arrays(view)
    found = []
    for key in SHOWN_DYNAMICS:
        if view.is_off(key):
            continue
        later = MODULES[MODULES.index(key) :]
        strip = ChannelStrip(view.settings, {*view.bypass, *later})
        before = run_strip(audio[0], sample_rate, strip)[None]
        own = {k.removeprefix(f"{key}."): v for k, v in settings.items()
               if k.startswith(f"{key}.")}  # fmt: skip
        share = share_at_rest(own["mix"], own["makeup_db"])
        at_rest = {"makeup_db": np.zeros(1), "mix": 100.0 * share}
        after = _compressed(before, sample_rate, {**own, **at_rest})
        found.append(gain_reduction_db(_power(before, block), _power(after, block)))
    return together(found)


def _compressed(
    audio: np.ndarray, sample_rate: int, settings: Mapping[str, np.ndarray]
) -> np.ndarray:
    if loops_serve():
        return np.asarray(compressor(audio, sample_rate, **settings))
    tensors = {key: as_tensor(value) for key, value in settings.items()}
    return np.asarray(compressor(as_tensor(audio), sample_rate, **tensors))


def together(reductions: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return the gain reduction of compressors in a row, dB; None where there are none."""
    return np.sum(reductions, axis=0) if reductions else None


def gain_reduction_db(power_before: np.ndarray, power_after: np.ndarray) -> np.ndarray:
    """Return the gain between two powers, block by block; NaN in silence."""
    audible = power_before > SILENCE_POWER
    ratio = np.where(audible, power_after, 1.0) / np.where(audible, power_before, 1.0)
    # float32 rounding must not show as a gain of 1e-7 dB
    return np.where(audible, np.minimum(10.0 * np.log10(np.maximum(ratio, 1e-12)), 0.0), np.nan)


def _spectrum_db(audio: np.ndarray, sample_rate: int, freq_hz: np.ndarray) -> np.ndarray:
    """Long-term power in a sixth of an octave around each frequency, mean of the channels."""
    spectrum = LongTermSpectrum(sample_rate, audio.shape[-1])
    for part in _parts(audio):
        spectrum.add(part)
    return spectrum.decibels(freq_hz)


def _time(level: np.ndarray, measured: Measured) -> np.ndarray:
    return (np.arange(len(level)) + 0.5) * measured.block_seconds


def _seconds(axes: Axes, measured: Measured) -> None:
    longest = max(len(level) for level in [measured.raw_level, *measured.processed_levels])
    time_axis(axes, longest * measured.block_seconds)


def _raw_and_processed(axes: Axes, views: Sequence[StripView]) -> None:
    """Name the lines: the raw's, and a single preset's; several have their names on top."""
    lines = axes.get_lines()[: 2 if len(views) == 1 else 1]
    names = ["raw", "processed"][: len(lines)]
    axes.legend(
        lines, names, loc="upper right", ncols=2, fontsize=SMALL_PT - 1, frameon=False,
        handlelength=1.6, borderaxespad=0.0, bbox_to_anchor=(1.0, 1.17 if len(names) else 1.0),
    )  # fmt: skip


def draw_levels(
    axes: Axes, views: Sequence[StripView], measured: Measured, *, first: int = 0
) -> None:
    """Draw RMS over time before and after; lines get the ids ``level.raw``, ``level.0`` …"""
    axes.set_label("levels")
    heading(axes, "Level", "", "RMS, dBFS")
    raw = measured.raw_level
    axes.plot(_time(raw, measured), raw, color=GREY, lw=1.2, gid="level.raw")
    for index, level in enumerate(measured.processed_levels, first):
        time = _time(level, measured)
        axes.plot(time, level, lw=1.4, alpha=0.9, gid=f"level.{index}", **look(index))
    loudest = max(level.max() for level in [raw, *measured.processed_levels])
    top = max(0.0, 6.0 * np.ceil(loudest / 6.0))
    axes.set_ylim(max(top - 72.0, FLOOR_DB), top)
    _seconds(axes, measured)
    _raw_and_processed(axes, views)
    if measured.is_silent:
        note(axes, f"the vocal is silent: below {FLOOR_DB:g} dBFS throughout".replace("-", "−"))
    elif len(raw) < FEWEST_BLOCKS:
        note(axes, f"too short for levels over time: {1000.0 * measured.seconds:.3g} ms", high=True)


def draw_gain_reduction(
    axes: Axes, views: Sequence[StripView], measured: Measured, *, first: int = 0
) -> None:
    """Draw the compressors' gain over time; lines get the ids ``gain_reduction.0`` and so on."""
    axes.set_label("gain_reduction")
    heading(axes, "Gain reduction", "", "dB")
    most = 5.0
    for index, reduction in enumerate(measured.gain_reductions, first):
        if reduction is None:
            continue
        time, style = _time(reduction, measured), look(index)
        axes.plot(time, reduction, lw=1.4, gid=f"gain_reduction.{index}", **style)
        if len(views) == 1:
            axes.fill_between(time, reduction, alpha=0.15, lw=0, color=style["color"])
        if not np.isnan(reduction).all():
            most = max(most, -float(np.nanmin(reduction)))
    axes.set_ylim(-1.1 * most, 0.0)
    _seconds(axes, measured)
    off = [reduction is None for reduction in measured.gain_reductions]
    note_off(axes, "Compressor", off)
    read = [reduction for reduction in measured.gain_reductions if reduction is not None]
    if read and all(np.isnan(reduction).all() for reduction in read):
        note(axes, "nothing for the compressor to work on: silence")


def draw_spectra(
    axes: Axes, views: Sequence[StripView], measured: Measured, *, first: int = 0
) -> None:
    """Draw long-term spectra before and after; ids ``spectrum.raw``, ``spectrum.0`` …"""
    axes.set_label("spectra")
    heading(axes, "Long-term spectrum, 1/6 octave", "Hz", "dBFS")
    frequency_axis(axes, LOWEST_HZ, HIGHEST_HZ, FREQUENCY_TICKS)
    axes.plot(measured.freq_hz, measured.raw_spectrum, color=GREY, lw=1.2, gid="spectrum.raw")
    for index, spectrum in enumerate(measured.processed_spectra, first):
        axes.plot(measured.freq_hz, spectrum, lw=1.5, gid=f"spectrum.{index}", **look(index))
    loudest = max(s.max() for s in [measured.raw_spectrum, *measured.processed_spectra])
    top = 6.0 * np.ceil((loudest + 1.0) / 6.0)
    axes.set_ylim(max(top - 78.0, -120.0), max(top, -60.0))
    _raw_and_processed(axes, views)
    if measured.is_silent:
        note(axes, "no spectrum: the vocal is silent")
    elif measured.seconds < SHORTEST_SECONDS:
        lowest_hz = SPECTRUM_PERIODS / measured.seconds
        note(
            axes,
            f"only {1000.0 * measured.seconds:.3g} ms: not resolved below {lowest_hz:.0f} Hz",
            high=True,
        )


SIGNAL_PANELS = {
    "levels": draw_levels,
    "gain_reduction": draw_gain_reduction,
    "spectra": draw_spectra,
}
"""What is drawn of a vocal, over the width of the page."""


def signal_panels(views: Sequence[StripView], measured: Measured) -> list[str]:
    """Return the names of the panels of a page: of several presets, no empty one."""
    reduces = any(reduction is not None for reduction in measured.gain_reductions)
    return [n for n in SIGNAL_PANELS if n != "gain_reduction" or reduces or len(views) == 1]
