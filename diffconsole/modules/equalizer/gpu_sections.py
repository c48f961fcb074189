"""Second-order sections on the GPU: frequency sampling, the response made bin by bin.

The transform is the device's own. Between the two transforms one kernel multiplies the spectrum
in place by the response of the whole cascade, which is never written to memory; backward, one
kernel makes it again, turns the error's spectrum into the audio's gradient and sums the
coefficients' gradients block by block.

The response is evaluated as in :mod:`.generic_sections`: from the analogue prototype at tan(ω/2),
which float32 can do at low frequencies too.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...kernels.shapes import fast_length
from . import generic_sections

__all__ = ["sections_backward", "sections_forward", "sections_saved_shape"]

MOST_SECTIONS = 16
BINS = 256
BINS_OF_GRADIENT = 128
STEPS_OF_GRADIENT = 16
# Columns of `_prototypes`: what cos², −sin² and 2j·sin·cos meet, numerator first.
PROTOTYPE = 6

PI = tl.constexpr(math.pi)

sections_saved_shape = generic_sections.sections_saved_shape


def _prototypes(coefficients: Tensor) -> Tensor:
    """Sums of the coefficients that the response is made of, ``(batch, sections, 6)`` float64."""
    b0, b1, b2, a1, a2 = coefficients.unbind(dim=-1)
    one = torch.ones_like(a1)
    parts = [b0 + b1 + b2, b0 - b1 + b2, b0 - b2, one + a1 + a2, one - a1 + a2, one - a2]
    return torch.stack(parts, dim=-1)


@triton.jit
def _waves(bins, length, kind: tl.constexpr):
    """cos², −sin² and 2·sin·cos of ω/2, small ones to their last digit at both ends."""
    step = (tl.full((), PI, tl.float64) / length).to(kind)
    sine = tl.sin(bins.to(kind) * step)
    cosine = tl.sin((length - 2 * bins).to(kind) * (0.5 * step))
    return cosine * cosine, -sine * sine, 2.0 * sine * cosine


@triton.jit
def _section(prototype, cosines, sines, mixed):
    """Numerator over denominator of one section, and 1 over the denominator."""
    kind = cosines.dtype
    top = tl.load(prototype).to(kind) * cosines + tl.load(prototype + 1).to(kind) * sines
    top_j = tl.load(prototype + 2).to(kind) * mixed
    low = tl.load(prototype + 3).to(kind) * cosines + tl.load(prototype + 4).to(kind) * sines
    low_j = tl.load(prototype + 5).to(kind) * mixed
    scale = 1.0 / (low * low + low_j * low_j)
    inverse, inverse_j = low * scale, -low_j * scale
    return (
        top * inverse - top_j * inverse_j,
        top * inverse_j + top_j * inverse,
        inverse,
        inverse_j,
    )


@triton.jit
def _multiply(re, im, other_re, other_im):
    return re * other_re - im * other_im, re * other_im + im * other_re


@triton.jit
def _filter(
    spectrum, prototypes, length, bins,
    SECTIONS: tl.constexpr, CHANNELS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Multiply the spectrum of an item's channels by its cascade's response."""
    row = tl.program_id(1).to(tl.int64)
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    kind = spectrum.dtype.element_ty
    cosines, sines, mixed = _waves(k, length, kind)
    h, h_j = tl.full((BLOCK,), 1.0, kind), tl.full((BLOCK,), 0.0, kind)
    for s in tl.static_range(SECTIONS):
        own = prototypes + (row * SECTIONS + s) * COLUMNS
        re, im, _, _ = _section(own, cosines, sines, mixed)
        h, h_j = _multiply(h, h_j, re, im)
    for channel in tl.static_range(CHANNELS):
        at = spectrum + ((row * CHANNELS + channel) * bins + k) * 2
        re, im = tl.load(at, mask=k < bins, other=0.0), tl.load(at + 1, mask=k < bins, other=0.0)
        re, im = _multiply(re, im, h, h_j)
        tl.store(at, re, mask=k < bins)
        tl.store(at + 1, im, mask=k < bins)


@triton.jit
def _filter_back(
    error, spectrum, prototypes, sums, length, bins,
    SECTIONS: tl.constexpr, CHANNELS: tl.constexpr, COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Turn the error's spectrum into that of the audio's gradient; sum those of the prototypes."""
    row = tl.program_id(1).to(tl.int64)
    kind = error.dtype.element_ty
    start = tl.program_id(0) * (BLOCK * STEPS)
    totals = ()
    for _ in tl.static_range(SECTIONS * COLUMNS):
        totals = totals + (tl.full((BLOCK,), 0.0, kind),)
    for step in range(STEPS):
        k = start + step * BLOCK + tl.arange(0, BLOCK)
        inside = k < bins
        cosines, sines, mixed = _waves(k, length, kind)
        # Parseval on half a spectrum: all but the first and the last bin of it count twice.
        twice = tl.where((k == 0) | (2 * k == length), 1.0, 2.0).to(kind)
        by, by_j = tl.full((BLOCK,), 0.0, kind), tl.full((BLOCK,), 0.0, kind)
        h, h_j = tl.full((BLOCK,), 1.0, kind), tl.full((BLOCK,), 0.0, kind)
        before = ()
        each = ()
        for s in tl.static_range(SECTIONS):
            section = _section(prototypes + (row * SECTIONS + s) * COLUMNS, cosines, sines, mixed)
            before = before + ((h, h_j),)
            each = each + (section,)
            h, h_j = _multiply(h, h_j, section[0], section[1])
        for channel in tl.static_range(CHANNELS):
            at = ((row * CHANNELS + channel) * bins + k) * 2
            e = tl.load(error + at, mask=inside, other=0.0)
            e_j = tl.load(error + at + 1, mask=inside, other=0.0)
            x = tl.load(spectrum + at, mask=inside, other=0.0)
            x_j = tl.load(spectrum + at + 1, mask=inside, other=0.0)
            # conj(error)·spectrum: the conjugate of the response's gradient
            by += e * x + e_j * x_j
            by_j += e * x_j - e_j * x
            e, e_j = _multiply(e, e_j, h, -h_j)
            tl.store(error + at, e, mask=inside)
            tl.store(error + at + 1, e_j, mask=inside)
        by, by_j = by * twice, by_j * twice
        # `by` gathers the sections after s while s goes down; those before it were kept.
        added = ()
        for s in tl.static_range(SECTIONS - 1, -1, -1):
            re, im, inverse, inverse_j = each[s]
            others, others_j = _multiply(by, by_j, before[s][0], before[s][1])
            top, top_j = _multiply(others, others_j, inverse, inverse_j)
            low, low_j = _multiply(top, top_j, re, im)
            # The real part meets the real waves, the imaginary one j times the third.
            added = (
                top * cosines, top * sines, -top_j * mixed,
                -low * cosines, -low * sines, low_j * mixed,
            ) + added  # fmt: skip
            by, by_j = _multiply(by, by_j, re, im)
        more = ()
        for i in tl.static_range(SECTIONS * COLUMNS):
            more = more + (totals[i] + added[i],)
        totals = more
    target = sums + (row * tl.num_programs(0) + tl.program_id(0)) * (SECTIONS * COLUMNS)
    for i in tl.static_range(SECTIONS * COLUMNS):
        tl.store(target + i, tl.sum(totals[i].to(tl.float64), axis=0))


def _length(samples: int, coefficients: Tensor, ringing: int) -> int:
    return fast_length(samples + (ringing or generic_sections.ringing_samples(coefficients)))


def sections_forward(
    audio: Tensor, coefficients: Tensor, ringing: int, keep: bool
) -> tuple[Tensor, Tensor]:
    """Filter; see :func:`.sections_operator.sections`.

    Returns the audio and the length of the transform; see :mod:`.generic_sections` for that length.
    """
    batch, channels, samples = audio.shape
    sections = coefficients.shape[1]
    if sections > MOST_SECTIONS:
        return generic_sections.sections_forward(audio, coefficients, ringing, keep)
    length = _length(samples, coefficients, ringing)
    with torch.cuda.device_of(audio):
        spectrum = torch.fft.rfft(audio, length).contiguous()
        bins = spectrum.shape[-1]
        grid = (math.ceil(bins / BINS), batch)
        _filter[grid](
            torch.view_as_real(spectrum), _prototypes(coefficients), length, bins,
            sections, channels, PROTOTYPE, BINS,
        )  # fmt: skip
        filtered = torch.fft.irfft(spectrum, length)[..., :samples]
    return filtered.contiguous(), coefficients.new_full((1,), length)


def sections_backward(
    gradient: Tensor, audio: Tensor, coefficients: Tensor, saved: Tensor, ringing: int
) -> tuple[Tensor, Tensor]:
    """Gradients of the audio and of the coefficients."""
    batch, channels, samples = audio.shape
    sections = coefficients.shape[1]
    if sections > MOST_SECTIONS:
        return generic_sections.sections_backward(gradient, audio, coefficients, saved, ringing)
    length = fast_length(samples + ringing) if ringing else int(saved)
    with torch.cuda.device_of(audio):
        error = torch.fft.rfft(gradient, length).contiguous()
        spectrum = torch.fft.rfft(audio, length).contiguous()
        bins = spectrum.shape[-1]
        blocks = math.ceil(bins / (BINS_OF_GRADIENT * STEPS_OF_GRADIENT))
        sums = coefficients.new_empty((batch, blocks, sections, PROTOTYPE))
        _filter_back[(blocks, batch)](
            torch.view_as_real(error), torch.view_as_real(spectrum), _prototypes(coefficients),
            sums, length, bins, sections, channels, PROTOTYPE, BINS_OF_GRADIENT, STEPS_OF_GRADIENT,
        )  # fmt: skip
        grad_audio = torch.fft.irfft(error, length)[..., :samples]
        grad_coefficients = _coefficient_gradient(sums.sum(dim=1) / length)
    return grad_audio.contiguous(), grad_coefficients


def _coefficient_gradient(by_prototypes: Tensor) -> Tensor:
    """From the gradient of `_prototypes` to that of the coefficients."""
    low, high, middle, low_a, high_a, middle_a = by_prototypes.unbind(dim=-1)
    columns = [
        low + high + middle,
        low - high,
        low + high - middle,
        low_a - high_a,
        low_a + high_a - middle_a,
    ]
    return torch.stack(columns, dim=-1)
