"""Figures of the distance that all its implementations share."""

from __future__ import annotations

__all__ = ["ENERGY_TIMES_MS", "FFT_SIZES", "MASKED_DB", "POWER_FLOOR"]

FFT_SIZES = (128, 512, 2048)
ENERGY_TIMES_MS = ((50.0, 1000.0), (100.0, 2000.0))
POWER_FLOOR = 1e-8
MASKED_DB = -40.0
"""Against the mid of a mix its side is inaudible below this level, and the mid against its side."""
