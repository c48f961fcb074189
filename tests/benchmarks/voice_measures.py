"""What an engineer hears of a raw vocal, as figures: tone, level, dynamics, room and pace.

Only what is sung or said counts: frames of 20 ms that lie within 30 dB of the loud ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.signal

from diffconsole.audio import loudness_lufs
from diffconsole.pairs import PAIR_RATE

__all__ = ["BANDS_HZ", "VoiceMeasures", "bands_between", "measure"]

BANDS_HZ = 10.0 ** (np.arange(17, 43) / 10.0)
"""Centres of third octaves, 50 Hz to 16 kHz."""

MIDDLE_HZ = (200.0, 4000.0)
FRAME, SPECTRUM = 882, 4096
GATE_DB = 30.0
SPREAD_SECONDS = 0.2
PHRASE_END_DB, END_SECONDS, FALL_SECONDS = -12.0, 0.06, 0.3
SYLLABLE_SECONDS, SYLLABLE_DB, PAUSE_SECONDS = 0.08, 3.0, 0.5
SLOWEST_FALL_S, FASTEST_FALL_S = 3.0, 0.1


@dataclass(frozen=True)
class VoiceMeasures:
    """The figures of one raw vocal.

    Attributes
    ----------
    spectrum_db : ndarray
        Long-term spectrum in the third octaves of `BANDS_HZ`, its mean from 200 Hz to 4 kHz at 0.
    loudness_lufs : float
        Of a channel.
    level_db : float
        RMS of what is sung, dBFS.
    spread_db : float
        From the 10th to the 90th percentile of the level in 0.2 s.
    crest_db : float
        Of the 99.9th percentile of the samples' size above the RMS of what is sung.
    decay_s : float
        Time to fall by 60 dB, from the slope of the level after phrases end: short in a dry room.
    syllables_per_s : float
        Rises of the level by 3 dB in a second of a phrase.
    """

    spectrum_db: np.ndarray
    loudness_lufs: float
    level_db: float
    spread_db: float
    crest_db: float
    decay_s: float
    syllables_per_s: float


def bands_between(low_hz: float, high_hz: float) -> np.ndarray:
    """Return a mask of the bands whose centres lie in a range, ends included."""
    centres_hz = BANDS_HZ
    return (centres_hz >= low_hz * 0.99) & (centres_hz <= high_hz * 1.01)


def measure(raw: np.ndarray) -> VoiceMeasures:
    """Measure a raw vocal.

    Parameters
    ----------
    raw : ndarray
        ``(1, samples)`` at 44.1 kHz.
    """
    mono = raw.mean(axis=0).astype(np.float64)
    level_db = _levels_db(mono, FRAME)
    sung = level_db > np.percentile(level_db, 95) - GATE_DB
    rms_db = 10.0 * math.log10(np.mean(10.0 ** (level_db[sung] / 10.0)))
    long_db = _levels_db(mono, int(SPREAD_SECONDS * PAIR_RATE))
    long_db = long_db[long_db > np.percentile(long_db, 95) - GATE_DB]
    low_db, high_db = np.percentile(long_db, (10, 90))
    peak_db = 20.0 * math.log10(np.percentile(np.abs(mono), 99.9) + 1e-9)
    return VoiceMeasures(
        spectrum_db=_spectrum_db(mono),
        loudness_lufs=loudness_lufs(raw[:1], PAIR_RATE),
        level_db=rms_db,
        spread_db=float(high_db - low_db),
        crest_db=peak_db - rms_db,
        decay_s=_decay_s(level_db),
        syllables_per_s=_syllables_per_s(level_db, sung),
    )


def _levels_db(mono: np.ndarray, length: int) -> np.ndarray:
    """RMS of frames that do not overlap."""
    frames = mono[: len(mono) // length * length].reshape(-1, length)
    return 10.0 * np.log10(np.mean(frames**2, axis=1) + 1e-12)


def _spectrum_db(mono: np.ndarray) -> np.ndarray:
    freq_hz, _, spectrum = scipy.signal.stft(mono, PAIR_RATE, nperseg=SPECTRUM)
    power = np.abs(spectrum) ** 2
    frame_db = 10.0 * np.log10(power.sum(axis=0) + 1e-15)
    mean = power[:, frame_db > np.percentile(frame_db, 95) - GATE_DB].mean(axis=1)
    # The lowest bands are narrower than the bins are apart: they take what lies between.
    steps = np.concatenate(([0.0], np.cumsum(mean)))
    edges_hz = np.concatenate((freq_hz, [PAIR_RATE / 2])) - freq_hz[1] / 2
    reach = np.interp(np.outer(BANDS_HZ, 10.0 ** np.array([-0.05, 0.05])), edges_hz, steps)
    band_db = 10.0 * np.log10(reach[:, 1] - reach[:, 0] + 1e-15)
    return band_db - band_db[bands_between(*MIDDLE_HZ)].mean()


def _decay_s(level_db: np.ndarray) -> float:
    """Median over phrase ends of 60 dB by the slope of the level while it falls."""
    loud_db = np.percentile(level_db, 95)
    end, fall = round(END_SECONDS * 50), round(FALL_SECONDS * 50)
    found = []
    for i in range(len(level_db) - fall):
        after = level_db[i : i + fall]
        if level_db[i] < loud_db + PHRASE_END_DB or after[1 : 1 + end].max() > level_db[i]:
            continue
        # Up to the noise floor or the next syllable, whichever comes first.
        rises = np.flatnonzero(np.diff(after) > 0.0)
        length = int(rises[0]) + 1 if len(rises) else fall
        if length > end and after[0] - after[length - 1] > 10.0:
            slope = np.polyfit(np.arange(length) / 50.0, after[:length], 1)[0]
            found.append(-60.0 / slope)
    middle = float(np.median(found)) if found else 0.5
    return float(np.clip(middle, FASTEST_FALL_S, SLOWEST_FALL_S))


def _syllables_per_s(level_db: np.ndarray, sung: np.ndarray) -> float:
    """By the time that phrases take: pauses between them do not make them slow."""
    window = np.hanning(round(SYLLABLE_SECONDS * 50) + 2)[1:-1]
    floored = np.maximum(level_db, np.percentile(level_db, 95) - GATE_DB)
    smooth = np.convolve(floored, window / window.sum(), "same")
    peaks, _ = scipy.signal.find_peaks(smooth, prominence=SYLLABLE_DB)
    phrases = np.convolve(sung, np.ones(round(PAUSE_SECONDS * 50)), "same") > 0.5
    return len(peaks) / max(float(phrases.sum()) / 50.0, 1.0)
