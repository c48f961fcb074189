"""Settings that are not numbers, shown in what a loop gives."""

from __future__ import annotations

import numpy as np

__all__ = ["mark_not_numbers"]


def mark_not_numbers(processed: np.ndarray, settings: np.ndarray) -> None:
    """Fill the items whose settings hold a NaN with NaN, in place.

    Loops that compare, count blocks or skip what is at rest take a NaN for one number or another,
    and training would go on without a word.

    Parameters
    ----------
    processed : ndarray
        ``(batch, …, samples)``.
    settings : ndarray
        ``(batch, …)``, what the loops took from the settings.
    """
    wrong = np.isnan(settings).any(axis=tuple(range(1, settings.ndim)))
    if wrong.any():
        processed[wrong] = np.nan
