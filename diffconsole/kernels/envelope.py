"""A detector's level: the branching one-pole, with a hold before it falls.

With a level ``v ≥ 0`` and a hold of H samples::

    s[n] = k[n]·s[n−1] + (1 − k[n])·v[n],   s[−1] = 0
    k    = a                  where v[n] > s[n−1]: the attack, and the hold begins again
           1                  while at least a whole sample of the hold is left
           r^(1 − f)          in the sample in which the last fraction f of it ends
           r                  after that: the release

Without a hold this is the detector of :mod:`diffconsole.modules.compressor.process`. The fraction
makes the level continuous in the hold, which so has a gradient.
"""

from __future__ import annotations

import numpy as np

from .arrays import Numbers, is_array, math_of, without_gradient

__all__ = ["envelope", "envelope_from", "peak_level"]


def peak_level(audio: Numbers) -> Numbers:
    """Return the level of the louder channel, ``(batch, samples)``."""
    m = math_of(audio)
    level = m.magnitude(audio)
    return level[:, 0] if level.shape[1] == 1 else m.maximum(level[:, 0], level[:, 1])


@without_gradient
def envelope(
    level: Numbers, attack: Numbers, release: Numbers, hold: Numbers | None = None
) -> Numbers:
    """Follow a level.

    Parameters
    ----------
    level : Tensor or ndarray
        ``(batch, samples)``, float32 or float64, not negative.
    attack, release : Tensor or ndarray
        ``(batch,)`` float64, the one-pole coefficients ``exp(−1/(τ·fs))``.
    hold : Tensor or ndarray, optional
        ``(batch,)`` float64, in samples.

    Returns
    -------
    Tensor or ndarray
        The shape and type of `level`; of tensors it is differentiable in all four.
    """
    m = math_of(level)
    settings = (attack, release, m.filled(attack, 0.0) if hold is None else hold)
    parameters = m.stack([m.beside(m.float64(s), level) for s in settings], axis=-1)
    if is_array(level):
        from .cpu_envelope import follow

        return follow(np.ascontiguousarray(level), parameters, np.zeros((len(level), 2)))[0]
    from . import envelope_operator

    return envelope_operator.envelope(level, parameters)


def envelope_from(level: Numbers, parameters: Numbers, state: Numbers) -> tuple[Numbers, Numbers]:
    """Follow one part of a long level, from where the part before it has ended; no gradient.

    Parameters
    ----------
    level : Tensor or ndarray
        ``(batch, samples)``.
    parameters : Tensor or ndarray
        ``(batch, 3)`` float64: attack, release, hold.
    state : Tensor or ndarray
        ``(batch, 2)`` float64: zeros for the first part, then what the part before gave.

    Returns
    -------
    level, state : Tensor or ndarray
        The part, and level and what is left of the hold after it.
    """
    if is_array(level):
        from .cpu_envelope import follow

        return follow(np.ascontiguousarray(level), parameters, state)
    from . import envelope_operator

    return envelope_operator.envelope_from(level, parameters, state)
