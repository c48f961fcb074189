"""The gate as a module of the chain."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from ...kernels.envelope import envelope_from, peak_level
from ..call import Call
from ..curve import Curve
from .evidence import starts
from .process import change_db, gate_settings, turned
from .process import gate as process
from .undo import undo

__all__ = ["curve", "process", "starts", "stream", "undo"]

LOWEST_DB = -90.0


def stream(audio: Tensor, call: Call) -> Callable[[Tensor], Tensor]:
    """Return the gate on blocks: each starts from the detector's state after the last.

    Parameters
    ----------
    audio : Tensor
        The first block, ``(1, channels, samples)``.
    call : Call
        Its settings are those of the whole signal.
    """
    own = call.settings
    times = gate_settings(call.sample_rate, own["attack_ms"], own["hold_ms"], own["release_ms"])
    parameters = torch.stack([t.to(audio.device, torch.float64) for t in times], dim=-1)
    state = torch.zeros(len(audio), 2, dtype=torch.float64, device=audio.device)

    def block(audio: Tensor) -> Tensor:
        nonlocal state
        level, state = envelope_from(peak_level(audio), parameters, state)
        return turned(audio, level, own["threshold_db"], own["ratio"], own["range_db"])

    return block


def curve(sample_rate: float, settings: Mapping[str, float], off_bands: Collection[str]) -> Curve:
    """Return output over input level, in dBFS, for a steady level."""
    level_db = torch.linspace(LOWEST_DB, 0.0, 361, dtype=torch.float64)
    own = (torch.tensor([[settings[n]]]) for n in ("threshold_db", "ratio", "range_db"))
    change = change_db(10.0 ** (level_db / 20.0)[None], *own)[0]
    lines = {"output": (level_db + change).numpy(), "input": level_db.numpy()}
    return Curve("input, dBFS", "output, dBFS", np.asarray(level_db), lines)
