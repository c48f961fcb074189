"""Losses: the distance between a mix and its target."""

from .distance import MixTarget, mix_distance, mix_distance_terms, spectral_distance

__all__ = ["MixTarget", "mix_distance", "mix_distance_terms", "spectral_distance"]
