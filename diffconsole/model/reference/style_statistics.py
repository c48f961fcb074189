"""How surely the style of a result follows from a reference: measured once, on simulated pairs.

Two singers through one strip: the raw vocal of the first, the finished one of the second, and the
first through the strip, which is the right result. Between the figures of both finished vocals
lies what the singers differ in; how much of it, figure by figure, is what the file holds. The
style that is expected of the right result is, by least squares,

``t = a + p·(h − a) + q·(W z + b) + c``,  ``z = ([a, r] − mean)/deviation``, within ±3,

with ``a`` the style of the raw vocal, ``r`` that of the reference, ``h`` that of the model's
prediction on the raw vocal; ``W z + b`` is what ``[a, r]`` alone say of the strip's effect, by
ridge regression. ``deviation`` is that of what the right results had instead. The shipped file
was made by ``python -m diffconsole.training.pretraining.style_pairs``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ModelError
from .style_features import STYLE_FEATURES

__all__ = ["StyleStatistics", "load"]

SHIPPED = Path(__file__).parent / "data" / "style_statistics.json"
FORMAT = "diffconsole.style-statistics"
REACH = 3.0
"""Deviations beyond which a figure that no simulated vocal has moves nothing further."""


@dataclass(frozen=True)
class StyleStatistics:
    """What simulated pairs say of references.

    Attributes
    ----------
    input_mean, input_deviation : ndarray
        ``(2·features,)``, of the styles of raw vocals, then of references.
    weights, bias : ndarray
        ``(2·features, features)`` and ``(features,)``: the strip's effect by ridge regression.
    of_prediction, of_reference, offset : ndarray
        ``(features,)`` each: ``p``, ``q`` and ``c``.
    deviation : ndarray
        ``(features,)``, dB: of the right results from what is expected.
    source : str
        How it was made.
    """

    input_mean: np.ndarray
    input_deviation: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    of_prediction: np.ndarray
    of_reference: np.ndarray
    offset: np.ndarray
    deviation: np.ndarray
    source: str = ""

    def effect(self, raw: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Return what a strip does to a raw vocal, by its style and that of a reference, dB.

        Parameters
        ----------
        raw, reference : ndarray
            ``(…, features)``.
        """
        inputs = np.concatenate((raw, reference), axis=-1)
        z = np.clip((inputs - self.input_mean) / self.input_deviation, -REACH, REACH)
        return np.asarray(z @ self.weights + self.bias)

    def expected(self, raw: np.ndarray, reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return the style that is expected of the right result, ``(…, features)``.

        Parameters
        ----------
        raw, reference, predicted : ndarray
            ``(…, features)``: of the raw vocal, of the finished one, and of the raw vocal through
            the strip that the model predicts.
        """
        from_reference = self.of_reference * self.effect(raw, reference)
        return raw + self.of_prediction * (predicted - raw) + from_reference + self.offset

    def save(self, path: str | Path) -> None:
        """Write as JSON, to four digits."""
        data: dict[str, Any] = {"format": FORMAT, "features": list(STYLE_FEATURES)}
        for name, value in vars(self).items():
            data[name] = value if isinstance(value, str) else _rounded(value)
        Path(path).write_text(json.dumps(data, separators=(",", ":")) + "\n", encoding="utf-8")


def _rounded(values: np.ndarray) -> list[Any]:
    if values.ndim > 1:
        return [_rounded(row) for row in values]
    return [float(f"{value:.4g}") for value in values]


def load(path: str | Path = SHIPPED) -> StyleStatistics:
    """Read what :meth:`StyleStatistics.save` wrote; by default the shipped file.

    Raises
    ------
    ModelError
        The file is missing, damaged, or of other figures.
    """
    count = len(STYLE_FEATURES)
    shapes: dict[str, tuple[int, ...]] = {
        "input_mean": (2 * count,),
        "input_deviation": (2 * count,),
        "weights": (2 * count, count),
        **dict.fromkeys(("bias", "of_prediction", "of_reference", "offset", "deviation"), (count,)),
    }
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["format"] != FORMAT or data["features"] != list(STYLE_FEATURES):
            raise ValueError("it was made for other figures")
        arrays = {name: np.array(data[name], float) for name in shapes}
        for name, shape in shapes.items():
            if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} is not {shape} finite numbers")
        if not all((arrays[name] > 0.0).all() for name in ("input_deviation", "deviation")):
            raise ValueError("a deviation is not above 0")
        source = str(data["source"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: not statistics of styles ({reason})") from None
    return StyleStatistics(**arrays, source=source)
