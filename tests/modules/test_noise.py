"""The reverb's noise: reproducible, white, independent; bands that sum to the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole.kernels.shapes import constant
from diffconsole.modules.reverb.noise import BAND_CENTRES_HZ, band_noise, band_weights, white_noise
from tests import reference

from .helpers import RATES

CPU = torch.device("cpu")


def lowbias32(value: int) -> int:
    """The published integer hash, in Python's own integers."""
    value ^= value >> 16
    value = value * 0x7FEB352D & 0xFFFFFFFF
    value ^= value >> 15
    value = value * 0x846CA68B & 0xFFFFFFFF
    return value ^ value >> 16


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_samples_are_the_documented_hash(seed):
    start = lowbias32((seed * 0x9E3779B9 + 0x7F4A7C15) & 0xFFFFFFFF)
    integers = np.array([lowbias32((start + n) & 0xFFFFFFFF) for n in range(200)])
    expected = ((integers + 0.5) / 2**31 - 1) * np.sqrt(3)
    assert np.array_equal(white_noise(200, seed), expected)


def test_a_longer_noise_begins_with_the_shorter():
    long = white_noise(5000, 3)
    assert np.array_equal(long[:1200], white_noise(1200, 3))
    assert np.array_equal(long[1200:], white_noise(3800, 3, first=1200))


@pytest.mark.parametrize("seed", [0, 1, 7, -4, 2**40])
def test_moments(seed):
    n = white_noise(1 << 18, seed)
    assert abs(n.mean()) < 4 / np.sqrt(len(n))
    assert n.var() == pytest.approx(1.0, abs=0.01)
    assert np.abs(n).max() <= np.sqrt(3)
    assert np.mean(n**4) == pytest.approx(9 / 5, abs=0.02)  # uniform


@pytest.mark.parametrize("seed", [0, 1])
def test_whiteness(seed):
    n = white_noise(1 << 18, seed)
    power = np.abs(np.fft.rfft(n)[1:-1]) ** 2 / len(n)
    for part in np.array_split(power, 64):
        # the mean of k exponential variables: deviation 1/√k
        assert part.mean() == pytest.approx(1.0, abs=5 / np.sqrt(len(part)))
    # and its spread: the periodogram of white noise is exponential
    assert power.std() == pytest.approx(1.0, abs=0.05)
    spectrum = np.abs(np.fft.rfft(n, 2 * len(n))) ** 2
    lags = np.fft.irfft(spectrum)[1:2000] / len(n)
    assert np.abs(lags).max() < 5 / np.sqrt(len(n))


def test_seeds_are_independent():
    length = 1 << 16
    noises = [white_noise(length, seed) for seed in range(10)]
    spectra = [np.fft.rfft(n, 2 * length) for n in noises]
    for i in range(10):
        for j in range(i):
            # no shift of one is the other: seeds choose where a single sequence starts
            shifted = np.fft.irfft(spectra[i] * spectra[j].conj()) / length
            assert np.abs(shifted).max() < 6.5 / np.sqrt(length), (i, j)


@pytest.mark.parametrize("rate", RATES)
def test_band_weights_sum_to_1(rate):
    frequencies = np.linspace(0.0, rate / 2, 5000)
    weights = band_weights(frequencies)
    assert weights.shape == (len(BAND_CENTRES_HZ), 5000)
    assert weights.sum(axis=0) == pytest.approx(np.ones(5000), abs=1e-12)
    assert weights.min() >= -1e-15


def test_each_centre_belongs_to_its_band_and_the_outer_bands_hold_the_rest():
    assert band_weights(np.array(BAND_CENTRES_HZ)) == pytest.approx(np.eye(9), abs=1e-12)
    outside = band_weights(np.array([0.0, 20.0, 20000.0, 96000.0]))
    assert outside[0] == pytest.approx([1.0, 1.0, 0.0, 0.0])
    assert outside[-1] == pytest.approx([0.0, 0.0, 1.0, 1.0])


def test_halfway_between_centres_two_bands_share():
    between = np.sqrt(np.array(BAND_CENTRES_HZ[3:-1]) * np.array(BAND_CENTRES_HZ[4:]))
    weights = band_weights(between)
    for i in range(len(between)):
        assert weights[3 + i, i] == pytest.approx(0.5, abs=1e-9)
        assert weights[4 + i, i] == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("rate", [16000.0, 44100.0, 96000.0])
def test_bands_sum_to_the_white_noise(rate):
    bands = band_noise(rate, 5000, 4, torch.float64, CPU)
    lead = round(0.25 * rate)
    for side in range(2):
        expected = white_noise(lead + 5000, 8 + side)[lead:]
        assert reference.error_db(bands[side].sum(dim=0), expected) < -250.0


def test_bands_lie_where_they_should():
    rate, samples = 48000.0, 1 << 16
    bands = band_noise(rate, samples, 0, torch.float64, CPU)[0].numpy()
    frequencies = np.fft.rfftfreq(samples, 1 / rate)
    for band, centre in enumerate(BAND_CENTRES_HZ[:-1]):
        power = np.abs(np.fft.rfft(bands[band] * np.hanning(samples))) ** 2
        # the crossfades end five sixths of an octave away, and leakage is 60 dB down
        far = frequencies > centre * 2
        near = (frequencies < centre * 2 ** (5 / 6)) & (frequencies > centre * 2 ** (-5 / 6))
        assert power[far].sum() < 1e-6 * power[near].sum()


def test_bands_of_a_longer_noise_begin_with_the_shorter():
    short = band_noise(44100.0, 20000, 0, torch.float64, CPU)
    long = band_noise(44100.0, 150000, 0, torch.float64, CPU)[..., :20000]
    # circular filters of two lengths: the rest of the low bands' ringing after the lead
    assert reference.error_db(short, long) < -55.0


def test_every_band_is_stationary_from_the_first_sample():
    energies = np.zeros((9, 4))
    for seed in range(20):
        bands = band_noise(48000.0, 48000, seed, torch.float64, CPU).numpy()
        energies += (bands**2).sum(axis=0).reshape(9, 4, -1).mean(axis=2)
    ratios = energies[:, 0] / energies.mean(axis=1)
    # 40 noises × ¼ s: about 40·Δf/4·2 independent values in the lowest band of 89 Hz
    assert ratios == pytest.approx(np.ones(9), abs=0.12)


def test_middle_and_side_are_independent():
    middle, side = band_noise(44100.0, 60000, 0, torch.float64, CPU).sum(dim=1)
    correlation = float((middle * side).mean() / (middle.std() * side.std()))
    assert abs(correlation) < 4 / np.sqrt(60000)


def test_single_precision_is_the_same_noise():
    double = band_noise(44100.0, 4000, 2, torch.float64, CPU)
    single = band_noise(44100.0, 4000, 2, torch.float32, CPU)
    assert single.dtype == torch.float32
    assert reference.error_db(single, double) < -140.0


def test_noise_made_in_inference_mode_serves_gradients_later():
    band_noise.cache_clear()
    with torch.inference_mode():
        band_noise(16000.0, 300, 5, torch.float32, CPU)
    scale = torch.ones(1, requires_grad=True)
    (band_noise(16000.0, 300, 5, torch.float32, CPU) * scale).sum().backward()
    assert scale.grad is not None


def test_what_is_kept_is_bounded_in_bytes():
    made = []

    @constant(4, most_bytes=1000)
    def zeros(count: int) -> torch.Tensor:
        made.append(count)
        return torch.zeros(count, dtype=torch.float32)

    for count in (100, 120, 100, 120):  # 880 bytes: both stay
        zeros(count)
    assert made == [100, 120]
    zeros(50)  # 1080 bytes: the one that was not used for longest goes
    zeros(120)
    assert made == [100, 120, 50]
    zeros(100)
    assert made == [100, 120, 50, 100]
    zeros(5000)  # larger than all together: the latest stays, alone
    zeros(5000)
    zeros(50)
    assert made[4:] == [5000, 50]
    for count in range(1, 7):
        zeros(count)
    assert zeros(3).numel() == 3 and made[6:] == [1, 2, 3, 4, 5, 6]
    zeros(2)  # four are kept at most
    assert made[-1] == 2
