"""The console on a signal that comes in blocks, for recordings too long to be held in memory.

Each module carries over what it remembers (``stream`` in its folder): the equalizer runs again over
the time that its slowest pole needs to fall by 208 dB, the compressor starts from its detector's
state, and what the reverb rings beyond a block is added to the next. The result is that of one call
over the whole signal, to the rounding of float32: more than 120 dB below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import partial

import torch
from torch import Tensor

from ..modules.call import Call
from ..strip.module import Module
from .console import RUNNERS, Console

__all__ = ["BLOCK_SAMPLES", "StreamingConsole"]

BLOCK_SAMPLES = 1 << 20
"""Of a block: long enough for what is done twice at its edges to cost little."""

MEMORY_SECONDS = 2.0
"""Of a module that does not say how long it remembers."""

SHOWN_DYNAMICS = ("compressor", "compressor_2")
"""The modules whose gain reduction the plots show."""


class StreamingConsole(Console):
    """A console for one signal, block after block, without gradients.

    Every block but the last has a multiple of 512 samples; :data:`BLOCK_SAMPLES` is a good
    length. Settings and bypass are those of the first block throughout.

    Parameters
    ----------
    sample_rate : float
        Hz, 16000 to 192000.
    bypass : collection of str
        Modules and EQ bands that are off.
    on_dynamics : callable, optional
        Gets a compressor's key, what goes into it and what comes out of it, ``(1, channels,
        samples)`` each, and the gain in dB on top of its gain reduction.
    """

    def __init__(
        self,
        sample_rate: float,
        *,
        bypass: Collection[str] = (),
        on_dynamics: Callable[[str, Tensor, Tensor, float], None] | None = None,
    ) -> None:
        super().__init__(sample_rate, bypass=bypass)
        self.on_dynamics = on_dynamics
        self._streams: dict[str, Callable[[Tensor], Tensor]] = {}

    def _run(self, module: Module, audio: Tensor, call: Call) -> Tensor:
        if module.key not in self._streams:
            code = module.code()
            make = code.stream if hasattr(code, "stream") else partial(_run_again, module)
            self._streams[module.key] = make(audio, call)
        result = self._streams[module.key](audio)
        if self.on_dynamics is not None and module.key in SHOWN_DYNAMICS:
            self.on_dynamics(module.key, audio, result, module.code().rest_gain_db(call))
        return result


def _run_again(module: Module, audio: Tensor, call: Call) -> Callable[[Tensor], Tensor]:
    """Return a module on blocks that has no stream: it runs again over what it remembers."""
    memory_seconds = getattr(module.code(), "memory_seconds", lambda _: MEMORY_SECONDS)
    memory = math.ceil(memory_seconds(call) * call.sample_rate)
    earlier = audio[..., :0]

    def block(audio: Tensor) -> Tensor:
        nonlocal earlier
        known = earlier.shape[-1]
        audio = torch.cat((earlier, audio), dim=-1)
        earlier = audio[..., max(audio.shape[-1] - memory, 0) :].clone()
        return RUNNERS[module.key](audio, call)[..., known:]

    return block
