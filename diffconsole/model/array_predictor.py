"""The predictor on NumPy arrays, for models on the log-mel encoder: nothing of PyTorch is loaded.

Importing PyTorch takes longer than predicting from ten seconds of a voice. What is predicted is
what :class:`.predictor.Predictor` predicts, to the rounding of single precision; that one stays
the definition, and is what is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.take import Take, take_of
from ..encoders.logmel_arrays import LogMelArrays
from ..encoders.logmel_shape import LogMelShape
from .encoder_windows import cut_windows
from .estimate import averaged, estimated, prediction_of
from .folder import (
    FORMAT,
    VERSION,
    WEIGHTS,
    check_regular,
    compare_shapes,
    is_optional,
    names_in,
    read_header,
    read_sidecar,
    renamed,
)
from .head_arrays import HeadArrays, head_tensors, new_head_tensors
from .head_rows import OPTIONAL_STATE_KEYS
from .known import Known
from .levelling import as_array, gain_of
from .prediction import Prediction
from .reference.style_statistics import load_of_model
from .rows import Names, at_places, file_names_of_heads, padding, rows_of_heads
from .voice_features import voice_features_of

__all__ = ["ENCODER", "ArrayPredictor"]

ENCODER = "logmel"
"""The encoder that is computed here."""


class ArrayPredictor:
    """A saved model that predicts; :meth:`load` reads it.

    Attributes
    ----------
    known : Known
        Which parameters it predicts.
    info : dict
        What its file records.
    """

    def __init__(
        self, encoder: LogMelArrays, head: HeadArrays, known: Known, info: Mapping[str, Any]
    ) -> None:
        self.encoder, self.head, self.known, self.info = encoder, head, known, dict(info)

    def predict(self, samples: np.ndarray, sample_rate: int) -> Prediction:
        """Predict the settings of a raw vocal, as :meth:`.predictor.Predictor.predict` does.

        Parameters
        ----------
        samples : ndarray
            ``(channels, samples)`` as the file holds it.
        sample_rate : int
            Hz.

        Raises
        ------
        AudioError
            The vocal is silent, or the samples have another shape.
        ModelError
            What the model predicts is no number.
        """
        return self.predict_take(take_of(as_array(samples), sample_rate))

    def predict_take(self, take: Take) -> Prediction:
        """Predict the settings of a take that was analysed already, as :meth:`predict` does."""
        mean, deviation = self.distribution_of(take)
        return prediction_of(
            take,
            self.known,
            estimated(self.known, mean, deviation),
            mean,
            deviation,
            self.head.switches(mean, deviation),
            is_calibrated=self.head.is_calibrated,
        )

    def distribution_of(self, take: Take) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of the settings of a take, ``(parameters,)`` in 0…1 each."""
        levelled = take.mono * np.float32(10.0 ** (gain_of(take) / 20.0))
        windows = cut_windows(levelled, take.sample_rate, self.encoder.sample_rate)
        features = voice_features_of(take.mono, take.sample_rate)
        # Damaged weights may overflow; what comes of them is refused by its values.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            pooled = self.head.pool(self.encoder(windows))
            mean, log_variance = self.head.predict_from_pooled(pooled, features)
            return averaged(mean.astype(np.float64), log_variance.astype(np.float64))

    @classmethod
    def load(cls, folder: Path) -> ArrayPredictor:
        """Read a model folder.

        Whatever is not as it should be raises an error that does not say what to do:
        :meth:`.predictor.Predictor.load` then refuses the folder in its own words, or knows more.

        Parameters
        ----------
        folder : Path
            What a command wrote, with a model on the log-mel encoder.

        Raises
        ------
        ValueError
            Another encoder, other shapes, or values that are no numbers.
        Exception
            Of many types, where the files are damaged or not there.
        """
        sidecar = read_sidecar(folder, {"format": FORMAT, "version": VERSION})
        if sidecar["encoder"]["name"] != ENCODER:
            raise ValueError(f"encoder {sidecar['encoder']['name']!r}")
        path = folder / WEIGHTS
        check_regular(path)
        names = names_in(folder, sidecar)
        shape = LogMelShape(**sidecar["encoder"]["config"])
        heads = {"head.": shape.dim}
        if bool(sidecar.get("style", False)):
            heads["style."] = 2 * shape.dim
            load_of_model(folder, 2 * shape.dim)
        weights = _weights(path, shape, heads, sidecar["hidden"], names)
        return cls(
            LogMelArrays(shape, _part(weights, "encoder.")),
            HeadArrays(_part(weights, "head.")),
            Known.of(names["parameters"]),
            sidecar.get("info", {}),
        )


def _weights(
    path: Path, shape: LogMelShape, heads: Mapping[str, int], hidden: int, names: Names
) -> dict[str, np.ndarray]:
    """Read the weights by the names of the predictor's state dict, with the rows of the table."""
    from safetensors.numpy import load_file

    wanted = {f"encoder.{name}": size for name, size in shape.tensors().items()}
    for start, dim in heads.items():
        wanted |= {start + name: size for name, size in head_tensors(dim, hidden).items()}
    rows, in_file = rows_of_heads(heads), file_names_of_heads(heads)
    stored = dict(wanted)
    for name, (kind, dim) in rows.items():
        stored[name] = (*wanted[name][:dim], len(names[kind]), *wanted[name][dim + 1 :])
    compare_shapes(stored, renamed(in_file, read_header(path)), OPTIONAL_STATE_KEYS)
    fresh = {
        start + name: value
        for start in heads
        for name, value in new_head_tensors(
            {name: wanted[start + name] for name in OPTIONAL_STATE_KEYS}
        ).items()
    }
    found = {}
    for name, value in renamed(in_file, load_file(str(path))).items():
        if value.dtype.kind not in "fiu" or not np.isfinite(value).all():
            raise ValueError(f"{name} holds values that are no numbers")
        if name in rows:
            value = at_places(value, rows[name], names, padding(name, np.empty(wanted[name], "f4")))
        found[name] = value.astype(np.float32)
    assert all(is_optional(name, OPTIONAL_STATE_KEYS) for name in wanted.keys() - found)
    return {**fresh, **found}


def _part(weights: Mapping[str, np.ndarray], start: str) -> dict[str, np.ndarray]:
    return {name[len(start) :]: value for name, value in weights.items() if name.startswith(start)}
