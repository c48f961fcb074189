"""De-esser: what lies above a split is turned down where it is loud for this voice.

With p the input through a first-order high-pass at the split, h = p through the same again, and
levels by the detector of :mod:`diffconsole.kernels.envelope`::

    s_h = the level of max over channels of |h|: attack, release
    s_x = the level of max over channels of |x|: 10 ms, 1 s
    D   = 20·log10(max(s_h, 1e−6) / max(s_x, 1e−6)) − threshold
    c   = −min(max(D, 0), range),  r = 10^(c/40)
    y   = x + (r − 1)·(2·p + (r − 1)·h)

This is ``(1 + (r − 1)·HP)²``, two first-order high shelves in a row, each of c/2: monotone at
every depth, 12 dB/oct at most. Where nothing is turned down the output is the input, bit by bit: no
filter lies in the path and nothing turns the phase. Both levels rise and fall with the voice, so
the same threshold serves a quiet take and a loud one.
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.arrays import Numbers, is_array, math_of, without_gradient
from ...kernels.envelope import envelope, peak_level
from ...kernels.not_numbers import mark_not_numbers
from ...kernels.shapes import check_audio
from ..compressor.process import smoothing
from ..equalizer.process import HIGHEST_FREQUENCY, filter_sections

__all__ = [
    "REFERENCE_MS",
    "change_db",
    "deesser",
    "reduced",
    "split",
    "split_section",
]

FLOOR = 1e-6
LOWEST_SPLIT_HZ = 2000.0
REFERENCE_MS = (10.0, 1000.0)
"""Attack and release of the whole voice's level: it falls so slowly that an ess after a vowel is
held against the vowel."""


@without_gradient
def split(audio: Numbers, sample_rate: float, freq_hz: Numbers) -> tuple[Numbers, Numbers]:
    """Return the input through one first-order high-pass, and through two.

    Parameters
    ----------
    audio : Tensor or ndarray
        ``(batch, channels, samples)``.
    sample_rate : float
        Hz.
    freq_hz : Tensor
        ``(batch,)``, Hz, −3 dB of the first.

    Returns
    -------
    tuple of Tensor
        Each of the shape of `audio`.
    """
    section = math_of(audio).beside(split_section(sample_rate, freq_hz)[:, None], audio)
    on_cpu = is_array(audio) or audio.device.type == "cpu"
    length = None if on_cpu else longest_ringing(sample_rate)
    first = filter_sections(audio, section, length)
    return first, filter_sections(first, section, length)


def split_section(sample_rate: float, freq_hz: Numbers) -> Numbers:
    """Return the first-order high-pass as a section, ``(batch, 5)`` float64: b0, b1, b2, a1, a2.

    By the bilinear transform with its frequency warped to `freq_hz`, ``(batch,)``.
    """
    m = math_of(freq_hz)
    held = m.at_most(m.float64(freq_hz), HIGHEST_FREQUENCY * sample_rate)
    tangent = m.tan(math.pi * held / sample_rate)
    b0 = 1.0 / (1.0 + tangent)
    zero = m.filled(b0, 0.0)
    return m.stack((b0, -b0, zero, (tangent - 1.0) * b0, zero), axis=-1)


def longest_ringing(sample_rate: float) -> int:
    """Return the samples in which the split falls by 160 dB, wherever it lies in its range."""
    ends = np.array([LOWEST_SPLIT_HZ, HIGHEST_FREQUENCY * sample_rate])
    slowest = float(np.abs(split_section(sample_rate, ends)[:, 3]).max())
    return math.ceil(8.0 * math.log(10.0) / -math.log(slowest))


def change_db(upper: Numbers, whole: Numbers, threshold_db: Numbers, range_db: Numbers) -> Numbers:
    """Return the change of the upper band's gain, 0 dB or less.

    Parameters
    ----------
    upper, whole : Tensor
        ``(batch, samples)``, levels of the upper band and of the voice, as amplitudes.
    threshold_db, range_db : Tensor
        ``(batch, 1)``, dB.

    Returns
    -------
    Tensor or ndarray
        ``(batch, samples)``, dB.
    """
    m = math_of(upper)
    loud, whole_loud = (m.log10(m.at_least(level, FLOOR)) for level in (upper, whole))
    over = m.at_least(20.0 * (loud - whole_loud) - threshold_db, 0.0)
    return -m.minimum(over, range_db)


@without_gradient
def deesser(
    audio: Numbers,
    sample_rate: float,
    freq_hz: Numbers,
    threshold_db: Numbers,
    range_db: Numbers,
    attack_ms: Numbers,
    release_ms: Numbers,
) -> Numbers:
    """Turn down esses; the channels are linked by their maximum.

    Parameters
    ----------
    audio : Tensor or ndarray
        ``(batch, channels, samples)``.
    sample_rate : float
        Hz.
    freq_hz : Tensor
        ``(batch,)``, Hz, the split; at or above 0.49·fs it is clamped there.
    threshold_db : Tensor
        ``(batch,)``, dB against the voice's level.
    range_db : Tensor
        ``(batch,)``, dB, the most that the upper band is turned down.
    attack_ms, release_ms : Tensor
        ``(batch,)``, ms, of the upper band's level, to 63 % of a step.

    Returns
    -------
    Tensor or ndarray
        The shape of `audio`.
    """
    check_audio(audio)
    parts = split(audio, sample_rate, freq_hz)
    own = (smoothing(t, sample_rate) for t in (attack_ms, release_ms))
    reference = (math_of(attack_ms).filled(attack_ms, t) for t in REFERENCE_MS)
    s_h = envelope(peak_level(parts[1]), *own)
    s_x = envelope(peak_level(audio), *(smoothing(t, sample_rate) for t in reference))
    processed = reduced(audio, *parts, s_h, s_x, threshold_db, range_db)
    if is_array(processed):
        mark_not_numbers(processed, np.column_stack((attack_ms, release_ms)))
    return processed


@without_gradient
def reduced(
    audio: Numbers,
    once: Numbers,
    twice: Numbers,
    upper_level: Numbers,
    whole_level: Numbers,
    threshold_db: Numbers,
    range_db: Numbers,
) -> Numbers:
    """Turn down what lies above the split.

    Parameters
    ----------
    audio, once, twice : Tensor
        ``(batch, channels, samples)``, the input and what :func:`split` made of it.
    upper_level, whole_level : Tensor
        ``(batch, samples)``, as amplitudes.
    threshold_db, range_db : Tensor
        ``(batch,)``, dB.
    """
    if is_array(audio):
        from .cpu_deesser import reduce

        return reduce(audio, once, twice, upper_level, whole_level, threshold_db, range_db)
    m = math_of(audio)
    own = (m.cast(s, audio).unsqueeze(-1) for s in (threshold_db, range_db))
    nepers = change_db(upper_level, whole_level, *own) * (math.log(10.0) / 40.0)
    share = m.expm1(nepers).unsqueeze(1)
    return audio + share * (2.0 * once + share * twice)
