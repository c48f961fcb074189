"""Gain: ``y = x · 10^(gain_db / 20)``."""

from __future__ import annotations

from torch import Tensor

from ...kernels.shapes import per_item

__all__ = ["gain"]


def gain(audio: Tensor, gain_db: Tensor) -> Tensor:
    """Multiply by a gain in dB: ``y = x · 10^(gain_db / 20)``.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``.
    gain_db : Tensor
        ``(batch,)``, dB.

    Returns
    -------
    Tensor
        The shape of `audio`.
    """
    return audio * (10.0 ** (per_item(gain_db, audio) / 20.0)).to(audio.dtype)
