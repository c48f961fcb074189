"""The console of tensors on a signal that comes in blocks; see :mod:`.streams`."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import Tensor

from ..modules.call import Call
from ..strip.module import Module
from .console import Console
from .streams import BLOCK_SAMPLES, SHOWN_DYNAMICS, Streams

__all__ = ["BLOCK_SAMPLES", "SHOWN_DYNAMICS", "StreamingConsole"]


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
        self._streams = Streams(on_dynamics)

    def _run(self, module: Module, audio: Tensor, call: Call) -> Tensor:
        result: Tensor = self._streams(module, audio, call)
        return result
