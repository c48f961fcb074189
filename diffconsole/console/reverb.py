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

import numpy as np
import torch
from torch import Tensor

from ..parameters import BY_KEY
from . import kernels
from .convolution import convolve, delay
from .equalizer import coefficients, ringing
from .noise import BAND_CENTRES_HZ, band_noise
from .shapes import check_audio, constant, fast_length, per_item

__all__ = ["band_decays", "impulse_response", "reverb", "tail_samples"]

CUT_Q = 0.71
# A 20 Hz high-pass of Q 0.71 falls by 76 dB in this time.
CUT_RINGING_SECONDS = 0.1
LONGEST_PRE_DELAY_MS = 120.0


@constant(8)
def _ramps(device: torch.device) -> tuple[Tensor, Tensor]:
    centres = np.log2(np.array(BAND_CENTRES_HZ) / 1000.0)
    # Kept, since a copy to a device would wait for it each time; see also `band_noise`.
    with torch.inference_mode(False):
        low = torch.from_numpy(np.clip(-centres / 2.0, 0.0, 1.0)).to(device)
        high = torch.from_numpy(np.clip(centres / 3.0, 0.0, 1.0)).to(device)
    return low, high


def _cut_ringing(sample_rate: float) -> int:
    """Samples in which both cuts fall by 160 dB, wherever they are in the table."""
    low, high = BY_KEY["reverb.low_cut_hz"], BY_KEY["reverb.high_cut_hz"]
    q = (CUT_Q, CUT_Q)
    return max(
        ringing("high_pass", sample_rate, (low.low, low.high), q),
        ringing("low_pass", sample_rate, (high.low, high.high), q),
    )


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
    device = decay_s.device
    t60 = band_decays(decay_s, low_ratio, high_ratio)
    pre_delay = pre_delay_ms.to(torch.float64) * (sample_rate / 1000.0)
    if seconds is None:
        decay_samples = math.ceil(float(t60.detach().max()) * sample_rate)
        most_delay = math.ceil(float(pre_delay.detach().max()))
    else:
        decay_samples = math.ceil(seconds * sample_rate)
        most_delay = math.ceil(LONGEST_PRE_DELAY_MS / 1000.0 * sample_rate)
    rest = math.ceil(CUT_RINGING_SECONDS * sample_rate)

    noise = band_noise(float(sample_rate), decay_samples, seed, dtype, device)
    time = torch.arange(decay_samples, device=device, dtype=torch.float64) / sample_rate
    middle_side = torch.zeros((len(t60), 2, decay_samples), device=device, dtype=dtype)
    for band in range(noise.shape[1]):
        exponent = time * (-3.0 * math.log(10.0) / t60[:, band : band + 1])
        middle_side = middle_side + noise[:, band] * exponent.to(dtype).exp().unsqueeze(1)
    # Each item ends with its own longest band: it does not depend on the others of its batch.
    sounding = time < t60.detach().amax(dim=1, keepdim=True)
    middle_side = middle_side * sounding.unsqueeze(1)

    middle, side = middle_side[:, :1], middle_side[:, 1:]
    spread = per_item(width, middle).to(dtype)
    sides = torch.cat((middle + spread * side, middle - spread * side), dim=1)
    sides = sides / (1.0 + spread**2).sqrt()
    sides = sides / _root_mean_power(sides, sample_rate)

    sides = torch.nn.functional.pad(sides, (0, rest))
    q = torch.full_like(t60[:, 0], CUT_Q)
    cuts = torch.stack(
        (
            coefficients("high_pass", sample_rate, low_cut_hz, q),
            coefficients("low_pass", sample_rate, high_cut_hz, q),
        ),
        dim=1,
    )
    sides = kernels.sections(
        sides, cuts, None if device.type == "cpu" else _cut_ringing(sample_rate)
    )
    return delay(sides, pre_delay, decay_samples + rest + most_delay)


def _root_mean_power(signal: Tensor, sample_rate: float) -> Tensor:
    """Root of the mean of |H|² over 20 Hz to min(20 kHz, fs/2): ``(batch, channels, 1)``."""
    length = fast_length(2 * signal.shape[-1])
    spectrum = torch.fft.rfft(signal, length)
    first = math.ceil(20.0 * length / sample_rate)
    last = math.floor(min(20000.0, sample_rate / 2) * length / sample_rate)
    part = torch.view_as_real(spectrum[..., first : last + 1])
    return part.square().sum(dim=-1).mean(dim=-1, keepdim=True).sqrt()


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
    response = impulse_response(
        sample_rate,
        *(
            setting.to(audio.device)
            for setting in (
                pre_delay_ms, decay_s, low_ratio, high_ratio, low_cut_hz, high_cut_hz, width,
            )
        ),
        seed=seed,
        seconds=seconds,
        dtype=audio.dtype,
    )  # fmt: skip
    level = 10.0 ** (per_item(wet_db, audio) / 20.0)
    return convolve(audio.mean(dim=1, keepdim=True), response * level.to(audio.dtype))
