"""Transforms in two steps against NumPy's, and convolutions by them."""

from __future__ import annotations

import numpy as np
import pytest

from diffconsole.kernels.stepped_transforms import ROWS, shape_for, to_signal, to_stepped


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 700, 20000, 110000])
def test_bins_are_those_of_one_transform(samples):
    shape = rows, columns = shape_for(samples)
    assert samples <= rows * columns <= samples + 0.2 * samples + 2 * ROWS
    signal = noise(2, samples)
    found = to_stepped(signal, shape)
    bins = np.arange(rows // 2 + 1)[:, None] + rows * np.arange(columns)
    expected = np.fft.fft(signal.astype(np.float64), rows * columns)[:, bins]
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    back = to_signal(found, shape)
    assert np.abs(back[:, :samples] - signal).max() < 1e-5
    assert np.abs(back[:, samples:]).max(initial=0.0) < 1e-5


def test_a_product_of_spectra_is_a_convolution():
    sound, response = noise(1, 5000), noise(2, 3000)
    shape = shape_for(7999)
    found = to_signal(to_stepped(sound, shape) * to_stepped(response, shape), shape)
    for own, by in zip(found, response, strict=True):
        expected = np.convolve(sound[0].astype(np.float64), by)
        assert np.abs(own[:7999] - expected).max() < 1e-5 * np.abs(expected).max()
