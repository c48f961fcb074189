"""Acoustic features of a raw vocal: tone, level, dynamics, room, noise, pace.

Engineers choose settings by such features, and a few pairs are enough to learn how. An encoder's
frames hold hundreds of figures, and a few pairs do not show which of them matter. Fine-tuning lets
the settings follow both. Only what is sung or said counts: frames that lie within 30 dB of the
loud ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..audio.bands import THIRD_OCTAVES_HZ
from ..audio.take import level_lufs
from ..audio.windows import whole_windows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "BANDS_HZ",
    "DYNAMICS_FEATURES",
    "MIN_FEATURE_STD",
    "VOICE_FEATURES",
    "extract_voice_features",
    "voice_features_of",
]

BANDS_HZ = THIRD_OCTAVES_HZ
"""Centres of third octaves, 50 Hz to 16 kHz."""

DYNAMICS_FEATURES = (
    "level_db", "spread_db", "crest_db", "log_decay_s", "log_pace_hz", "noise_db", "sibilance_db",
)  # fmt: skip
"""The features beside the tone; see :func:`extract_voice_features`."""

VOICE_FEATURES = (*(f"tone_{hz:g}_hz" for hz in BANDS_HZ), *DYNAMICS_FEATURES)
"""Names of what :func:`extract_voice_features` returns, in its order."""

MIN_FEATURE_STD = tuple(0.05 if name.startswith("log_") else 0.5 for name in VOICE_FEATURES)
"""Standard deviations over voices below which a feature counts as equal."""

ANALYSED_SECONDS, STEP_SECONDS = 20.0, 0.5
WINDOW_SECONDS, HOP_SECONDS = 0.09, 0.01
GATE_DB, FLOOR_DB = 30.0, -60.0
TONE_AROUND_HZ, SIBILANTS_HZ = (200.0, 4000.0), (5000.0, 10000.0)
LONG_SECONDS = 0.2
FALL_FROM_DB, LEAST_FALL_DB, FALL_SECONDS = -12.0, 10.0, (0.06, 0.3)
DECAYS_S, USUAL_DECAY_S = (0.1, 3.0), 0.5
SYLLABLE_SECONDS, SYLLABLE_DB, PACES_HZ = 0.08, 3.0, (0.3, 8.0)


def extract_voice_features(samples: np.ndarray, sample_rate: int) -> Tensor:
    """Return what :func:`voice_features_of` does, as a tensor ``(features,)`` float32."""
    import torch

    return torch.from_numpy(voice_features_of(samples, sample_rate))


def voice_features_of(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return features of a vocal: of its loudest twenty seconds, whatever its gain.

    Parameters
    ----------
    samples : ndarray
        ``(channels, samples)``, finite.
    sample_rate : int
        Hz. Bands above half of it are as if nothing were there.

    Returns
    -------
    ndarray
        ``(features,)`` float32, in the order of :data:`VOICE_FEATURES`: the long-term spectrum in
        third octaves, dB, its mean from 200 Hz to 4 kHz at 0; then ``level_db``, RMS of what is
        sung against the loudness (BS.1770-4) of all; ``spread_db``, from the 10th to the 90th
        percentile of the level in 0.2 s; ``crest_db``, of the 99.9th percentile of the samples'
        size above that RMS; ``log_decay_s``, natural logarithm of the time to fall by 60 dB, by
        the slopes after phrases; ``log_pace_hz``, that of the syllables in a second; ``noise_db``,
        the level that is exceeded 95 % of the time against the one that is exceeded 5 %, −60 at
        least; ``sibilance_db``, of 5 to 10 kHz in the sharpest twentieth of the frames above its
        median.
    """
    mono = _loudest(samples, sample_rate).mean(axis=0, dtype=np.float64)
    long = round(LONG_SECONDS * sample_rate)
    mono = np.pad(mono, (0, max(0, long - len(mono))))
    loudness = level_lufs(mono[None].astype(np.float32), sample_rate)
    hop = round(HOP_SECONDS * sample_rate)
    short_db = _levels_db(mono, 2 * hop)
    gate_db = float(np.percentile(short_db, 95)) - GATE_DB
    sung = short_db > gate_db
    level_db = 10.0 * math.log10(float(np.mean(10.0 ** (short_db[sung] / 10.0))))
    long_db = _levels_db(mono, long)
    long_db = long_db[long_db > np.percentile(long_db, 95) - GATE_DB]
    low_db, high_db = np.percentile(long_db, (10, 90))
    peak_db = 20.0 * math.log10(float(np.percentile(np.abs(mono), 99.9)) + 1e-9)
    noise_db = float(np.percentile(short_db, 5)) - gate_db - GATE_DB
    tone_db, sibilance_db = _tone_db(mono, sample_rate)
    dynamics = (
        level_db - loudness if math.isfinite(loudness) else 0.0,
        float(high_db - low_db), peak_db - level_db,
        math.log(_decay_s(short_db)), math.log(_pace(short_db, sung)),
        max(noise_db, FLOOR_DB), sibilance_db,
    )  # fmt: skip
    return np.concatenate((tone_db, dynamics)).astype(np.float32)


def _loudest(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The part with the most energy: silence between entries says nothing of a voice."""
    step, length = int(STEP_SECONDS * sample_rate), int(ANALYSED_SECONDS * sample_rate)
    if samples.shape[1] <= length:
        return samples
    starts = range(0, samples.shape[1] - step + 1, step)
    energy = np.array([float(np.square(samples[:, i : i + step]).sum()) for i in starts])
    steps = length // step
    whole = np.convolve(energy, np.ones(steps), "valid")
    first = int(np.argmax(whole)) * step
    return samples[:, first : first + length]


def _levels_db(mono: np.ndarray, length: int) -> np.ndarray:
    """RMS of frames side by side."""
    frames = whole_windows(mono, length)
    return 10.0 * np.log10(np.mean(frames**2, axis=1) + 1e-12)


def _tone_db(mono: np.ndarray, sample_rate: int) -> tuple[np.ndarray, float]:
    """Long-term spectrum of what is sung, and how sharp its sibilants are."""
    size = 2 ** round(math.log2(WINDOW_SECONDS * sample_rate))
    window = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(size) / size)).astype(np.float32)
    padded = np.pad(mono.astype(np.float32), size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 2]
    spectrum = np.fft.rfft(frames * window)
    power = (np.square(spectrum.real) + np.square(spectrum.imag)).astype(np.float32).T
    frame_db = 10.0 * np.log10(power.sum(axis=0) + 1e-15)
    power = power[:, frame_db > np.percentile(frame_db, 95) - GATE_DB]
    # The lowest bands are narrower than the bins are apart: they take what lies between.
    edges_hz = (np.arange(len(power) + 1) - 0.5) * sample_rate / size
    steps = np.concatenate(([0.0], np.cumsum(power.mean(axis=1, dtype=np.float64))))
    centres_hz = np.array(BANDS_HZ)
    reach = np.interp(np.outer(centres_hz, 10.0 ** np.array([-0.05, 0.05])), edges_hz, steps)
    tone_db = 10.0 * np.log10(reach[:, 1] - reach[:, 0] + 1e-15)
    low_hz, high_hz = TONE_AROUND_HZ
    around = (centres_hz > 0.99 * low_hz) & (centres_hz < 1.01 * high_hz)
    tone_db = np.maximum(tone_db - tone_db[around].mean(), FLOOR_DB)
    bins_hz = np.arange(len(power)) * sample_rate / size
    sharp = power[(bins_hz >= SIBILANTS_HZ[0]) & (bins_hz <= SIBILANTS_HZ[1])].sum(axis=0)
    sharp_db = 10.0 * np.log10(sharp + 1e-15)
    return tone_db, float(np.percentile(sharp_db, 95) - np.median(sharp_db))


def _decay_s(level_db: np.ndarray) -> float:
    """Median over the ends of phrases of the time to fall by 60 dB, by the slope of the level.

    A fall lasts until the level rises again: into the noise floor, or the next syllable.
    """
    frame_s = 2.0 * HOP_SECONDS
    least, most = (round(seconds / frame_s) for seconds in FALL_SECONDS)
    from_db = float(np.percentile(level_db, 95)) + FALL_FROM_DB
    falls = np.diff(level_db) <= 0.0
    found = []
    start = 0
    while start < len(falls):
        if not falls[start]:
            start += 1
            continue
        stop = start
        while stop < len(falls) and falls[stop]:
            stop += 1
        loud = start + int(np.argmin(level_db[start : stop + 1] >= from_db))
        part = level_db[max(start, loud - 1) : stop + 1][:most]
        if loud > start and len(part) > least and part[0] - part[-1] > LEAST_FALL_DB:
            slope = np.polyfit(np.arange(len(part)) * frame_s, part, 1)[0]
            found.append(-60.0 / slope)
        start = stop
    middle = float(np.median(found)) if found else USUAL_DECAY_S
    return min(max(middle, DECAYS_S[0]), DECAYS_S[1])


def _peaks(values: np.ndarray, prominence: float) -> int:
    """How many peaks rise so far above the higher one of the two valleys beside them.

    A valley is the lowest value on the way to a value above the peak, or to the end. What is level
    at its top is one peak; the ends are none.
    """
    steps = values[np.concatenate(([True], np.diff(values) != 0.0))]
    inner = steps[1:-1]
    found = 0
    for top in np.flatnonzero((inner > steps[:-2]) & (inner > steps[2:])) + 1:
        height = steps[top]
        valleys = []
        for side in (steps[:top][::-1], steps[top + 1 :]):
            higher = side > height
            valleys.append(side[: int(np.argmax(higher)) if higher.any() else None].min())
        found += bool(height - max(valleys) >= prominence)
    return found


def _pace(level_db: np.ndarray, sung: np.ndarray) -> float:
    """Syllables in a second of singing: rises of the level by 3 dB."""
    frame_s = 2.0 * HOP_SECONDS
    window = np.hanning(round(SYLLABLE_SECONDS / frame_s) + 2)[1:-1]
    floored = np.maximum(level_db, np.percentile(level_db, 95) - GATE_DB)
    smooth = np.convolve(floored, window / window.sum(), "same")
    count = _peaks(smooth, SYLLABLE_DB)
    seconds = max(float(sung.sum()) * frame_s, 0.5)
    return min(max(count / seconds, PACES_HZ[0]), PACES_HZ[1])


describe, MANNER, LEAST_SPREADS = extract_voice_features, DYNAMICS_FEATURES, MIN_FEATURE_STD
"""Former names."""
