"""What a predictor returns for a vocal."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["Prediction"]


@dataclass(frozen=True)
class Prediction:
    """Predicted settings of one vocal.

    Attributes
    ----------
    settings : dict of str to float
        Every parameter by key, physical units, inside its range; without those of a module that
        the model does not know, or that came after version 1.0 and is not clearly needed: a preset
        made of these settings has it off.
    uncertainty : dict of str to tuple of float
        By key of what the model knows and does not leave off, the physical values one standard
        deviation below and above the mean.
    loudness_lufs : float
        Of the raw vocal.
    messages : tuple of str
        What in the file is not the voice and was left out, one line each.
    held_below_hz : float or None
        The voice's lowest partial, if the EQ was moved so that it lifts nothing below it.
    switches : dict of str to float
        How likely each module and band is on whose row says when it is not, 0…1; empty where that
        was not calibrated, as of models that were fine-tuned.
    """

    settings: dict[str, float]
    uncertainty: dict[str, tuple[float, float]] = field(default_factory=dict)
    loudness_lufs: float = math.nan
    messages: tuple[str, ...] = ()
    held_below_hz: float | None = None
    switches: dict[str, float] = field(default_factory=dict)
