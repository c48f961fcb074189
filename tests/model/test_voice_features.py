"""Features of a voice: each follows what it is named for, and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal

from diffconsole.model.voice_features import (
    BANDS_HZ,
    VOICE_FEATURES,
    _peaks,
    extract_voice_features,
)

RATE = 44100


def noise(seconds: float = 4.0, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((1, int(seconds * RATE)))


def syllables(per_second: float, fall_s: float = 0.3, seconds: float = 6.0) -> np.ndarray:
    """Bursts of noise that die away, 60 dB in `fall_s`, over a floor."""
    time = np.arange(int(seconds * RATE)) / RATE
    since = time % (1.0 / per_second)
    envelope = np.where(since < 0.05, 1.0, 10.0 ** (-3.0 * (since - 0.05) / fall_s))
    return noise(seconds) * envelope + 1e-5 * noise(seconds, 1)


def features(samples: np.ndarray, rate: int = RATE) -> dict[str, float]:
    return dict(zip(VOICE_FEATURES, extract_voice_features(samples, rate).tolist(), strict=True))


def test_the_tone_is_the_spectrum_in_third_octaves() -> None:
    """White noise rises by 1 dB a third of an octave; a filter shows its response."""
    samples = noise(8.0)
    white = np.array([features(samples)[name] for name in VOICE_FEATURES[: len(BANDS_HZ)]])
    steps = np.diff(white[6:])
    assert abs(float(steps.mean()) - 1.0) < 0.1
    sos = scipy.signal.butter(2, 1000.0, fs=RATE, output="sos")
    dull = features(scipy.signal.sosfilt(sos, samples))
    _, response = scipy.signal.freqz_sos(sos, np.array(BANDS_HZ[8:]), fs=RATE)
    moved = np.array([dull[name] for name in VOICE_FEATURES[8 : len(BANDS_HZ)]]) - white[8:]
    expected = 20.0 * np.log10(np.abs(response))
    inside = white[8:] + expected > -50.0
    assert np.abs((moved - expected - np.median(moved - expected))[inside]).max() < 1.5


@pytest.mark.parametrize("gain_db", [-12.0, 9.0])
def test_gain_changes_nothing(gain_db: float) -> None:
    before, after = (features(syllables(3.0) * 10.0 ** (g / 20.0)) for g in (0.0, gain_db))
    for name in VOICE_FEATURES:
        assert after[name] == pytest.approx(before[name], abs=0.05), name


def test_pace_and_decay() -> None:
    slow, fast = features(syllables(1.5)), features(syllables(4.0, 0.12))
    assert fast["log_pace_hz"] - slow["log_pace_hz"] > 0.4
    for seconds in (0.2, 0.6):
        assert math.exp(features(syllables(1.0, seconds))["log_decay_s"]) == pytest.approx(
            seconds, rel=0.25
        )


def test_dynamics() -> None:
    ramp = 10.0 ** (np.linspace(-20.0, 0.0, 4 * RATE) / 20.0)
    assert features(noise() * ramp)["spread_db"] == pytest.approx(16.0, abs=1.0)
    assert features(noise())["spread_db"] < 1.0
    sine = 0.1 * np.sin(2 * np.pi * 440.0 * np.arange(4 * RATE) / RATE)[None]
    assert features(sine)["crest_db"] == pytest.approx(3.01, abs=0.1)
    assert features(noise())["crest_db"] == pytest.approx(10.3, abs=0.4)


def test_noise_and_sibilance() -> None:
    pauses = syllables(1.0, 0.1)
    assert features(pauses + 1e-2 * noise(6.0, 2))["noise_db"] > features(pauses)["noise_db"] + 20.0
    hiss = scipy.signal.sosfilt(
        scipy.signal.butter(4, (5500.0, 9000.0), "bandpass", fs=RATE, output="sos"), noise(6.0, 3)
    )
    often = (np.arange(hiss.shape[1]) / RATE) % 1.0 < 0.15
    voiced = scipy.signal.sosfilt(scipy.signal.butter(4, 1500.0, fs=RATE, output="sos"), noise(6.0))
    assert features(voiced + hiss * often)["sibilance_db"] > features(voiced)["sibilance_db"] + 15.0


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000])
def test_other_rates_tell_the_same(rate: int) -> None:
    """As far as they reach; what is above half of the rate is as if nothing were there."""
    low = scipy.signal.butter(6, 3000.0, fs=RATE, output="sos")
    samples = scipy.signal.sosfilt(low, syllables(3.0))
    there = scipy.signal.resample_poly(samples, *_ratio(rate), axis=1)
    ours, theirs = features(samples), features(there, rate)
    for name in (*VOICE_FEATURES[6:17], "level_db", "spread_db", "log_pace_hz"):
        assert theirs[name] == pytest.approx(ours[name], abs=1.0), name
    assert theirs[VOICE_FEATURES[25]] == -60.0 or rate > 32000


def _ratio(rate: int) -> tuple[int, int]:
    common = math.gcd(rate, RATE)
    return rate // common, RATE // common


@pytest.mark.parametrize("rate", [8000, 16003, 22254, RATE])
@pytest.mark.parametrize("samples", [0, 1, 300, 2400, 5000])
def test_next_to_nothing(samples: int, rate: int) -> None:
    for audio in (np.zeros((2, samples), np.float32), noise()[:, :samples]):
        assert bool(extract_voice_features(audio, rate).isfinite().all())


def test_a_long_file_is_its_loudest_twenty_seconds() -> None:
    """A song of silence with one verse in it has the features of the verse."""
    verse = syllables(3.0, seconds=20.0)
    song = np.concatenate((np.zeros((1, 31 * RATE)), verse, 0.01 * noise(60.0, 4)), axis=1)
    ours, theirs = features(song.astype(np.float32)), features(verse)
    for name in VOICE_FEATURES:
        assert ours[name] == pytest.approx(theirs[name], abs=0.1), name


def test_peaks_are_counted_as_scipy_does() -> None:
    rng = np.random.default_rng(0)
    for seed in range(200):
        values = 2.0 * np.cumsum(rng.standard_normal(rng.integers(1, 150)))
        if seed % 2:
            # Level tops and valleys, and equal peaks.
            values = np.maximum(np.round(values), np.percentile(values, 40))
        assert _peaks(values, 3.0) == len(scipy.signal.find_peaks(values, prominence=3.0)[0])
