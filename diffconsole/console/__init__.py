"""The differentiable console: one file a processor family, chained by :class:`Console`."""

from ..modules.compressor.process import compressor
from ..modules.equalizer.process import equalizer, high_pass, high_shelf, low_pass, low_shelf, peak
from ..modules.gain.process import gain
from ..modules.pan.process import pan
from ..modules.reverb.process import impulse_response, reverb
from .console import Console

__all__ = [
    "Console",
    "compressor",
    "equalizer",
    "gain",
    "high_pass",
    "high_shelf",
    "impulse_response",
    "low_pass",
    "low_shelf",
    "pan",
    "peak",
    "reverb",
]
