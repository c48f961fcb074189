"""Rooms that many signals of one length go through: their spectra are kept.

A search renders one passage dozens of times, mostly with another equalizer before the same room, or
at another level. Nearly half of the reverb's time then goes into the room, which is the same each
time. A room is kept at 0 dB, as the bins of one transform that suits both its noise and the signals
(:mod:`diffconsole.kernels.stepped_transforms`). :func:`.process.reverb` takes the noise's powers at
other bins: the returns differ by less than −95 dB. Where the signal ends before the decay does, the
rest of it is left out of the powers too, and the return is louder by hundredths of a decibel.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

import numpy as np

from ...kernels.arrays import Numbers, as_array, as_tensor, is_array
from ...kernels.shapes import fast_length
from ...kernels.stepped_transforms import shape_for, to_signal, to_stepped
from ..call import Call
from . import process as room
from .convolution import LONGEST_SINGLE

__all__ = ["keep_rooms", "through_kept_room"]

MOST_KEPT = 8
"""Spectra of noise and of rooms."""

Shape: TypeAlias = tuple[int, int]
Rooms: TypeAlias = dict[tuple[object, ...], np.ndarray]
_kept: ContextVar[Rooms | None] = ContextVar("rooms that are kept", default=None)


@contextmanager
def keep_rooms(keep: bool = True) -> Iterator[None]:
    """Keep the last few rooms while the block runs, or none."""
    token = _kept.set({} if keep else None)
    try:
        yield
    finally:
        _kept.reset(token)


def through_kept_room(audio: Numbers, call: Call) -> Numbers | None:
    """Return the reverb's return, or None where no rooms are kept or none can be.

    That is outside of :func:`keep_rooms`, where gradients are possible, for a batch, on a GPU, for
    float64, for a fixed length of the decay, for settings that are out of all ranges, and for
    signals that are convolved in blocks.
    """
    # First: a compiled graph of PyTorch cannot ask a context variable.
    if not _runs_on_arrays(audio, call):
        return None
    rooms = _kept.get()
    if rooms is None or len(audio) != 1 or call.seconds is not None:
        return None
    sound, own = as_array(audio), as_array(call.settings)
    if sound.dtype != np.float32:
        return None
    level = 10.0 ** (float(own.pop("wet_db")[0]) / 20.0) / len(sound[0])
    rate, samples = float(call.sample_rate), sound.shape[-1]
    t60 = room.band_decays(own["decay_s"], own["low_ratio"], own["high_ratio"])
    longest, late = float(t60.max()), float(own["pre_delay_ms"][0]) * rate / 1000.0
    if not (0.0 < longest <= room.LONGEST_DECAY_S and 0.0 <= late < math.inf):
        return None
    # What comes later than the signal's end is not there.
    taps = min(math.ceil(longest * rate), samples)
    reach = samples + taps + math.ceil(late) + math.ceil(room.CUT_RINGING_SECONDS * rate)
    if fast_length(reach) > LONGEST_SINGLE:
        return None
    shape = shape_for(reach)
    decays = tuple(float(value) for value in t60[0])
    noise = _from(
        rooms, (shape, rate, call.seed, taps, decays), lambda: _noise(t60, rate, taps, call, shape)
    )
    values = tuple(float(value[0]) for value in own.values())
    spectrum = _from(
        rooms, (shape, rate, call.seed, taps, values), lambda: _colored(noise, rate, own, shape)
    )
    sent = to_stepped(room.send(sound)[0], shape)
    sent *= np.float32(level)
    wet = np.ascontiguousarray(to_signal(spectrum * sent, shape)[None, :, :samples])
    return wet if is_array(audio) else as_tensor(wet)


def _from(rooms: Rooms, key: tuple[object, ...], make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return what is kept, or make it; what was used last is dropped last."""
    found = rooms.pop(key, None)
    if found is None:
        found = make()
    while len(rooms) >= MOST_KEPT:
        rooms.pop(next(iter(rooms)))
    rooms[key] = found
    return found


def _noise(t60: np.ndarray, rate: float, taps: int, call: Call, shape: Shape) -> np.ndarray:
    """Spectrum of middle and side of the decaying noise."""
    from .cpu_room import decaying_noise
    from .noise import band_noise

    noise = np.asarray(band_noise(rate, taps, call.seed, np.dtype(np.float32)))
    rows = np.zeros((1, 2, shape[0] * shape[1]), np.float32)
    decaying_noise(noise, t60, rate, rows)
    return to_stepped(rows[0], shape)


def _colored(
    noise: np.ndarray, rate: float, own: dict[str, np.ndarray], shape: Shape
) -> np.ndarray:
    """Spectrum of both sides of a room, of full level."""
    from .cpu_stepped import color_stepped

    weights = _weights(shape, rate)
    middle, side = noise
    products = (
        middle.real**2 + middle.imag**2,
        side.real**2 + side.imag**2,
        middle.real * side.real + middle.imag * side.imag,
    )
    powers = np.array([[float((weights * p).sum(dtype=np.float64)) for p in products]])
    settings = room.mix_settings(
        powers, rate, own["pre_delay_ms"] * (rate / 1000.0), own["low_cut_hz"], own["high_cut_hz"],
        own["width"], np.ones(1),
    )  # fmt: skip
    return color_stepped(noise, settings[0], shape)


@functools.lru_cache(maxsize=4)
def _weights(shape: Shape, rate: float) -> np.ndarray:
    """What makes a mean over 20 Hz to 20 kHz, or to half the rate, of values at all bins."""
    from .cpu_stepped import numbers_of_bins

    by_row, by_column = numbers_of_bins(shape)
    freq_hz = np.abs(by_row[:, None] + by_column) * rate / (shape[0] * shape[1])
    inside = ((freq_hz >= 20.0) & (freq_hz <= min(20000.0, rate / 2.0))).astype(np.float64)
    # These rows hold each frequency twice, as a negative one too.
    inside[[0, -1]] *= 0.5
    return (inside / inside.sum()).astype(np.float32)


def _runs_on_arrays(audio: Numbers, call: Call) -> bool:
    """Return whether :func:`.process.reverb` would run on arrays, and surely without gradients."""
    if is_array(audio):
        return True
    import torch

    from ...kernels.operators import is_plain

    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    return is_plain(audio, *call.settings.values())
