"""A take as it is analysed: the voice in a file, without what its file adds to it.

Settings follow from the voice. What a recording, an edit or a damaged file puts beside it is left
out before anything is measured: a DC offset, samples that are far above everything around them,
channels that carry no voice or cancel each other, and digital silence. The strip itself acts on
the file as it lies.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import AudioError
from .offsets import offset_messages, without_dc
from .silence import parts_of
from .spikes import without_wild_samples
from .windows import whole_windows

__all__ = ["Take", "level_lufs", "take_of"]

MOST_CHANNELS = 64
"""Of an array; one with more has its axes the other way round."""

HIGHEST_RATE = 48000
"""Takes at higher rates are analysed at 44.1 or 48 kHz: nothing above counts for a voice."""

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
        No array of ``(channels, samples)`` in floating point, values that are not finite, or a
        sample rate that is no number above 0.
    """
    _check(samples, sample_rate)
    samples, messages = without_wild_samples(samples, sample_rate)
    samples, offsets = without_dc(samples, sample_rate)
    messages += offset_messages(offsets)
    samples, sample_rate = _at_most_48_khz(samples, sample_rate)
    if len(samples) > 1 and all(np.array_equal(samples[0], other) for other in samples[1:]):
        parts = parts_of(samples[:1], sample_rate)
        level = level_lufs(_joined(samples[:1], parts), sample_rate)
        loudness = level + 10.0 * math.log10(len(samples))
        return Take(samples[:1], sample_rate, parts, level, loudness, messages)
    power = np.array([_power(channel) for channel in samples])
    carrying = power >= max(power.max(initial=0.0), 1e-30) * 10.0 ** (PARTNER_DB / 10.0)
    parts = parts_of(samples[carrying] if carrying.any() else samples, sample_rate)
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


def _check(samples: np.ndarray, sample_rate: int) -> None:
    """Refuse what is no vocal: another type or shape, values or a rate that are no numbers."""
    shape = tuple(getattr(samples, "shape", ()))
    if not isinstance(samples, np.ndarray) or samples.ndim != 2 or len(samples) > MOST_CHANNELS:
        remedy = ""
        if len(shape) == 1:
            remedy = "; give samples[None] for one channel"
        elif len(shape) == 2 and shape[1] < shape[0]:
            remedy = "; give samples.T"
        raise AudioError(
            f"samples are {type(samples).__name__} of shape {shape}; they must be a NumPy array of "
            f"(channels, samples){remedy}"
        )
    if samples.dtype.kind != "f":
        raise AudioError(
            f"samples are {samples.dtype}; they must be float32, of full scale ±1: divide whole "
            "numbers by the largest of their type"
        )
    if not np.isfinite(samples).all():
        raise AudioError("the vocal holds values that are not finite; export it again")
    if not isinstance(sample_rate, numbers.Real) or not 0.0 < sample_rate < math.inf:
        raise AudioError(f"the sample rate is {sample_rate!r}; give a number of Hz, as 48000")


def _power(channel: np.ndarray) -> float:
    return float(np.dot(channel, channel)) / max(len(channel), 1)


def _at_most_48_khz(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int]:
    from .files import resample

    if sample_rate <= HIGHEST_RATE:
        return samples, sample_rate
    rate = 44100 if sample_rate % 44100 == 0 else HIGHEST_RATE
    return resample(samples, sample_rate, rate), rate


def _joined(channel: np.ndarray, parts: tuple[tuple[int, int], ...]) -> np.ndarray:
    if parts == ((0, channel.shape[1]),):
        return channel
    return np.concatenate([channel[:, a:b] for a, b in parts], axis=1)


def level_lufs(channel: np.ndarray, sample_rate: int) -> float:
    """Return the loudness of ``(1, samples)`` in LUFS, which a gain moves by just this gain."""
    from .files import loudness_lufs

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
    blocks = whole_windows(voiced, size)
    if not len(blocks):
        return 0.0
    level_db = 10.0 * np.log10(np.einsum("ij,ij->i", blocks, blocks) + 1e-20)
    return float(np.percentile(level_db, 95) - np.percentile(level_db, 10))
