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
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import SettingsError
from ...kernels.arrays import Numbers, is_array, math_of, without_gradient
from ...kernels.shapes import check_audio, constant, fast_length
from ...strip.channel_strip import HIGHEST_FREQUENCY
from ...strip.finite import allowed_range, refuse_not_finite
from ...strip.parameters import BY_KEY
from .convolution import convolve
from .noise import BAND_CENTRES_HZ

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "band_decays",
    "impulse_response",
    "mix_settings",
    "reverb",
    "send",
    "send_response",
    "tail_samples",
]

# A 20 Hz high-pass of Q 0.71 falls by 76 dB in the first of these times, by 160 dB in the other.
CUT_RINGING_SECONDS = 0.1
CUT_SILENT_SECONDS = 0.21
LONGEST_PRE_DELAY_MS = 120.0
# Far beyond all ranges; a longer one would not fit into the memory.
LONGEST_DECAY_S = 1000.0
# What a fractional delay rings before its first sample.
DELAY_RINGING = 256


_OCTAVES = [math.log2(centre / 1000.0) for centre in BAND_CENTRES_HZ]
_RAMPS = (
    [min(max(-octave / 2.0, 0.0), 1.0) for octave in _OCTAVES],
    [min(max(octave / 3.0, 0.0), 1.0) for octave in _OCTAVES],
)
"""Weights of the two ratios in each band's log-time: 1 in the outer octaves, 0 at 1 kHz."""


@constant(8)
def _ramps(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return :data:`_RAMPS` on a device."""
    import torch

    # Kept, since a copy to a device would wait for it each time; see also `band_noise`.
    with torch.inference_mode(False):
        both = torch.tensor(_RAMPS, device=device, dtype=torch.float64)
        return both[0], both[1]


def band_decays(decay_s: Numbers, low_ratio: Numbers, high_ratio: Numbers) -> Numbers:
    """Return the T60 of each octave band.

    Parameters
    ----------
    decay_s, low_ratio, high_ratio : Tensor or ndarray
        ``(batch,)``; seconds at 1 kHz, and the shares of it below and above.

    Returns
    -------
    Tensor or ndarray
        ``(batch, bands)`` seconds, float64.
    """
    m = math_of(decay_s)
    low, high = np.array(_RAMPS) if is_array(decay_s) else _ramps(decay_s.device)
    d, lo, hi = (m.float64(p)[:, None] for p in (decay_s, low_ratio, high_ratio))
    return d * m.power(lo, low) * m.power(hi, high)


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
    pre_delay_ms: Numbers,
    decay_s: Numbers,
    low_ratio: Numbers,
    high_ratio: Numbers,
    low_cut_hz: Numbers,
    high_cut_hz: Numbers,
    width: Numbers,
    *,
    seed: int = 0,
    seconds: float | None = None,
    dtype: Any = None,
) -> Numbers:
    """Return the reverb's impulse response, with pre-delay and cuts, at wet level 0 dB.

    Parameters
    ----------
    sample_rate : float
        Hz.
    pre_delay_ms, decay_s, low_ratio, high_ratio, low_cut_hz, high_cut_hz, width : Tensor or ndarray
        ``(batch,)`` each; see the parameter table.
    seed : int
        Of the noise.
    seconds : float, optional
        Fixed length of the decay, so that shapes do not depend on settings (training); by
        default until the longest band of the batch has fallen by 60 dB.
    dtype : torch.dtype or numpy.dtype, optional
        float32, the default, or float64.

    Returns
    -------
    Tensor or ndarray
        ``(batch, 2, taps)``.

    Raises
    ------
    SettingsError
        Settings of the decay or a pre-delay that are not finite, or a decay of no length or of one
        far beyond its range, where the length depends on them.
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
        math_of(width).filled(width, 1.0),
        seed=seed,
        seconds=seconds,
        dtype=dtype,
    )


def _scaled_response(
    sample_rate: float,
    pre_delay_ms: Numbers,
    decay_s: Numbers,
    low_ratio: Numbers,
    high_ratio: Numbers,
    low_cut_hz: Numbers,
    high_cut_hz: Numbers,
    width: Numbers,
    gain: Numbers,
    *,
    seed: int,
    seconds: float | None,
    dtype: Any,
) -> Numbers:
    """Return :func:`impulse_response` times a gain ``(batch,)``."""
    m, room = math_of(width), _room(width)
    t60 = band_decays(decay_s, low_ratio, high_ratio)
    pre_delay = m.float64(pre_delay_ms) * (sample_rate / 1000.0)
    if seconds is None:
        longest, latest = float(m.held(t60).max()), float(m.held(pre_delay).max())
        if not (0.0 < longest <= LONGEST_DECAY_S and math.isfinite(latest)):
            refuse_not_finite(
                {
                    "reverb.pre_delay_ms": pre_delay_ms,
                    "reverb.decay_s": decay_s,
                    "reverb.low_ratio": low_ratio,
                    "reverb.high_ratio": high_ratio,
                }
            )
            raise SettingsError(
                f"the reverb's longest decay is {longest:g} s, by settings out of their ranges; "
                f"reverb.decay_s goes from {allowed_range(BY_KEY['reverb.decay_s'])}"
            )
        decay_samples, most_delay = math.ceil(longest * sample_rate), math.ceil(latest)
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
    bins = (first * step, last * step, step)
    spectrum, powers = room.room_spectrum(
        t60, sample_rate, decay_samples, seed, length, bins, room.audio_type(dtype)
    )
    settings = mix_settings(powers, sample_rate, pre_delay, low_cut_hz, high_cut_hz, width, gain)
    return room.room_response(spectrum, settings, length, decay_samples + ringing + most_delay)


def mix_settings(
    powers: Numbers,
    sample_rate: float,
    pre_delay: Numbers,
    low_cut_hz: Numbers,
    high_cut_hz: Numbers,
    width: Numbers,
    gain: Numbers,
) -> Numbers:
    """Return what :func:`.room.room_response` takes, ``(batch, 7)``.

    Parameters
    ----------
    powers : Tensor or ndarray
        ``(batch, 3)``, means of |M|², |S|² and Re(M·conj(S)) of the decaying noise.
    sample_rate : float
        Hz.
    pre_delay : Tensor or ndarray
        ``(batch,)``, samples.
    low_cut_hz, high_cut_hz, width : Tensor or ndarray
        ``(batch,)`` each; see the parameter table.
    gain : Tensor or ndarray
        ``(batch,)``.
    """
    m = math_of(width)
    spread, level = m.float64(width), m.float64(gain)
    middle, side, both = (powers[:, column] for column in range(3))
    alone, crossed = middle + spread * spread * side, 2.0 * spread * both
    # 1/√(1 + width²) cancels against the power that each side is divided by.
    left, right = level / m.sqrt(alone + crossed), level / m.sqrt(alone - crossed)
    cuts = [
        m.at_most(m.float64(freq_hz), HIGHEST_FREQUENCY * sample_rate) * (math.pi / sample_rate)
        for freq_hz in (low_cut_hz, high_cut_hz)
    ]
    return m.stack((left, left * spread, right, -right * spread, pre_delay, *cuts), axis=-1)


def _room(like: Numbers) -> ModuleType:
    if is_array(like):
        from . import array_room

        return array_room
    from . import room

    return room


@without_gradient
def reverb(
    audio: Numbers,
    sample_rate: float,
    pre_delay_ms: Numbers,
    decay_s: Numbers,
    low_ratio: Numbers,
    high_ratio: Numbers,
    low_cut_hz: Numbers,
    high_cut_hz: Numbers,
    width: Numbers,
    wet_db: Numbers,
    *,
    seed: int = 0,
    seconds: float | None = None,
) -> Numbers:
    """Return the reverb's return alone: the mean of the channels through the room, both sides.

    Parameters
    ----------
    audio : Tensor or ndarray
        ``(batch, channels, samples)``; the send is the mean of the channels.
    sample_rate : float
        Hz.
    pre_delay_ms, decay_s, low_ratio, high_ratio, low_cut_hz, high_cut_hz, width, wet_db
        ``(batch,)`` each, Tensor or ndarray; see the parameter table.
    seed, seconds
        See :func:`impulse_response`.

    Returns
    -------
    Tensor or ndarray
        ``(batch, 2, samples)``, to be added to the dry signal.
    """
    check_audio(audio)
    response = send_response(
        audio, sample_rate, pre_delay_ms, decay_s, low_ratio, high_ratio, low_cut_hz, high_cut_hz,
        width, wet_db, seed=seed, seconds=seconds,
    )  # fmt: skip
    return convolve(send(audio), response)


def send(audio: Numbers) -> Numbers:
    """Return what goes into the room, ``(batch, 1, samples)``: the sum of the channels."""
    return audio if audio.shape[1] == 1 else audio.sum(1)[:, None]


def send_response(
    audio: Numbers,
    sample_rate: float,
    pre_delay_ms: Numbers,
    decay_s: Numbers,
    low_ratio: Numbers,
    high_ratio: Numbers,
    low_cut_hz: Numbers,
    high_cut_hz: Numbers,
    width: Numbers,
    wet_db: Numbers,
    *,
    seed: int = 0,
    seconds: float | None = None,
) -> Numbers:
    """Return the impulse response, ``(batch, 2, taps)``, that :func:`send` goes through.

    The parameters are those of :func:`reverb`; of `audio` only type, device and channels count.
    """
    # The gain, and the half of a mean, cost nothing on the response.
    m = math_of(audio)
    level = m.amplitude(m.float64(wet_db)) / audio.shape[1]
    return _scaled_response(
        sample_rate,
        *(
            m.beside(setting, audio)
            for setting in (
                pre_delay_ms, decay_s, low_ratio, high_ratio, low_cut_hz, high_cut_hz, width, level,
            )
        ),
        seed=seed,
        seconds=seconds,
        dtype=audio.dtype,
    )  # fmt: skip
