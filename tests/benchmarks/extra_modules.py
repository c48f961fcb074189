"""Modules that the console lacks, as far as measuring what they would bring needs them.

Each is a small differentiable function of ``(batch, channels, samples)`` at 44.1 kHz and of
settings ``(batch,)`` in physical units, with their ranges and a few settings to begin from. They
are good enough to tell by how much a mix could come nearer, and no more: the saturation aliases,
and what a delay still repeats after some seconds wraps around.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffconsole.kernels.shapes import fast_length
from diffconsole.modules.compressor.process import compressor
from diffconsole.modules.gain.process import gain
from diffconsole.modules.pan.process import pan
from diffconsole.modules.reverb.process import band_decays, reverb
from diffconsole.pairs import PAIR_RATE
from diffconsole.strip.parameter import Scale
from diffconsole.strip.parameters import PARAMETERS, Parameter

__all__ = ["EXTRAS", "Extra", "reverb_seconds"]

Start = dict[str, float]
Place = Literal["before", "after", "return"]
QUIETEST = 1e-5
"""Of a level that :func:`detected` tells apart, −100 dBFS."""

SECOND_SEED = 1
GRID_DELAYS, HEARD_DELAYS, PEAK_SAMPLES = 24, 8, 220
# Echoes later than this come back at the beginning: the eighth of the longest, 20 dB down at most
# feedback, and the low-pass takes more.
WRAP_SECONDS = 5.5


@dataclass(frozen=True)
class Extra:
    """One more module.

    Attributes
    ----------
    name : str
        For the table's head.
    place : {"before", "after", "return"}
        Before the compressor, after it, or beside the reverb: fed by the compressor, added to the
        dry signal.
    parameters : tuple of Parameter
        Its settings.
    process : callable
        Takes the audio and the settings by name.
    starts : callable
        Settings to try, given the signal that feeds the returns and what the strip leaves of the
        mix, ``(channels, samples)`` both.
    blind : tuple of str
        What gradients do not move; it is scanned instead.
    """

    name: str
    place: Place
    parameters: tuple[Parameter, ...]
    process: Callable[..., Tensor]
    starts: Callable[[Tensor, Tensor], list[Start]]
    blind: tuple[str, ...] = ()

    def physical(self, values: Tensor) -> dict[str, Tensor]:
        """Map ``(batch, parameters)`` in 0…1 to settings by name."""
        columns = values.unbind(dim=-1)
        return {p.name: p.to_physical(v) for p, v in zip(self.parameters, columns, strict=True)}

    def normalised(self, starts: Sequence[Start]) -> Tensor:
        """Map settings by name to ``(starts, parameters)`` in 0…1."""
        rows = [[p.to_normalised(p.clip(s[p.name])) for p in self.parameters] for s in starts]
        return torch.tensor(rows)


def _setting(
    section: str, name: str, unit: str, low: float, high: float, scale: Scale = "linear"
) -> Parameter:
    return Parameter(section, name, unit, low, high, scale, low, "")


def _products(**choices: Sequence[float]) -> list[Start]:
    names, values = choices.keys(), itertools.product(*choices.values())
    return [dict(zip(names, some, strict=True)) for some in values]


# Nothing, to tell what the steps themselves bring


def _nothing(audio: Tensor) -> Tensor:
    return audio


# Delay


def delay(
    audio: Tensor,
    delay_ms: Tensor,
    gain_db: Tensor,
    feedback: Tensor,
    high_cut_hz: Tensor,
    position: Tensor,
    turn: Tensor,
) -> Tensor:
    """Return the echoes alone: ``G·Q/(1 − f·Q)``, ``Q = z^−D`` through a one-pole low-pass.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``; the send is the mean of the channels.
    delay_ms, gain_db, feedback, high_cut_hz : Tensor
        ``(batch,)``: time between echoes, gain of the first, share that comes back, and the corner
        of the low-pass in the loop.
    position : Tensor
        ``(batch,)``, −1 left … 1 right: where the first echo is, and each second one.
    turn : Tensor
        ``(batch,)``: the others are at ``turn·position``; 1 is a plain delay, −1 a ping-pong.

    Returns
    -------
    Tensor
        ``(batch, 2, samples)``.
    """
    samples = audio.shape[-1]
    length = fast_length(samples + int(WRAP_SECONDS * PAIR_RATE))
    share = torch.arange(length // 2 + 1, dtype=torch.float64) / length
    turns = share * (delay_ms.to(torch.float64) * (PAIR_RATE / 1000.0)).unsqueeze(-1)
    # Whole turns go before the angle loses its digits to float32.
    angle = (-2.0 * math.pi * (turns - turns.detach().round())).to(audio.dtype)
    one = torch.ones_like(angle)
    pole = torch.exp(-2.0 * math.pi * high_cut_hz / PAIR_RATE).to(audio.dtype).unsqueeze(-1)
    step = torch.polar(torch.ones_like(share), -2.0 * math.pi * share).to(torch.complex64)
    once = torch.polar(one, angle) * ((1.0 - pole) / (1.0 - pole * step))
    back = feedback.to(audio.dtype).unsqueeze(-1) * once
    odd = once / (1.0 - back * back)
    echoes = torch.stack((odd, odd * back), dim=1)
    send = torch.fft.rfft(gain(audio.mean(dim=1, keepdim=True), gain_db), length)
    odd_audio, even_audio = torch.fft.irfft(send * echoes, length)[..., :samples].split(1, dim=1)
    return pan(odd_audio, position) + pan(even_audio, position * turn)


@torch.no_grad()
def echoes_heard(send: Tensor, left: Tensor, low_ms: float, high_ms: float) -> list[float]:
    """Return the delays in ms at which the phases of the send are found most in what is left."""
    length = fast_length(2 * send.shape[-1])
    cross = torch.fft.rfft(send, length).conj() * torch.fft.rfft(left, length)
    size = cross.abs()
    whitened = cross / (size + 1e-3 * size.mean(dim=-1, keepdim=True) + 1e-20)
    heard = torch.fft.irfft(whitened, length).abs().sum(dim=0)
    first, last = (int(end * PAIR_RATE / 1000.0) for end in (low_ms, high_ms))
    heard = heard[first : last + 1].clone()
    found = []
    for _ in range(HEARD_DELAYS):
        peak = int(heard.argmax())
        found.append((first + peak) * 1000.0 / PAIR_RATE)
        heard[max(0, peak - PEAK_SAMPLES) : peak + PEAK_SAMPLES] = 0.0
    return found


DELAY = tuple(
    _setting("delay", *row)
    for row in (
        ("delay_ms", "ms", 20.0, 800.0, "log"),
        ("gain_db", "dB", -60.0, 0.0),
        ("feedback", "", 0.0, 0.7),
        ("high_cut_hz", "Hz", 500.0, 18000.0, "log"),
        ("position", "", -1.0, 1.0),
        ("turn", "", -1.0, 1.0),
    )
)


def _delay_starts(send: Tensor, left: Tensor) -> list[Start]:
    time = DELAY[0]
    grid = [time.to_physical(n / (GRID_DELAYS - 1)) for n in range(GRID_DELAYS)]
    heard = echoes_heard(send, left, time.low, time.high)
    common = {"gain_db": [-20.0], "feedback": [0.3], "high_cut_hz": [4000.0]}
    plain = _products(delay_ms=grid + heard, **common, position=[0.0], turn=[1.0])
    # With the first echo in the middle no gradient would lead to the sides.
    return plain + _products(delay_ms=heard, **common, position=[-0.7, 0.7], turn=[-1.0])


# Saturation


def saturation(audio: Tensor, drive_db: Tensor, bias: Tensor, mix: Tensor) -> Tensor:
    """Bend the waveform: ``(tanh(d·x + b) − tanh b)/(d·(1 − tanh² b))``, of slope 1 at silence.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``.
    drive_db, bias, mix : Tensor
        ``(batch,)``: the gain d into the curve, the offset b that makes even harmonics, and the
        share of the result, the rest being dry.

    Returns
    -------
    Tensor
        The shape of `audio`.
    """
    drive, offset, share = (
        s.to(audio.dtype)[:, None, None] for s in (10.0 ** (drive_db / 20.0), bias, mix)
    )
    rest = offset.tanh()
    bent = ((drive * audio + offset).tanh() - rest) / (drive * (1.0 - rest * rest))
    return audio + share * (bent - audio)


SATURATION = tuple(
    _setting("saturation", *row)
    for row in (
        ("drive_db", "dB", -24.0, 36.0),
        ("bias", "", 0.0, 1.5),
        ("mix", "", 0.0, 1.0),
    )
)


def _saturation_starts(*_: Tensor) -> list[Start]:
    return _products(drive_db=[-6.0, 6.0, 14.0, 22.0, 30.0], bias=[0.1, 0.7], mix=[0.25, 0.9])


# A second compressor


def second_compressor(audio: Tensor, **settings: Tensor) -> Tensor:
    """Run the console's compressor once more."""
    return compressor(audio, PAIR_RATE, **settings)


COMPRESSOR = tuple(p for p in PARAMETERS if p.section == "compressor")


def _compressor_starts(*_: Tensor) -> list[Start]:
    starts = []
    for threshold_db, ratio in ((-8.0, 6.0), (-14.0, 3.0), (-20.0, 2.0), (-28.0, 1.6)):
        for attack_ms, release_ms in ((0.3, 40.0), (3.0, 150.0), (30.0, 100.0), (20.0, 800.0)):
            level = {"threshold_db": threshold_db, "ratio": ratio, "knee_db": 6.0}
            # About what a level at −14 dBFS loses.
            makeup_db = max(0.0, (-14.0 - threshold_db) * (1.0 - 1.0 / ratio))
            speed = {"attack_ms": attack_ms, "release_ms": release_ms, "makeup_db": makeup_db}
            starts.append(level | speed)
    return starts


# Expander


def detected(audio: Tensor, attack_ms: Tensor, release_ms: Tensor) -> Tensor:
    """Return the compressor's smoothed level, ``(batch, 1, samples)``, at least −100 dBFS.

    The compressor tells only what it makes of a signal. One of ratio 1:2 above −100 dB multiplies
    by the level over 1e−5, and a second channel of 1e−5, too quiet to be detected, comes out as
    the level itself.
    """
    peak = audio.abs().amax(dim=1, keepdim=True)
    both = torch.cat((peak, torch.full_like(peak, QUIETEST)), dim=1)
    nought = torch.zeros_like(attack_ms)
    threshold_db = torch.full_like(attack_ms, 20.0 * math.log10(QUIETEST))
    ratio = torch.full_like(attack_ms, 0.5)
    ends = (threshold_db, ratio, attack_ms, release_ms, nought, nought)
    return compressor(both, PAIR_RATE, *ends)[:, 1:]


def expander(
    audio: Tensor,
    threshold_db: Tensor,
    ratio: Tensor,
    range_db: Tensor,
    attack_ms: Tensor,
    release_ms: Tensor,
    knee_db: Tensor,
) -> Tensor:
    """Turn down what is below the threshold, by `range_db` at most.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``.
    threshold_db, ratio, range_db, attack_ms, release_ms, knee_db : Tensor
        ``(batch,)``; 1 dB less below the threshold comes out as `ratio` dB less.

    Returns
    -------
    Tensor
        The shape of `audio`.
    """
    level_db = 20.0 * detected(audio, attack_ms, release_ms).clamp(min=QUIETEST).log10()
    threshold, slope, most, knee = (
        s.to(audio.dtype)[:, None, None] for s in (threshold_db, ratio - 1.0, range_db, knee_db)
    )
    # A smooth bend with the knee's width, and a smooth end: both keep a gradient everywhere.
    width = knee / 4.0 + 0.1
    under = width * torch.nn.functional.softplus((threshold - level_db) / width)
    down_db = most * (slope * under / most).tanh()
    return audio * 10.0 ** (-down_db / 20.0)


EXPANDER = tuple(
    _setting("expander", *row)
    for row in (
        ("threshold_db", "dBFS", -70.0, -10.0),
        ("ratio", ":1", 1.0, 10.0, "log"),
        ("range_db", "dB", 1.0, 60.0, "log"),
        ("attack_ms", "ms", 0.1, 100.0, "log"),
        ("release_ms", "ms", 5.0, 2000.0, "log"),
        ("knee_db", "dB", 0.0, 24.0),
    )
)


def _expander_starts(*_: Tensor) -> list[Start]:
    return _products(
        threshold_db=[-50.0, -40.0, -30.0, -22.0],
        ratio=[1.5, 3.0],
        range_db=[20.0],
        attack_ms=[2.0],
        release_ms=[50.0, 300.0],
        knee_db=[6.0],
    )


# A second reverb


def reverb_seconds(decay_s: Tensor, low_ratio: Tensor, high_ratio: Tensor, samples: int) -> float:
    """Return a length for the longest of these decays, in whole halves of a second."""
    # A new length at each step would make new noise each time.
    longest = float(band_decays(decay_s, low_ratio, high_ratio).detach().max())
    return 0.5 * math.ceil(2.0 * min(longest, samples / PAIR_RATE))


def second_reverb(audio: Tensor, **settings: Tensor) -> Tensor:
    """Return the return of the console's reverb with other noise."""
    decays = (settings[name] for name in ("decay_s", "low_ratio", "high_ratio"))
    seconds = reverb_seconds(*decays, audio.shape[-1])
    return reverb(audio, PAIR_RATE, **settings, seed=SECOND_SEED, seconds=seconds)


REVERB = tuple(p for p in PARAMETERS if p.section == "reverb")


def _reverb_starts(*_: Tensor) -> list[Start]:
    rest = {p.name: [p.default] for p in REVERB}
    chosen = {"decay_s": [0.3, 0.9, 2.5], "wet_db": [-32.0, -22.0], "width": [0.5, 1.0]}
    return _products(**(rest | chosen | {"pre_delay_ms": [2.0, 60.0]}))


EXTRAS = {
    extra.name: extra
    for extra in (
        Extra("control", "after", (), _nothing, lambda *_: [{}]),
        Extra("again", "after", (), _nothing, lambda *_: [{}]),
        Extra("delay", "return", DELAY, delay, _delay_starts, ("delay_ms",)),
        Extra("saturation_before", "before", SATURATION, saturation, _saturation_starts),
        Extra("saturation_after", "after", SATURATION, saturation, _saturation_starts),
        Extra("second_compressor", "after", COMPRESSOR, second_compressor, _compressor_starts),
        Extra("expander", "before", EXPANDER, expander, _expander_starts),
        Extra("second_reverb", "return", REVERB, second_reverb, _reverb_starts, ("pre_delay_ms",)),
    )
}
"""By name. The first two are nothing more, searched twice with other random numbers."""
