"""Raw/mixed pairs: find them by name, check that they are one performance, align them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import loudness_lufs, read_audio_file, resample
from ..audio.alignment.align import Alignment, align, at_speed, measure
from ..audio.alignment.coarse import LOWEST_CORRELATION, suspected_speed
from ..audio.alignment.features import PAIR_RATE, one_channel
from ..audio.alignment.segment import covered, loudest_start
from ..errors import PairError
from .find import PairFiles, find_pairs, pair_key, read_pair_list

__all__ = [
    "LOWEST_CORRELATION",
    "PAIR_RATE",
    "Pair",
    "PairFiles",
    "about_pair",
    "align",
    "find_pairs",
    "load_pair",
    "loudest_part",
    "loudest_start",
    "one_channel",
    "pair_key",
    "pair_of",
    "read_pair_list",
]

SHORTEST_SECONDS = 1.0
MOST_SECONDS = 40.0
SILENT_PEAK = 1e-5


MOST_SPREAD_SECONDS = 0.025
"""Tuned mixes with syllables moved by up to 20 ms reach 0.018; other takes of one rhythm lie
between 0.006 and 0.04, so that not all of them are found."""

NOTICE_SECONDS = 1.0
"""Where the mix covers less than the raw vocal by more, it is said."""


@dataclass(frozen=True)
class Pair:
    """An aligned pair at 44.1 kHz.

    Attributes
    ----------
    name : str
        Of the files.
    raw : ndarray
        ``(1 or 2, samples)`` float32, as the file lies.
    mixed : ndarray
        ``(2, samples)`` float32, moved to the raw's timing, speed and polarity.
    lag_seconds : float
        By how much the mixed file lies later than the raw, at the raw's beginning.
    polarity : int
        −1 where the mix is inverted.
    correlation : float
        Of the bands' energies, 1 at most.
    drift_ppm : float
        By how many millionths the mixed file runs slower than the raw; undone in `mixed`.
    lag_uncertain_seconds : float
        0 where the waveforms agree on the lag, else how far it may be off.
    messages : tuple of str
        What was found about the pair and its user should know, one line each.
    """

    name: str
    raw: np.ndarray
    mixed: np.ndarray
    lag_seconds: float
    polarity: int
    correlation: float
    drift_ppm: float = 0.0
    lag_uncertain_seconds: float = 0.0
    messages: tuple[str, ...] = ()


def about_pair(pair: Pair) -> dict[str, Any]:
    """Return what alignment found beside lag and polarity, as data for JSON."""
    return {
        "drift_ppm": round(pair.drift_ppm, 1),
        "lag_uncertain_ms": round(1000.0 * pair.lag_uncertain_seconds, 2),
        "messages": list(pair.messages),
    }


def loudest_part(pair: Pair, seconds: float) -> Pair:
    """Return the loudest part of a pair, of this length, as views; a shorter pair as it is.

    What counts is the energy of the raw vocal where the mix holds anything.
    """
    length = int(seconds * PAIR_RATE)
    if pair.raw.shape[1] <= length:
        return pair
    start = loudest_start(pair.raw, length, mixed=pair.mixed)
    part = slice(start, start + length)
    return replace(pair, raw=pair.raw[:, part], mixed=pair.mixed[:, part])


def load_pair(files: PairFiles) -> Pair:
    """Read, check and align a pair; of a longer one the loudest 40 seconds are kept.

    A studio's two hundred songs then fit into memory. Only what both files cover is kept: a mix
    may hold a part of the song. A mix that runs faster or slower is brought to the raw's speed.

    Raises
    ------
    PairError
        Not the same performance (with the correlation found), too short, or silent.
    AudioError
        A file cannot be read.
    """
    raw, about_raw = _at_pair_rate(files.raw)
    mixed, about_mixed = _at_pair_rate(files.mixed)
    places = str(files.raw), str(files.mixed)
    return pair_of(files.name, raw, mixed, places=places, messages=about_raw + about_mixed)


def pair_of(
    name: str,
    raw: np.ndarray,
    mixed: np.ndarray,
    *,
    places: tuple[str, str] | None = None,
    messages: tuple[str, ...] = (),
) -> Pair:
    """Check and align the samples of a pair, as :func:`load_pair` does those of files.

    Parameters
    ----------
    name : str
        Of the pair.
    raw, mixed : ndarray
        ``(1 or 2, samples)`` float32 at 44.1 kHz, of any two lengths.
    places : tuple of str, optional
        Where the two come from, for errors; by default the name says it.
    messages : tuple of str
        What is known of them already.

    Raises
    ------
    PairError
        As :func:`load_pair`.
    """
    places = places or (f"{name}, raw", f"{name}, mixed")
    for place, samples in zip(places, (raw, mixed), strict=True):
        if samples.shape[1] < SHORTEST_SECONDS * PAIR_RATE:
            raise PairError(f"{place}: shorter than {SHORTEST_SECONDS:g} s")
        if float(np.max(np.abs(samples))) < SILENT_PEAK:
            raise PairError(f"{place}: silent (below -70 LUFS)")
    both = " and ".join(places)
    mono = one_channel(raw), one_channel(mixed)
    found = measure(*mono)
    if found.correlation < LOWEST_CORRELATION:
        speed = suspected_speed(*mono)
        cause = f"the mix may run at another speed: {speed}" if speed else "check the names"
        raise PairError(
            f"{both}: not the same performance (correlation "
            f"{found.correlation:.2f}, at least {LOWEST_CORRELATION} is needed); {cause}"
        )
    if found.spread_seconds > MOST_SPREAD_SECONDS:
        raise PairError(
            f"{both}: not the same performance (the syllables lie "
            f"{1000.0 * found.spread_seconds:.0f} ms apart, as in another take); check the names"
        )
    if found.slope:
        mixed = at_speed(mixed, found.slope)
    lag, most = round(found.lag), int(MOST_SECONDS * PAIR_RATE)
    start, stop = covered(raw, mixed, lag, most)
    if stop - start < SHORTEST_SECONDS * PAIR_RATE:
        raise PairError(
            f"{both}: hold less than {SHORTEST_SECONDS:g} s of the same "
            "part of the song; check the names"
        )
    messages = messages + _messages(found, raw.shape[1], start, stop)
    mixed = found.polarity * _shift(mixed, lag, raw.shape[1])[:, start:stop]
    raw = raw[:, start:stop]
    start = loudest_start(raw, most)
    part = slice(start, start + most)
    raw, mixed = (np.array(samples[:, part], np.float32) for samples in (raw, mixed))
    for place, samples in zip(places, (raw, mixed), strict=True):
        if not math.isfinite(loudness_lufs(samples, PAIR_RATE)):
            raise PairError(f"{place}: silent (below -70 LUFS)")
    mixed = np.array(np.broadcast_to(mixed, (2, raw.shape[1])))
    return Pair(
        name,
        raw,
        mixed,
        lag_seconds=found.lag / PAIR_RATE * (1.0 + found.slope),
        polarity=found.polarity,
        correlation=found.correlation,
        drift_ppm=1e6 * found.slope,
        lag_uncertain_seconds=found.error_seconds,
        messages=messages,
    )


def _messages(found: Alignment, samples: int, start: int, stop: int) -> tuple[str, ...]:
    lines = []
    if samples - (stop - start) > NOTICE_SECONDS * PAIR_RATE:
        lines.append(
            f"the two files share {start / PAIR_RATE:.1f} s to {stop / PAIR_RATE:.1f} s of the "
            "raw vocal; only this is used"
        )
    if found.slope:
        way = "slow" if found.slope > 0 else "fast"
        lines.append(f"the mix runs {abs(1e6 * found.slope):.0f} ppm {way}; it was corrected")
    if found.error_seconds:
        lines.append(
            f"the mix's lag is uncertain by about {1000.0 * found.error_seconds:.0f} ms, since its "
            "waveform does not follow the raw vocal's (pitch correction, moved syllables); "
            f"{1000.0 * found.lag / PAIR_RATE:.1f} ms is used"
        )
    if not found.polarity_clear:
        lines.append("the mix's polarity is uncertain, too; it is left as it is")
    return tuple(lines)


def _at_pair_rate(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The samples of a file, and what its user should know of it."""
    file = read_audio_file(path)
    return resample(file.samples, file.sample_rate, PAIR_RATE), file.messages


def _shift(samples: np.ndarray, lag: int, length: int) -> np.ndarray:
    """Take away `lag` samples at the start (or add silence), cut or padded to `length`."""
    moved = samples[:, lag:] if lag >= 0 else np.pad(samples, ((0, 0), (-lag, 0)))
    missing = max(length - moved.shape[1], 0)
    return np.pad(moved[:, :length], ((0, 0), (0, missing)))
