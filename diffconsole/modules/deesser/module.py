"""The de-esser as a module of the chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from ...kernels.envelope import envelope_from, peak_level
from ..call import Call
from ..compressor.process import smoothing
from ..curve import Curve
from ..equalizer.process import response
from .evidence import starts
from .process import REFERENCE_MS, reduced, split, split_section
from .process import deesser as process
from .undo import undo

__all__ = ["curve", "process", "starts", "stream", "undo"]

FORGOTTEN_NEPERS = 24.0
LOWEST_HZ, HIGHEST_HZ, POINTS = 20.0, 20000.0, 400


def stream(audio: Tensor, call: Call) -> Callable[[Tensor], Tensor]:
    """Return the de-esser on blocks: the split runs again over what it remembers.

    The detectors start from their state after the block before.

    Parameters
    ----------
    audio : Tensor
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    own, rate = call.settings, call.sample_rate
    # Of two equal poles in a row the state falls as t·p^t: twice the time of one is ample.
    pole = float(split_section(rate, own["freq_hz"])[:, 3].abs().max())
    memory = math.ceil(2.0 * FORGOTTEN_NEPERS / -math.log(max(pole, 1e-9)))
    times = {
        "upper": (own["attack_ms"], own["release_ms"]),
        "whole": tuple(torch.full_like(own["attack_ms"], t) for t in REFERENCE_MS),
    }
    parameters = {
        name: torch.stack(
            [*(smoothing(t, rate) for t in pair), torch.zeros(len(pair[0]), dtype=torch.float64)],
            dim=-1,
        )
        for name, pair in times.items()
    }
    states = {name: torch.zeros(len(audio), 2, dtype=torch.float64) for name in times}
    earlier = audio[..., :0]

    def block(audio: Tensor) -> Tensor:
        nonlocal earlier
        known = earlier.shape[-1]
        longer = torch.cat((earlier, audio), dim=-1)
        earlier = longer[..., max(longer.shape[-1] - memory, 0) :].clone()
        once, twice = (part[..., known:] for part in split(longer, rate, own["freq_hz"]))
        levels = []
        for name, signal in (("upper", twice), ("whole", audio)):
            level, states[name] = envelope_from(peak_level(signal), parameters[name], states[name])
            levels.append(level)
        upper, whole = levels
        return reduced(audio, once, twice, upper, whole, own["threshold_db"], own["range_db"])

    return block


def curve(sample_rate: float, settings: Mapping[str, float], off_bands: Collection[str]) -> Curve:
    """Return the response where it turns down by its whole range, and by half of it."""
    freq_hz = np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, 0.4999 * sample_rate), POINTS)
    own = torch.tensor([settings["freq_hz"]], dtype=torch.float64)
    high = response(
        split_section(sample_rate, own)[:, None], sample_rate, torch.from_numpy(freq_hz)
    )
    lines = {}
    for name, share in (("full range", 1.0), ("half", 0.5)):
        root = 10.0 ** (-share * settings["range_db"] / 40.0)
        lines[name] = (40.0 * torch.log10((1.0 + (root - 1.0) * high[0, 0]).abs())).numpy()
    return Curve("Hz", "dB", freq_hz, lines, is_log=True)
