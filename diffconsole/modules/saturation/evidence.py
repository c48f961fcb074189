"""What a mix shows of a saturation: the louder the voice, the more it has at high frequencies."""

from __future__ import annotations

import numpy as np

from ..evidence import Settings, Signals, frame_levels_db, tilt_by_level

__all__ = ["starts"]

FRAME_MS, SPLIT_HZ, SUNG_DB = 20.0, 3000.0, 30.0
LEAST_TILT = 0.02
"""dB by which harmonics rise against the rest for each dB of the voice."""

GENTLE = {"drive_db": 1.5, "bias": 0.05, "mix": 100.0}
"""Next to nothing: gradients lead from there where no other setting is close."""

DRIVES_DB, BIASES, MIXES = (4.0, 9.0, 15.0), (0.0, 0.3), (100.0, 40.0)


def starts(signals: Signals) -> list[Settings]:
    """Return saturations to begin from; none where the highs do not rise with the voice.

    The change from the strip's result to the mix is compared above and below 3 kHz, frame by frame.
    A bent wave has harmonics that the strip's result lacks, and the louder the voice, the more.
    """
    rate = signals.sample_rate
    change = [
        frame_levels_db(mix, rate, FRAME_MS) - frame_levels_db(own, rate, FRAME_MS)
        for mix, own in zip(
            _parted(signals.mixed, rate), _parted(signals.rendered, rate), strict=True
        )
    ]
    voice = frame_levels_db(signals.dry, rate, FRAME_MS)
    least_db = float(np.percentile(voice, 95.0)) - SUNG_DB
    slope, _ = tilt_by_level(voice, change[1] - change[0], least_db)
    if slope < LEAST_TILT:
        return []
    return [dict(GENTLE)] + [
        {"drive_db": drive_db, "bias": bias, "mix": mix}
        for drive_db in DRIVES_DB
        for bias in BIASES
        for mix in MIXES
    ]


def _parted(audio: np.ndarray, sample_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """What lies below the split, and above it."""
    spectrum = np.fft.rfft(audio)
    high = np.fft.rfftfreq(audio.shape[-1], 1.0 / sample_rate) >= SPLIT_HZ
    upper = np.fft.irfft(spectrum * high, audio.shape[-1])
    return audio - upper, upper
