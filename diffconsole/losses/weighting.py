"""What the spectra of the distance are taken of: A-weighted audio, in short windows."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from .a_weighting import a_weighting_taps

__all__ = ["a_weighted", "a_weighting", "short_spectrum"]


@functools.lru_cache(maxsize=8)
def a_weighting(sample_rate: float) -> Tensor:
    """Return the 101-tap least-squares FIR of the A-weighting (IEC 61672), ``(taps,)`` float64."""
    # What is kept must not be an inference tensor: training may be the next to ask for it.
    with torch.inference_mode(False):
        return torch.from_numpy(a_weighting_taps(sample_rate))


@functools.lru_cache(maxsize=8)
def _taps_at(sample_rate: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The taps where they are used: a copy at each step would have to be waited for."""
    with torch.inference_mode(False), torch.no_grad():
        return a_weighting(sample_rate).to(device, dtype)


def a_weighted(audio: Tensor, sample_rate: float) -> Tensor:
    """Return audio as the ear weighs it, by the curve A.

    Parameters
    ----------
    audio : Tensor
        ``(…, samples)``.
    sample_rate : float
        Hz.

    Returns
    -------
    Tensor
        Of the same shape; the filter does not delay it.
    """
    taps = _taps_at(sample_rate, audio.device, audio.dtype)
    length = 1 << (audio.shape[-1] + len(taps) - 2).bit_length()
    spectrum = torch.fft.rfft(audio, length) * torch.fft.rfft(taps, length)
    half = len(taps) // 2
    return torch.fft.irfft(spectrum, length)[..., half : half + audio.shape[-1]]


def short_spectrum(audio: Tensor, size: int) -> Tensor:
    """Return the complex STFT of ``(batch, channels, samples)``.

    Its shape is ``(batch, channels, bins, frames)``.
    """
    window = torch.hann_window(size, dtype=audio.dtype, device=audio.device)
    flat = audio.reshape(-1, audio.shape[-1])
    spectrum = torch.stft(flat, size, size // 4, size, window, return_complex=True)
    return spectrum.reshape(*audio.shape[:-1], *spectrum.shape[-2:])
