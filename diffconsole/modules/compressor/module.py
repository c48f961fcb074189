"""The compressor as a module of the chain."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..call import Call
from .compressor_operator import compress_from
from .process import compressor as process
from .process import detector_settings

__all__ = ["process", "stream"]


def stream(audio: Tensor, call: Call) -> Callable[[Tensor], Tensor]:
    """Return the compressor on blocks: each starts from the detector's level after the last.

    Parameters
    ----------
    audio : Tensor
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    settings = detector_settings(call.sample_rate, **call.settings)
    level = torch.zeros(1, dtype=torch.float64)

    def block(audio: Tensor) -> Tensor:
        nonlocal level
        compressed, level = compress_from(audio, settings, level)
        return compressed

    return block
