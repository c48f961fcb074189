"""A take as it is analysed: the voice in a file, without what its file adds to it.

Settings follow from the voice. What a recording, an edit or a damaged file puts beside it is left
out before anything is measured: a DC offset, samples that are far above everything around them,
channels that carry no voice or cancel each other, and digital silence. The strip itself acts on
the file as it lies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import AudioError
from .wild import without_wild_samples

__all__ = ["Take", "level_lufs", "take_of"]

HIGHEST_RATE = 48000
"""Takes at higher rates are analysed at 44.1 or 48 kHz: nothing above counts for a voice."""

BLOCK_SECONDS, SILENCE_SECONDS = 0.005, 0.3

SILENCE_DB = -80.0
"""Against the level of the voice: below it lies only what dither and codecs make of silence."""

FAINT_DB, WHITE_CORRELATION, STEADY_RATIO = -60.0, 0.3, 2.5
"""Below the first, noise whose neighbouring samples correlate by less than the second is dither,
whose peaks lie below the third of their median: what microphones and rooms add is darker."""

LEAST_DC, REPORTED_DC = 1e-3, 3e-3
"""A DC offset is removed from this share of the RMS on, and reported from this share of full
scale on."""

LEAST_DRIFT, DRIFT_SECONDS, DRIFT_HZ = 0.03, 1.0, 8.0
"""An offset that moves by this share of the RMS is filtered away, by a high-pass without phase."""

PARTNER_DB, ONE_SIDED_DB = -12.0, -40.0
"""Channels down to the first below the loudest carry the voice too; down to the second one that
is quieter is reported with its level, and below it as one that carries nothing."""

SAME_CORRELATION, OPPOSITE_CORRELATION = 0.7, -0.5
ALIKE_DB = 1.5
"""Of two channels whose levels differ by less the clearer one is analysed, not the louder one."""

MEASURED_LUFS, MEASURED_RANGE_LUFS = -18.0, (-40.0, -5.0)
"""Outside of this range a take is brought to −18 LUFS for measuring: the gate of BS.1770-4 stands
at an absolute level and would count the pauses of a loud take and not those of a quiet one."""


@dataclass(frozen=True)
class Take:
    """The voice in a file.

    Attributes
    ----------
    timeline : ndarray
        ``(1, samples)`` float32: the voice alone, as long as the file.
    sample_rate : int
        Hz, of `timeline`; 48 kHz at most.
    parts : tuple of (int, int)
        First sample and end of everything that is not digital silence, in order.
    level_lufs : float
        Loudness of a channel that carries the voice; −inf for silence.
    loudness_lufs : float
        Of the file: two channels that are alike measure 3 dB above one.
    messages : tuple of str
        What was found and left out, one line each.
    """

    timeline: np.ndarray
    sample_rate: int
    parts: tuple[tuple[int, int], ...]
    level_lufs: float
    loudness_lufs: float
    messages: tuple[str, ...] = ()

    @cached_property
    def mono(self) -> np.ndarray:
        """The voice without digital silence, ``(1, samples)`` float32."""
        return self.between(0, self.timeline.shape[1])

    def between(self, start: int, stop: int) -> np.ndarray:
        """Return what of the voice lies between two samples of the timeline, silence left out.

        Silence alone is returned as it is.
        """
        parts = [(max(a, start), min(b, stop)) for a, b in self.parts if a < stop and b > start]
        if not parts or parts == [(start, stop)]:
            return self.timeline[:, start:stop]
        if len(parts) == 1:
            return self.timeline[:, slice(*parts[0])]
        return np.concatenate([self.timeline[:, a:b] for a, b in parts], axis=1)

    def share(self, start: int, stop: int) -> float:
        """Return which share of the timeline between two samples is not digital silence."""
        inside = sum(max(0, min(b, stop) - max(a, start)) for a, b in self.parts)
        return inside / max(stop - start, 1)


def take_of(samples: np.ndarray, sample_rate: int) -> Take:
    """Find the voice in a file.

    Parameters
    ----------
    samples : ndarray
        ``(channels, samples)`` float32 as the file holds it.
    sample_rate : int
        Hz.

    Returns
    -------
    Take
        Of a clean mono take at 48 kHz or less the samples themselves.

    Raises
    ------
    AudioError
        Values that are not finite.
    """
    if not np.isfinite(samples).all():
        raise AudioError("the vocal holds values that are not finite; export it again")
    samples, messages = without_wild_samples(samples, sample_rate)
    samples, offsets = _without_dc(samples, sample_rate)
    if offsets:
        messages += (f"the file has a DC offset of {' and '.join(offsets)}; it does not count",)
    samples, sample_rate = _at_most_48_khz(samples, sample_rate)
    if len(samples) > 1 and all(np.array_equal(samples[0], other) for other in samples[1:]):
        parts = _parts(samples[:1], sample_rate)
        level = level_lufs(_joined(samples[:1], parts), sample_rate)
        loudness = level + 10.0 * math.log10(len(samples))
        return Take(samples[:1], sample_rate, parts, level, loudness, messages)
    power = np.array([_power(channel) for channel in samples])
    carrying = power >= max(power.max(initial=0.0), 1e-30) * 10.0 ** (PARTNER_DB / 10.0)
    parts = _parts(samples[carrying] if carrying.any() else samples, sample_rate)
    levels = [level_lufs(_joined(channel[None], parts), sample_rate) for channel in samples]
    timeline, used, found = _voice(samples, levels, parts, sample_rate)
    energies = 10.0 ** (np.array(levels) / 10.0)
    total = float(energies.sum())
    if total == 0.0:
        return Take(timeline, sample_rate, parts, -math.inf, -math.inf, messages)
    # The mean by energy: equal channels have their level, and a silent one has no part in it.
    level = levels[0] if len(levels) == 1 else 10.0 * math.log10(float(energies @ energies) / total)
    if len(levels) > 1:
        # What is analysed has the level that the channels are said to have.
        own = np.mean([10.0 ** (levels[i] / 20.0) for i in used])
        timeline = timeline * np.float32(10.0 ** (level / 20.0) / own)
    loudness = levels[0] if len(levels) == 1 else 10.0 * math.log10(total)
    return Take(timeline, sample_rate, parts, level, loudness, messages + found)


def _power(channel: np.ndarray) -> float:
    return float(np.dot(channel, channel)) / max(len(channel), 1)


def _at_most_48_khz(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int]:
    from .audio import resample

    if sample_rate <= HIGHEST_RATE:
        return samples, sample_rate
    rate = 44100 if sample_rate % 44100 == 0 else HIGHEST_RATE
    return resample(samples, sample_rate, rate), rate


def _without_dc(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, list[str]]:
    """Remove the offset of each channel, also one that drifts; all of what stands still."""
    offsets = []
    channels, changed = list(samples), False
    for number, channel in enumerate(channels):
        still = _runs(channel, sample_rate, 0.0)
        moving = _others(still, len(channel))
        count = sum(b - a for a, b in moving)
        has_still = any(channel[a] != 0.0 for a, _ in still)
        mean = sum(float(np.sum(channel[a:b], dtype=np.float64)) for a, b in moving) / max(count, 1)
        power = sum(float(np.dot(channel[a:b], channel[a:b])) for a, b in moving) / max(count, 1)
        rms = math.sqrt(max(power, 0.0))
        has_offset = abs(mean) > LEAST_DC * rms
        drift = _drift(channel, moving, sample_rate)
        drifts = drift > LEAST_DRIFT * math.sqrt(max(power - mean * mean, 0.0))
        if has_offset or has_still or drifts:
            channels[number] = channel - np.float32(mean if has_offset else 0.0)
            changed = True
            for a, b in still:
                channels[number][a:b] = 0.0
        if drifts:
            for a, b in moving:
                channels[number][a:b] = _without_drift(channels[number][a:b], sample_rate)
        if drifts and drift > REPORTED_DC:
            offsets.append(f"{mean:.3g} that drifts by {drift:.2g}")
        elif has_offset and abs(mean) > max(REPORTED_DC, 0.01 * rms):
            offsets.append(f"{mean:.3g}")
    return (np.stack(channels) if changed else samples), list(dict.fromkeys(offsets))


def _drift(channel: np.ndarray, moving: list[tuple[int, int]], sample_rate: int) -> float:
    """How far the mean of a second moves: half of what most of them span."""
    size = round(DRIFT_SECONDS * sample_rate)
    means = [
        channel[a : a + (b - a) // size * size].reshape(-1, size).mean(axis=1, dtype=np.float64)
        for a, b in moving
    ]
    every = np.concatenate(means)
    if len(every) < 3:
        return 0.0
    # A plosive or a gust of wind moves one of them.
    low, high = np.percentile(every, (10, 90))
    return float(high - low) / 2.0


def _without_drift(part: np.ndarray, sample_rate: int) -> np.ndarray:
    from scipy.signal import butter, sosfiltfilt

    sections = butter(2, DRIFT_HZ, "highpass", fs=sample_rate, output="sos")
    return np.asarray(sosfiltfilt(sections, part - np.median(part)), np.float32)


def _parts(samples: np.ndarray, sample_rate: int) -> tuple[tuple[int, int], ...]:
    """What is not digital silence in all of these channels."""
    size = max(round(BLOCK_SECONDS * sample_rate), 1)
    count = samples.shape[1] // size
    if count * size < SILENCE_SECONDS * sample_rate:
        return ((0, samples.shape[1]),)
    peaks = [_peaks(channel, size) for channel in samples]
    loud = max(float(np.percentile(p[p > 0.0], 95)) if (p > 0.0).any() else 0.0 for p in peaks)
    limit = loud * 10.0 ** (SILENCE_DB / 20.0)
    faint = loud * 10.0 ** (FAINT_DB / 20.0)
    silent = _silent(samples[0], sample_rate, limit, faint)
    for channel in samples[1:]:
        silent = _common(silent, _silent(channel, sample_rate, limit, faint))
    least = round(SILENCE_SECONDS * sample_rate)
    return tuple(_others([(a, b) for a, b in silent if b - a >= least], samples.shape[1]))


def _peaks(channel: np.ndarray, size: int) -> np.ndarray:
    blocks = channel[: len(channel) // size * size].reshape(-1, size)
    return np.maximum(blocks.max(axis=1), -blocks.min(axis=1))


def _stretches(quiet: np.ndarray, size: int) -> np.ndarray:
    """First sample and end of every run of blocks, ``(runs, 2)``."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], quiet.astype(np.int8), [0]))))
    return edges.reshape(-1, 2) * size


def _runs(channel: np.ndarray, sample_rate: int, limit: float) -> list[tuple[int, int]]:
    """Stretches of 0.3 s or more that stay within ± a limit; with 0 those of one value."""
    size = max(round(BLOCK_SECONDS * sample_rate), 1)
    blocks = channel[: len(channel) // size * size].reshape(-1, size)
    if limit:
        quiet = (blocks.max(axis=1) <= limit) & (blocks.min(axis=1) >= -limit)
    else:
        quiet = blocks.max(axis=1) == blocks.min(axis=1)
    least = SILENCE_SECONDS * sample_rate
    found: list[tuple[int, int]] = []
    for first, last in _stretches(quiet, size):
        if last - first < least - 2 * size:
            continue
        middle = 0.0 if limit else channel[first]
        before, after = channel[max(first - size, 0) : first], channel[last : last + size]
        other = np.flatnonzero(np.abs(before - middle) > limit)
        start = first - len(before) + (int(other[-1]) + 1 if len(other) else 0)
        other = np.flatnonzero(np.abs(after - middle) > limit)
        stop = last + (int(other[0]) if len(other) else len(after))
        if stop - start >= least:
            found.append((int(start), int(stop)))
    return found


def _white_runs(channel: np.ndarray, sample_rate: int, limit: float) -> list[tuple[int, int]]:
    """Stretches of 0.3 s or more that hold nothing but white noise within ± a limit."""
    size = max(round(BLOCK_SECONDS * sample_rate), 1)
    blocks = channel[: len(channel) // size * size].reshape(-1, size)
    peaks = _peaks(channel, size)
    white = peaks <= limit
    some = blocks[white].astype(np.float64)
    some -= some.mean(axis=1, keepdims=True)
    power = np.einsum("ij,ij->i", some, some)
    beside = np.einsum("ij,ij->i", some[:, 1:], some[:, :-1])
    white[white] = (power > 0.0) & (beside < WHITE_CORRELATION * power)
    least = SILENCE_SECONDS * sample_rate
    found = []
    for first, last in _stretches(white, size):
        # Dither is even: what rises from it at the ends is the breath before a phrase.
        even = np.flatnonzero(
            peaks[first // size : last // size]
            <= STEADY_RATIO * np.median(peaks[first // size : last // size])
        )
        start, stop = first + int(even[0]) * size, first + (int(even[-1]) + 1) * size
        if stop - start >= least:
            found.append((int(start), int(stop)))
    return found


def _silent(
    channel: np.ndarray, sample_rate: int, limit: float, faint_limit: float
) -> list[tuple[int, int]]:
    """Stretches of one value; those within ± a limit that hold none of these; dither."""
    still = _runs(channel, sample_rate, 0.0)
    faint = [
        (a, b) for a, b in _runs(channel, sample_rate, limit)
        if not any(a < d and c < b for c, d in still)
    ]  # fmt: skip
    white = _white_runs(channel, sample_rate, faint_limit)
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(still + faint + white):
        if joined and start <= joined[-1][1]:
            start, stop = joined[-1][0], max(stop, joined.pop()[1])
        joined.append((start, stop))
    return joined


def _common(ours: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    both = [(max(a, c), min(b, d)) for a, b in ours for c, d in theirs if a < d and c < b]
    return sorted(both)


def _others(runs: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """What lies between stretches; all, if nothing does."""
    starts = [0, *(b for _, b in runs)]
    stops = [*(a for a, _ in runs), length]
    between = [(a, b) for a, b in zip(starts, stops, strict=True) if b > a]
    return between or [(0, length)]


def _joined(channel: np.ndarray, parts: tuple[tuple[int, int], ...]) -> np.ndarray:
    if parts == ((0, channel.shape[1]),):
        return channel
    return np.concatenate([channel[:, a:b] for a, b in parts], axis=1)


def level_lufs(channel: np.ndarray, sample_rate: int) -> float:
    """Return the loudness of ``(1, samples)`` in LUFS, which a gain moves by just this gain."""
    from .audio import loudness_lufs

    first = loudness_lufs(channel, sample_rate)
    low, high = MEASURED_RANGE_LUFS
    if low <= first <= high:
        return first
    rms = math.sqrt(_power(channel[0]))
    if rms == 0.0:
        return -math.inf
    at_db = first if math.isfinite(first) else 20.0 * math.log10(rms)
    factor = 10.0 ** ((MEASURED_LUFS - at_db) / 20.0)
    second = loudness_lufs(channel * np.float32(factor), sample_rate)
    return second - (MEASURED_LUFS - at_db)


def _voice(
    samples: np.ndarray, levels: list[float], parts: tuple[tuple[int, int], ...], sample_rate: int
) -> tuple[np.ndarray, list[int], tuple[str, ...]]:
    """The voice of several channels, ``(1, samples)``, of which ones it is, and what was found."""
    best = int(np.argmax(levels))
    if len(samples) == 1 or math.isinf(levels[best]):
        return samples[best : best + 1], [best], ()
    messages: list[str] = []
    in_phase = [best]
    alike = [best]
    signs = {best: 1.0}
    for other, level in enumerate(levels):
        below_db = level - levels[best]
        if other == best:
            continue
        if below_db < ONE_SIDED_DB:
            if len(samples) == 2:
                messages.append(f"only the {_side(best, samples)} channel carries the vocal")
            continue
        if below_db < PARTNER_DB:
            messages.append(
                f"the {_side(other, samples)} channel is {-below_db:.0f} dB quieter than the "
                f"{_side(best, samples)} one, which decides"
            )
            continue
        correlation = _correlation(samples[best], samples[other], parts)
        if correlation <= OPPOSITE_CORRELATION:
            messages.append(
                f"the channels are out of phase (correlation {correlation:.2f}); one of them is "
                "inverted"
            )
        if _is_same(samples[best], samples[other], parts, correlation):
            in_phase.append(other)
            signs[other] = math.copysign(1.0, correlation)
        if below_db > -ALIKE_DB:
            alike.append(other)
    if len(in_phase) > 1:
        total = sum(signs[i] * samples[i] for i in in_phase) / np.float32(len(in_phase))
        return np.asarray(total, np.float32)[None], in_phase, tuple(messages)
    if len(alike) > 1:
        best = max(alike, key=lambda i: (round(_clearness_db(samples[i], parts, sample_rate)), -i))
    return samples[best : best + 1], [best], tuple(messages)


def _side(channel: int, samples: np.ndarray) -> str:
    return ("left", "right")[channel] if len(samples) == 2 else f"{channel + 1}th"


def _correlation(ours: np.ndarray, theirs: np.ndarray, parts: tuple[tuple[int, int], ...]) -> float:
    """Of two channels where they are not silent, −1…1."""
    sums = np.zeros(3)
    for a, b in parts:
        x, y = ours[a:b], theirs[a:b]
        sums += (float(np.dot(x, y)), float(np.dot(x, x)), float(np.dot(y, y)))
    return float(sums[0] / math.sqrt(max(sums[1] * sums[2], 1e-60)))


def _is_same(
    ours: np.ndarray, theirs: np.ndarray, parts: tuple[tuple[int, int], ...], correlation: float
) -> bool:
    """Whether a sum adds up over the whole spectrum: two microphones make a comb of it."""
    if abs(correlation) < SAME_CORRELATION:
        return False
    bright = [(a, b - 1) for a, b in parts if b - a > 1]
    return abs(_correlation(np.diff(ours), np.diff(theirs), tuple(bright))) >= SAME_CORRELATION


def _clearness_db(
    channel: np.ndarray, parts: tuple[tuple[int, int], ...], sample_rate: int
) -> float:
    """How far the loud moments are above the pauses: room and noise fill these."""
    size = round(0.02 * sample_rate)
    voiced = _joined(channel[None], parts)[0]
    blocks = voiced[: len(voiced) // size * size].reshape(-1, size)
    if not len(blocks):
        return 0.0
    level_db = 10.0 * np.log10(np.einsum("ij,ij->i", blocks, blocks) + 1e-20)
    return float(np.percentile(level_db, 95) - np.percentile(level_db, 10))
