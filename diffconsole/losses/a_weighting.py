"""The curve A as a short filter, designed by least squares."""

from __future__ import annotations

import functools

import numpy as np

__all__ = ["a_weighting_taps"]

TAPS, POINTS = 101, 512
POLES_HZ = (20.598997, 20.598997, 107.65265, 737.86223, 12194.217, 12194.217)
GAIN_DB = 1.9997
"""At 1 kHz the curve is at 0 dB (IEC 61672)."""


@functools.lru_cache(maxsize=8)
def a_weighting_taps(sample_rate: float) -> np.ndarray:
    """Return the symmetric filter that approximates the curve A best, ``(101,)`` float64.

    The curve is that of the analogue filter after the bilinear transform, which maps ``ω`` to
    ``2·fs·tan(ω/2fs)``. It is a straight line within each of 256 bands, and the error's square is
    integrated over them (Selesnick, "Linear-phase FIR filter design by least squares", 2005;
    SciPy's ``firls``).

    Parameters
    ----------
    sample_rate : float
        Hz.
    """
    angle = np.pi * np.arange(POINTS) / POINTS
    s = 2j * sample_rate * np.tan(angle / 2.0)
    response = (2.0 * np.pi * POLES_HZ[-1]) ** 2 * 10.0 ** (GAIN_DB / 20.0) * s**4
    for pole_hz in POLES_HZ:
        response = response / (s + 2.0 * np.pi * pole_hz)
    edges, wanted = (angle / np.pi).reshape(-1, 2), np.abs(response).reshape(-1, 2)
    n = np.arange(TAPS)[:, None, None]
    q = np.diff(np.sinc(edges * n) * edges, axis=2).sum(axis=(1, 2))
    half = np.arange((TAPS + 1) // 2)
    matrix = q[np.abs(half[:, None] - half)] + q[half[:, None] + half]
    n = n[: len(half)]
    slope = np.diff(wanted, axis=1) / np.diff(edges, axis=1)
    offset = wanted[:, :1] - edges[:, :1] * slope
    moments = edges * (slope * edges + offset) * np.sinc(edges * n)
    moments[0] -= slope * edges * edges / 2.0
    moments[1:] += slope * np.cos(n[1:] * np.pi * edges) / (np.pi * n[1:]) ** 2
    found = np.linalg.solve(matrix, np.diff(moments, axis=2).sum(axis=(1, 2)))
    return np.concatenate((found[:0:-1], 2.0 * found[:1], found[1:]))
