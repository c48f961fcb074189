"""The pan as a module of the chain."""

from __future__ import annotations

from torch import Tensor

from ..call import Call
from .process import pan

__all__ = ["run"]


def run(audio: Tensor, call: Call) -> Tensor:
    """Pan the dry signal; see :func:`.process.pan`."""
    return pan(audio, **call.settings, gain_db=call.gain_db)
