"""What a mix shows of a de-esser: esses lie lower in it than the strip leaves them."""

from __future__ import annotations

import numpy as np
import torch

from ...kernels.envelope import envelope, peak_level
from ..compressor.process import smoothing
from ..evidence import Settings, Signals, frame_levels_db
from .process import REFERENCE_MS, split

__all__ = ["starts"]

SPLIT_HZ = 5500.0
UPPER_MS = (0.5, 40.0)
FRAME_MS = 10.0
# Frames with a voice, by their level below the loudest.
SUNG_DB = 40.0
ESS_SHARE, LEAST_FRAMES, LEAST_DROP_DB = 0.1, 5, 0.7


def starts(signals: Signals) -> list[Settings]:
    """Return de-essers to begin from; none where esses are as loud as the strip leaves them.

    The change of the upper band from the strip's result to the mix is compared between the frames
    in which that band is loud for the voice, by the de-esser's own measure, and the others.
    """
    rate = signals.sample_rate
    length = round(FRAME_MS * rate / 1000.0)
    dry = torch.from_numpy(np.ascontiguousarray(signals.dry))[None]
    freq_hz = torch.tensor([SPLIT_HZ], dtype=torch.float64)
    _, upper = split(dry, rate, freq_hz)
    levels = []
    for signal, times_ms in ((upper, UPPER_MS), (dry, REFERENCE_MS)):
        coefficients = (smoothing(torch.tensor([t]), rate) for t in times_ms)
        level = envelope(peak_level(signal), *coefficients)[0].clamp(min=1e-6)
        levels.append(20.0 * torch.log10(level).numpy())
    count = dry.shape[-1] // length
    ratio_db = (levels[0] - levels[1])[: count * length].reshape(count, length).max(axis=1)
    bands = []
    for audio in (signals.mixed, signals.rendered):
        _, band = split(torch.from_numpy(np.ascontiguousarray(audio))[None], rate, freq_hz)
        bands.append(frame_levels_db(band[0].numpy(), rate, FRAME_MS))
    change = bands[0] - bands[1]
    whole = frame_levels_db(signals.dry, rate, FRAME_MS)
    sung = whole > np.percentile(whole, 95.0) - SUNG_DB
    if sung.sum() < 4 * LEAST_FRAMES:
        return []
    loud_db = float(np.quantile(ratio_db[sung], 1.0 - ESS_SHARE))
    ess, other = sung & (ratio_db >= loud_db), sung & (ratio_db < loud_db - 6.0)
    if min(ess.sum(), other.sum()) < LEAST_FRAMES:
        return []
    drop_db = float(np.median(change[other]) - np.median(change[ess]))
    if drop_db < LEAST_DROP_DB:
        return []
    return [
        {
            "freq_hz": freq_hz,
            "threshold_db": loud_db - below_db,
            "range_db": range_db,
            "attack_ms": UPPER_MS[0],
            "release_ms": UPPER_MS[1],
        }
        for freq_hz in (4500.0, 7000.0)
        for below_db in (0.0, 6.0)
        for range_db in (max(3.0, 1.2 * drop_db), max(6.0, 2.0 * drop_db))
    ]
