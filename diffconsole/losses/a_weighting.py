"""The curve A as a short filter."""

from __future__ import annotations

import functools

import numpy as np

__all__ = ["a_weighting_taps"]


@functools.lru_cache(maxsize=8)
def a_weighting_taps(sample_rate: float) -> np.ndarray:
    """Return the 101-tap least-squares FIR of the A-weighting (IEC 61672), ``(taps,)`` float64."""
    import scipy.signal

    f1, f2, f3, f4 = 20.598997, 107.65265, 737.86223, 12194.217
    numerator = [(2 * np.pi * f4) ** 2 * 10 ** (1.9997 / 20), 0, 0, 0, 0]
    denominator = np.polymul(
        np.polymul([1, 2 * np.pi * f3], [1, 2 * np.pi * f2]),
        np.polymul(
            [1, 4 * np.pi * f4, (2 * np.pi * f4) ** 2], [1, 4 * np.pi * f1, (2 * np.pi * f1) ** 2]
        ),
    )
    b, a = scipy.signal.bilinear(numerator, denominator, fs=sample_rate)
    freq_hz, magnitude = scipy.signal.freqz(b, a, worN=512, fs=sample_rate)
    taps: np.ndarray = scipy.signal.firls(101, freq_hz, np.abs(magnitude), fs=sample_rate)
    return taps
