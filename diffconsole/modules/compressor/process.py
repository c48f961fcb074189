"""Compressor: feed-forward, branching one-pole detector on the level, soft knee.

With ``v[n] = max over channels of |x[n]|``::

    s[n] = a·s[n−1] + (1 − a)·v[n],  a = a_attack if v[n] > s[n−1] else a_release,  s[−1] = 0
    a    = exp(−1/(τ·fs))            τ: 63 % of a step
    L    = 20·log10(max(s, 1e−6))
    c(L) = 0                                       below T − W/2
           (1/R − 1)·(L − T + W/2)² / (2W)         within the knee
           (1/R − 1)·(L − T)                       above T + W/2
    y    = x·10^((c(L) + makeup)/20)

With a mix of m, 0…1, the dry signal is added (parallel compression), without any delay between the
two: ``y = x·((1 − m) + m·10^((c(L) + makeup)/20))``.

The detector is that of JUCE, ffmpeg and LSP. dasp-pytorch's compressor cannot serve: it uses the
attack for both directions, ignores the release, sums the channels, and its gradient at knee 0
is NaN.
"""

from __future__ import annotations

import numpy as np

from ...kernels.arrays import Numbers, is_array, math_of, without_gradient
from ...kernels.shapes import check_audio

__all__ = [
    "compressor",
    "detector_settings",
    "mixed_curve_db",
    "share_at_rest",
    "smoothing",
    "static_curve_db",
]


def smoothing(time_ms: Numbers, sample_rate: float) -> Numbers:
    """Return the one-pole coefficient ``exp(−1/(τ·fs))`` of a time constant in ms, float64."""
    m = math_of(time_ms)
    return m.exp(-1000.0 / (m.float64(time_ms) * sample_rate))


def static_curve_db(
    level_db: Numbers, threshold_db: Numbers, ratio: Numbers, knee_db: Numbers
) -> Numbers:
    """Return the output level for an input level, without makeup.

    Parameters
    ----------
    level_db : Tensor
        ``(…, points)``, dBFS.
    threshold_db, ratio, knee_db : Tensor
        ``(…, 1)``.

    Returns
    -------
    Tensor
        ``(…, points)``, dBFS.
    """
    m = math_of(level_db)
    slope = 1.0 / ratio - 1.0
    over = level_db - threshold_db + knee_db / 2.0
    bend = slope * m.at_least(over, 0.0) ** 2 / (2.0 * m.at_least(knee_db, 1e-12))
    change = m.where(over < knee_db, bend, slope * (level_db - threshold_db))
    return level_db + m.where(over <= 0.0, 0.0, change)


def share_at_rest(mix: Numbers, makeup_db: Numbers) -> Numbers:
    """Return how much of the output is compressed where nothing is turned down, as an amplitude.

    With ``m' = m·g/((1 − m) + m·g)``, g the makeup, the whole is turned down by ``(1 − m') +
    m'·10^(c/20)``, apart from the gain ``(1 − m) + m·g`` that it has at rest.

    Parameters
    ----------
    mix, makeup_db : Tensor
        Of one shape: %, dB.

    Returns
    -------
    Tensor
        0…1, of that shape; 1 for a mix of 100 %.
    """
    wet = mix / 100.0
    louder = wet * math_of(mix).amplitude(makeup_db)
    return louder / (1.0 - wet + louder)


def mixed_curve_db(
    level_db: Numbers,
    threshold_db: Numbers,
    ratio: Numbers,
    knee_db: Numbers,
    makeup_db: Numbers,
    mix: Numbers,
) -> Numbers:
    """Return :func:`static_curve_db` of the dry and the compressed signal together.

    Without the gain that both have where nothing is turned down; the settings are ``(…, 1)``.
    """
    m = math_of(level_db)
    curve = static_curve_db(level_db, threshold_db, ratio, knee_db)
    share = share_at_rest(mix, makeup_db)
    gain = 1.0 - share + share * m.amplitude(curve - level_db)
    return m.where(share == 1.0, curve, level_db + 20.0 * m.log10(gain))


@without_gradient
def compressor(
    audio: Numbers,
    sample_rate: float,
    threshold_db: Numbers,
    ratio: Numbers,
    attack_ms: Numbers,
    release_ms: Numbers,
    knee_db: Numbers,
    makeup_db: Numbers,
    mix: Numbers | None = None,
    *,
    after_db: Numbers | None = None,
) -> Numbers:
    """Turn down what is above the threshold; the channels are linked by their maximum.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``.
    sample_rate : float
        Hz.
    threshold_db : Tensor
        ``(batch,)``, dBFS.
    ratio : Tensor
        ``(batch,)``, 1 and up.
    attack_ms, release_ms : Tensor
        ``(batch,)``, ms, time to 63 % of a step; either may be the longer.
    knee_db : Tensor
        ``(batch,)``, dB, 0 is a hard knee.
    makeup_db : Tensor
        ``(batch,)``, dB.
    mix : Tensor, optional
        ``(batch,)``, %, how much of the output is compressed; without it all is.
    after_db : Tensor, optional
        ``(batch,)``, dB, the part of the makeup that is a gain of the output: it reaches the dry
        signal too.

    Returns
    -------
    Tensor
        The shape of `audio`.
    """
    check_audio(audio)
    settings = detector_settings(
        sample_rate, threshold_db, ratio, attack_ms, release_ms, knee_db, makeup_db, mix,
        after_db=after_db,
    )  # fmt: skip
    if is_array(audio):
        from .cpu_compressor import compress_forward

        return compress_forward(audio, np.stack(settings, axis=-1), False)[0]
    from .compressor_operator import compress

    m = math_of(audio)
    return compress(audio, *(m.beside(m.float64(s), audio) for s in settings))


def detector_settings(
    sample_rate: float,
    threshold_db: Numbers,
    ratio: Numbers,
    attack_ms: Numbers,
    release_ms: Numbers,
    knee_db: Numbers,
    makeup_db: Numbers,
    mix: Numbers | None = None,
    *,
    after_db: Numbers | None = None,
) -> tuple[Numbers, ...]:
    """Return what :func:`.compressor_operator.compress` takes, of those of :func:`compressor`."""
    m = math_of(threshold_db)
    settings: tuple[Numbers, ...] = (
        smoothing(attack_ms, sample_rate),
        smoothing(release_ms, sample_rate),
        threshold_db,
        1.0 / m.float64(ratio) - 1.0,
        knee_db,
        makeup_db,
    )
    if mix is None:
        return settings
    wet = m.float64(mix) / 100.0
    dry = 1.0 - wet
    if after_db is not None:
        dry = dry * m.amplitude(m.float64(after_db))
    return (*settings, wet, dry)
