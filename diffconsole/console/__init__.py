"""The differentiable console: the modules as functions, chained by :class:`Console`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..modules.compressor.process import compressor
from ..modules.deesser.process import deesser
from ..modules.delay.process import delay
from ..modules.equalizer.process import equalizer, high_pass, high_shelf, low_pass, low_shelf, peak
from ..modules.gain.process import gain
from ..modules.gate.process import gate
from ..modules.pan.process import pan
from ..modules.reverb.process import impulse_response, reverb
from ..modules.saturation.process import saturation

if TYPE_CHECKING:
    from .console import Console

__all__ = [
    "Console",
    "compressor",
    "deesser",
    "delay",
    "equalizer",
    "gain",
    "gate",
    "high_pass",
    "high_shelf",
    "impulse_response",
    "low_pass",
    "low_shelf",
    "pan",
    "peak",
    "reverb",
    "saturation",
]


def __getattr__(name: str) -> Any:
    # Loaded when it is first used: it brings PyTorch with it.
    if name == "Console":
        from .console import Console

        return Console
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
