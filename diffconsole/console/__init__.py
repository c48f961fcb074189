"""The differentiable console: one file a processor family, chained by :class:`Console`."""

from .compressor import compressor
from .console import Console
from .equalizer import equalizer, high_pass, high_shelf, low_pass, low_shelf, peak
from .gain import gain, pan
from .reverb import impulse_response, reverb

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
