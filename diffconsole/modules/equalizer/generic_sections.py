"""Kernels from torch operations alone: any device, no compiler."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ...kernels.shapes import fast_length
from ..reverb.generic_room import (
    band_powers,
    color,
    color_gradient,
    decay_gradient,
    decaying_noise,
    spectrum_gradient,
)

__all__ = [
    "band_powers",
    "color",
    "color_gradient",
    "compress_backward",
    "compress_forward",
    "compress_from",
    "decay_gradient",
    "decaying_noise",
    "ringing_samples",
    "scan_levels",
    "sections_backward",
    "sections_forward",
    "sections_saved_shape",
    "spectrum_gradient",
]

FLOOR = 1e-6


# --- second-order sections -------------------------------------------------------------------


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


# --- compressor ------------------------------------------------------------------------------


MOST_SWEEPS = 64
"""Of the policy iteration; what is not settled then is solved sample by sample."""


def _linear_scan(multiply: Tensor, add: Tensor) -> Tensor:
    """Solve ``s[n] = multiply[n]·s[n−1] + add[n]``, s[−1] = 0, by doubling strides."""
    stride = 1
    while stride < add.shape[-1]:
        later_add = add[..., stride:] + multiply[..., stride:] * add[..., :-stride]
        later_multiply = multiply[..., stride:] * multiply[..., :-stride]
        add = torch.cat((add[..., :stride], later_add), dim=-1)
        multiply = torch.cat((multiply[..., :stride], later_multiply), dim=-1)
        stride *= 2
    return add


def _before(levels: Tensor, start: Tensor | None = None) -> Tensor:
    if start is None:
        return torch.nn.functional.pad(levels[..., :-1], (1, 0))
    return torch.cat((start.unsqueeze(-1), levels[..., :-1]), dim=-1)


def scan_levels(
    v: Tensor, attack: Tensor, release: Tensor, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Solve the branching one-pole by policy iteration.

    Guess each sample's branch, solve the linear recurrence by a parallel scan, choose the
    branches again from the solution, until none changes. The recursion is monotone in its
    state, so each sweep settles at least one further sample and in practice all in 5–25. After
    :data:`MOST_SWEEPS` the rest is solved sample by sample: long, but no longer than the signal.

    Parameters
    ----------
    v : Tensor
        ``(batch, samples)`` float64, not negative.
    attack, release : Tensor
        ``(batch,)`` float64 coefficients.
    start : Tensor, optional
        ``(batch,)`` float64, the level before the first sample; 0 by default.

    Returns
    -------
    levels, rising : Tensor
        ``(batch, samples)``: the level, and where the attack ran.
    """
    a, r = attack.unsqueeze(-1), release.unsqueeze(-1)
    rising = v > _before(v, start)
    for _ in range(MOST_SWEEPS):
        coefficient = torch.where(rising, a, r)
        add = (1.0 - coefficient) * v
        if start is not None:
            add[..., 0] += coefficient[..., 0] * start
        levels = _linear_scan(coefficient, add)
        before = _before(levels, start)
        again = v > before
        # A tie, seen to the rounding of the scan, gives the same level by either branch.
        tie = (v - before).abs() <= 1e-13 * v.abs() + 1e-300
        changed = (again != rising) & ~tie
        if not bool(changed.any()):
            return levels, rising
        rising = torch.where(changed, again, rising)
    return _levels_in_turn(v, attack, release, start)


def _levels_in_turn(
    v: Tensor, attack: Tensor, release: Tensor, start: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Solve what :func:`scan_levels` solves, one sample after the other."""
    a, r = attack.cpu().numpy(), release.cpu().numpy()
    peaks = v.cpu().numpy()
    levels, rising = np.empty_like(peaks), np.empty(peaks.shape, bool)
    level = np.zeros(len(peaks)) if start is None else start.cpu().numpy()
    for n in range(peaks.shape[1]):
        now = peaks[:, n]
        rising[:, n] = now > level
        coefficient = np.where(rising[:, n], a, r)
        level = coefficient * level + (1.0 - coefficient) * now
        levels[:, n] = level
    return torch.from_numpy(levels).to(v.device), torch.from_numpy(rising).to(v.device)


def _peaks(audio: Tensor) -> Tensor:
    x = audio.to(torch.float64).abs()
    return x[:, 0] if x.shape[1] == 1 else torch.maximum(*x.unbind(dim=1))


def _change_db(levels: Tensor, parameters: Tensor) -> tuple[Tensor, ...]:
    """Change of level in dB, with makeup, and its derivatives by level, slope and knee in dB."""
    _, _, threshold, slope, knee, makeup = (p.unsqueeze(-1) for p in parameters.unbind(dim=-1))
    over = 20.0 * torch.log10(levels.clamp(min=FLOOR)) - threshold + 0.5 * knee
    bend = torch.where(knee > 0.0, 0.5 / knee.clamp(min=1e-30), torch.zeros_like(knee))
    inside = over.clamp(min=0.0).minimum(knee)
    bent = inside * bend
    change = inside * bent + (over - knee).clamp(min=0.0)
    by_level = slope * torch.where(over < knee, 2.0 * bent, (over > 0.0).to(over.dtype))
    return slope * change + makeup, by_level, change, slope * (bent - 2.0 * bent * bent)


def compress_forward(audio: Tensor, parameters: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    """Compressor; returns the audio and, if kept, the levels, negative where they rose."""
    attack, release = parameters[:, 0], parameters[:, 1]
    levels, rising = scan_levels(_peaks(audio), attack, release)
    factor = torch.pow(10.0, _change_db(levels, parameters)[0] / 20.0)
    y = (audio * factor.unsqueeze(1)).to(audio.dtype)
    saved = torch.where(rising, -levels, levels).to(audio.dtype)
    return y, saved if keep else saved.new_empty((len(saved), 0))


def compress_from(audio: Tensor, parameters: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Compress a part of a signal; see :func:`diffconsole.kernels.operators.compress_from`."""
    start = state.to(audio.device)
    levels, _ = scan_levels(_peaks(audio), parameters[:, 0], parameters[:, 1], start)
    factor = torch.pow(10.0, _change_db(levels, parameters)[0] / 20.0)
    return (audio * factor.unsqueeze(1)).to(audio.dtype), levels[:, -1].cpu()


def compress_backward(
    gradient: Tensor, audio: Tensor, parameters: Tensor, saved: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the audio and of the parameters, from the levels that were kept."""
    rising = saved < 0.0
    levels = saved.to(torch.float64).abs()
    change, by_level, by_slope, by_knee = _change_db(levels, parameters)
    factor = torch.pow(10.0, change / 20.0)
    product = (gradient.to(torch.float64) * audio).sum(dim=1) * factor
    by_db = product * (math.log(10.0) / 20.0)
    # The dB of a level and those of a gain cancel: d(dB)/ds = 20/ln(10)/s.
    steepness = torch.where(levels > FLOOR, by_level / levels.clamp(min=FLOOR), 0.0)
    error = product * steepness
    a = torch.where(rising, parameters[:, :1], parameters[:, 1:2])
    # carried[n] = error[n] + a[n+1]·carried[n+1]
    later = torch.nn.functional.pad(a[:, 1:], (0, 1))
    carried = _linear_scan(later.flip(-1), error.flip(-1)).flip(-1)
    peaks = _peaks(audio)
    by_a = carried * (_before(levels) - peaks)
    zero = torch.zeros_like(by_a)
    sums = (
        torch.where(rising, by_a, zero),
        torch.where(rising, zero, by_a),
        -by_db * by_level,
        by_db * by_slope,
        by_db * by_knee,
        by_db,
    )
    grad_parameters = torch.stack([part.sum(dim=-1) for part in sums], dim=-1)
    # Of two channels the louder one carries the level, the first if they are equal.
    loudest = audio.abs().argmax(dim=1, keepdim=True)
    leads = torch.zeros_like(audio).scatter_(1, loudest, 1.0)
    by_peak = (carried * (1.0 - a)).unsqueeze(1) * leads * audio.sign()
    return (gradient * factor.unsqueeze(1) + by_peak).to(audio.dtype), grad_parameters
