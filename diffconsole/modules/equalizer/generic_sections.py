"""Second-order sections from torch operations alone: any device, no compiler."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...kernels.shapes import fast_length

__all__ = ["ringing_samples", "sections_backward", "sections_forward", "sections_saved_shape"]


def _polynomials(coefficients: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Numerators and denominators at the bins of a transform, and the waves they are made of.

    Times ``z·cos²(ω/2)`` a polynomial b0 + b1/z + b2/z² is
    ``(b0 + b1 + b2)·cos² − (b0 − b1 + b2)·sin² + 2j·(b0 − b2)·sin·cos`` of ω/2: the analogue
    prototype at tan(ω/2). Its three sums are taken in float64; from there on nothing cancels at
    low frequencies, so float32 does.

    Returns
    -------
    numerators, denominators : Tensor
        ``(batch, sections, bins)`` complex.
    waves : Tensor
        ``(3, bins)``: cos², −sin² and 2·sin·cos of ω/2.
    """
    half = torch.arange(length // 2 + 1, device=coefficients.device, dtype=torch.float64)
    half = half * (math.pi / length)
    sine, cosine = half.sin(), half.cos()
    waves = torch.stack((cosine * cosine, -sine * sine, 2.0 * sine * cosine)).to(dtype)
    b0, b1, b2, a1, a2 = coefficients.unbind(dim=-1)

    def polynomial(c0: Tensor, c1: Tensor, c2: Tensor) -> Tensor:
        low, high, middle = (
            part.to(dtype).unsqueeze(-1) for part in (c0 + c1 + c2, c0 - c1 + c2, c0 - c2)
        )
        return torch.complex(low * waves[0] + high * waves[1], middle * waves[2])

    return polynomial(b0, b1, b2), polynomial(torch.ones_like(a1), a1, a2), waves


def _response(coefficients: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """Response of the whole cascade, ``(batch, 1, bins)`` complex."""
    numerators, denominators, _ = _polynomials(coefficients, length, dtype)
    return (numerators / denominators).prod(dim=1, keepdim=True)


def _response_gradient(coefficients: Tensor, length: int, by_response: Tensor) -> Tensor:
    """Gradient of the coefficients from that of the response, ``(batch, bins)`` complex.

    Σ Re(conj(by_response)·∂H/∂c) with ∂H/∂N = (other sections)/D and ∂H/∂D = −H/D.
    """
    dtype = by_response.real.dtype
    numerators, denominators, waves = _polynomials(coefficients, length, dtype)
    each = numerators / denominators
    sections = each.shape[1]
    gradient = torch.empty_like(coefficients)
    conjugate = by_response.conj()
    before = torch.ones_like(each[:, 0])
    after = [torch.ones_like(before)]
    for s in range(sections - 1, 0, -1):
        after.append(after[-1] * each[:, s])
    for s in range(sections):
        by_numerator = conjugate * before * after[sections - 1 - s] / denominators[:, s]
        before = before * each[:, s]
        by_denominator = -by_numerator * each[:, s]
        for by, columns in ((by_numerator, (0, 1, 2)), (by_denominator, (None, 3, 4))):
            # The real part meets the real waves, the imaginary one j times the third.
            low = (by.real * waves[0]).sum(dim=-1, dtype=torch.float64)
            high = (by.real * waves[1]).sum(dim=-1, dtype=torch.float64)
            middle = (-by.imag * waves[2]).sum(dim=-1, dtype=torch.float64)
            parts = (low + high + middle, low - high, low + high - middle)
            for column, part in zip(columns, parts, strict=True):
                if column is not None:
                    gradient[:, s, column] = part
    return gradient


def ringing_samples(coefficients: Tensor) -> int:
    """Samples that the slowest pole needs to fall by 160 dB (waits for the device)."""
    a1, a2 = coefficients.detach()[..., 3], coefficients.detach()[..., 4]
    root = torch.sqrt(torch.complex(a1 * a1 - 4.0 * a2, torch.zeros_like(a1)))
    radius = torch.maximum((-a1 + root).abs(), (-a1 - root).abs()).max() / 2.0
    nepers = -torch.log(radius.clamp(1e-6, 1.0 - 1e-7))
    return int(math.ceil(160.0 / 20.0 * math.log(10.0) / float(nepers)))


def sections_saved_shape(rows: int, samples: int, sections: int, keep: bool) -> tuple[int, ...]:
    """Shape of what the forward pass keeps: nothing but the length of its transform."""
    return (1,)


def sections_forward(
    audio: Tensor, coefficients: Tensor, ringing: int, keep: bool
) -> tuple[Tensor, Tensor]:
    """Cascade of second-order sections by frequency sampling, in the precision of the audio.

    The transform is longer than the signal by `ringing` samples, or where that is 0 by the time
    that the cascade's slowest pole needs to fall by 160 dB: what wraps around is inaudible.
    """
    samples = audio.shape[-1]
    length = fast_length(samples + (ringing or ringing_samples(coefficients)))
    response = _response(coefficients, length, audio.dtype)
    y = torch.fft.irfft(torch.fft.rfft(audio, length) * response, length)[..., :samples]
    return y.contiguous(), coefficients.new_full((1,), length)


def sections_backward(
    gradient: Tensor, audio: Tensor, coefficients: Tensor, saved: Tensor, ringing: int
) -> tuple[Tensor, Tensor]:
    """Gradients of the audio and of the coefficients."""
    samples = audio.shape[-1]
    length = fast_length(samples + ringing) if ringing else int(saved)
    response = _response(coefficients, length, audio.dtype)
    error = torch.fft.rfft(gradient, length)
    grad_audio = torch.fft.irfft(error * response.conj(), length)[..., :samples]
    # Parseval on half a spectrum: all but the first and the last bin of it count twice.
    weight = torch.full((length // 2 + 1,), 2.0 / length, device=audio.device, dtype=audio.dtype)
    weight[0] = 1.0 / length
    if length % 2 == 0:
        weight[-1] = 1.0 / length
    by_response = (error * torch.fft.rfft(audio, length).conj() * weight).sum(dim=1)
    return grad_audio.contiguous(), _response_gradient(coefficients, length, by_response)
