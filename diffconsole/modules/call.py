"""What the console passes to a module beside the audio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Call"]


class Call(NamedTuple):
    """One call of a module.

    Attributes
    ----------
    sample_rate : float
        Hz.
    settings : dict of str to Tensor or ndarray
        ``(batch,)`` each, of the audio's kind, physical units, by short name: ``"threshold_db"``,
        ``"peak_1.freq_hz"``.
    off_bands : frozenset of str
        Short names of the bands that are off.
    gain_db : Tensor or ndarray, optional
        ``(batch,)``, a gain to take along; only modules whose row says so get one.
    dry : Tensor or ndarray, optional
        ``(batch, 1 or 2, samples)``, the signal that a send adds its return to; only sends whose
        row says so get it.
    seed : int
        Of a module's noise.
    after_db : Tensor or ndarray, optional
        ``(batch,)``, a gain of the whole output that the setting named ``gain_after`` in the
        module's row already holds.
    seconds : float, optional
        Fixed length of a response, for training with fixed shapes; by default what the settings
        need.
    """

    sample_rate: float
    settings: Mapping[str, Any]
    off_bands: frozenset[str] = frozenset()
    gain_db: Any = None
    seed: int = 0
    seconds: float | None = None
    after_db: Any = None
    dry: Any = None
