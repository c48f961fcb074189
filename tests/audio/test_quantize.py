"""Dither and rounding: the error's statistics, not its samples."""

import numpy as np
import pytest

from diffconsole.audio.quantize import encoded_blocks

LSB_SCALE = {"16": (2.0**15, 1), "24": (2.0**23, 256)}


def _codes(samples: np.ndarray, bit_depth: str, gain: float = 1.0, seed: int = 0) -> np.ndarray:
    """Stored codes in LSB, ``(channels, samples)``."""
    blocks = list(encoded_blocks(samples, gain, bit_depth, seed))
    return np.concatenate(blocks).T.astype(np.float64) / LSB_SCALE[bit_depth][1]


@pytest.mark.parametrize("bit_depth", ["16", "24"])
@pytest.mark.parametrize("offset_lsb", [0.0, 0.25, 0.5, -3.1])
def test_error_is_independent_of_the_signal(bit_depth, offset_lsb):
    """Mean 0 and variance LSB²/4 at any fraction of a code, below one LSB as well."""
    scale = LSB_SCALE[bit_depth][0]
    signal = np.full((1, 400_000), offset_lsb / scale)
    error = _codes(signal, bit_depth) - offset_lsb
    assert abs(error.mean()) < 5 * 0.5 / np.sqrt(error.size)
    assert error.var() == pytest.approx(0.25, rel=0.01)


def test_dither_is_triangular():
    """On silence, the codes −1, 0, 1 come with probability 1/8, 3/4, 1/8."""
    codes = _codes(np.zeros((1, 400_000)), "16")
    values, counts = np.unique(codes, return_counts=True)
    assert values.tolist() == [-1, 0, 1]
    assert counts / codes.size == pytest.approx([0.125, 0.75, 0.125], abs=0.003)


def test_error_is_white_and_free_of_harmonics():
    """A sine of 0.8 LSB comes out as itself and flat noise; plain rounding distorts it."""
    length, bin_number = 1 << 17, 3001
    sine = 0.8 * np.sin(2 * np.pi * bin_number * np.arange(length) / length) / 2**15
    codes = _codes(sine[None], "16")[0]
    power = np.abs(np.fft.rfft(codes)) ** 2 / length
    noise = np.delete(power[1:-1], bin_number - 1)
    amplitude = 2 * np.sqrt(power[bin_number] / length)
    assert amplitude == pytest.approx(0.8, abs=0.02)
    assert noise.mean() == pytest.approx(0.25, rel=0.02)
    bands = noise[: noise.size // 16 * 16].reshape(16, -1).mean(axis=1)
    assert bands == pytest.approx(0.25, rel=0.1)
    assert power[3 * bin_number] < 0.25 * 15  # e^-15: a peak of the noise that never comes


def test_channels_get_independent_dither():
    left, right = _codes(np.zeros((2, 200_000)), "16")
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.02


def test_seed_repeats_and_differs():
    signal = np.zeros((1, 1000))
    assert np.array_equal(_codes(signal, "16", seed=3), _codes(signal, "16", seed=3))
    assert not np.array_equal(_codes(signal, "16", seed=3), _codes(signal, "16", seed=4))


@pytest.mark.parametrize("bit_depth", ["16", "24"])
def test_rails(bit_depth):
    """Full scale stays full scale: no code wraps around."""
    scale = LSB_SCALE[bit_depth][0]
    codes = _codes(np.array([[1.0, -1.0] * 1000]), bit_depth)
    assert codes.max() == scale - 1
    assert codes.min() == -scale
    assert np.all(codes[0, ::2] >= scale - 2)
    assert np.all(codes[0, 1::2] <= -scale + 2)


def test_float_is_stored_untouched_and_scaled_on_request():
    signal = np.random.default_rng(0).normal(0, 3, (2, 300_000)).astype(np.float32)
    stored = np.concatenate(list(encoded_blocks(signal, 1.0, "32f", 0))).T
    assert np.array_equal(stored, signal)
    halved = np.concatenate(list(encoded_blocks(signal, 0.5, "32f", 0))).T
    assert np.array_equal(halved, signal / 2)
