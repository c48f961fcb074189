"""A module's curve as numbers, for the plots to draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

__all__ = ["Curve"]


class Curve(NamedTuple):
    """What a module does, as lines over an axis.

    Attributes
    ----------
    x_label, y_label : str
        With the unit: ``"Hz"``, ``"dB"``.
    x : ndarray
        ``(points,)``, increasing.
    lines : mapping of str to ndarray
        ``(points,)`` each, by what the line shows; the first is drawn strongly.
    is_log : bool
        Whether the axis of `x` is logarithmic.
    """

    x_label: str
    y_label: str
    x: np.ndarray
    lines: Mapping[str, np.ndarray]
    is_log: bool = False
