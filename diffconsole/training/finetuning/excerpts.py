"""Which part of a pair is asked for the modules that a studio has.

The loudest seconds of a song hold few of the gaps in which a gate shows. A part that is asked holds
levels of all kinds, and of it a shorter one is compared in which the modules that were found act.
Both begin where the echoes of what came before, which the strip's result lacks, are inaudible:
amid something loud, or where the mix holds no more than the raw vocal does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...audio.alignment.segment import uncovered
from ...modules.evidence import frame_levels_db
from ...pairs import PAIR_RATE, Pair

__all__ = ["STEP", "acting_start", "varied_start"]

FRAME_MS = 20.0
FRAME = round(FRAME_MS * PAIR_RATE / 1000.0)
STEP = 5
"""Frames from one part to the next: a tenth of a second."""

LEAST_ENERGY = 0.25
"""Of the loudest part: quieter ones are too little of what is sung."""

HEAD, LEAST_HEAD, MOST_RINGING = 15, 0.1, 4.0
"""Frames at the beginning of a part that are loud, by its mean energy at least so much; or in which
the mix holds no more than so many times the energy of the raw vocal, both by their means."""

LEVEL_STEP_DB, DEEPEST_DB = 3.0, 75.0
"""Levels that count as one, and below the loudest frames those that count as silence."""

LEAST_ACTING, LEAST_CHANGE_DB = 0.5, 0.05
"""Of what a module changes in the part in which it changes most; a smaller mean change is none."""


def varied_start(pair: Pair, length: int) -> int:
    """Find the part with levels of most kinds: loud notes, quiet ones, and gaps between them.

    Of the parts that hold at least a quarter of the loudest one's energy, it is the one whose
    frames' levels have the highest entropy.

    Parameters
    ----------
    pair : Pair
        Aligned.
    length : int
        Samples of the part; a shorter pair begins at 0.

    Returns
    -------
    int
        A multiple of a tenth of a second.
    """
    if pair.raw.shape[1] <= length:
        return 0
    levels = frame_levels_db(pair.raw, PAIR_RATE, FRAME_MS)
    power = _power(pair.raw)
    depth = (np.percentile(levels, 95.0) - levels) / LEVEL_STEP_DB
    missing = uncovered(pair.raw, pair.mixed)[: len(levels) * FRAME]
    counts = ~missing.reshape(len(levels), FRAME).any(axis=1)
    energy = _energy(counts * power, _power(pair.mixed), length)
    kinds = np.clip(depth.astype(int), 0, None)
    most = round(DEEPEST_DB / LEVEL_STEP_DB)
    held = [_in_windows(counts & (kinds == kind), length) for kind in range(most)]
    shares = np.stack(held) / max(length // FRAME, 1)
    # Of what is not silent, times how much of the part this is.
    entropy = -(shares * np.log((shares + 1e-12) / (shares.sum(axis=0) + 1e-12))).sum(axis=0)
    entropy[energy < LEAST_ENERGY * energy.max()] = -1.0
    return int(np.argmax(entropy)) * STEP * FRAME


def acting_start(
    raw: np.ndarray, mixed: np.ndarray, changes_db: Sequence[np.ndarray], length: int
) -> int:
    """Find the loudest part in which each of some modules acts.

    A module acts in a part if it changes the level of its frames by at least half of what it does
    in the part in which it changes most.

    Parameters
    ----------
    raw, mixed : ndarray
        ``(channels, samples)``.
    changes_db : sequence of ndarray
        ``(frames,)`` of 20 ms each: by module, the change of level that it makes.
    length : int
        Samples of the part; a shorter file begins at 0.

    Returns
    -------
    int
        A multiple of a tenth of a second. Where no part has them all, the one in which the module
        acts most that acts least.
    """
    if raw.shape[1] <= length:
        return 0
    energy = _energy(_power(raw), _power(mixed), length)
    acting = np.ones_like(energy)
    for change in changes_db:
        # A plain gain is nothing that one part shows more than another.
        sums = _in_windows(np.abs(change - np.median(change)), length) * (energy > 0.0)
        if sums.max() >= LEAST_CHANGE_DB * (length // FRAME):
            acting = np.minimum(acting, sums / sums.max())
    acting *= energy > 0.0
    enough = acting >= min(LEAST_ACTING, float(acting.max()))
    return int(np.argmax(np.where(enough, energy, -1.0))) * STEP * FRAME


def _power(audio: np.ndarray) -> np.ndarray:
    return np.asarray(10.0 ** (frame_levels_db(audio, PAIR_RATE, FRAME_MS) / 10.0))


def _energy(raw: np.ndarray, mixed: np.ndarray, length: int) -> np.ndarray:
    """The energy of each part, 0 where echoes are audible at its beginning, if not in all parts."""
    energy, theirs = _in_windows(raw, length), _in_windows(mixed, length)
    head, their_head = (_in_windows(power, HEAD * FRAME)[: len(energy)] for power in (raw, mixed))
    frames = length // FRAME
    loud = head * frames >= LEAST_HEAD * HEAD * energy
    dry = their_head * energy <= MOST_RINGING * head * theirs
    return energy * (loud | dry) if (loud | dry).any() else energy


def _in_windows(values: np.ndarray, length: int) -> np.ndarray:
    """Sums over the frames of each part, which begin a tenth of a second apart."""
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    frames = length // FRAME
    starts = np.arange(0, max(len(values) - frames, 0) + 1, STEP)
    return np.asarray(sums[starts + min(frames, len(values))] - sums[starts])
