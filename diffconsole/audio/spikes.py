"""Samples that are no sound: single values far above everything around them.

A damaged file, a driver or a faulty plug-in leaves them, of any size. One of +84.9 dBFS decides
the level of a whole song. Loud sounds stay: they have neighbours, before and behind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .windows import whole_windows

__all__ = ["without_wild_samples"]

ABOVE_DB, LONGEST_SECONDS = 24.0, 0.003
"""Above what is typical in the file and around it; of this length at most."""

FAR_ABOVE_DB, LONGEST_FAR_SECONDS = 46.0, 0.05
"""No voice rises so far within less than this, and falls again."""

BLOCK_SECONDS, AROUND_SECONDS, APART_SECONDS = 0.005, 0.5, 0.01
TYPICAL_PERCENTILE, LEAST_BLOCKS = 80, 4
SILENT_TYPICAL = 10.0 ** (-ABOVE_DB / 20.0)
"""In a silent file, samples over full scale are wild."""

RINGING_SECONDS, RINGING_STEP_SECONDS = 0.03, 0.001
MOST, MOST_A_SECOND = 20, 1.0
"""More of them, and more in a second, are what was recorded."""

NAMED = 2


@dataclass(frozen=True)
class _Place:
    """Samples ``start`` to ``stop`` of a channel, the largest of them, and its size."""

    channel: int
    start: int
    stop: int
    at: int
    size: float


def without_wild_samples(
    samples: np.ndarray, sample_rate: int, before: int = 0
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Replace wild samples by a line between their neighbours.

    Parameters
    ----------
    samples : ndarray
        ``(channels, samples)``, finite.
    sample_rate : int
        Hz.
    before : int
        Samples of the file before these, which the numbers in the messages count too.

    Returns
    -------
    samples : ndarray
        The same array if there are none, else a copy.
    messages : tuple of str
        Which they are, by number, time and level.
    """
    size = max(round(BLOCK_SECONDS * sample_rate), 1)
    peaks = [_peaks(channel, size) for channel in samples]
    # A channel that is silent but for a few samples has nothing that is typical.
    sounding = [p[p > 0.0] for p in peaks if np.count_nonzero(p) >= LEAST_BLOCKS]
    typical = max(map(_typical, sounding), default=SILENT_TYPICAL)
    places = [
        place
        for number, channel in enumerate(samples)
        for place in _places(
            channel,
            number,
            peaks[number],
            typical if np.count_nonzero(peaks[number]) < LEAST_BLOCKS else 0.0,
            sample_rate,
        )
    ]
    if not places:
        return samples, ()
    samples = samples.copy()
    for place in places:
        channel, start, stop = samples[place.channel], place.start, place.stop
        first = float(channel[start - 1]) if start else 0.0
        last = float(channel[stop]) if stop < len(channel) else 0.0
        channel[start:stop] = np.linspace(first, last, stop - start + 2)[1:-1]
    return samples, _messages(places, sample_rate, before)


def _messages(places: list[_Place], sample_rate: int, before: int) -> tuple[str, ...]:
    # The channels of a damaged frame are one place.
    by_sample: dict[int, float] = {}
    for place in sorted(places, key=lambda place: place.at):
        number = before + place.at
        by_sample[number] = max(place.size, by_sample.get(number, 0.0))
    lines = [
        f"sample {at} ({at / sample_rate:.3f} s) reaches {20.0 * math.log10(size):+.1f} dBFS, far "
        "above everything around it; the settings ignore it, repair it in an editor"
        for at, size in by_sample.items()
    ]
    if len(lines) <= NAMED + 1:
        return tuple(lines)
    rest = list(by_sample.items())[NAMED:]
    loudest_db = 20.0 * math.log10(max(size for _, size in rest))
    return (
        *lines[:NAMED],
        f"so do {len(rest)} more, up to {loudest_db:+.1f} dBFS, until sample {rest[-1][0]} "
        f"({rest[-1][0] / sample_rate:.3f} s)",
    )


def _peaks(channel: np.ndarray, size: int) -> np.ndarray:
    """Of blocks, the last of them shorter."""
    count = len(channel) // size
    blocks = whole_windows(channel, size)
    peaks = np.maximum(blocks.max(axis=1), -blocks.min(axis=1)) if count else np.zeros(0)
    rest = channel[count * size :]
    return np.append(peaks, np.abs(rest).max()) if len(rest) else peaks


def _places(
    channel: np.ndarray, number: int, peaks: np.ndarray, typical: float, sample_rate: int
) -> list[_Place]:
    """Wild samples of a channel, by what is typical in it if nothing is given."""
    size = max(round(BLOCK_SECONDS * sample_rate), 1)
    if len(peaks) < LEAST_BLOCKS:
        return []
    typical = typical or _typical(peaks[peaks > 0.0])
    if not 0.0 < typical * 10.0 ** (ABOVE_DB / 20.0) < peaks.max():
        return []
    limit = typical * 10.0 ** (ABOVE_DB / 20.0)
    loud = np.concatenate(
        [
            b * size + np.flatnonzero(np.abs(channel[b * size : (b + 1) * size]) > limit)
            for b in np.flatnonzero(peaks > limit)
        ]
    )
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > APART_SECONDS * sample_rate) + 1)
    found = []
    for group in groups:
        first, last = int(group[0]), int(group[-1])
        at = first + int(np.argmax(np.abs(channel[first : last + 1])))
        height = abs(float(channel[at]))
        around = round(AROUND_SECONDS / BLOCK_SECONDS)
        low, high = first // size, last // size + 1
        near = np.concatenate((peaks[max(low - around, 0) : low], peaks[high : high + around]))
        beside = max(_typical(near), typical)
        above_db = 20.0 * math.log10(height / beside)
        seconds = (last - first) / sample_rate
        if (above_db > ABOVE_DB and seconds <= LONGEST_SECONDS) or (
            above_db > FAR_ABOVE_DB and seconds <= LONGEST_FAR_SECONDS
        ):
            start = _ends(channel, first, -1, 2.0 * beside, sample_rate)
            stop = _ends(channel, last, 1, 2.0 * beside, sample_rate) + 1
            found.append(_Place(number, start, stop, at, height))
    if len(found) > max(MOST, MOST_A_SECOND * len(channel) / sample_rate):
        return []
    return found


def _typical(peaks: np.ndarray) -> float:
    if not len(peaks):
        return 0.0
    return float(np.percentile(peaks, TYPICAL_PERCENTILE, method="lower"))


def _ends(channel: np.ndarray, at: int, step: int, limit: float, sample_rate: int) -> int:
    """How far a converter's ringing reaches that stands above what is typical."""
    reach, most = round(RINGING_STEP_SECONDS * sample_rate), round(RINGING_SECONDS * sample_rate)
    beside = channel[at + 1 : at + 5] if step > 0 else channel[max(at - 4, 0) : at]
    if not len(beside) or np.abs(beside).max() <= 4.0 * limit:
        # It does not ring: what stands out beyond is a peak of the voice.
        return at
    edge = at
    while abs(edge - at) < most:
        low = edge + 1 if step > 0 else max(edge - reach, 0)
        over = np.flatnonzero(np.abs(channel[low : low + reach if step > 0 else edge]) > limit)
        if not len(over):
            break
        edge = low + int(over[-1 if step > 0 else 0])
    return edge
