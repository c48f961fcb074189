"""Reverb: a send through a stereo impulse response of shaped noise.

The impulse response of a side is ``Σ_bands n_band(t)·10^(−3·t/T60_band)``: one seeded noise in
octave bands (:mod:`.noise`), each with its own decay. ``decay_s`` holds at 1 kHz,
``decay_s·low_ratio`` at 250 Hz and below, ``decay_s·high_ratio`` at 8 kHz and above, straight
lines between on log-frequency and log-time. Left and right are ``(M ± width·S)/√(1 + width²)``,
each scaled so that the mean of |H|² over 20 Hz to min(20 kHz, fs/2) is 1; then come the cuts
(cookbook high- and low-pass, Q 0.71), without make-up, and the fractional pre-delay.

Noise shaping follows Moorer (1979) and Steinmetz, Ithapu and Calamia (2021). dasp-pytorch's
version cannot serve: its noise is unseeded, its tail cut at a fixed length, its rates two.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...kernels.shapes import check_audio, constant, fast_length
from ...strip.channel_strip import HIGHEST_FREQUENCY
from .convolution import convolve
from .noise import BAND_CENTRES_HZ
from .room import room_response, room_spectrum

__all__ = [
    "band_decays",
    "impulse_response",
    "reverb",
    "send",
    "send_response",
    "tail_samples",
]

# A 20 Hz high-pass of Q 0.71 falls by 76 dB in the first of these times, by 160 dB in the other.
CUT_RINGING_SECONDS = 0.1
CUT_SILENT_SECONDS = 0.21
LONGEST_PRE_DELAY_MS = 120.0
# What a fractional delay rings before its first sample.
DELAY_RINGING = 256


@constant(8)
def _ramps(device: torch.device) -> tuple[Tensor, Tensor]:
    """Weights of the two ratios in each band's log-time: 1 in the outer octaves, 0 at 1 kHz."""
    # Kept, since a copy to a device would wait for it each time; see also `band_noise`.
    with torch.inference_mode(False):
        octaves = [math.log2(centre / 1000.0) for centre in BAND_CENTRES_HZ]
        low = [min(max(-octave / 2.0, 0.0), 1.0) for octave in octaves]
        high = [min(max(octave / 3.0, 0.0), 1.0) for octave in octaves]
        both = torch.tensor([low, high], device=device, dtype=torch.float64)
        return both[0], both[1]


def band_decays(decay_s: Tensor, low_ratio: Tensor, high_ratio: Tensor) -> Tensor:
    """Return the T60 of each octave band.

    Parameters
    ----------
    decay_s, low_ratio, high_ratio : Tensor
        ``(batch,)``; seconds at 1 kHz, and the shares of it below and above.

    Returns
    -------
    Tensor
        ``(batch, bands)`` seconds, float64.
    """
    low, high = _ramps(decay_s.device)
    d, lo, hi = (p.to(torch.float64).unsqueeze(-1) for p in (decay_s, low_ratio, high_ratio))
    return d * lo**low * hi**high


def tail_samples(
    sample_rate: float,
    pre_delay_ms: float,
    decay_s: float,
    low_ratio: float,
    high_ratio: float,
) -> int:
    """Return the samples until the longest band has fallen by 60 dB, pre-delay included."""
    longest = decay_s * max(1.0, low_ratio, high_ratio)
    seconds = pre_delay_ms / 1000.0 + longest + CUT_RINGING_SECONDS
    return math.ceil(seconds * sample_rate)


def impulse_response(
    sample_rate: float,
    pre_delay_ms: Tensor,
    decay_s: Tensor,
    low_ratio: Tensor,
    high_ratio: Tensor,
    low_cut_hz: Tensor,
    high_cut_hz: Tensor,
    width: Tensor,
    *,
    seed: int = 0,
    seconds: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the reverb's impulse response, with pre-delay and cuts, at wet level 0 dB.

    Parameters
    ----------
    sample_rate : float
        Hz.
    pre_delay_ms, decay_s, low_ratio, high_ratio, low_cut_hz, high_cut_hz, width : Tensor
        ``(batch,)`` each; see the parameter table.
    seed : int
        Of the noise.
    seconds : float, optional
        Fixed length of the decay, so that shapes do not depend on settings (training); by
        default until the longest band of the batch has fallen by 60 dB.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    Tensor
        ``(batch, 2, taps)``.
    """
    return _scaled_response(
        sample_rate,
        pre_delay_ms,
        decay_s,
        low_ratio,
        high_ratio,
        low_cut_hz,
        high_cut_hz,
        width,
        torch.ones_like(width),
        seed=seed,
        seconds=seconds,
        dtype=dtype,
    )


def _scaled_response(
    sample_rate: float,
    pre_delay_ms: Tensor,
    decay_s: Tensor,
    low_ratio: Tensor,
    high_ratio: Tensor,
    low_cut_hz: Tensor,
    high_cut_hz: Tensor,
    width: Tensor,
    gain: Tensor,
    *,
    seed: int,
    seconds: float | None,
    dtype: torch.dtype,
) -> Tensor:
    """Return :func:`impulse_response` times a gain ``(batch,)``."""
    t60 = band_decays(decay_s, low_ratio, high_ratio)
    pre_delay = pre_delay_ms.to(torch.float64) * (sample_rate / 1000.0)
    if seconds is None:
        decay_samples = math.ceil(float(t60.detach().max()) * sample_rate)
        most_delay = math.ceil(float(pre_delay.detach().max()))
    else:
        decay_samples = math.ceil(seconds * sample_rate)
        most_delay = math.ceil(LONGEST_PRE_DELAY_MS / 1000.0 * sample_rate)
    ringing = math.ceil(CUT_RINGING_SECONDS * sample_rate)
    silent = math.ceil(CUT_SILENT_SECONDS * sample_rate)

    # One transform serves all. The powers are taken at the bins of a transform of twice the decay;
    # where cuts and pre-delay need a longer one, that has these bins among its own.
    counted = fast_length(2 * decay_samples)
    step = 1
    while counted * step < decay_samples + silent + most_delay + DELAY_RINGING:
        step *= 2
    length = counted * step
    first = math.ceil(20.0 * counted / sample_rate)
    last = math.floor(min(20000.0, sample_rate / 2) * counted / sample_rate)
    spectrum, powers = room_spectrum(
        t60, sample_rate, decay_samples, seed, length, (first * step, last * step, step), dtype
    )
    spread, level = width.to(torch.float64), gain.to(torch.float64)
    middle, side, both = powers.unbind(dim=-1)
    alone, crossed = middle + spread.square() * side, 2.0 * spread * both
    # 1/√(1 + width²) cancels against the power that each side is divided by.
    left, right = level / (alone + crossed).sqrt(), level / (alone - crossed).sqrt()
    cuts = [
        freq_hz.to(torch.float64).clamp(max=HIGHEST_FREQUENCY * sample_rate)
        * (math.pi / sample_rate)
        for freq_hz in (low_cut_hz, high_cut_hz)
    ]
    settings = torch.stack((left, left * spread, right, -right * spread, pre_delay, *cuts), dim=-1)
    return room_response(spectrum, settings, length, decay_samples + ringing + most_delay)


def reverb(
    audio: Tensor,
    sample_rate: float,
    pre_delay_ms: Tensor,
    decay_s: Tensor,
    low_ratio: Tensor,
    high_ratio: Tensor,
    low_cut_hz: Tensor,
    high_cut_hz: Tensor,
    width: Tensor,
    wet_db: Tensor,
    *,
    seed: int = 0,
    seconds: float | None = None,
) -> Tensor:
    """Return the reverb's return alone: the mean of the channels through the room, both sides.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``; the send is the mean of the channels.
    sample_rate : float
        Hz.
    pre_delay_ms, decay_s, low_ratio, high_ratio, low_cut_hz, high_cut_hz, width, wet_db : Tensor
        ``(batch,)`` each; see the parameter table.
    seed, seconds
        See :func:`impulse_response`.

    Returns
    -------
    Tensor
        ``(batch, 2, samples)``, to be added to the dry signal.
    """
    check_audio(audio)
    response = send_response(
        audio, sample_rate, pre_delay_ms, decay_s, low_ratio, high_ratio, low_cut_hz, high_cut_hz,
        width, wet_db, seed=seed, seconds=seconds,
    )  # fmt: skip
    return convolve(send(audio), response)


def send(audio: Tensor) -> Tensor:
    """Return what goes into the room, ``(batch, 1, samples)``: the sum of the channels."""
    return audio if audio.shape[1] == 1 else audio.sum(dim=1, keepdim=True)


def send_response(
    audio: Tensor,
    sample_rate: float,
    pre_delay_ms: Tensor,
    decay_s: Tensor,
    low_ratio: Tensor,
    high_ratio: Tensor,
    low_cut_hz: Tensor,
    high_cut_hz: Tensor,
    width: Tensor,
    wet_db: Tensor,
    *,
    seed: int = 0,
    seconds: float | None = None,
) -> Tensor:
    """Return the impulse response, ``(batch, 2, taps)``, that :func:`send` goes through.

    The parameters are those of :func:`reverb`; of `audio` only type, device and channels count.
    """
    # The gain, and the half of a mean, cost nothing on the response.
    level = 10.0 ** (wet_db.to(torch.float64) / 20.0) / audio.shape[1]
    return _scaled_response(
        sample_rate,
        *(
            setting.to(audio.device)
            for setting in (
                pre_delay_ms, decay_s, low_ratio, high_ratio, low_cut_hz, high_cut_hz, width, level,
            )
        ),
        seed=seed,
        seconds=seconds,
        dtype=audio.dtype,
    )  # fmt: skip
