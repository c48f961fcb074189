"""Sharp esses for simulated raw vocals: what a de-esser brings back."""

from __future__ import annotations

import numpy as np
import torch

from .process import esses_db, split

__all__ = ["undo"]

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
    audio = torch.from_numpy(np.ascontiguousarray(voice, np.float32))[None, None]
    hz = torch.tensor([freq_hz], dtype=torch.float64)
    attack_ms, release_ms = (torch.tensor([t], dtype=torch.float64) for t in TIMES_MS)
    ratio_db, whole_db = (
        level[0].numpy() for level in esses_db(audio, sample_rate, hz, attack_ms, release_ms)
    )
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
    once, twice = (part[0, 0].numpy() for part in split(audio, sample_rate, hz))
    # (1 + r·HP)², as the de-esser turns down.
    sharp = voice + root * (2.0 * once + root * twice)
    return sharp.astype(np.float32), settings
