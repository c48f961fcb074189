"""Recordings too long to be held in memory: surveyed, rendered, drawn and written in blocks.

A model analyses passages from all over the recording, at the loudness of the whole. The
result goes block by block through :func:`diffconsole.console.render.run_blocks` into the
file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..audio.blocks import BlockSource, rechunk
from ..audio.broadcast import time_lost
from ..audio.files import check_finite, check_room, safe_gain_db, store_blocks
from ..audio.loudness import LoudnessMeter, gated_loudness_lufs
from ..audio.offsets import offset_messages, without_dc
from ..audio.quantize import CODED_SAMPLES, encoded
from ..audio.silence import parts_of
from ..audio.spikes import ABOVE_DB, MOST, TYPICAL_PERCENTILE, without_wild_samples
from ..audio.windows import faded_ends, loud_windows, window_starts
from ..console.render import clamped_frequencies, render_plan
from ..strip.preset import Preset

if TYPE_CHECKING:
    from ..plots.streamed import StreamedMeasure
    from .options import AudioOptions

__all__ = ["Survey", "page_part", "passages", "rendered_shape", "survey", "write_rendered"]

STEP_SECONDS, PIECES, STEPS_A_CHUNK = 0.5, 100, 20
PASSAGE_SECONDS, MOST_PASSAGES = 20.0, 12
FADE_SECONDS = 0.01
LOUD_PERCENTILE, QUIETEST_DB = 75.0, -20.0
"""A passage is as loud as its steps are at this percentile; one damaged sample is one step."""

PAGE_SECONDS, PAGE_BYTES = 180.0, 1 << 26
"""Of a long recording in an audition page, the latter of two channels in float32."""


@dataclass(frozen=True)
class Survey:
    """What one pass over a recording says of it.

    Attributes
    ----------
    loudness_lufs : float
        Integrated loudness (BS.1770-4), without outliers; −inf for silence.
    sounding_lufs : float
        The same of what is no digital silence and no offset.
    step_powers : ndarray
        Mean square without DC, sum of the channels, of every half second.
    peaks : ndarray
        ``(steps, pieces)``, of every hundredth of these.
    """

    loudness_lufs: float
    sounding_lufs: float
    step_powers: np.ndarray
    peaks: np.ndarray


def survey(source: BlockSource) -> Survey:
    """Measure a recording in one pass.

    Raises
    ------
    AudioError
        A part cannot be read, or a sample is NaN or Inf.
    """
    channels, samples = source.shape
    meter = LoudnessMeter(source.sample_rate, channels, samples)
    sounding = LoudnessMeter(source.sample_rate, channels, samples)
    powers, peaks = [], []
    length = round(STEP_SECONDS * source.sample_rate)
    for chunk in rechunk(source.blocks(), STEPS_A_CHUNK * length):
        meter.add(chunk)
        sounding.add(_sounding(chunk, source.sample_rate))
        for first in range(0, chunk.shape[1], length):
            step = chunk[:, first : first + length]
            powers.append(float(step.var(axis=1, dtype=np.float64).sum()))
            largest = np.array_split(np.abs(step).max(axis=0), PIECES)
            peaks.append([float(piece.max(initial=0.0)) for piece in largest])
    loudness, sounding_loudness = (
        gated_loudness_lufs(each.mean_squares(), without_outliers=True)
        for each in (meter, sounding)
    )
    return Survey(loudness, sounding_loudness, np.array(powers), np.array(peaks))


def _sounding(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Leave out wild samples, offsets and digital silence, as a take does when it is analysed."""
    samples, _ = without_dc(without_wild_samples(samples, sample_rate)[0], sample_rate)
    parts = parts_of(samples, sample_rate)
    if parts == ((0, samples.shape[1]),):
        return samples
    return np.concatenate([samples[:, a:b] for a, b in parts], axis=1)


def _wild_elsewhere(source: BlockSource, found: Survey) -> tuple[str, ...]:
    """Name the wild samples of a whole recording, also where no passage lies."""
    typical = np.percentile(found.peaks, TYPICAL_PERCENTILE, method="lower")
    if typical <= 0.0:
        return ()
    far = np.flatnonzero(found.peaks.max(axis=1) > typical * 10.0 ** (ABOVE_DB / 20.0))
    if len(far) > MOST:
        # So many are what was recorded.
        return ()
    rate, lines = source.sample_rate, []
    step = round(STEP_SECONDS * rate)
    for at in far:
        first, last = max(int(at) - 1, 0) * step, min((int(at) + 2) * step, source.shape[1])
        _, said = without_wild_samples(source.part(first, last), rate, first)
        lines += [line for line in said if line not in lines]
    return tuple(lines)


def passages(source: BlockSource, found: Survey) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return what a model analyses of a long recording: up to twelve passages of 20 s.

    They lie evenly among those within 20 dB of the loudest, which is one of them, and are scaled
    together to the loudness of the whole, so that the settings act on the whole as it lies.

    Parameters
    ----------
    source : BlockSource
        The recording.
    found : Survey
        Of it.

    Returns
    -------
    samples : ndarray
        ``(channels, samples)`` float32, without wild samples (:mod:`diffconsole.audio.spikes`).
    messages : tuple of str
        Which wild samples there were, by their place in the recording.
    """
    rate = source.sample_rate
    length = min(round(PASSAGE_SECONDS * rate), source.shape[1])
    count = -(-source.shape[1] // length)
    starts = window_starts(source.shape[1], length, count)
    step = round(STEP_SECONDS * rate)
    powers = np.array(
        [
            np.percentile(found.step_powers[s // step : -(-(s + length) // step)], LOUD_PERCENTILE)
            for s in starts
        ]
    )
    loud = loud_windows(powers, QUIETEST_DB, MOST_PASSAGES)
    loudest = int(np.argmax(powers))
    loud[np.argmin(np.abs(loud - loudest))] = loudest
    fade = faded_ends(length, min(round(FADE_SECONDS * rate), length // 2))
    parts: list[np.ndarray] = []
    messages = _wild_elsewhere(source, found)
    for start in starts[loud]:
        part, said = without_wild_samples(source.part(start, start + length), rate, int(start))
        parts.append(part)
        # Passages may overlap.
        messages += tuple(line for line in said if line not in messages)
    _, offsets = without_dc(np.concatenate(parts, axis=1), rate)
    # Where one drifts, each passage has its own.
    chosen = np.concatenate([without_dc(part, rate)[0] for part in parts], axis=1)
    chosen = chosen * np.tile(fade, len(parts))
    messages += offset_messages(offsets)
    sounding = _sounding(chosen, rate)
    meter = LoudnessMeter(rate, *sounding.shape)
    for first in range(0, sounding.shape[1], step):
        meter.add(sounding[:, first : first + step])
    loudness = gated_loudness_lufs(meter.mean_squares(), without_outliers=True)
    if np.isfinite(loudness) and np.isfinite(found.sounding_lufs):
        chosen *= np.float32(10.0 ** ((found.sounding_lufs - loudness) / 20.0))
    return chosen, messages


def page_part(source: BlockSource, found: Survey) -> tuple[int, int]:
    """Return where the part begins and ends that an audition page holds: most of it is voice."""
    rate = source.sample_rate
    length = min(round(PAGE_SECONDS * rate), PAGE_BYTES // 8, source.shape[1])
    step = round(STEP_SECONDS * rate)
    loud = found.step_powers >= 10.0 ** (QUIETEST_DB / 10.0) * np.percentile(found.step_powers, 95)
    steps = min(max(length // step, 1), len(loud))
    first = int(np.argmax(np.convolve(loud, np.ones(steps, int), "valid")))
    start = min(first * step, source.shape[1] - length)
    return start, start + length


def rendered_shape(
    source: BlockSource, preset: Preset, tail_seconds: float | None
) -> tuple[int, int]:
    """Return the channels and samples that :func:`diffconsole.console.render.render` makes.

    Raises
    ------
    SettingsError
        A negative or infinite tail.
    """
    strip, tail = render_plan(preset, source.sample_rate, tail_seconds)
    channels, samples = source.shape
    return 2 if strip.makes_stereo else channels, samples + tail


def _rendered(
    source: BlockSource,
    preset: Preset,
    options: AudioOptions,
    measure: StreamedMeasure | None,
    report_progress: Callable[[float], None],
) -> Iterator[np.ndarray]:
    from ..console.render import run_blocks
    from ..console.streams import BLOCK_SAMPLES

    strip, tail = render_plan(preset, source.sample_rate, options.tail_seconds)
    channels, samples = source.shape
    run = run_blocks(
        source.sample_rate,
        strip,
        options.device,
        on_dynamics=None if measure is None else measure.add_dynamics,
    )
    ends = range(0, tail, CODED_SAMPLES)
    silence = (np.zeros((channels, min(CODED_SAMPLES, tail - first)), np.float32) for first in ends)
    done = 0
    for block in rechunk(itertools.chain(source.blocks(), silence), BLOCK_SAMPLES):
        if measure is not None:
            measure.add_raw(block)
        processed = block if strip.is_bypassed else run(block)
        if measure is not None:
            measure.add_processed(processed)
        yield processed
        done += block.shape[1]
        report_progress(done / (samples + tail))


def write_rendered(
    source: BlockSource,
    preset: Preset,
    out: Path,
    options: AudioOptions,
    *,
    measure: StreamedMeasure | None = None,
    report_progress: Callable[[float], None] = lambda _: None,
) -> tuple[str, ...]:
    """Render a preset block by block into a file; what the user should know.

    Integers, and what is to be normalized, are rendered twice: their peak must be known first.

    Parameters
    ----------
    source : BlockSource
        The recording.
    preset : Preset
        The strip, at the amount and with the bypass that it is applied with.
    out : Path
        The file.
    options : AudioOptions
        How it is made and written.
    measure : StreamedMeasure, optional
        Collects what a picture shows.
    report_progress : callable
        Gets the share done.

    Raises
    ------
    AudioError, OutputError
        As :func:`diffconsole.audio.write_audio`.
    """
    rate = source.sample_rate
    shape = rendered_shape(source, preset, options.tail_seconds)
    check_room(out, shape[0] * shape[1], options.bit_depth)
    passes = 1 if options.bit_depth == "32f" and not options.normalize else 2
    gain_db = 0.0
    if passes == 2:
        blocks = _rendered(source, preset, options, None, lambda done: report_progress(done / 2.0))
        peak = max(float(np.abs(block).max()) for block in _finite(blocks, out, rate))
        gain_db = safe_gain_db(out, peak, options.bit_depth, options.normalize)
    last = _rendered(
        source, preset, options, measure, lambda done: report_progress(1.0 + (done - 1) / passes)
    )
    coded = encoded(
        rechunk(_finite(last, out, rate), CODED_SAMPLES),
        10 ** (gain_db / 20),
        options.bit_depth,
        options.seed,
    )
    store_blocks(
        out,
        coded,
        shape,
        rate,
        bit_depth=options.bit_depth,
        force=options.force,
        time_reference=source.time_reference,
    )
    turned = (f"{out}: turned down by {-gain_db:.1f} dB, to −1 dBFS",) if gain_db else ()
    lost = time_lost(out, source.time_reference, rate)
    return clamped_frequencies(preset, rate) + turned + lost


def _finite(blocks: Iterator[np.ndarray], out: Path, sample_rate: int) -> Iterator[np.ndarray]:
    done = 0
    for block in blocks:
        check_finite(out, block, sample_rate, done)
        done += block.shape[1]
        yield block
