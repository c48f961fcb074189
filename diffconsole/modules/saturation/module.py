"""The saturation as a module of the chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from ...kernels.operators import name_for
from ..call import Call
from ..curve import Curve
from .evidence import starts
from .phases import BLOCKED_HZ
from .process import curve_settings, shaped
from .process import saturation as process
from .saturation_operator import saturate

__all__ = ["curve", "process", "starts", "stream"]

FORGOTTEN_NEPERS = 24.0
# What the places' filters need, whose poles do not depend on the sample rate.
MORE_SAMPLES = 9000


def stream(audio: Tensor, call: Call) -> Callable[[Tensor], Tensor]:
    """Return the saturation on blocks: its filters start from their state after the last.

    Kernels without states run again over what the filters remember.

    Parameters
    ----------
    audio : Tensor
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    own, rate = call.settings, float(call.sample_rate)
    settings = curve_settings(own["drive_db"], own["bias"], own["mix"])
    if name_for(audio) == "cpu":
        from .cpu_saturation import new_states, saturate_from

        states = new_states(audio.shape[0] * audio.shape[1])
        return lambda block: saturate_from(block, settings, rate, states)
    memory = math.ceil(FORGOTTEN_NEPERS / (2.0 * math.pi * BLOCKED_HZ) * rate) + MORE_SAMPLES
    earlier = audio[..., :0]

    def block(audio: Tensor) -> Tensor:
        nonlocal earlier
        known = earlier.shape[-1]
        longer = torch.cat((earlier, audio), dim=-1)
        earlier = longer[..., max(longer.shape[-1] - memory, 0) :].clone()
        return saturate(longer, rate, settings)[..., known:]

    return block


def curve(sample_rate: float, settings: Mapping[str, float], off_bands: Collection[str]) -> Curve:
    """Return output over input, as amplitudes: what the curve makes of a slow signal."""
    levels = torch.linspace(-1.0, 1.0, 401, dtype=torch.float64)
    own = (torch.tensor([settings[name]]) for name in ("drive_db", "bias", "mix"))
    bent = shaped(levels[None, None], curve_settings(*own))[0, 0]
    lines = {"output": bent.numpy(), "input": levels.numpy()}
    return Curve("input, amplitude", "output, amplitude", np.asarray(levels), lines)
