"""Loudness is that of pyloudnorm."""

from __future__ import annotations

import math

import numpy as np
import pyloudnorm
import pytest

from diffconsole.audio import loudness_lufs
from diffconsole.errors import AudioError


def varied(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    """Noise whose level changes by up to 80 dB."""
    rng = np.random.default_rng(seed)
    steps = 10.0 ** rng.uniform(-4.0, 0.0, (1, 20))
    noise = rng.standard_normal((channels, samples))
    return (noise * np.repeat(steps, -(-samples // 20), axis=1)[:, :samples]).astype(np.float32)


def measured(samples: np.ndarray, rate: int) -> float:
    # In double precision: what it gets decides in which one it filters.
    return pyloudnorm.Meter(rate, block_size=0.4).integrated_loudness(samples.T.astype(np.float64))


@pytest.mark.parametrize("rate", [8000, 16000, 37123, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("seconds", [0.4, 0.47, 3.33])
def test_at_every_rate_and_length(rate, seconds):
    samples = varied(2, math.ceil(seconds * rate) + 1, seed=rate)
    assert loudness_lufs(samples, rate) == pytest.approx(measured(samples, rate), abs=1e-9)


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_with_every_number_of_channels(channels):
    samples = varied(channels, 90000)
    assert loudness_lufs(samples, 44100) == pytest.approx(measured(samples, 44100), abs=1e-9)


def test_it_is_defined_for_five_channels():
    with pytest.raises(AudioError, match="up to 5 channels, not for 6"):
        loudness_lufs(varied(6, 30000), 44100)


def test_offsets_and_pauses():
    samples = varied(1, 200_000)
    samples[:, 50_000:120_000] = 0.0
    for offset in (0.0, 0.5):
        shifted = samples + np.float32(offset)
        assert loudness_lufs(shifted, 48000) == pytest.approx(measured(shifted, 48000), abs=1e-9)
    quiet = 1e-5 * samples
    assert loudness_lufs(quiet, 48000) == measured(quiet, 48000) == -math.inf
