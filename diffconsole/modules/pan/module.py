"""The pan as a module of the chain."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from ..call import Call
from .process import pan

__all__ = ["is_idle", "run"]


def run(audio: Tensor, call: Call) -> Tensor:
    """Pan the dry signal; see :func:`.process.pan`."""
    return pan(audio, **call.settings, gain_db=call.gain_db)


def is_idle(settings: Mapping[str, float], off_bands: Collection[str]) -> bool:
    """The centre is 0 dB on both sides: without the pan a mono vocal stays mono."""
    return settings["position"] == 0.0
