"""The saturation as a module of the chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np

from ...kernels.arrays import Numbers, as_array, is_array, math_of, on_arrays
from ..call import Call
from ..curve import Curve
from ..evidence import Settings, Signals
from .phases import BLOCKED_HZ, LATENCY_SAMPLES
from .process import curve_settings, saturate, shaped
from .process import saturation as process

__all__ = ["curve", "latency_samples", "process", "starts", "stream", "takes_arrays"]

takes_arrays = True
latency_samples = LATENCY_SAMPLES

FORGOTTEN_NEPERS = 24.0
# What the places' filters need, whose poles do not depend on the sample rate.
MORE_SAMPLES = 9000


def stream(audio: Numbers, call: Call) -> Callable[[Numbers], Numbers]:
    """Return the saturation on blocks: its filters start from their state after the last.

    Kernels without states run again over what the filters remember.

    Parameters
    ----------
    audio : Tensor or ndarray
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    own, rate = call.settings, float(call.sample_rate)
    settings = curve_settings(own["drive_db"], own["bias"], own["mix"])
    if _runs_on_arrays(audio):
        from .cpu_saturation import new_states, saturate_from

        states, numbers = new_states(audio.shape[0] * audio.shape[1]), as_array(settings)

        def from_states(audio: np.ndarray) -> np.ndarray:
            return saturate_from(audio, numbers, rate, states)

        return from_states if is_array(audio) else on_arrays(from_states)
    memory = math.ceil(FORGOTTEN_NEPERS / (2.0 * math.pi * BLOCKED_HZ) * rate) + MORE_SAMPLES
    m, earlier = math_of(audio), audio[..., :0]

    def block(audio: Numbers) -> Numbers:
        nonlocal earlier
        known = earlier.shape[-1]
        longer = m.concatenate((earlier, audio), axis=-1)
        earlier = m.copied(longer[..., max(longer.shape[-1] - memory, 0) :])
        return saturate(longer, rate, settings)[..., known:]

    return block


def _runs_on_arrays(audio: Numbers) -> bool:
    if is_array(audio):
        return True
    from ...kernels.operators import name_for

    return name_for(audio) == "cpu"


def starts(signals: Signals) -> list[Settings]:
    """Return settings from which a match begins; see :mod:`.evidence`."""
    from .evidence import starts as found

    return found(signals)


def curve(sample_rate: float, settings: Mapping[str, float], off_bands: Collection[str]) -> Curve:
    """Return output over input, as amplitudes: what the curve makes of a slow signal."""
    levels = np.linspace(-1.0, 1.0, 401)
    own = (np.array([settings[name]]) for name in ("drive_db", "bias", "mix"))
    bent = shaped(levels[None, None], curve_settings(*own))[0, 0]
    lines = {"output": bent, "input": levels}
    return Curve("input, amplitude", "output, amplitude", levels, lines)
