"""Later modules undone in a simulated vocal, each by its own code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...strip.parameters import CHAIN, MODULES

__all__ = ["is_before_eq", "undone"]


def undone(
    voice: np.ndarray, sample_rate: int, modules: Sequence[str], rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, float]]:
    """Undo modules by their own code, the last of the chain first.

    Parameters
    ----------
    voice : ndarray
        ``(samples,)`` float32 at −18 LUFS.
    sample_rate : int
        Hz.
    modules : sequence of str
        Their keys.
    rng : Generator
        The source of every random choice.

    Returns
    -------
    voice : ndarray
        ``(samples,)`` float32.
    settings : dict of str to float
        Of the modules, by key.
    """
    settings: dict[str, float] = {}
    for module in reversed(CHAIN):
        if module.key in modules:
            voice, own = module.code().undo(voice, sample_rate, rng)
            settings |= {f"{module.key}.{name}": value for name, value in own.items()}
    return voice, settings


def is_before_eq(module: str) -> bool:
    """Return whether a module lies before the EQ: the raw vocal itself is what it mends."""
    return MODULES.index(module) < MODULES.index("eq")
