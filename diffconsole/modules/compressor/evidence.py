"""What a mix shows of more compression than one compressor does: levels that the strip misses.

Both what a second compressor in a row may bring and a dry signal beside the compressed one change
how the level of the result follows that of the voice. Where the strip's result follows the mix's
level already, neither is tried.
"""

from __future__ import annotations

import numpy as np

from ..evidence import Settings, Signals, frame_levels_db, tilt_by_level

__all__ = ["starts"]

FRAME_MS = 50.0
SUNG_DB = 35.0
LEAST_TILT, LEAST_LEFT_DB = 0.02, 0.25
"""From such a change of level by dB, or such a difference frame by frame, there is evidence."""

PEAK_OVER_RMS_DB = 6.0
BELOW_AND_RATIO = ((2.0, 6.0), (7.0, 3.0), (14.0, 2.0))
TIMES_MS = ((0.3, 40.0), (3.0, 150.0), (20.0, 400.0))
GENTLE_BELOW_DB, GENTLE_RATIO = 8.0, 1.1
"""Next to nothing: gradients lead from there where no other setting is close."""

GENTLE_MIX = {"mix": 92.0}
MIXES, DEEPER_DB, STEEPER = (85.0, 65.0), 8.0, 2.0


def starts(signals: Signals) -> list[Settings]:
    """Return compressors to begin from, or mixes of dry and compressed for the first one."""
    rate = signals.sample_rate
    voice, mix, own = (
        frame_levels_db(audio, rate, FRAME_MS)
        for audio in (signals.dry, signals.mixed, signals.rendered)
    )
    loudest = float(np.percentile(voice, 95.0))
    slope, left_db = tilt_by_level(voice, mix - own, loudest - SUNG_DB)
    if abs(slope) < LEAST_TILT and left_db < LEAST_LEFT_DB:
        return []
    if signals.key == "compressor":
        now = signals.settings
        deeper = {
            "threshold_db": now["threshold_db"] - DEEPER_DB,
            "ratio": now["ratio"] * STEEPER,
            "makeup_db": now["makeup_db"] + 0.5 * DEEPER_DB * (1.0 - 1.0 / now["ratio"]),
        }
        return [{"mix": mix, **change} for mix in MIXES for change in ({}, deeper)] + [GENTLE_MIX]
    top_db = loudest + PEAK_OVER_RMS_DB
    gentle = {
        "threshold_db": top_db - GENTLE_BELOW_DB,
        "ratio": GENTLE_RATIO,
        "knee_db": 6.0,
        "makeup_db": 0.4,
    }
    return [gentle] + [
        {
            "threshold_db": top_db - below_db,
            "ratio": ratio,
            "attack_ms": attack_ms,
            "release_ms": release_ms,
            "knee_db": 6.0,
            # About what the loud frames lose.
            "makeup_db": 0.7 * below_db * (1.0 - 1.0 / ratio),
        }
        for below_db, ratio in BELOW_AND_RATIO
        for attack_ms, release_ms in TIMES_MS
    ]
