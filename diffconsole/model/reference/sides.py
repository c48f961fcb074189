"""What the two sides of a finished vocal are: reverb, or copies of the voice beside itself.

The reverb of a strip leaves the dry voice in the middle, and spreads what lies between the sides
over many lags. Three other things raise the side as well, and no reverb brings them:

- a level difference, ``R = g·L``: undone before anything is measured;
- one delayed copy, ``R(t) = g·L(t − τ)`` (Haas, "The influence of a single echo on the audibility
  of speech", 1951) or ``S(t) = g·M(t − τ)`` (wideners on mid and side);
- doubled voices, whose side is nearly as loud as the mid.

Copies are found by the generalised cross-correlation (Knapp and Carter, 1976) of two signals ``a``
and ``b`` whose spectra are made flat by their long-term power: with ``r`` its values,
``max_τ r_ab(τ)² / (r_aa(0)·r_bb(0))`` is the share of the power of ``b`` that one delayed and
scaled copy of ``a`` explains.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...audio.take import Take
from ...audio.windows import repeated
from .style_features import STYLE_RATE

__all__ = ["Sides", "passages_of", "sides_of"]

PASSAGE_SECONDS, PASSAGES = 4.0, 2
REFERENCE_SECONDS = 8.0
SHORTEST_SECONDS = 1.0

SIZE = 16384
LOWEST_HZ, HIGHEST_HZ = 200.0, 8000.0
LONGEST_MS, SHORTEST_MS = 40.0, 0.1
"""Delays of a copy: beyond lie echoes, below it lies a level difference."""

COPIED, UNBALANCED = 0.3, 0.1
"""Shares of the side that one copy explains. Reverb of this console, at any decay: below 0.06."""

WIDTH_HZ = ((500.0, 1500.0), (1500.0, 4000.0))
WIDEST_DB = -8.0
"""Sides that are louder against the mid are doubled voices or a widener, no reverb."""

PARTNER_DB = 12.0
MONO = 1e-4
"""Two channels are one where one of them is 12 dB quieter, or they differ by less of the peak."""

TINY = 1e-20


class Sides(NamedTuple):
    """Passages of a finished vocal, and what its sides are.

    Attributes
    ----------
    audio : Tensor
        ``(passages, 1 or 2, samples)`` at 44.1 kHz, a level difference between the sides undone.
    show_reverb : bool
        Whether what lies between the sides may come from a reverb.
    widened : bool
        Whether it is doubled voices or a delayed copy instead; false where there is no side.
    """

    audio: Tensor
    show_reverb: bool
    widened: bool


def passages_of(samples: np.ndarray, sample_rate: int, seconds: float = PASSAGE_SECONDS) -> Tensor:
    """Return the loudest passage of each half of a vocal, or all of a short one, at 44.1 kHz.

    Parameters
    ----------
    samples : ndarray
        ``(channels, samples)``.
    sample_rate : int
        Hz.
    seconds : float
        Length of each.

    Returns
    -------
    Tensor
        ``(passages, channels, samples)`` float32, a second or longer: what is shorter is repeated.
    """
    from ...audio import resample
    from ...audio.alignment.segment import loudest_start

    length, total = int(seconds * sample_rate), samples.shape[1]
    if total < 2 * length:
        parts = [samples]
    else:
        # Found on the mean of the channels; half seconds of another rate serve as well.
        mono = samples.mean(axis=0, keepdims=True)
        halves = [(i * total // PASSAGES, (i + 1) * total // PASSAGES) for i in range(PASSAGES)]
        starts = [a + loudest_start(mono[:, a:b], length) for a, b in halves]
        parts = [samples[:, start : start + length] for start in starts]
    found = [resample(np.ascontiguousarray(part), sample_rate, STYLE_RATE) for part in parts]
    shortest = int(SHORTEST_SECONDS * STYLE_RATE)
    whole = np.stack([repeated(part, shortest) for part in found])
    return torch.from_numpy(np.ascontiguousarray(whole, np.float32))


@torch.no_grad()
def sides_of(samples: np.ndarray, sample_rate: int, take: Take) -> Sides:
    """Return passages of a finished vocal, and what its sides are.

    Parameters
    ----------
    samples : ndarray
        ``(channels, samples)``.
    sample_rate : int
        Hz.
    take : Take
        What is analysed of it, where its channels are not two sides of one vocal.
    """
    if not _is_stereo(samples):
        return Sides(passages_of(take.mono, take.sample_rate, REFERENCE_SECONDS), False, False)
    audio = passages_of(samples, sample_rate, REFERENCE_SECONDS)
    left, right = audio.double().unbind(dim=1)
    share, lag_ms, gain = _copied((left + right) / 2.0, (left - right) / 2.0)
    if share > UNBALANCED and abs(lag_ms) < SHORTEST_MS and abs(gain) < 1.0:
        # The voice into the middle: S = g·M is what L/(1 + g) = R/(1 − g) says.
        left, right = left / (1.0 + gain), right / (1.0 - gain)
        audio = torch.stack((left, right), dim=1).float()
        if not _is_stereo(audio.transpose(0, 1).flatten(1).numpy()):
            return Sides(audio, False, False)
        share, lag_ms, _ = _copied((left + right) / 2.0, (left - right) / 2.0)
    across, delay_ms, _ = _copied(left, right)
    widened = (
        share > COPIED
        or (across > COPIED and abs(delay_ms) >= SHORTEST_MS)
        or _width_db(left, right) > WIDEST_DB
    )
    return Sides(audio, not widened, widened)


def _is_stereo(samples: np.ndarray) -> bool:
    if len(samples) != 2:
        return False
    powers = np.mean(np.square(samples, dtype=np.float64), axis=1)
    if powers.min() < powers.max() * 10.0 ** (-PARTNER_DB / 10.0):
        return False
    return float(np.abs(samples[0] - samples[1]).max()) > MONO * float(np.abs(samples).max())


def _spectra(audio: Tensor) -> Tensor:
    """Spectra of ``(passages, samples)``, ``(frames, bins)``."""
    window = torch.hann_window(SIZE, dtype=audio.dtype)
    spectra = torch.stft(audio, SIZE, SIZE // 4, window=window, return_complex=True)
    return spectra.transpose(1, 2).flatten(0, 1)


def _copied(a: Tensor, b: Tensor) -> tuple[float, float, float]:
    """Share of `b` that a copy of `a` explains, its delay in ms, and its gain."""
    first, second = _spectra(a), _spectra(b)
    powers = [spectra.abs().square().mean(dim=0) for spectra in (first, second)]
    hz = torch.arange(SIZE // 2 + 1, dtype=a.dtype) * STYLE_RATE / SIZE
    inside = (hz >= LOWEST_HZ) & (hz <= HIGHEST_HZ)
    flat = inside / (powers[0] + powers[1] + TINY)
    cross = torch.fft.irfft((second * first.conj()).mean(dim=0) * flat)
    whole = [float(torch.fft.irfft((p * flat).to(cross.dtype) + 0j)[0]) for p in powers]
    most = int(LONGEST_MS * STYLE_RATE / 1000.0)
    near = torch.cat((cross[-most:], cross[: most + 1]))
    place = int(near.abs().argmax())
    peak = float(near[place])
    share = peak * peak / (whole[0] * whole[1] + TINY)
    return share, 1000.0 * (place - most) / STYLE_RATE, peak / (whole[0] + TINY)


def _width_db(left: Tensor, right: Tensor) -> float:
    """Power of the side against the mid, mean of two bands in dB."""
    powers = [_spectra(x).abs().square().mean(dim=0) for x in (left + right, left - right)]
    hz = torch.arange(SIZE // 2 + 1) * STYLE_RATE / SIZE
    bands = [(hz >= low) & (hz < high) for low, high in WIDTH_HZ]
    mid, side = (torch.stack([p[band].sum() for band in bands]) + TINY for p in powers)
    return float((10.0 * (side / mid).log10()).mean())
