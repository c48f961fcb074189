"""Rooms that many signals of one length go through: their spectra are kept.

A search renders one passage dozens of times, mostly with another equalizer before the same room, or
at another level. Nearly half of the reverb's time then goes into the room, which is the same each
time. A room is kept at 0 dB, as the bins of one transform that suits both its noise and the signals
(:mod:`diffconsole.kernels.stepped_transforms`). :func:`.process.reverb` takes the noise's powers at
other bins: the returns differ by less than −95 dB. Where the signal ends before the decay does, the
rest of it is left out of the powers too, and the return is louder by hundredths of a decibel, by a
tenth where a take of a second goes through a long room.

Where a search follows gradients (:class:`Rooms`), the reverb goes the same way in its steps
(:mod:`.stepped_operator`), so that a step and a comparison mean the same return.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import numpy as np

from ...kernels.arrays import Numbers, as_array, as_tensor, is_array, math_of
from ...kernels.shapes import fast_length
from ...kernels.stepped_transforms import shape_for, to_signal, to_stepped
from ..call import Call
from . import process as room
from .convolution import LONGEST_SINGLE

__all__ = ["Rooms", "keep_rooms", "rooms_from", "through_kept_room", "through_room_of_search"]

MOST_KEPT, MOST_SOUNDS = 8, 4
"""Spectra of noise and of rooms; of signals that go into them."""

Shape: TypeAlias = tuple[int, int]


class Rooms:
    """The rooms that were used last.

    Parameters
    ----------
    of_search : bool
        Serve calls of a fixed length and calls with gradients too, all by the same formula, and
        keep the spectra of the last signals, each found by the signal itself: an array or a tensor
        that nobody writes to.
    """

    def __init__(self, *, of_search: bool = False) -> None:
        self.of_search = of_search
        self._kept: dict[tuple[object, ...], tuple[Any, np.ndarray]] = {}
        self._lock = threading.Lock()

    def of(
        self,
        key: tuple[object, ...],
        make: Callable[[], np.ndarray],
        most: int = MOST_KEPT,
        source: object = None,
    ) -> np.ndarray:
        """Return what is kept, or make it; what was used last is dropped last.

        The first part of the key is its kind, of which so many are kept. A `source` is kept along,
        so that no other one has its address meanwhile.
        """
        with self._lock:
            found = self._kept.pop(key, None)
            if found is not None:
                self._kept[key] = found
                return found[1]
        made = make()
        with self._lock:
            self._kept.pop(key, None)
            alike = [other for other in self._kept if other[0] == key[0]]
            for other in alike[: max(len(alike) - most + 1, 0)]:
                del self._kept[other]
            self._kept[key] = (source, made)
        return made


_kept: ContextVar[Rooms | None] = ContextVar("rooms that are kept", default=None)


@contextmanager
def keep_rooms(keep: bool = True) -> Iterator[None]:
    """Keep the last few rooms while the block runs, or none."""
    with rooms_from(Rooms() if keep else None):
        yield


@contextmanager
def rooms_from(rooms: Rooms | None) -> Iterator[None]:
    """Take rooms from those that are kept already, and keep others there, while the block runs."""
    token = _kept.set(rooms)
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
    if rooms is None or len(audio) != 1 or not (call.seconds is None or rooms.of_search):
        return None
    sound, own = as_array(audio), as_array(call.settings)
    if sound.dtype != np.float32:
        return None
    level = 10.0 ** (float(own.pop("wet_db")[0]) / 20.0) / len(sound[0])
    rate, samples = float(call.sample_rate), sound.shape[-1]
    t60 = room.band_decays(own["decay_s"], own["low_ratio"], own["high_ratio"])
    longest, late_ms = float(t60.max()), float(own["pre_delay_ms"][0])
    if not (0.0 < longest <= room.LONGEST_DECAY_S and 0.0 <= late_ms < math.inf):
        return None
    if call.seconds is not None:
        longest, late_ms = call.seconds, room.LONGEST_PRE_DELAY_MS
    shape, taps = _lengths(samples, longest, late_ms, rate)
    if shape is None:
        return None
    decays = tuple(float(value) for value in t60[0])
    made_of = ("room", shape, rate, call.seed, taps)
    values = tuple(float(value[0]) for value in own.values())
    noise = rooms.of((*made_of, decays), lambda: _noise(t60, rate, taps, call, shape))
    spectrum = rooms.of((*made_of, values), lambda: _colored(noise, rate, own, shape))
    if rooms.of_search:
        key = ("sound", shape, id(audio))
        made = rooms.of(key, lambda: to_stepped(room.send(sound)[0], shape), MOST_SOUNDS, audio)
        sent = made * np.float32(level)
    else:
        sent = to_stepped(room.send(sound)[0], shape)
        sent *= np.float32(level)
    wet = np.ascontiguousarray(to_signal(spectrum * sent, shape)[None, :, :samples])
    return wet if is_array(audio) else as_tensor(wet)


def through_room_of_search(audio: Numbers, call: Call) -> Numbers | None:
    """Return the reverb's return with its gradient, or None outside of a search's rooms.

    Of tensors of float32 on the CPU, with a fixed length of the decay.
    """
    if is_array(audio):
        return None
    import torch

    from ...kernels.operators import name_for

    if torch.compiler.is_compiling() or name_for(audio) != "cpu":
        return None
    rooms = _kept.get()
    if rooms is None or not rooms.of_search or call.seconds is None or audio.dtype != torch.float32:
        return None
    from .stepped_operator import convolved, noise_spectrum

    own, rate, samples = dict(call.settings), float(call.sample_rate), audio.shape[-1]
    shape, taps = _lengths(samples, call.seconds, room.LONGEST_PRE_DELAY_MS, rate)
    if shape is None:
        return None
    t60 = room.band_decays(own["decay_s"], own["low_ratio"], own["high_ratio"])
    spectrum, powers = noise_spectrum(t60, rate, taps, call.seed, shape, _weights(shape, rate))
    m = math_of(audio)
    gain = m.amplitude(m.float64(own["wet_db"])) / audio.shape[1]
    late = m.float64(own["pre_delay_ms"]) * (rate / 1000.0)
    settings = room.mix_settings(
        powers, rate, late, own["low_cut_hz"], own["high_cut_hz"], own["width"], gain
    )
    return convolved(room.send(audio), spectrum, settings, shape)


def _lengths(samples: int, longest: float, late_ms: float, rate: float) -> tuple[Shape | None, int]:
    """Return rows and columns of the transforms, none if they are too long, and the noise's taps.

    What comes later than the signal's end is not there.
    """
    taps = min(math.ceil(longest * rate), samples)
    late = math.ceil(late_ms * rate / 1000.0)
    reach = samples + taps + late + math.ceil(room.CUT_RINGING_SECONDS * rate)
    return (None if fast_length(reach) > LONGEST_SINGLE else shape_for(reach)), taps


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
    from .cpu_stepped import color_stepped, powers_stepped

    powers = powers_stepped(noise, _weights(shape, rate))[None]
    settings = room.mix_settings(
        powers, rate, own["pre_delay_ms"] * (rate / 1000.0), own["low_cut_hz"], own["high_cut_hz"],
        own["width"], np.ones(1),
    )  # fmt: skip
    return color_stepped(noise, settings[0], shape)


@functools.lru_cache(maxsize=8)
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
