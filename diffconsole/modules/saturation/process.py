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

import torch
from torch import Tensor

from ...kernels.shapes import check_audio
from .curve import per_sample, relative
from .saturation_operator import saturate

__all__ = ["curve_settings", "saturation", "shaped"]

KEPT_DBFS = -18.0
NODES = 8


def saturation(
    audio: Tensor, sample_rate: float, drive_db: Tensor, bias: Tensor, mix: Tensor
) -> Tensor:
    """Saturate; each channel for itself.

    Parameters
    ----------
    audio : Tensor
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
    Tensor
        The shape of `audio`.
    """
    check_audio(audio)
    return saturate(audio, float(sample_rate), curve_settings(drive_db, bias, mix))


def curve_settings(drive_db: Tensor, bias: Tensor, mix: Tensor) -> Tensor:
    """Return what a curve is computed from, ``(batch, 4)`` float64.

    The steepness s, the bias t, the gain of the dry signal and that of the saturated one.
    """
    drive_db, bias, mix = (setting.to(torch.float64) for setting in (drive_db, bias, mix))
    steepness = torch.expm1(drive_db * (math.log(10.0) / 20.0))
    kept = 10.0 ** (KEPT_DBFS / 20.0)
    places = torch.arange(1, 2 * NODES, 2, dtype=torch.float64, device=bias.device)
    nodes = math.sqrt(2.0) * kept * torch.cos(places * (math.pi / (2 * NODES)))
    values = nodes * relative(nodes * steepness.unsqueeze(-1), bias.unsqueeze(-1))
    power = (values**2).mean(-1) - values.mean(-1) ** 2
    share = mix / 100.0
    return torch.stack((steepness, bias, 1.0 - share, share * kept / power.sqrt()), dim=-1)


def shaped(audio: Tensor, settings: Tensor) -> Tensor:
    """Return g(u), the curve alone.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``.
    settings : Tensor
        ``(batch, 4)``, of :func:`curve_settings`.
    """
    steepness, bias, dry, wet = per_sample(settings, audio)
    return audio * (dry + wet * relative(steepness * audio, bias))
