"""Confidence in a pair's label: its weight in the regression.

A label is the result of a search. Confidence is lower the larger the distance that remains, since
what the strip cannot make moves its settings anywhere; the more two passages of the pair differ in
what they gain by the label; and the less certain the timing of the mix is, by which short times
and the reverb are estimated wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["MIN_CONFIDENCE", "confidence_of"]

MIN_CONFIDENCE = 0.05
DISAGREEMENT = 0.3
"""Difference of the passages' gains, of the natural logarithm, at which a label counts half."""

LAG_SECONDS = 0.005
"""Uncertainty of the lag at which a label counts half."""


def confidence_of(
    before: Sequence[Sequence[float]],
    after: Sequence[Sequence[float]],
    lag_uncertain_seconds: Sequence[float],
) -> np.ndarray:
    """Return the confidence in each label, ``(pairs,)`` in 0.05…1.

    ``min(1, (median rest / rest)²) / (1 + (difference / 0.3)²) / (1 + (lag / 5 ms)²)``

    Parameters
    ----------
    before, after : sequence of sequence of float
        For each pair the distance of each passage to the mix, by the studio's strip and by the
        label.
    lag_uncertain_seconds : sequence of float
        Of each pair.
    """
    rest = np.array([max(float(np.mean(each)), 1e-6) for each in after])
    gains = [
        np.log(np.maximum(b, 1e-6)) - np.log(np.maximum(a, 1e-6))
        for b, a in zip(before, after, strict=True)
    ]
    difference = np.array([float(np.ptp(gain)) for gain in gains])
    found = np.minimum(1.0, np.square(np.median(rest) / rest))
    found /= 1.0 + np.square(difference / DISAGREEMENT)
    found /= 1.0 + np.square(np.asarray(lag_uncertain_seconds, float) / LAG_SECONDS)
    return np.maximum(found, MIN_CONFIDENCE)
