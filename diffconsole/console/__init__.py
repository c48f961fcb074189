"""The differentiable console: the modules as functions, chained by :class:`Console`."""

from ..modules.compressor.process import compressor
from ..modules.deesser.process import deesser
from ..modules.delay.process import delay
from ..modules.equalizer.process import equalizer, high_pass, high_shelf, low_pass, low_shelf, peak
from ..modules.gain.process import gain
from ..modules.gate.process import gate
from ..modules.pan.process import pan
from ..modules.reverb.process import impulse_response, reverb
from ..modules.saturation.process import saturation
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
