"""Pan: constant power, 0 dB in both channels at the centre.

``left = √2·cos(π/4·(1 + p))``, ``right = √2·sin(π/4·(1 + p))``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["pan"]


def pan(audio: Tensor, position: Tensor, gain_db: Tensor | None = None) -> Tensor:
    """Place a signal between left and right with constant power, 0 dB at the centre.

    ``left = √2·cos(π/4·(1 + p))``, ``right = √2·sin(π/4·(1 + p))``; a stereo input keeps its
    channels, each scaled.

    Parameters
    ----------
    audio : Tensor
        ``(batch, 1 or 2, samples)``.
    position : Tensor
        ``(batch,)``, −1 left … 1 right.
    gain_db : Tensor, optional
        ``(batch,)``, a gain on top that costs no pass of its own.

    Returns
    -------
    Tensor
        ``(batch, 2, samples)``.
    """
    angle = math.pi / 4 * (1.0 + position.to(torch.float64))
    sides = math.sqrt(2.0) * torch.stack((angle.cos(), angle.sin()), dim=-1)
    if gain_db is not None:
        sides = sides * (10.0 ** (gain_db.to(torch.float64) / 20.0)).unsqueeze(-1)
    return audio * sides.unsqueeze(-1).to(audio)
