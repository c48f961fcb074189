"""The reverb as a module of the chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..call import Call
from . import process as room
from .convolution import convolve
from .kept import through_kept_room

__all__ = ["run", "stream", "tail_samples"]


def run(audio: Tensor, call: Call) -> Tensor:
    """Return the reverb's return; see :func:`.process.reverb`."""
    kept = through_kept_room(audio, call)
    if kept is not None:
        return kept
    return room.reverb(
        audio, call.sample_rate, **call.settings, seed=call.seed, seconds=call.seconds
    )


def stream(audio: Tensor, call: Call) -> Callable[[Tensor], Tensor]:
    """Return the reverb on blocks: what rings beyond one is added to the next.

    Parameters
    ----------
    audio : Tensor
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    settings: dict[str, Any] = dict(call.settings)
    response = room.send_response(audio, call.sample_rate, **settings)
    ringing = audio.new_zeros((1, 2, 0))

    def block(audio: Tensor) -> Tensor:
        nonlocal ringing
        samples, taps = audio.shape[-1], response.shape[-1]
        padded = torch.nn.functional.pad(room.send(audio), (0, taps - 1))
        wet = convolve(padded, response)
        # A short block may end before what rings from those before it.
        missing = ringing.shape[-1] - wet.shape[-1]
        if missing > 0:
            wet = torch.nn.functional.pad(wet, (0, missing))
        wet[..., : ringing.shape[-1]] += ringing
        ringing = wet[..., samples:].clone()
        return wet[..., :samples]

    return block


def tail_samples(sample_rate: float, settings: Mapping[str, float]) -> int:
    """Return the samples until the longest band has fallen by 60 dB, pre-delay included."""
    names = ("pre_delay_ms", "decay_s", "low_ratio", "high_ratio")
    return room.tail_samples(sample_rate, *(settings[name] for name in names))
