"""Delay: echoes with feedback, each darker than the one before, as a send.

With ``C(ω)`` the two cuts (cookbook high- and low-pass, Q 0.71) and T the time::

    E(ω) = C(ω)·e^(−jωT)                              one pass through the loop
    odd  = E / (1 − g²·E²),  even = g·E² / (1 − g²·E²)     echoes 1, 3, 5 … and 2, 4, 6 …
    left  = wet·(l·odd + r·even),  right = wet·(r·odd + l·even)
    l, r  = √2·cos(π/4·(1 − w)), √2·sin(π/4·(1 − w))       the pan of the first echo, width w

so the echoes sum to ``Σ_k g^(k−1)·E^k``; the first lies to the left, the second to the right. Of
width 0 all lie in the middle. The send is the mean of the channels. The time is not rounded to
samples: it has a gradient. The response is long enough for the echoes to fall by 60 dB.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...kernels.shapes import check_audio, fast_length
from ..equalizer.process import HIGHEST_FREQUENCY
from ..reverb.convolution import convolve

__all__ = ["SILENT_DB", "delay", "delay_response", "echoes", "send", "tail_samples"]

CUT_Q = 0.71
CUT_RINGING_SECONDS = 0.1
SILENT_DB = -60.0
FOLDED_DB = -120.0
"""The transform is so long that what folds back to its start has fallen so far."""


def echoes(feedback: float, fallen_db: float = SILENT_DB) -> int:
    """Return how many echoes there are until they have fallen by so much."""
    if feedback <= 0.0:
        return 1
    return max(1, math.ceil(fallen_db / (20.0 * math.log10(min(feedback, 0.999)))) + 1)


def tail_samples(sample_rate: float, time_ms: float, feedback: float) -> int:
    """Return the samples until the echoes have fallen by 60 dB."""
    seconds = echoes(feedback) * time_ms / 1000.0 + CUT_RINGING_SECONDS
    return math.ceil(seconds * sample_rate)


def _cuts(omega: Tensor, low_cut: Tensor, high_cut: Tensor) -> Tensor:
    """Response of both cookbook cuts, ``(batch, bins)``; corners as angles, ``(batch,)``."""
    z1 = torch.polar(torch.ones_like(omega), -omega)
    response = torch.ones_like(z1).unsqueeze(0)
    for corner, sign in ((low_cut, 1.0), (high_cut, -1.0)):
        cosine, alpha = torch.cos(corner)[:, None], torch.sin(corner)[:, None] / (2.0 * CUT_Q)
        # The high-pass and the low-pass are each other's mirror image: 1 ± cos, 1 ∓ z⁻¹.
        top = 0.5 * (1.0 + sign * cosine) * (1.0 - sign * z1).square()
        bottom = (1.0 + alpha) + (-2.0 * cosine + (1.0 - alpha) * z1) * z1
        response = response * (top / bottom)
    return response


def delay_response(
    sample_rate: float,
    time_ms: Tensor,
    feedback: Tensor,
    low_cut_hz: Tensor,
    high_cut_hz: Tensor,
    width: Tensor,
    *,
    seconds: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the delay's impulse response at wet level 0 dB.

    Parameters
    ----------
    sample_rate : float
        Hz.
    time_ms, feedback, low_cut_hz, high_cut_hz, width : Tensor
        ``(batch,)`` each: ms between echoes, level of an echo against the one before (below 1), the
        corners of the cuts in Hz, 0 in the middle to 1 from side to side.
    seconds : float, optional
        Fixed length, so that shapes do not depend on settings (training); by default until the
        longest row of echoes in the batch has fallen by 60 dB.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    Tensor
        ``(batch, 2, taps)``: left and right.
    """
    time, g, spread = (s.to(torch.float64) for s in (time_ms, feedback, width))
    if seconds is None:
        rows = list(zip(time.detach().tolist(), g.detach().tolist(), strict=True))
        taps = max(tail_samples(sample_rate, *row) for row in rows)
        folded = max(echoes(row[1], FOLDED_DB) * row[0] / 1000.0 for row in rows)
        length = fast_length(max(taps, math.ceil((folded + CUT_RINGING_SECONDS) * sample_rate)))
    else:
        taps = math.ceil(seconds * sample_rate)
        length = fast_length(2 * taps)
    bins = torch.arange(length // 2 + 1, device=time.device, dtype=torch.float64)
    omega = bins * (2.0 * math.pi / length)
    corners = [
        f.to(torch.float64).clamp(max=HIGHEST_FREQUENCY * sample_rate)
        * (2.0 * math.pi / sample_rate)
        for f in (low_cut_hz, high_cut_hz)
    ]
    # Whole turns are left out while the numbers are exact.
    turns = bins / length * (time * (sample_rate / 1000.0)).unsqueeze(-1)
    angle = -2.0 * math.pi * (turns - turns.detach().round())
    once = _cuts(omega, *corners) * torch.polar(torch.ones_like(angle), angle)
    twice = g.unsqueeze(-1) * once
    odd = once / (1.0 - twice.square())
    even = twice * odd
    place = 0.25 * math.pi * (1.0 - spread)
    left, right = (math.sqrt(2.0) * f(place).unsqueeze(-1) for f in (torch.cos, torch.sin))
    sides = torch.stack((left * odd + right * even, right * odd + left * even), dim=1)
    return torch.fft.irfft(sides, length)[..., :taps].to(dtype)


def send(audio: Tensor) -> Tensor:
    """Return what goes into the loop, ``(batch, 1, samples)``: the mean of the channels."""
    return audio if audio.shape[1] == 1 else audio.mean(dim=1, keepdim=True)


def delay(
    audio: Tensor,
    sample_rate: float,
    time_ms: Tensor,
    feedback: Tensor,
    low_cut_hz: Tensor,
    high_cut_hz: Tensor,
    width: Tensor,
    wet_db: Tensor,
    *,
    seconds: float | None = None,
) -> Tensor:
    """Return the echoes alone.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``; the send is the mean of the channels.
    sample_rate : float
        Hz.
    time_ms, feedback, low_cut_hz, high_cut_hz, width : Tensor
        ``(batch,)`` each; see :func:`delay_response`.
    wet_db : Tensor
        ``(batch,)``, dB, level of the first echo against the send.
    seconds : float, optional
        See :func:`delay_response`.

    Returns
    -------
    Tensor
        ``(batch, 2, samples)``, to be added to the dry signal.
    """
    check_audio(audio)
    own = (s.to(audio.device) for s in (time_ms, feedback, low_cut_hz, high_cut_hz, width))
    response = delay_response(sample_rate, *own, seconds=seconds, dtype=torch.float64)
    level = 10.0 ** (wet_db.to(audio.device, torch.float64) / 20.0)
    return convolve(send(audio), (response * level[:, None, None]).to(audio.dtype))
