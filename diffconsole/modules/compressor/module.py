"""The compressor as a module of the chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np

from ...kernels.arrays import Numbers, is_array, math_of
from ..call import Call
from ..curve import Curve
from ..evidence import Settings, Signals
from .process import compressor as process
from .process import detector_settings, mixed_curve_db

__all__ = ["curve", "process", "rest_gain_db", "run", "starts", "stream", "takes_arrays"]

takes_arrays = True

LOWEST_DB = -60.0


def run(audio: Numbers, call: Call) -> Numbers:
    """Run the compressor; a gain that was added to its makeup reaches a dry signal too."""
    return process(audio, call.sample_rate, **call.settings, after_db=call.after_db)


def stream(audio: Numbers, call: Call) -> Callable[[Numbers], Numbers]:
    """Return the compressor on blocks: each starts from the detector's level after the last.

    Parameters
    ----------
    audio : Tensor or ndarray
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    settings = detector_settings(call.sample_rate, **call.settings, after_db=call.after_db)
    if is_array(audio):
        from .cpu_compressor import compress_from

        parameters, state = np.stack(settings, axis=-1), np.zeros(1)

        def block_of_array(audio: np.ndarray) -> np.ndarray:
            nonlocal state
            compressed, state = compress_from(audio, parameters, state)
            return compressed

        return block_of_array

    import torch

    from . import compressor_operator

    level = torch.zeros(1, dtype=torch.float64)

    def block(audio: Numbers) -> Numbers:
        nonlocal level
        compressed, level = compressor_operator.compress_from(audio, settings, level)
        return compressed

    return block


def rest_gain_db(call: Call) -> float:
    """Return the gain in dB where nothing is turned down, a mix's dry part included."""
    makeup = call.settings["makeup_db"]
    settings = {"mix": math_of(makeup).filled(makeup, 100.0), **call.settings}
    found = detector_settings(call.sample_rate, **settings, after_db=call.after_db)
    makeup_db, wet, dry = (value.item() for value in found[-3:])
    return 20.0 * math.log10(dry + wet * 10.0 ** (makeup_db / 20.0))


def starts(signals: Signals) -> list[Settings]:
    """Return settings from which a match begins; see :mod:`.evidence`."""
    from .evidence import starts as found

    return found(signals)


def curve(sample_rate: float, settings: Mapping[str, float], off_bands: Collection[str]) -> Curve:
    """Return output over input level before makeup, in dBFS, for a steady level."""
    level_db = np.linspace(LOWEST_DB, 0.0, 241)
    names = ("threshold_db", "ratio", "knee_db", "makeup_db", "mix")
    own = (np.array([settings[name]], np.float64) for name in names)
    lines = {"output": mixed_curve_db(level_db, *own), "input": level_db}
    return Curve("input, dBFS", "output before makeup, dBFS", level_db, lines)
