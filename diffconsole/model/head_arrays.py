"""The head on NumPy arrays: what :class:`.head.Head` computes once trained, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..encoders.logmel_arrays import gelu
from ..kernels.array_math import sigmoid
from ..strip.parameters import PARAMETERS
from .head_rows import LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE, standardised
from .switches import RULES, likely_on
from .voice_features import VOICE_FEATURES

__all__ = ["HeadArrays", "head_tensors", "new_head_tensors"]

NORM_EPSILON = 1e-5
"""PyTorch's, added to the variance of a normalisation."""


def head_tensors(dim: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what a head's state dict holds.

    Parameters
    ----------
    dim : int
        Features per frame that it takes.
    hidden : int
        Its width.
    """
    rows, voice = len(PARAMETERS), len(VOICE_FEATURES)
    return {
        "norm.weight": (2 * dim,),
        "norm.bias": (2 * dim,),
        "body.0.weight": (hidden, 2 * dim),
        "body.0.bias": (hidden,),
        "body.3.weight": (hidden, hidden),
        "body.3.bias": (hidden,),
        "mean.weight": (rows, hidden),
        "mean.bias": (rows,),
        "log_variance.weight": (rows, hidden),
        "log_variance.bias": (rows,),
        "skip.weight": (rows, 2 * dim),
        "voice.weight": (rows, voice),
        "feature_mean": (2 * dim,),
        "feature_std": (2 * dim,),
        "voice_mean": (voice,),
        "voice_std": (voice,),
        "log_scale": (rows,),
        "switch_line": (2, len(RULES)),
    }


def new_head_tensors(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return what a new head holds of tensors of these names that training does not begin with."""
    found = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    for name, value in found.items():
        if name.endswith("_std"):
            value += 1.0
        elif name == "switch_line":
            value[0] = 1.0
    return found


class HeadArrays:
    """The head of a saved model.

    Parameters
    ----------
    weights : mapping of str to ndarray
        By the names of its state dict, float32, of the shapes that :func:`head_tensors` returns.
    """

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self._of = weights

    @staticmethod
    def pool(frames: np.ndarray) -> np.ndarray:
        """Return mean and deviation of the frames ``(batch, frames, dim)``: ``(batch, 2·dim)``."""
        return np.concatenate((frames.mean(axis=1), frames.std(axis=1)), axis=-1)

    def predict_from_pooled(
        self, pooled: np.ndarray, voice_features: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the means, 0…1, and the log-variances, ``(batch, parameters)`` each.

        Parameters
        ----------
        pooled : ndarray
            ``(batch, 2·dim)``, what :meth:`pool` returned.
        voice_features : ndarray
            ``(features,)`` of the voice that all items belong to.
        """
        of = self._of
        x = pooled - pooled.mean(axis=-1, keepdims=True)
        x = x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(NORM_EPSILON))
        x = x * of["norm.weight"] + of["norm.bias"]
        for layer in ("body.0", "body.3"):
            x = gelu(self._linear(layer, x))
        z = standardised(pooled, of["feature_mean"], of["feature_std"])
        logits = self._linear("mean", x) + z @ of["skip.weight"].T
        z = standardised(voice_features[None], of["voice_mean"], of["voice_std"])
        logits = logits + z @ of["voice.weight"].T
        log_variance = self._linear("log_variance", x).clip(LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE)
        return sigmoid(logits), log_variance + 2.0 * of["log_scale"]

    def _linear(self, layer: str, x: np.ndarray) -> np.ndarray:
        found: np.ndarray = x @ self._of[f"{layer}.weight"].T + self._of[f"{layer}.bias"]
        return found

    @property
    def is_calibrated(self) -> bool:
        """As :attr:`.head.Head.is_calibrated`."""
        slopes, intercepts = self._of["switch_line"]
        return not bool((slopes == 1.0).all() and (intercepts == 0.0).all())

    def switches(self, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """Return how likely each switch is on; see :meth:`.head.Head.switches`."""
        found: np.ndarray = likely_on(mean, deviation, self._of["switch_line"].astype(mean.dtype))
        return found
