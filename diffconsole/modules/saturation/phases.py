"""The eight places between samples at which the saturation's curve is computed.

An allpass filter can shift a signal by a fraction of a sample. With eight of them, ``A_0`` to
``A_7``, whose phases differ by an eighth of a sample from one to the next, eight copies of a
signal are its values at eight places between samples. After the curve the filters ``A_7`` to
``A_0`` bring the copies together again, and in their mean every harmonic between half the sample
rate and 7.5 times the sample rate cancels: what eight-fold oversampling does, at the sample rate
itself.

Each ``A_k`` is five first-order allpass sections ``(a + z⁻¹)/(1 + a·z⁻¹)`` in a row. The numbers
were found by least squares, reweighted towards the largest error: the phases are right within
1.1e-4 rad up to 0.479 times the sample rate. ``A_k·A_{7−k}`` is the same for every k, so that
what is not bent passes one allpass filter: its level is kept at every frequency, and 3.4 samples
of delay at low frequencies are the price, less than that of any linear-phase filter.

Recursive filters of several allpass branches are from M. Renfors and T. Saramäki, "Recursive
Nth-band digital filters, part I", IEEE Trans. Circuits and Systems 34(1), 1987.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = [
    "ALLPASS",
    "BLOCKED_HZ",
    "LATENCY_SAMPLES",
    "NYQUIST_POLE",
    "output_section",
    "phase_sections",
]

ALLPASS = np.array([
    [0.004816232, 0.177794998, 0.519870508, 0.787009350, 0.934107999],
    [0.012310050, 0.215901653, 0.561276172, 0.810078197, 0.948966548],
    [0.022420798, 0.257728884, 0.599709517, 0.832435139, 0.961208224],
    [0.036336796, 0.301433753, 0.636018747, 0.853291171, 0.971417540],
    [0.054701157, 0.346120042, 0.670311639, 0.872448297, 0.979930435],
    [0.078086981, 0.391017629, 0.702517040, 0.889980324, 0.986934982],
    [0.107130448, 0.435186591, 0.732683363, 0.906014214, 0.992551931],
    [0.142556490, 0.477413478, 0.761166448, 0.920440790, 0.997012843],
])  # fmt: skip
"""``(places, sections)``, the coefficients a."""

LATENCY_SAMPLES = float(((1.0 - ALLPASS[[0, -1]]) / (1.0 + ALLPASS[[0, -1]])).sum())
"""Group delay at low frequencies of what goes forth and back, 3.4 samples at every rate."""

BLOCKED_HZ = 5.0
NYQUIST_POLE = 0.96


def output_section(sample_rate: float) -> np.ndarray:
    """Return the section behind the mean as ``(5,)``: b0, b1, b2, a1, a2.

    A bias makes a constant out of a level: a first-order high-pass at 5 Hz takes it away. At half
    the sample rate no place differs from another, so that harmonics fall there unhindered: a zero
    takes them away, at −0.02 dB at 0.417 times the sample rate.
    """
    tangent = math.tan(math.pi * BLOCKED_HZ / sample_rate)
    pole = (1.0 - tangent) / (1.0 + tangent)
    gain = 0.5 * (1.0 + NYQUIST_POLE) / (1.0 + tangent)
    return np.array([gain, 0.0, -gain, NYQUIST_POLE - pole, -pole * NYQUIST_POLE])


def phase_sections() -> np.ndarray:
    """Return every place's filter as second-order sections, ``(places, 3, 5)``."""
    first, second = ALLPASS[:, 0::2], np.pad(ALLPASS[:, 1::2], ((0, 0), (0, 1)))
    total, product = first + second, first * second
    sections = np.stack((product, total, np.ones_like(total), total, product), axis=-1)
    # The fifth stands alone: its partner is not an allpass at 0 but none.
    alone = first[:, -1]
    zero = np.zeros_like(alone)
    sections[:, -1] = np.stack((alone, np.ones_like(alone), zero, alone, zero), axis=-1)
    return sections
