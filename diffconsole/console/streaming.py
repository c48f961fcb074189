"""The console on a signal that comes in blocks, for recordings too long to be held in memory.

Each stage carries over what it remembers: the equalizer runs again over the time that its slowest
pole needs to fall by 208 dB, the compressor starts from its detector's state, and what the reverb
rings beyond a block is added to the next. The result is that of one call over the whole signal, to
the rounding of float32: more than 120 dB below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ..modules.compressor.compressor_operator import compress_from
from ..modules.compressor.process import detector_settings
from ..modules.equalizer.process import equalizer, equalizer_sections
from ..modules.reverb.convolution import convolve
from ..modules.reverb.process import send, send_response
from .console import Console

__all__ = ["BLOCK_SAMPLES", "StreamingConsole"]

BLOCK_SAMPLES = 1 << 20
"""Of a block: long enough for what is done twice at its edges to cost little."""

STEP = 512
"""The compressor's state is known at multiples of so many samples."""

FORGOTTEN_NEPERS = 24.0


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
        Gets what goes into the compressor and what comes out of it, ``(1, channels, samples)``
        each, and the gain in dB on top of its gain reduction.
    """

    def __init__(
        self,
        sample_rate: float,
        *,
        bypass: Collection[str] = (),
        on_dynamics: Callable[[Tensor, Tensor, float], None] | None = None,
    ) -> None:
        super().__init__(sample_rate, bypass=bypass)
        self.on_dynamics = on_dynamics
        self._earlier: Tensor | None = None
        self._memory = 0
        self._level = torch.zeros(1, dtype=torch.float64)
        self._response: Tensor | None = None
        self._ringing: Tensor | None = None

    def _equalized(
        self,
        audio: Tensor,
        settings: Mapping[str, Tensor],
        off: Collection[str],
        gain_db: Tensor | None,
    ) -> Tensor:
        if self._earlier is None:
            self._memory = _memory_samples(equalizer_sections(self.sample_rate, settings, off))
            self._earlier = audio[..., :0]
        known = self._earlier.shape[-1]
        audio = torch.cat((self._earlier, audio), dim=-1)
        self._earlier = audio[..., max(audio.shape[-1] - self._memory, 0) :].clone()
        return equalizer(audio, self.sample_rate, settings, off, gain_db)[..., known:]

    def _compressed(self, audio: Tensor, dynamics: dict[str, Tensor]) -> Tensor:
        settings = detector_settings(self.sample_rate, **dynamics)
        compressed, self._level = compress_from(audio, settings, self._level)
        if self.on_dynamics is not None:
            self.on_dynamics(audio, compressed, float(dynamics["makeup_db"]))
        return compressed

    def _reverberated(self, audio: Tensor, room: dict[str, Tensor]) -> Tensor:
        if self._response is None:
            settings: dict[str, Any] = dict(room)
            self._response = send_response(audio, self.sample_rate, **settings)
            self._ringing = audio.new_zeros((1, 2, 0))
        assert self._ringing is not None
        samples, taps = audio.shape[-1], self._response.shape[-1]
        padded = torch.nn.functional.pad(send(audio), (0, taps - 1))
        wet = convolve(padded, self._response)
        # A short block may end before what rings from those before it.
        missing = self._ringing.shape[-1] - wet.shape[-1]
        if missing > 0:
            wet = torch.nn.functional.pad(wet, (0, missing))
        wet[..., : self._ringing.shape[-1]] += self._ringing
        self._ringing = wet[..., samples:].clone()
        return wet[..., :samples]


def _memory_samples(sections: Tensor) -> int:
    """Samples after which a cascade has forgotten its state: a whole number of steps."""
    _, _, _, a1, a2 = sections.to(torch.float64).unbind(dim=-1)
    inside = a1 * a1 - 4.0 * a2
    real = 0.5 * (a1.abs() + inside.clamp(min=0.0).sqrt())
    radius = torch.where(inside < 0.0, a2.clamp(min=0.0).sqrt(), real)
    slowest = min(max(float(radius.max()) if radius.numel() else 0.0, 1e-300), 1.0 - 1e-9)
    return math.ceil(FORGOTTEN_NEPERS / (-math.log(slowest) * STEP)) * STEP
