"""Gain and pan."""
