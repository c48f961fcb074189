"""FFT convolution: one transform for short signals, overlap-add for long ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...kernels.arrays import Numbers, is_array
from ...kernels.shapes import fast_length, transform_length

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["convolve", "delay"]

LONGEST_SINGLE = 1 << 20
SHORTEST_BLOCK = 1 << 18


def convolve(audio: Numbers, impulse_response: Numbers) -> Numbers:
    """Convolve and cut to the length of the audio: ``y[n] = Σ h[k]·x[n − k]``.

    Parameters
    ----------
    audio : Tensor or ndarray
        ``(batch, channels or 1, samples)``.
    impulse_response : Tensor or ndarray
        ``(batch, channels or 1, taps)``.

    Returns
    -------
    Tensor or ndarray
        ``(batch, channels, samples)``.
    """
    samples = audio.shape[-1]
    taps = min(impulse_response.shape[-1], samples)
    h = impulse_response[..., :taps]
    batch, device = max(len(audio), len(h)), None if is_array(audio) else audio.device
    if fast_length(samples + taps - 1) <= LONGEST_SINGLE:
        length, step = transform_length(samples + taps - 1, device), samples
    else:
        # Measured from 0.6 to 20 s of response: shorter blocks waste work on what overlaps, longer
        # ones leave the cache.
        length = max(SHORTEST_BLOCK, 1 << (3 * taps - 1).bit_length())
        step = length - taps + 1
    if is_array(audio):
        from . import array_room

        audio, h = (np.broadcast_to(s, (batch, *s.shape[1:])) for s in (audio, h))
        return array_room.convolve(audio, h, length, step)
    from . import convolution_operator as operator

    return operator.convolve(audio.expand(batch, -1, -1), h.expand(batch, -1, -1), length, step)


def delay(signal: Tensor, delay_samples: Tensor, samples: int) -> Tensor:
    """Delay by a fraction of samples, band-limited, differentiable in the delay.

    A phase ramp on a transform that is long enough for the ringing of the interpolation; what
    would ring before the first sample is cut.

    Parameters
    ----------
    signal : Tensor
        ``(batch, channels, samples)``.
    delay_samples : Tensor
        ``(batch,)`` float64, not negative.
    samples : int
        Length of the result.

    Returns
    -------
    Tensor
        ``(batch, channels, samples)``.
    """
    import torch

    length = fast_length(samples + 256)
    bins = torch.arange(length // 2 + 1, device=signal.device, dtype=torch.float64)
    turns = bins / length * delay_samples.to(signal.device, torch.float64).unsqueeze(-1)
    angle = (-2.0 * torch.pi * (turns - turns.detach().round())).to(signal.dtype)
    ramp = torch.polar(torch.ones_like(angle), angle).unsqueeze(1)
    return torch.fft.irfft(torch.fft.rfft(signal, length) * ramp, length)[..., :samples]
