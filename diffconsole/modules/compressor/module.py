"""The compressor as a module of the chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from ..call import Call
from ..curve import Curve
from .compressor_operator import compress_from
from .evidence import starts
from .process import compressor as process
from .process import detector_settings, mixed_curve_db

__all__ = ["curve", "process", "rest_gain_db", "run", "starts", "stream"]

LOWEST_DB = -60.0


def run(audio: Tensor, call: Call) -> Tensor:
    """Run the compressor; a gain that was added to its makeup reaches a dry signal too."""
    return process(audio, call.sample_rate, **call.settings, after_db=call.after_db)


def stream(audio: Tensor, call: Call) -> Callable[[Tensor], Tensor]:
    """Return the compressor on blocks: each starts from the detector's level after the last.

    Parameters
    ----------
    audio : Tensor
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    settings = detector_settings(call.sample_rate, **call.settings, after_db=call.after_db)
    level = torch.zeros(1, dtype=torch.float64)

    def block(audio: Tensor) -> Tensor:
        nonlocal level
        compressed, level = compress_from(audio, settings, level)
        return compressed

    return block


def rest_gain_db(call: Call) -> float:
    """Return the gain in dB where nothing is turned down, a mix's dry part included."""
    settings = {"mix": torch.tensor([100.0]), **call.settings}
    found = detector_settings(call.sample_rate, **settings, after_db=call.after_db)
    makeup_db, wet, dry = (float(value) for value in found[-3:])
    return 20.0 * math.log10(dry + wet * 10.0 ** (makeup_db / 20.0))


def curve(sample_rate: float, settings: Mapping[str, float], off_bands: Collection[str]) -> Curve:
    """Return output over input level before makeup, in dBFS, for a steady level."""
    level_db = torch.linspace(LOWEST_DB, 0.0, 241, dtype=torch.float64)
    names = ("threshold_db", "ratio", "knee_db", "makeup_db", "mix")
    own = (torch.tensor([settings[name]], dtype=torch.float64) for name in names)
    lines = {"output": mixed_curve_db(level_db, *own).numpy(), "input": level_db.numpy()}
    return Curve("input, dBFS", "output before makeup, dBFS", np.asarray(level_db), lines)
