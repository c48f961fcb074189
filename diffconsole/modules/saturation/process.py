"""Saturation: a static waveshaper with a bias for even harmonics, antialiased, level-compensated.

With the drive d in dB, the bias t and the mix m in percent::

    s    = 10^(d/20) − 1
    f(u) = T/(s·(1 + t·T)),  T = tanh(s·u)
    c    = P/sqrt(mean f(u_j)² − (mean f(u_j))²),  P = 10^(−18/20)
    u_j  = √2·P·cos(π·(2j − 1)/16),  j = 1 … 8
    g(u) = (1 − m/100)·u + m/100·c·f(u)
    y    = B(⅛·Σ A_{7−k}(g(A_k(x))),  k = 0 … 7)

``f`` is ``(tanh(s·u + b) − tanh(b))/(s·(1 − t²))`` with ``t = tanh(b)``, written so that nothing
cancels: its slope at 0 is 1, silence stays silent, and without drive it is the identity. ``c``
keeps the level of a sine of −18 dBFS RMS, apart from the constant that a bias makes of it, by a
Gauss–Chebyshev quadrature.

The curve is computed at eight places between samples (:mod:`.phases`): the filters ``A_k`` shift
by eighths of a sample, and in the mean the harmonics above half the sample rate cancel. ``B``
blocks 0 Hz and half the sample rate. Dry and saturated pass the same filters, so that no mix of
them combs.
"""

from __future__ import annotations

import math

from ...kernels.arrays import Numbers, is_array, math_of, without_gradient
from ...kernels.shapes import check_audio
from .curve import per_sample, relative

__all__ = ["curve_settings", "saturate", "saturation", "shaped"]

KEPT_DBFS = -18.0
NODES = 8


@without_gradient
def saturation(
    audio: Numbers, sample_rate: float, drive_db: Numbers, bias: Numbers, mix: Numbers
) -> Numbers:
    """Saturate; each channel for itself.

    Parameters
    ----------
    audio : Tensor or ndarray
        ``(batch, channels, samples)``.
    sample_rate : float
        Hz.
    drive_db : Tensor
        ``(batch,)``, dB, 0 and up.
    bias : Tensor
        ``(batch,)``, between −1 and 1; its sign says which half of the wave is bent more.
    mix : Tensor
        ``(batch,)``, percent.

    Returns
    -------
    Tensor or ndarray
        The shape of `audio`.
    """
    check_audio(audio)
    return saturate(audio, float(sample_rate), curve_settings(drive_db, bias, mix))


def saturate(audio: Numbers, sample_rate: float, settings: Numbers) -> Numbers:
    """Saturate by what :func:`curve_settings` gives."""
    if is_array(audio):
        from .cpu_saturation import saturate_forward

        return saturate_forward(audio, settings, None, sample_rate, False)[0]
    from . import saturation_operator

    return saturation_operator.saturate(audio, sample_rate, settings)


def curve_settings(drive_db: Numbers, bias: Numbers, mix: Numbers) -> Numbers:
    """Return what a curve is computed from, ``(batch, 4)`` float64.

    The steepness s, the bias t, the gain of the dry signal and that of the saturated one.
    """
    m = math_of(drive_db)
    drive_db, bias, mix = (m.float64(setting) for setting in (drive_db, bias, mix))
    steepness = m.expm1(drive_db * (math.log(10.0) / 20.0))
    kept = 10.0 ** (KEPT_DBFS / 20.0)
    places = m.arange(1, 2 * NODES, 2, bias)
    nodes = math.sqrt(2.0) * kept * m.cos(places * (math.pi / (2 * NODES)))
    values = nodes * relative(nodes * steepness[:, None], bias[:, None])
    power = (values**2).mean(-1) - values.mean(-1) ** 2
    share = mix / 100.0
    return m.stack((steepness, bias, 1.0 - share, share * kept / m.sqrt(power)), axis=-1)


def shaped(audio: Numbers, settings: Numbers) -> Numbers:
    """Return g(u), the curve alone.

    Parameters
    ----------
    audio : Tensor or ndarray
        ``(batch, channels, samples)``.
    settings : Tensor or ndarray
        ``(batch, 4)``, of :func:`curve_settings`.
    """
    steepness, bias, dry, wet = per_sample(settings, audio)
    return audio * (dry + wet * relative(steepness * audio, bias))
