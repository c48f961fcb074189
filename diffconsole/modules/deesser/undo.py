"""Sharp esses for simulated raw vocals: what a de-esser brings back."""

from __future__ import annotations

import numpy as np

from ...kernels.envelope import envelope, peak_level
from ..compressor.process import smoothing
from .process import FLOOR, REFERENCE_MS, split

__all__ = ["esses_db", "undo"]

USED_SHARE = 0.6
"""Of the simulated vocals; the esses of the others are as they were."""

SPLIT_HZ = (4500.0, 8000.0)
SHARPER_DB = (3.0, 12.0)
LEFT_DB = 2.0
"""By what the threshold lies above the loudest esses of the voice as it was."""
MORE_RANGE = 1.2
"""The range, over what the esses were sharpened by: the sharpest of them need more than most."""

FINISHED_SHARE = 0.98
"""Of the time a finished voice lies below what counts as its loudest esses."""

LEAST_THRESHOLD_DB = -16.0
"""A voice that stays below has no esses that could be sharpened."""

KNEE_DB = 8.0
SUNG_DB = 40.0
TIMES_MS = (0.5, 40.0)


def undo(
    voice: np.ndarray, sample_rate: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, float]]:
    """Sharpen the esses of a finished voice, in three of five voices.

    What lies above a split is turned up the more, the louder it is for this voice by the
    de-esser's own measure; the threshold is 2 dB above where the loudest esses of the voice lay.

    Parameters
    ----------
    voice : ndarray
        ``(samples,)`` float32.
    sample_rate : int
        Hz.
    rng : Generator
        The source of every random choice.

    Returns
    -------
    voice : ndarray
        ``(samples,)`` float32.
    settings : dict of str to float
        The de-esser's, by short name; its range is 0 where nothing was sharpened.
    """
    low_hz, high_hz = SPLIT_HZ
    freq_hz = float(low_hz * (high_hz / low_hz) ** rng.uniform())
    is_used, sharper_db = rng.uniform() < USED_SHARE, float(rng.uniform(*SHARPER_DB))
    audio = np.ascontiguousarray(voice, np.float32)[None, None]
    ratio_db, whole_db = esses_db(voice, sample_rate, freq_hz, TIMES_MS)
    sung = whole_db > np.percentile(whole_db, 95.0) - SUNG_DB
    finished_db = float(np.quantile(ratio_db[sung], FINISHED_SHARE))
    settings = {
        "freq_hz": freq_hz,
        "threshold_db": min(max(finished_db, LEAST_THRESHOLD_DB) + LEFT_DB, 0.0),
        "range_db": 0.0,
        "attack_ms": TIMES_MS[0],
        "release_ms": TIMES_MS[1],
    }
    if not is_used or finished_db < LEAST_THRESHOLD_DB:
        return voice, settings
    settings["range_db"] = MORE_RANGE * sharper_db
    share = np.clip((ratio_db - finished_db + KNEE_DB) / KNEE_DB, 0.0, 1.0)
    root = 10.0 ** (sharper_db * share / 40.0) - 1.0
    once, twice = (part[0, 0] for part in split(audio, sample_rate, np.array([freq_hz])))
    # (1 + r·HP)², as the de-esser turns down.
    sharp = voice + root * (2.0 * once + root * twice)
    return sharp.astype(np.float32), settings


def esses_db(
    voice: np.ndarray, sample_rate: int, freq_hz: float, times_ms: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a de-esser compares with its threshold, and the voice's level.

    Parameters
    ----------
    voice : ndarray
        ``(samples,)`` float32.
    sample_rate : int
        Hz.
    freq_hz : float
        Of the split.
    times_ms : tuple of float
        Attack and release.

    Returns
    -------
    tuple of ndarray
        ``(samples,)`` each: the level of what lies above the split against the whole voice, dB, and
        the level of the whole voice, dBFS.
    """
    audio = np.ascontiguousarray(voice, np.float32)[None, None]
    upper = split(audio, sample_rate, np.array([freq_hz]))[1]
    levels_db = []
    for signal, times in ((upper, times_ms), (audio, REFERENCE_MS)):
        attack, release = (smoothing(np.array([t]), sample_rate) for t in times)
        level = envelope(peak_level(signal), attack, release)[0]
        levels_db.append(20.0 * np.log10(np.maximum(level, FLOOR)))
    return levels_db[0] - levels_db[1], levels_db[1]
