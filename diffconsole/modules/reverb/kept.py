"""Rooms that many signals of one length go through: the response and its transform are kept.

A search renders one passage dozens of times, mostly with another equalizer before the same room.
Nearly half of the reverb's time then goes into the room, which is the same each time. The result is
that of :func:`.process.reverb`, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import numpy as np

from ...kernels.arrays import Numbers
from ...kernels.shapes import fast_length, transform_length
from ..call import Call
from . import process as room
from .convolution import LONGEST_SINGLE

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["keep_rooms", "through_kept_room"]

MOST_KEPT = 4

_kept: ContextVar[dict[tuple[object, ...], Tensor] | None] = ContextVar(
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


def through_kept_room(audio: Numbers, call: Call) -> Tensor | None:
    """Return the reverb's return, or None where no rooms are kept or none can be.

    That is outside of :func:`keep_rooms`, with gradients, for a batch, on a GPU, for arrays, and
    for signals that are convolved in blocks.
    """
    rooms = _kept.get()
    if rooms is None or isinstance(audio, np.ndarray):
        return None
    import torch

    if torch.is_grad_enabled() or audio.device.type != "cpu" or len(audio) != 1:
        return None
    settings = tuple(float(value) for value in call.settings.values())
    key = (audio.shape, audio.dtype, call.sample_rate, call.seed, call.seconds, *settings)
    samples = audio.shape[-1]
    spectrum = rooms.pop(key, None)
    if spectrum is None:
        response = room.send_response(
            audio, call.sample_rate, **call.settings, seed=call.seed, seconds=call.seconds
        )[..., :samples]
        reach = samples + response.shape[-1] - 1
        if fast_length(reach) > LONGEST_SINGLE:
            return None
        spectrum = _transform(response, transform_length(reach, audio.device))
        while len(rooms) >= MOST_KEPT:
            rooms.pop(next(iter(rooms)))
    # The last one that was used is dropped last.
    rooms[key] = spectrum
    length = 2 * (spectrum.shape[-1] - 1)
    sound = torch.fft.irfft(spectrum * _transform(room.send(audio), length), length)
    return sound[..., :samples].contiguous()


def _transform(rows: Tensor, length: int) -> Tensor:
    import torch

    return torch.fft.rfft(torch.nn.functional.pad(rows, (0, length - rows.shape[-1])))
