"""Gain: ``y = x · 10^(gain_db / 20)``."""

from __future__ import annotations

from ...kernels.arrays import Numbers, math_of, without_gradient
from ...kernels.shapes import per_item

__all__ = ["gain"]


@without_gradient
def gain(audio: Numbers, gain_db: Numbers) -> Numbers:
    """Multiply by a gain in dB: ``y = x · 10^(gain_db / 20)``.

    Parameters
    ----------
    audio : Tensor or ndarray
        ``(batch, channels, samples)``.
    gain_db : Tensor or ndarray
        ``(batch,)``, dB.

    Returns
    -------
    Tensor or ndarray
        The shape of `audio`.
    """
    m = math_of(audio)
    return audio * m.cast(m.amplitude(per_item(gain_db, audio)), audio)
