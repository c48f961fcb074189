"""The reverb's loops from torch operations alone: any device, no compiler.

The interface is that of :mod:`.cpu_room`, which says what each function does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .noise import CUT_Q

__all__ = [
    "band_powers",
    "color",
    "color_gradient",
    "decay_gradient",
    "decaying_noise",
    "spectrum_gradient",
]


def _decay(time: Tensor, t60: Tensor, sample_rate: float, dtype: torch.dtype) -> Tensor:
    exponent = time * (-3.0 * math.log(10.0) / sample_rate / t60.unsqueeze(-1))
    return exponent.to(dtype).exp_()


def _sounding(time: Tensor, t60: Tensor, sample_rate: float) -> Tensor:
    return (time / sample_rate < t60.amax(dim=1, keepdim=True)).unsqueeze(1)


def decaying_noise(noise: Tensor, t60: Tensor, sample_rate: float, target: Tensor) -> None:
    """Fill the front of a target with the sum of the bands, each with its decay."""
    target = target[..., : noise.shape[-1]]
    time = torch.arange(target.shape[-1], device=target.device, dtype=torch.float64)
    target.zero_()
    for band in range(noise.shape[1]):
        decay = _decay(time, t60[:, band], sample_rate, target.dtype).unsqueeze(1)
        target.addcmul_(noise[:, band], decay)
    target.mul_(_sounding(time, t60, sample_rate))


def decay_gradient(noise: Tensor, t60: Tensor, sample_rate: float, gradient: Tensor) -> Tensor:
    """Gradient of the T60 of each band from that of the taps."""
    gradient = gradient[..., : noise.shape[-1]]
    time = torch.arange(gradient.shape[-1], device=gradient.device, dtype=torch.float64)
    gradient = gradient * _sounding(time, t60, sample_rate)
    seconds = (time / sample_rate).to(gradient.dtype)
    found = torch.zeros_like(t60)
    for band in range(noise.shape[1]):
        product = (gradient * noise[:, band]).sum(dim=1)
        product *= _decay(time, t60[:, band], sample_rate, gradient.dtype)
        found[:, band] = (product * seconds).sum(dim=-1, dtype=torch.float64)
    return found * (3.0 * math.log(10.0)) / t60.square()


def band_powers(spectrum: Tensor, bins: list[int]) -> Tensor:
    """Means of |M|², |S|² and Re(M·conj(S)) over the bins ``first, last, step``."""
    first, last, step = bins
    middle, side = torch.view_as_real(spectrum[..., first : last + 1 : step]).unbind(dim=1)
    pairs = ((middle, middle), (side, side), (middle, side))
    sums = [(one * other).sum(dim=(1, 2), dtype=torch.float64) for one, other in pairs]
    return torch.stack(sums, dim=-1) / middle.shape[1]


def spectrum_gradient(
    gradient: Tensor, by_power: Tensor, spectrum: Tensor, bins: list[int]
) -> Tensor:
    """Half spectrum whose inverse transform, unscaled, is the gradient of the taps."""
    first, last, step = bins
    part = slice(first, last + 1, step)
    whole = 0.5 * gradient
    ends = slice(None, None, whole.shape[-1] - 1)
    whole[..., ends] = gradient[..., ends]
    counted = spectrum[..., part]
    by_middle, by_side, by_both = (by_power / counted.shape[-1]).to(counted.real.dtype).unbind(-1)
    own = torch.stack((by_middle, by_side), dim=1).unsqueeze(-1)
    # The bins at 0 Hz and fs/2 have no mirror image that shares their gradient.
    mirrored = torch.ones(whole.shape[-1], dtype=own.dtype, device=own.device)
    mirrored[ends] = 2.0
    added = own * counted + 0.5 * by_both[:, None, None] * counted.flip(1)
    whole[..., part] += added * mirrored[part]
    return whole


def _filter(settings: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Cuts and pre-delay together, ``(batch, bins)`` complex, and the two cuts' denominators.

    With s and c the sine and cosine of ω/2, and s₀ and c₀ those of a cut's frequency, a cookbook
    cut is ``−s²·c₀²/D`` or ``c²·s₀²/D`` with ``D = c²·s₀² − s²·c₀² + j·s·c·s₀·c₀/Q``: nothing
    cancels at low frequencies.
    """
    bins = torch.arange(length // 2 + 1, device=settings.device, dtype=torch.float64)
    half = bins * (math.pi / length)
    sine, cosine = half.sin(), half.cos()
    s2, c2, sc = ((a * b).to(dtype) for a, b in ((sine, sine), (cosine, cosine), (sine, cosine)))
    denominators = []
    for angle in settings[:, 5:].unbind(dim=-1):
        s0, c0 = angle.sin().unsqueeze(-1), angle.cos().unsqueeze(-1)
        s00, c00, sc0 = ((a * b).to(dtype) for a, b in ((s0, s0), (c0, c0), (s0, c0)))
        denominators.append(torch.complex(c2 * s00 - s2 * c00, sc * (sc0 / CUT_Q)))
    low, high = settings[:, 5:].unsqueeze(-1).unbind(dim=1)
    numerator = -s2 * c2 * (low.cos() * high.sin()).square().to(dtype)
    turns = bins / length * settings[:, 4:5]
    phase = (-2.0 * math.pi * (turns - turns.round())).to(dtype)
    ramp = torch.polar(numerator, phase)
    return ramp / (denominators[0] * denominators[1]), sc, *denominators


def color(spectrum: Tensor, settings: Tensor, length: int) -> Tensor:
    """Spectrum of both sides from that of middle and side."""
    dtype = spectrum.real.dtype
    response, *_ = _filter(settings, length, dtype)
    mix = settings[:, :4].reshape(-1, 2, 2, 1).to(dtype)
    middle, side = spectrum.unsqueeze(1).unbind(dim=2)
    return (mix[:, :, 0] * middle + mix[:, :, 1] * side) * response.unsqueeze(1)


def color_gradient(
    error: Tensor, spectrum: Tensor, settings: Tensor, length: int, by_spectrum: Tensor
) -> Tensor:
    """Gradient of the settings; that of the spectrum is written to `by_spectrum`.

    `error`, which is spoilt, is the transform of the gradient of the response.
    """
    dtype = spectrum.real.dtype
    error[..., :: error.shape[-1] - 1] *= 0.5
    response, sc, low, high = _filter(settings, length, dtype)
    mix = settings[:, :4].reshape(-1, 2, 2, 1).to(dtype)
    scale = 2.0 / length
    carried = error * (scale * response.conj()).unsqueeze(1)
    by_spectrum[:, 0] = mix[:, 0, 0] * carried[:, 0] + mix[:, 1, 0] * carried[:, 1]
    by_spectrum[:, 1] = mix[:, 0, 1] * carried[:, 0] + mix[:, 1, 1] * carried[:, 1]

    def dot(one: Tensor, other: Tensor) -> Tensor:
        product = torch.view_as_real(one) * torch.view_as_real(other)
        return product.sum(dim=(-2, -1), dtype=torch.float64)

    found = torch.empty_like(settings)
    for side in range(2):
        for source in range(2):
            found[:, 2 * side + source] = dot(carried[:, side], spectrum[:, source])
    # Of every other setting by its part in the logarithm of the response.
    product = (by_spectrum.conj() * spectrum).sum(dim=1)
    omega = torch.arange(product.shape[-1], device=product.device, dtype=dtype)
    omega *= 2.0 * math.pi / length
    found[:, 4] = (omega * product.imag).sum(dim=-1, dtype=torch.float64)
    total = product.real.sum(dim=-1, dtype=torch.float64)
    for column, cut in ((5, low), (6, high)):
        twice = 2.0 * settings[:, column : column + 1]
        slope = torch.complex(
            twice.sin().to(dtype).expand(-1, len(sc)), sc * (twice.cos() / CUT_Q).to(dtype)
        )
        found[:, column] = -(product * slope / cut).real.sum(dim=-1, dtype=torch.float64)
    found[:, 5] -= 2.0 * settings[:, 5].tan() * total
    found[:, 6] += 2.0 / settings[:, 6].tan() * total
    return found
