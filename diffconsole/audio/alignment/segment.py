"""Which part of a pair is used: what both files hold, and of that the loudest."""

from __future__ import annotations

import numpy as np

from ..windows import runs_of_true
from .features import FRAME, FRAME_SECONDS, PAIR_RATE, long_runs

__all__ = ["covered", "loudest_start", "uncovered"]

EDGE_SECONDS = 0.05
"""So much silence at an end stays, where a mix begins a little later or ends a little earlier."""

SILENT = 1e-8
"""Of the loudest 10 ms: below it a file holds nothing."""

MIX_SECONDS, RAW_SECONDS = 1.0, 2.0
"""For so long one file must hold nothing where the other does; a reverb's tail lasts as well."""

RAW_AUDIBLE, MIX_AUDIBLE = 1e-4, 1e-2


def covered(raw: np.ndarray, mixed: np.ndarray, lag: int, most: int) -> tuple[int, int]:
    """Find the part of the raw vocal that the mix covers, without long gaps in either.

    Parameters
    ----------
    raw, mixed : ndarray
        ``(channels, samples)`` at 44.1 kHz and one speed.
    lag : int
        Samples by which the mix lies later.
    most : int
        Samples that are wanted at most: of several parts the one that holds the most energy in
        so many of them is taken.

    Returns
    -------
    start, stop : int
        Samples of the raw; a gap of up to 50 ms at either end is left in. Both 0 where nothing
        is covered.
    """
    samples, edge = raw.shape[1], round(EDGE_SECONDS * PAIR_RATE)
    first, last = max(0, -lag), min(samples, mixed.shape[1] - lag)
    if last <= first:
        return 0, 0
    first = first if first > edge else 0
    last = last if samples - last > edge else samples
    both = max(first, -lag), min(last, mixed.shape[1] - lag)
    missing = _missing(raw[:, slice(*both)], mixed[:, both[0] + lag : both[1] + lag])
    if not missing.any():
        return first, last
    bounds = both[0] + runs_of_true(~missing) * FRAME
    # The last frame ends where the file does; at the ends the small gaps come back.
    bounds[bounds > both[1] - FRAME] = both[1]
    parts = [
        (first if start == both[0] else int(start), last if stop == both[1] else int(stop))
        for start, stop in bounds
    ]
    if not parts:
        return 0, 0
    energy = np.concatenate(([0.0], np.cumsum(np.mean(raw.astype(np.float64) ** 2, axis=0))))

    def most_energy(part: tuple[int, int]) -> float:
        length = min(most, part[1] - part[0])
        starts = np.arange(part[0], part[1] - length + 1, PAIR_RATE // 2)
        return float(np.max(energy[starts + length] - energy[starts]))

    return max(parts, key=most_energy)


def loudest_start(
    raw: np.ndarray,
    length: int,
    first: int = 0,
    last: int | None = None,
    mixed: np.ndarray | None = None,
) -> int:
    """Find where the loudest part of a vocal begins.

    Parameters
    ----------
    raw : ndarray
        ``(channels, samples)`` at 44.1 kHz.
    length : int
        Samples of the part; a shorter file begins at 0.
    first, last : int
        Samples that the part lies between, or at least starts in.
    mixed : ndarray, optional
        Of the same length: where it holds nothing for a second or longer, the raw vocal's energy
        counts as none.

    Returns
    -------
    int
        A multiple of half a second after `first`, or the last possible start.
    """
    samples = raw.shape[1]
    if samples <= length:
        return 0
    last = samples if last is None else last
    power = np.mean(raw.astype(np.float64) ** 2, axis=0)
    if mixed is not None:
        power[uncovered(raw, mixed)] = 0.0
    energy = np.concatenate(([0.0], np.cumsum(power)))
    starts = np.arange(first, max(last - length, first) + 1, PAIR_RATE // 2)
    starts = np.minimum(starts, samples - length)
    return int(starts[np.argmax(energy[starts + length] - energy[starts])])


def uncovered(raw: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """Samples of an aligned pair where one file holds nothing for long and the other is audible."""
    return np.repeat(_missing(raw, mixed), FRAME)[: raw.shape[1]]


def _missing(raw: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """Frames of 10 ms where one file holds nothing for long and the other is audible."""
    ours, theirs = _frame_power(raw), _frame_power(mixed)
    result = np.zeros(len(ours), bool)
    for here, there, seconds, audible in (
        (theirs, ours, MIX_SECONDS, RAW_AUDIBLE),
        (ours, theirs, RAW_SECONDS, MIX_AUDIBLE),
    ):
        silent = long_runs(here <= SILENT * here.max(), round(seconds / FRAME_SECONDS))
        if not silent.any():
            continue
        for start, stop in runs_of_true(silent):
            if there[start:stop].max() > audible * there.max():
                result[start:stop] = True
    return result


def _frame_power(audio: np.ndarray) -> np.ndarray:
    frames = max(-(-audio.shape[1] // FRAME), 1)
    power = np.mean(audio.astype(np.float64) ** 2, axis=0)
    padded = np.pad(power, (0, frames * FRAME - len(power)))
    return padded.reshape(frames, FRAME).mean(axis=1)
