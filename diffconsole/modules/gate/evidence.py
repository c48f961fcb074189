"""What a mix shows of a gate: between phrases it is quieter than the strip leaves the raw vocal."""

from __future__ import annotations

import numpy as np

from ..evidence import Settings, Signals, frame_levels_db

__all__ = ["starts"]

FRAME_MS = 20.0
STEP_DB = 3.0
# Frames further below the loudest than this do not count: both files may be silent there.
DEEPEST_DB = 75.0
LEAST_DROP_DB, LEAST_FRAMES = 2.0, 10
PEAK_OVER_RMS_DB = 6.0
"""About how far the detector, which follows peaks, lies above a quiet frame's mean square."""


def starts(signals: Signals) -> list[Settings]:
    """Return gates to begin from; none where quiet frames keep their level.

    The change from the strip's result to the mix is compared by the level of the raw vocal. Where
    it falls below that of the louder frames lies the threshold; how far it falls is the range.
    """
    rate = signals.sample_rate
    level, mix, own = (
        frame_levels_db(audio, rate, FRAME_MS)
        for audio in (signals.raw, signals.mixed, signals.rendered)
    )
    change = mix - own
    top = float(np.percentile(level, 95.0))
    loud = level > top - 20.0
    if not loud.any():
        return []
    usual = float(np.median(change[loud]))
    drops, edges = [], np.arange(top - 20.0, top - DEEPEST_DB, -STEP_DB)
    for edge in edges:
        inside = (level <= edge) & (level > edge - STEP_DB)
        enough = inside.sum() >= LEAST_FRAMES
        drops.append(usual - float(np.median(change[inside])) if enough else 0.0)
    deepest = max(drops)
    if deepest < LEAST_DROP_DB:
        return []
    first = next(number for number, drop in enumerate(drops) if drop >= LEAST_DROP_DB)
    threshold_db = float(edges[first]) + PEAK_OVER_RMS_DB
    range_db = min(1.3 * deepest, 50.0)
    return [
        {
            "threshold_db": threshold_db + more_db,
            "ratio": ratio,
            "range_db": range_db,
            "attack_ms": 1.0,
            "hold_ms": 40.0,
            "release_ms": release_ms,
        }
        for more_db in (0.0, 6.0)
        for ratio in (2.0, 4.0)
        for release_ms in (60.0, 250.0)
    ]
