"""How surely the style of a result follows from references: measured once, on simulated pairs.

Several singers through one strip: the raw vocal of the first, the finished ones of others, and the
first through the strip, which is the right result. Between the figures of the finished vocals lies
what the singers differ in; how much of it, figure by figure, is what the statistics hold. The
style that is expected of the right result is, by least squares,

``t = a + p·(h − a) + q·(W z + b) + c``,  ``z = ([a, r, e, f] − mean)/deviation``, within ±3,

with ``a`` the style of the raw vocal, ``r`` that of the references, ``h`` that of the model's
prediction on the raw vocal, and ``e`` and ``f`` the encoder's embeddings of the raw vocal and of
the references, which know the singers better than figures do; ``W z + b`` is what these alone say
of the strip's effect, by ridge regression. ``deviation`` is that of what the right results had
instead. The more references there are, by different singers, the less of a singer is left in their
mean: what one reference says is measured, and what the mean of three does; what lies between goes
by the inverse of their number, and more than three count as three.

Statistics with embeddings belong to one encoder and lie in the model's folder, where ``pretrain``
writes them. Of models without them only the figures are used, by the file that is shipped with the
package, which ``python -m diffconsole.training.pretraining.style_pairs`` made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ModelError
from .style_names import STYLE_FEATURES

__all__ = ["SEVERAL", "STATISTICS_FILE", "StyleStatistics", "load", "load_of_model"]

SHIPPED = Path(__file__).parent / "data" / "style_statistics.json"
STATISTICS_FILE = "style_statistics.safetensors"
"""In the folder of a model."""

FORMAT = "diffconsole.style-statistics"
LARGEST_BYTES = 1 << 26
LARGEST_VALUE, LEAST_INPUT_DEVIATION, LEAST_DEVIATION_DB = 1e4, 1e-4, 0.01
"""What a fit cannot leave is damage."""

REACH = 3.0
"""Deviations beyond which a figure that no simulated vocal has moves nothing further."""

SEVERAL = 3
"""References whose mean is measured beside a single one."""

_BY_FEATURE = ("of_prediction", "of_reference", "offset", "deviation")
_ARRAYS = ("input_mean", "input_deviation", "weights", "bias", *_BY_FEATURE)


@dataclass(frozen=True)
class StyleStatistics:
    """What simulated pairs say of references.

    All but the first two have two rows, for one reference and for the mean of
    :data:`SEVERAL`, or one row that serves for both.

    Attributes
    ----------
    input_mean, input_deviation : ndarray
        ``(inputs,)``, of the styles of raw vocals, then of references, then, where they are used,
        of the embeddings of both.
    weights, bias : ndarray
        ``(rows, inputs, features)`` and ``(rows, features)``: the strip's effect by ridge
        regression.
    of_prediction, of_reference, offset : ndarray
        ``(rows, features)`` each: ``p``, ``q`` and ``c``.
    deviation : ndarray
        ``(rows, features)``, dB: of the right results from what is expected.
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

    @property
    def embedding_dim(self) -> int:
        """Numbers of an embedding; 0 where none are used."""
        return (len(self.input_mean) - 2 * len(STYLE_FEATURES)) // 2

    def for_references(self, count: float) -> StyleStatistics:
        """Return the statistics for a number of references, with one row.

        Parameters
        ----------
        count : float
            At least 1; of references with different weights, the number of equal ones that are as
            independent: ``1/Σ share²``.
        """
        if len(self.weights) == 1:
            return self
        share = np.clip((1.0 / count - 1.0 / SEVERAL) / (1.0 - 1.0 / SEVERAL), 0.0, 1.0)
        rows = {
            name: share * getattr(self, name)[:1] + (1.0 - share) * getattr(self, name)[1:]
            for name in ("weights", "bias", *_BY_FEATURE)
        }
        return StyleStatistics(self.input_mean, self.input_deviation, **rows, source=self.source)

    def effect(
        self,
        raw: np.ndarray,
        reference: np.ndarray,
        embedding: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return what a strip does to a raw vocal, by its style and that of references, dB.

        Parameters
        ----------
        raw, reference : ndarray
            ``(…, features)``.
        embedding : ndarray, optional
            ``(…, 2·embedding_dim)``, of the raw vocal, then of the references.
        """
        inputs = [raw, reference, *([] if embedding is None else [embedding])]
        z = standardised(np.concatenate(inputs, axis=-1), self.input_mean, self.input_deviation)
        return np.asarray(z @ self.weights[0] + self.bias[0])

    def expected(
        self,
        raw: np.ndarray,
        reference: np.ndarray,
        predicted: np.ndarray,
        embedding: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the style that is expected of the right result, ``(…, features)``.

        Parameters
        ----------
        raw, reference, predicted : ndarray
            ``(…, features)``: of the raw vocal, of the finished ones, and of the raw vocal through
            the strip that the model predicts.
        embedding : ndarray, optional
            As in :meth:`effect`.
        """
        from_reference = self.of_reference[0] * self.effect(raw, reference, embedding)
        of_prediction = self.of_prediction[0] * (predicted - raw)
        return np.asarray(raw + of_prediction + from_reference + self.offset[0])

    def save(self, path: str | Path) -> None:
        """Write as JSON, to four digits."""
        data: dict[str, Any] = {"format": FORMAT, "features": list(STYLE_FEATURES)}
        data |= {name: _rounded(getattr(self, name)) for name in _ARRAYS}
        data["source"] = self.source
        Path(path).write_text(json.dumps(data, separators=(",", ":")) + "\n", encoding="utf-8")

    def to_bytes(self) -> bytes:
        """Return what :func:`load_of_model` reads: safetensors, weights in half precision."""
        from safetensors.numpy import save

        arrays = {
            name: np.ascontiguousarray(
                getattr(self, name), np.float16 if name == "weights" else np.float32
            )
            for name in _ARRAYS
        }
        features = json.dumps(list(STYLE_FEATURES))
        packed = save(arrays, {"format": FORMAT, "features": features, "source": self.source})
        return _in_order(packed)


def _in_order(packed: bytes) -> bytes:
    """The same safetensors file with its metadata in alphabetical order, not in a random one."""
    length = int.from_bytes(packed[:8], "little")
    header = json.loads(packed[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + packed[8 + length :]


def standardised(inputs: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return ``(inputs − mean)/deviation``, within ±3."""
    return np.clip((inputs - mean) / deviation, -REACH, REACH)


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
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["format"] != FORMAT or data["features"] != list(STYLE_FEATURES):
            raise ValueError("it was made for other figures")
        arrays = {name: np.array(data[name], float) for name in _ARRAYS}
        if arrays["weights"].ndim == 2:
            # Files of before there were statistics for several references have one row.
            for name in ("weights", "bias", *_BY_FEATURE):
                arrays[name] = arrays[name][None]
        return _checked(arrays, str(data["source"]), 0)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: not statistics of styles ({reason})") from None


def load_of_model(folder: Path, embedding_dim: int) -> StyleStatistics | None:
    """Read the statistics in a model's folder; None where there are none.

    Parameters
    ----------
    folder : Path
        Of the model.
    embedding_dim : int
        Numbers of an embedding of its encoder.

    Raises
    ------
    ModelError
        The file is damaged, or of other figures or another encoder.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / STATISTICS_FILE
    if not os.path.lexists(path):
        return None
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"no ordinary file of at most {LARGEST_BYTES >> 20} MB")
        with safe_open(str(path), "np") as file:
            facts = file.metadata() or {}
            arrays = {name: np.asarray(file.get_tensor(name), float) for name in _ARRAYS}
        if facts.get("format") != FORMAT or facts.get("features") != json.dumps(
            list(STYLE_FEATURES)
        ):
            raise ValueError("it was made for other figures")
        return _checked(arrays, facts.get("source", ""), embedding_dim)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: not statistics of styles ({reason})") from None


def _checked(arrays: Mapping[str, np.ndarray], source: str, embedding_dim: int) -> StyleStatistics:
    count = len(STYLE_FEATURES)
    inputs = 2 * count + 2 * embedding_dim
    rows = len(arrays["weights"])
    if rows not in (1, 2):
        raise ValueError(f"{rows} rows of weights")
    shapes: dict[str, tuple[int, ...]] = {
        "input_mean": (inputs,),
        "input_deviation": (inputs,),
        "weights": (rows, inputs, count),
        **dict.fromkeys(("bias", *_BY_FEATURE), (rows, count)),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} is not {shape} finite numbers")
        if np.abs(arrays[name]).max() > LARGEST_VALUE:
            raise ValueError(f"{name} holds values above {LARGEST_VALUE:g}")
    if arrays["input_deviation"].min() < LEAST_INPUT_DEVIATION:
        raise ValueError(f"an input_deviation is below {LEAST_INPUT_DEVIATION:g}")
    if arrays["deviation"].min() < LEAST_DEVIATION_DB:
        raise ValueError(f"a deviation is below {LEAST_DEVIATION_DB:g} dB")
    return StyleStatistics(**{name: arrays[name] for name in shapes}, source=source)
