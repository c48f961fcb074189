"""The pan as a module of the chain."""

from __future__ import annotations

from ...kernels.arrays import Numbers
from ..call import Call
from .process import pan

__all__ = ["run", "takes_arrays"]

takes_arrays = True


def run(audio: Numbers, call: Call) -> Numbers:
    """Pan the dry signal; see :func:`.process.pan`."""
    return pan(audio, **call.settings, gain_db=call.gain_db)
