"""Losses: the distance between a mix and its target."""

from .distance import MixTarget, mix_distance, mix_distance_terms, spectral_distance
from .terms import REPORTED, Term

__all__ = [
    "REPORTED",
    "MixTarget",
    "Term",
    "mix_distance",
    "mix_distance_terms",
    "spectral_distance",
]
