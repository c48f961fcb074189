"""Gate: a downward expander, with the compressor's detector and a hold.

With ``v[n] = max over channels of |x[n]|``::

    s    = the detector's level of v: attack, hold, release (:mod:`diffconsole.kernels.envelope`)
    L    = 20·log10(max(s, 1e−6))
    c(L) = −min(range, (R − 1)·max(T − L, 0))
    y    = x·10^(c/20)

Between words the level falls below the threshold T, and every dB that it falls becomes R dB, down
to the range. Without a hold it is the topology of ffmpeg's ``agate`` with its knee at 1, whose
source it was compared with. No look-ahead.
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.arrays import Numbers, is_array, math_of, without_gradient
from ...kernels.envelope import envelope, peak_level
from ...kernels.shapes import check_audio
from ..compressor.process import smoothing

__all__ = ["change_db", "gate", "gate_settings", "turned"]

FLOOR = 1e-6
HIGHEST_DB = 0.0


def gate_settings(
    sample_rate: float, attack_ms: Numbers, hold_ms: Numbers, release_ms: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    """Return what :func:`diffconsole.kernels.envelope.envelope` takes: attack, release, hold."""
    hold = math_of(hold_ms).float64(hold_ms) * (sample_rate / 1000.0)
    return smoothing(attack_ms, sample_rate), smoothing(release_ms, sample_rate), hold


def change_db(level: Numbers, threshold_db: Numbers, ratio: Numbers, range_db: Numbers) -> Numbers:
    """Return the change of gain, 0 dB or less.

    Parameters
    ----------
    level : Tensor
        ``(batch, samples)``, the detector's, as an amplitude.
    threshold_db, ratio, range_db : Tensor
        ``(batch, 1)``; dBFS, 1 and up, dB.

    Returns
    -------
    Tensor
        ``(batch, samples)``, dB.
    """
    m = math_of(level)
    level_db = 20.0 * m.log10(m.at_least(level, FLOOR))
    under = m.at_least(threshold_db - level_db, 0.0)
    return -m.minimum((ratio - 1.0) * under, range_db)


@without_gradient
def gate(
    audio: Numbers,
    sample_rate: float,
    threshold_db: Numbers,
    ratio: Numbers,
    range_db: Numbers,
    attack_ms: Numbers,
    hold_ms: Numbers,
    release_ms: Numbers,
) -> Numbers:
    """Turn down what is below the threshold; the channels are linked by their maximum.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``.
    sample_rate : float
        Hz.
    threshold_db : Tensor
        ``(batch,)``, dBFS.
    ratio : Tensor
        ``(batch,)``, 1 and up: dB of output for one dB of input below the threshold.
    range_db : Tensor
        ``(batch,)``, dB, the most that it turns down.
    attack_ms, hold_ms, release_ms : Tensor
        ``(batch,)``, ms: to 63 % of a rise, before a fall, to 63 % of a fall in level.

    Returns
    -------
    Tensor
        The shape of `audio`.
    """
    check_audio(audio)
    attack, release, hold = gate_settings(sample_rate, attack_ms, hold_ms, release_ms)
    if is_array(audio):
        from .cpu_gate import gate_forward

        times = np.stack((attack, release, hold), axis=-1)
        return gate_forward(audio, times, threshold_db, ratio, range_db)
    level = envelope(peak_level(audio), attack, release, hold)
    return turned(audio, level, threshold_db, ratio, range_db)


@without_gradient
def turned(
    audio: Numbers, level: Numbers, threshold_db: Numbers, ratio: Numbers, range_db: Numbers
) -> Numbers:
    """Turn audio down by the detector's level, ``(batch, samples)``; settings ``(batch,)``."""
    if is_array(audio):
        from .cpu_gate import turn_down

        return turn_down(audio, level, threshold_db, ratio, range_db)
    m = math_of(audio)
    own = (m.cast(s, level).unsqueeze(-1) for s in (threshold_db, ratio, range_db))
    factor = m.exp(change_db(level, *own) * (math.log(10.0) / 20.0))
    return audio * factor.unsqueeze(1)
