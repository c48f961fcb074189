"""What a head and model files agree on: the names of tensors, their rows, the bounds of values."""

from __future__ import annotations

from typing import Any

from ..kernels.arrays import math_of

__all__ = [
    "FILE_NAMES",
    "LEAST_LOG_VARIANCE",
    "MOST_LOG_VARIANCE",
    "OPTIONAL_STATE_KEYS",
    "PARAMETER_ROWS",
    "SWITCH_COLUMNS",
    "Z_CLIP",
    "standardised",
]

Z_CLIP = 2.0
"""Largest z-score, in standard deviations, of an input of the head's linear maps."""

LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE = -9.0, 1.0

PARAMETER_ROWS = (
    "mean.weight", "mean.bias", "log_variance.weight", "log_variance.bias", "skip.weight",
    "voice.weight", "log_scale",
)  # fmt: skip
SWITCH_COLUMNS = ("switch_line",)
"""Tensors of a head with a row for each parameter, and with a column for each switch."""

FILE_NAMES = {
    "feature_mean": "centre",
    "feature_std": "spread",
    "voice_mean": "usual",
    "voice_std": "usual_spread",
}
"""By the name of a buffer, its name in model files of version 1 and in earlier state dicts."""

OPTIONAL_STATE_KEYS = (
    "skip.weight", "feature_mean", "feature_std", "log_scale", "voice.weight", "voice_mean",
    "voice_std", "switch_line",
)  # fmt: skip
"""Tensors of a head that earlier files lack; with the values of a new head they have no effect."""


def standardised(values: Any, mean: Any, std: Any) -> Any:
    """Return features as z-scores, clipped at ±:data:`Z_CLIP`.

    Parameters
    ----------
    values : Tensor or ndarray
        ``(…, features)``.
    mean, std : Tensor or ndarray
        ``(features,)``, over voices.
    """
    m = math_of(values)
    return m.at_most(m.at_least((values - mean) / std, -Z_CLIP), Z_CLIP)
