"""Pan: constant power, 0 dB in both channels at the centre.

``left = √2·cos(π/4·(1 + p))``, ``right = √2·sin(π/4·(1 + p))``.
"""

from __future__ import annotations

import math

from ...kernels.arrays import Numbers, math_of, without_gradient

__all__ = ["pan"]


@without_gradient
def pan(audio: Numbers, position: Numbers, gain_db: Numbers | None = None) -> Numbers:
    """Place a signal between left and right with constant power, 0 dB at the centre.

    ``left = √2·cos(π/4·(1 + p))``, ``right = √2·sin(π/4·(1 + p))``; a stereo input keeps its
    channels, each scaled.

    Parameters
    ----------
    audio : Tensor or ndarray
        ``(batch, 1 or 2, samples)``.
    position : Tensor or ndarray
        ``(batch,)``, −1 left … 1 right.
    gain_db : Tensor or ndarray, optional
        ``(batch,)``, a gain on top that costs no pass of its own.

    Returns
    -------
    Tensor or ndarray
        ``(batch, 2, samples)``.
    """
    m = math_of(audio)
    angle = math.pi / 4 * (1.0 + m.float64(position))
    sides = math.sqrt(2.0) * m.stack((m.cos(angle), m.sin(angle)), axis=-1)
    if gain_db is not None:
        sides = sides * m.amplitude(m.float64(gain_db))[:, None]
    return audio * m.cast(sides[..., None], audio)
