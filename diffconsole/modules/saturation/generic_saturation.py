"""The saturation in torch operations and sections, on every device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..equalizer.sections_operator import sections
from .curve import derivatives, per_sample, relative
from .phases import ALLPASS, NYQUIST_POLE, output_section

__all__ = ["saturate_backward", "saturate_forward"]

PLACES = len(ALLPASS)


def saturate_forward(
    audio: Tensor, settings: Tensor, filters: Tensor, sample_rate: float, keep: bool
) -> tuple[Tensor, Tensor]:
    """Saturate; the gradient needs nothing more than what came in."""
    forth, back, last = _parts(filters)
    copies, own = _filtered(_copied(audio), forth), _copied(settings)
    steepness, bias, dry, wet = per_sample(own, copies)
    bent = copies * (dry + wet * relative(steepness * copies, bias))
    mean = _filtered(bent, back).unflatten(0, (-1, PLACES)).mean(1)
    rows = audio.shape[0] * audio.shape[1]
    return _filtered(mean, last, _long(sample_rate)), settings.new_empty((rows, 0, 6, 8))


def saturate_backward(
    gradient: Tensor,
    audio: Tensor,
    settings: Tensor,
    kept: Tensor,
    filters: Tensor,
    sample_rate: float,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of audio and settings: the filters run back in time."""
    forth, back, last = _parts(filters)
    error = _filtered(gradient.flip(-1), last, _long(sample_rate)) / PLACES
    error = _filtered(_copied(error), back).flip(-1)
    by_audio, *by_settings = derivatives(_filtered(_copied(audio), forth), _copied(settings))
    found = [
        (error * by).to(torch.float64).sum((1, 2)).unflatten(0, (-1, PLACES)).sum(1)
        for by in by_settings
    ]
    error = _filtered((error * by_audio).flip(-1), forth).flip(-1)
    audio_gradient = error.unflatten(0, (-1, PLACES)).sum(1)
    return audio_gradient.contiguous(), torch.stack(found, dim=-1)


def _copied(items: Tensor) -> Tensor:
    """Return every item of a batch once for each place."""
    return items.repeat_interleave(PLACES, 0)


def _filtered(audio: Tensor, coefficients: Tensor, ringing: int | None = None) -> Tensor:
    """Run a batch through sections that repeat from item to item."""
    repeated = coefficients.repeat(len(audio) // len(coefficients), 1, 1)
    return sections(audio, repeated, ringing or _ringing(float(ALLPASS.max())))


def _parts(filters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    forth = filters[:-1].unflatten(0, (PLACES, -1))
    return forth, forth.flip(0), filters[-1:, None].transpose(0, 1)


def _long(sample_rate: float) -> int:
    """Return the samples that the section behind the mean rings."""
    return _ringing(-float(output_section(sample_rate)[4]) / NYQUIST_POLE)


def _ringing(pole: float) -> int:
    """Return the samples in which a pole falls by 160 dB."""
    return math.ceil(8.0 * math.log(10.0) / -math.log(pole))
