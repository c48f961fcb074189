"""The centres of third octaves that tone is measured in."""

from __future__ import annotations

import numpy as np

__all__ = ["BASE_TWO_THIRDS_HZ", "THIRD_OCTAVES_HZ"]

THIRD_OCTAVES_HZ = tuple(round(1000.0 * 10.0 ** (step / 10.0), 1) for step in range(-13, 13))
"""50 Hz to 16 kHz (IEC 61260-1, base ten), to 0.1 Hz."""

BASE_TWO_THIRDS_HZ = 1000.0 * 2.0 ** (np.arange(-13, 13) / 3.0)
"""The same bands in base two, where three of them are an octave exactly: for pictures and words."""
