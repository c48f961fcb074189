"""The reverb as a module of the chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...kernels.arrays import Numbers, math_of, without_gradient
from ..call import Call
from . import process as room
from .convolution import convolve
from .kept import through_kept_room, through_room_of_search

__all__ = ["run", "stream", "tail_samples", "takes_arrays"]

takes_arrays = True


def run(audio: Numbers, call: Call) -> Numbers:
    """Return the reverb's return; see :func:`.process.reverb`."""
    for kept in (through_kept_room, through_room_of_search):
        wet = kept(audio, call)
        if wet is not None:
            return wet
    return room.reverb(
        audio, call.sample_rate, **call.settings, seed=call.seed, seconds=call.seconds
    )


def stream(audio: Numbers, call: Call) -> Callable[[Numbers], Numbers]:
    """Return the reverb on blocks: what rings beyond one is added to the next.

    Parameters
    ----------
    audio : Tensor or ndarray
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    settings: dict[str, Any] = dict(call.settings)
    # Of tensors on a CPU it is made of arrays, so that a stream gives what one call does.
    response = _send_response(audio, call.sample_rate, **settings)
    m, ringing = math_of(audio), response[..., :0]

    def block(audio: Numbers) -> Numbers:
        nonlocal ringing
        samples, taps = audio.shape[-1], response.shape[-1]
        wet = _convolved(m.padded(room.send(audio), taps - 1), response)
        # A short block may end before what rings from those before it.
        missing = ringing.shape[-1] - wet.shape[-1]
        if missing > 0:
            wet = m.padded(wet, missing)
        wet[..., : ringing.shape[-1]] += ringing
        ringing = m.copied(wet[..., samples:])
        return wet[..., :samples]

    return block


_send_response = without_gradient(room.send_response)
_convolved = without_gradient(convolve)


def tail_samples(sample_rate: float, settings: Mapping[str, float]) -> int:
    """Return the samples until the longest band has fallen by 60 dB, pre-delay included."""
    names = ("pre_delay_ms", "decay_s", "low_ratio", "high_ratio")
    return room.tail_samples(sample_rate, *(settings[name] for name in names))
