"""De-esser: what lies above a split is turned down where it is loud for this voice.

With p the input through a first-order high-pass at the split, h = p through the same again, and
levels by the detector of :mod:`diffconsole.kernels.envelope`::

    s_h = the level of max over channels of |h|: attack, release
    s_x = the level of max over channels of |x|: 10 ms, 1 s
    D   = 20·log10(max(s_h, 1e−6) / max(s_x, 1e−6)) − threshold
    c   = −min(max(D, 0), range),  r = 10^(c/40)
    y   = x + (r − 1)·(2·p + (r − 1)·h)

This is ``(1 + (r − 1)·HP)²``, two first-order high shelves in a row, each of c/2: monotone at
every depth, 12 dB/oct at most. Where nothing is turned down the output is the input, bit by bit: no
filter lies in the path and nothing turns the phase. Both levels rise and fall with the voice, so
the same threshold serves a quiet take and a loud one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...kernels.envelope import envelope, peak_level
from ...kernels.operators import name_for
from ...kernels.shapes import check_audio
from ..compressor.process import smoothing
from ..equalizer.process import HIGHEST_FREQUENCY
from ..equalizer.sections_operator import sections

__all__ = [
    "REFERENCE_MS",
    "change_db",
    "deesser",
    "esses_db",
    "reduced",
    "split",
    "split_section",
]

FLOOR = 1e-6
LOWEST_SPLIT_HZ = 2000.0
REFERENCE_MS = (10.0, 1000.0)
"""Attack and release of the whole voice's level: it falls so slowly that an ess after a vowel is
held against the vowel."""


def split(audio: Tensor, sample_rate: float, freq_hz: Tensor) -> tuple[Tensor, Tensor]:
    """Return the input through one first-order high-pass, and through two.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``.
    sample_rate : float
        Hz.
    freq_hz : Tensor
        ``(batch,)``, Hz, −3 dB of the first.

    Returns
    -------
    tuple of Tensor
        Each of the shape of `audio`.
    """
    section = split_section(sample_rate, freq_hz).unsqueeze(1).to(audio.device)
    length = None if audio.device.type == "cpu" else longest_ringing(sample_rate)
    first = sections(audio, section, length)
    return first, sections(first, section, length)


def split_section(sample_rate: float, freq_hz: Tensor) -> Tensor:
    """Return the first-order high-pass as a section, ``(batch, 5)`` float64: b0, b1, b2, a1, a2.

    By the bilinear transform with its frequency warped to `freq_hz`, ``(batch,)``.
    """
    held = freq_hz.to(torch.float64).clamp(max=HIGHEST_FREQUENCY * sample_rate)
    tangent = torch.tan(math.pi * held / sample_rate)
    b0 = 1.0 / (1.0 + tangent)
    zero = torch.zeros_like(b0)
    return torch.stack((b0, -b0, zero, (tangent - 1.0) * b0, zero), dim=-1)


def longest_ringing(sample_rate: float) -> int:
    """Return the samples in which the split falls by 160 dB, wherever it lies in its range."""
    ends = torch.tensor([LOWEST_SPLIT_HZ, HIGHEST_FREQUENCY * sample_rate], dtype=torch.float64)
    slowest = float(split_section(sample_rate, ends)[:, 3].abs().max())
    return math.ceil(8.0 * math.log(10.0) / -math.log(slowest))


def change_db(upper: Tensor, whole: Tensor, threshold_db: Tensor, range_db: Tensor) -> Tensor:
    """Return the change of the upper band's gain, 0 dB or less.

    Parameters
    ----------
    upper, whole : Tensor
        ``(batch, samples)``, levels of the upper band and of the voice, as amplitudes.
    threshold_db, range_db : Tensor
        ``(batch, 1)``, dB.

    Returns
    -------
    Tensor
        ``(batch, samples)``, dB.
    """
    ratio_db = 20.0 * (torch.log10(upper.clamp(min=FLOOR)) - torch.log10(whole.clamp(min=FLOOR)))
    return -torch.minimum((ratio_db - threshold_db).clamp(min=0.0), range_db)


def deesser(
    audio: Tensor,
    sample_rate: float,
    freq_hz: Tensor,
    threshold_db: Tensor,
    range_db: Tensor,
    attack_ms: Tensor,
    release_ms: Tensor,
) -> Tensor:
    """Turn down esses; the channels are linked by their maximum.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``.
    sample_rate : float
        Hz.
    freq_hz : Tensor
        ``(batch,)``, Hz, the split; at or above 0.49·fs it is clamped there.
    threshold_db : Tensor
        ``(batch,)``, dB against the voice's level.
    range_db : Tensor
        ``(batch,)``, dB, the most that the upper band is turned down.
    attack_ms, release_ms : Tensor
        ``(batch,)``, ms, of the upper band's level, to 63 % of a step.

    Returns
    -------
    Tensor
        The shape of `audio`.
    """
    check_audio(audio)
    parts = split(audio, sample_rate, freq_hz)
    levels = _levels(audio, parts[1], sample_rate, attack_ms, release_ms)
    return reduced(audio, *parts, *levels, threshold_db, range_db)


def _levels(
    audio: Tensor, upper: Tensor, sample_rate: float, attack_ms: Tensor, release_ms: Tensor
) -> tuple[Tensor, Tensor]:
    """Levels of the upper band and of the whole voice, as amplitudes."""
    own = (smoothing(t, sample_rate) for t in (attack_ms, release_ms))
    reference = (torch.full_like(attack_ms, t, dtype=torch.float64) for t in REFERENCE_MS)
    return envelope(peak_level(upper), *own), envelope(
        peak_level(audio), *(smoothing(t, sample_rate) for t in reference)
    )


def esses_db(
    audio: Tensor, sample_rate: float, freq_hz: Tensor, attack_ms: Tensor, release_ms: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what the de-esser compares with its threshold, and the voice's level beside it.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``.
    sample_rate, freq_hz, attack_ms, release_ms
        As :func:`deesser` takes them.

    Returns
    -------
    tuple of Tensor
        ``(batch, samples)`` each: the level of what lies above the split against the whole voice,
        dB, and the level of the whole voice, dBFS.
    """
    upper = split(audio, sample_rate, freq_hz)[1]
    levels = _levels(audio, upper, sample_rate, attack_ms, release_ms)
    upper_db, whole_db = (20.0 * torch.log10(level.clamp(min=FLOOR)) for level in levels)
    return upper_db - whole_db, whole_db


def reduced(
    audio: Tensor,
    once: Tensor,
    twice: Tensor,
    upper_level: Tensor,
    whole_level: Tensor,
    threshold_db: Tensor,
    range_db: Tensor,
) -> Tensor:
    """Turn down what lies above the split.

    Parameters
    ----------
    audio, once, twice : Tensor
        ``(batch, channels, samples)``, the input and what :func:`split` made of it.
    upper_level, whole_level : Tensor
        ``(batch, samples)``, as amplitudes.
    threshold_db, range_db : Tensor
        ``(batch,)``, dB.
    """
    given = (audio, once, twice, upper_level, whole_level, threshold_db, range_db)
    needs_gradient = torch.is_grad_enabled() and any(t.requires_grad for t in given)
    if not torch.compiler.is_compiling() and name_for(audio) == "cpu" and not needs_gradient:
        from .cpu_deesser import reduce

        return reduce(*given)
    own = (s.to(audio.device, audio.dtype).unsqueeze(-1) for s in (threshold_db, range_db))
    nepers = change_db(upper_level, whole_level, *own) * (math.log(10.0) / 40.0)
    share = torch.expm1(nepers).unsqueeze(1)
    return audio + share * (2.0 * once + share * twice)
