"""Long-term spectra are Welch's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from diffconsole.plots.running import LongTermSpectrum


@pytest.mark.parametrize("samples", [1, 2, 3, 5001, 100_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_spectrum_in_parts_is_that_of_the_whole(samples, channels):
    noise = np.random.default_rng(samples).standard_normal((channels, samples)).astype(np.float32)
    spectrum = LongTermSpectrum(48000, samples)
    spectrum.add(noise[:, : samples // 3])
    spectrum.add(noise[:, samples // 3 :])
    _, density = scipy.signal.welch(noise, 48000, nperseg=spectrum.length, detrend=False)
    freq_hz = np.array([100.0, 1000.0, 5000.0, 15000.0])
    found = spectrum.decibels(freq_hz)
    spectrum._density = spectrum._count * density.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(found, spectrum.decibels(freq_hz), atol=1e-4)
