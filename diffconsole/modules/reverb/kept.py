"""Rooms that many signals of one length go through: the response and its transform are kept.

A search renders one passage dozens of times, mostly with another equalizer before the same room.
Nearly half of the reverb's time then goes into the room, which is the same each time. The result is
that of :func:`.process.reverb`, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from ...kernels.arrays import Numbers, as_array, as_tensor, is_array
from ...kernels.shapes import fast_length, transform_length
from ...kernels.transforms import to_samples, to_spectrum
from ..call import Call
from . import process as room
from .convolution import LONGEST_SINGLE

__all__ = ["keep_rooms", "through_kept_room"]

MOST_KEPT = 4

_kept: ContextVar[dict[tuple[object, ...], np.ndarray] | None] = ContextVar(
    "rooms that are kept", default=None
)


@contextmanager
def keep_rooms() -> Iterator[None]:
    """Keep the last few rooms while the block runs."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def through_kept_room(audio: Numbers, call: Call) -> Numbers | None:
    """Return the reverb's return, or None where no rooms are kept or none can be.

    That is outside of :func:`keep_rooms`, where gradients are possible, for a batch, on a GPU, and
    for signals that are convolved in blocks.
    """
    # First: a compiled graph of PyTorch cannot ask a context variable.
    if not _runs_on_arrays(audio, call):
        return None
    rooms = _kept.get()
    if rooms is None or len(audio) != 1:
        return None
    settings = tuple(float(value) for value in call.settings.values())
    sound = as_array(audio)
    key = (sound.shape, sound.dtype, call.sample_rate, call.seed, call.seconds, *settings)
    samples = sound.shape[-1]
    spectrum = rooms.pop(key, None)
    if spectrum is None:
        response = room.send_response(
            sound, call.sample_rate, **as_array(call.settings), seed=call.seed, seconds=call.seconds
        )[..., :samples]
        reach = samples + response.shape[-1] - 1
        if fast_length(reach) > LONGEST_SINGLE:
            return None
        spectrum = to_spectrum(response, transform_length(reach, None))
        while len(rooms) >= MOST_KEPT:
            rooms.pop(next(iter(rooms)))
    # The last one that was used is dropped last.
    rooms[key] = spectrum
    length = 2 * (spectrum.shape[-1] - 1)
    wet = to_samples(spectrum * to_spectrum(room.send(sound), length), length)[..., :samples]
    wet = np.ascontiguousarray(wet)
    return wet if is_array(audio) else as_tensor(wet)


def _runs_on_arrays(audio: Numbers, call: Call) -> bool:
    """Return whether :func:`.process.reverb` would run on arrays, and surely without gradients."""
    if is_array(audio):
        return True
    import torch

    from ...kernels.operators import is_plain

    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    return is_plain(audio, *call.settings.values())
