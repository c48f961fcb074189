"""The kinds of section that an equalizer is made of, by the names of the cookbook's filters."""

from __future__ import annotations

__all__ = ["KINDS", "WITHOUT_GAIN"]

KINDS = ("high_pass", "low_pass", "low_shelf", "high_shelf", "peaking")
WITHOUT_GAIN = (0, 1)
"""Those without a gain, as places in :data:`KINDS`."""
