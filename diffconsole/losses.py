"""Distance of a processed vocal to the engineer's mix, differentiable, as it is reported.

``total = MSS(L, R) + 0.5·MSS(M, S) + 0.5·MLDR(L, R) + 0.25·MLDR(M, S)``, the weights and terms of
Yu et al., *DiffVox* (DAFx 2025):

- MSS: per STFT resolution (128, 512, 2048, hop a quarter, Hann) of the A-weighted signals, the
  spectral convergence ``‖|Y| − |X|‖ / ‖|Y|‖`` plus the mean of ``|log|Y| − log|X||``; the mean
  over the resolutions.
- MLDR: the mean of ``|r(x) − r(y)|``, ``r`` the log ratio of short-term to long-term energy,
  for 50/1000 ms and 100/2000 ms: what a compressor does to the micro-dynamics.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from .console import kernels

__all__ = ["mix_distance", "mix_distance_terms", "spectral_distance"]

FFT_SIZES = (128, 512, 2048)
ENERGY_TIMES_MS = ((50.0, 1000.0), (100.0, 2000.0))
POWER_FLOOR = 1e-8
WEIGHTS = {"mss_lr": 1.0, "mss_ms": 0.5, "mldr_lr": 0.5, "mldr_ms": 0.25}


@functools.lru_cache(maxsize=8)
def _a_weighting(sample_rate: float) -> Tensor:
    """101-tap least-squares FIR of the A-weighting (IEC 61672), ``(taps,)`` float64."""
    import numpy as np
    import scipy.signal

    f1, f2, f3, f4 = 20.598997, 107.65265, 737.86223, 12194.217
    numerator = [(2 * np.pi * f4) ** 2 * 10 ** (1.9997 / 20), 0, 0, 0, 0]
    denominator = np.polymul(
        np.polymul([1, 2 * np.pi * f3], [1, 2 * np.pi * f2]),
        np.polymul(
            [1, 4 * np.pi * f4, (2 * np.pi * f4) ** 2], [1, 4 * np.pi * f1, (2 * np.pi * f1) ** 2]
        ),
    )
    b, a = scipy.signal.bilinear(numerator, denominator, fs=sample_rate)
    freq_hz, magnitude = scipy.signal.freqz(b, a, worN=512, fs=sample_rate)
    return torch.from_numpy(scipy.signal.firls(101, freq_hz, np.abs(magnitude), fs=sample_rate))


def _weigh(audio: Tensor, sample_rate: float) -> Tensor:
    taps = _a_weighting(sample_rate).to(audio)
    length = 1 << (audio.shape[-1] + len(taps) - 2).bit_length()
    spectrum = torch.fft.rfft(audio, length) * torch.fft.rfft(taps, length)
    half = len(taps) // 2
    return torch.fft.irfft(spectrum, length)[..., half : half + audio.shape[-1]]


def _spectrum(audio: Tensor, size: int) -> Tensor:
    """Complex STFT of ``(batch, channels, samples)``: ``(batch, channels, bins, frames)``."""
    window = torch.hann_window(size, dtype=audio.dtype, device=audio.device)
    flat = audio.reshape(-1, audio.shape[-1])
    spectrum = torch.stft(flat, size, size // 4, size, window, return_complex=True)
    return spectrum.reshape(*audio.shape[:-1], *spectrum.shape[-2:])


def _compare(predicted: Tensor, target: Tensor) -> Tensor:
    """Spectral convergence and log distance of two complex spectra, ``(batch,)``."""
    p, t = (
        (s.real.square() + s.imag.square()).clamp(min=POWER_FLOOR).flatten(1)
        for s in (predicted, target)
    )
    p_root, t_root = p.sqrt(), t.sqrt()
    error = torch.linalg.vector_norm(t_root - p_root, dim=1)
    convergence = error / torch.linalg.vector_norm(t_root, dim=1)
    return convergence + 0.5 * (p.log() - t.log()).abs().mean(dim=1)


def spectral_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the multi-resolution STFT distance of ``(batch, channels, samples)``: ``(batch,)``.

    The norms of the spectral convergence run over all channels of an item.
    """
    terms = [_compare(_spectrum(predicted, n), _spectrum(target, n)) for n in FFT_SIZES]
    return torch.stack(terms).mean(dim=0)


def _stereo_distances(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """MSS of left/right, and the mean of those of sum and difference, from the same spectra."""
    left_right, sum_difference = [], []
    for size in FFT_SIZES:
        p, t = _spectrum(predicted, size), _spectrum(target, size)
        left_right.append(_compare(p, t))
        both = _compare(p[:, 0] + p[:, 1], t[:, 0] + t[:, 1])
        apart = _compare(p[:, 0] - p[:, 1], t[:, 0] - t[:, 1])
        sum_difference.append(0.5 * (both + apart))
    return torch.stack(left_right).mean(dim=0), torch.stack(sum_difference).mean(dim=0)


def _average(energy: Tensor, time_ms: float, sample_rate: float) -> Tensor:
    step = 1.0 - math.exp(-2200.0 / time_ms / sample_rate)
    one_pole = torch.tensor([[[step, 0.0, 0.0, step - 1.0, 0.0]]], dtype=torch.float64)
    return kernels.sections(energy, one_pole.expand(len(energy), 1, 5).to(energy.device))


def _dynamics(audio: Tensor, sample_rate: float, stride: int) -> list[Tensor]:
    energy = audio.to(torch.float64).square().clamp(min=POWER_FLOOR)
    ratios = []
    for short_ms, long_ms in ENERGY_TIMES_MS:
        shift = int(sample_rate * (long_ms - short_ms) * 0.0005)
        short = _average(energy, short_ms, sample_rate)
        long = _average(energy, long_ms, sample_rate)
        long = long.roll(-shift, dims=-1)
        ratios.append(short[..., ::stride].log() - long[..., ::stride].log())
    return ratios


def _dynamics_distance(
    predicted: Tensor, target: Tensor, sample_rate: float, stride: int
) -> Tensor:
    ours, theirs = (_dynamics(audio, sample_rate, stride) for audio in (predicted, target))
    pairs = zip(ours, theirs, strict=True)
    total = torch.stack([(p - t).abs().mean(dim=(1, 2)) for p, t in pairs]).sum(dim=0)
    return total.to(predicted.dtype)


def _sum_difference(audio: Tensor) -> Tensor:
    left, right = audio[:, :1], audio[:, 1:]
    return torch.cat((left + right, left - right), dim=1)


def mix_distance_terms(
    predicted: Tensor, target: Tensor, sample_rate: float, *, stride: int = 1
) -> dict[str, Tensor]:
    """Return the four terms and their weighted total, each ``(batch,)``.

    Parameters
    ----------
    predicted, target : Tensor
        ``(batch, 1 or 2, samples)``, equal lengths; mono counts as two equal channels.
    sample_rate : float
        Hz; published figures are at 44100.
    stride : int
        The dynamics are compared at each so many samples; 1 is the reported distance, more is
        faster and, the energies being smooth over 50 ms, nearly the same.

    Returns
    -------
    dict of str to Tensor
        ``mss_lr``, ``mss_ms``, ``mldr_lr``, ``mldr_ms`` and ``total``.
    """
    predicted, target = (a.expand(-1, 2, -1) for a in (predicted, target))
    p, t = _weigh(predicted, sample_rate), _weigh(target, sample_rate)
    mss_lr, mss_ms = _stereo_distances(p, t)
    half = 1.0 / math.sqrt(2.0)
    terms = {
        "mss_lr": mss_lr,
        "mss_ms": mss_ms,
        "mldr_lr": _dynamics_distance(predicted, target, sample_rate, stride),
        "mldr_ms": _dynamics_distance(
            half * _sum_difference(predicted), half * _sum_difference(target), sample_rate, stride
        ),
    }
    terms["total"] = torch.stack([WEIGHTS[k] * v for k, v in terms.items()]).sum(dim=0)
    return terms


def mix_distance(
    predicted: Tensor, target: Tensor, sample_rate: float, *, stride: int = 1
) -> Tensor:
    """Return the total distance of each item, ``(batch,)``; see :func:`mix_distance_terms`."""
    return mix_distance_terms(predicted, target, sample_rate, stride=stride)["total"]
