"""The predictor: from a vocal through encoder and head to settings and their uncertainty.

The vocal is levelled to −18 LUFS before it is encoded, and the input gain that levels it is part of
the predicted settings: a take that is 10 dB quieter gets the same strip with 10 dB more input gain.
Long takes are encoded in windows; the windows' settings are averaged by their precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..audio.take import Take, take_of
from ..encoders.base import ENCODER_FILE, Encoder
from .encoder_windows import WINDOW_SECONDS, windows_of
from .estimate import ESTIMATE_BIAS_STD, averaged, estimated, prediction_of
from .folder import FORMAT, VERSION
from .head import Head
from .head_rows import OPTIONAL_STATE_KEYS
from .known import Known
from .levelling import REFERENCE_LUFS, as_array, gain_of, level_gain_db
from .prediction import Prediction
from .reference.style_statistics import STATISTICS_FILE, StyleStatistics, load_of_model
from .rows import at_places, file_names, padding, row_tensors, taken_out
from .shipped import default_model
from .voice_features import extract_voice_features

__all__ = [
    "ESTIMATE_BIAS_STD",
    "OPTIONAL_STATE_KEYS",
    "REFERENCE_LUFS",
    "WINDOW_SECONDS",
    "Prediction",
    "Predictor",
    "default_model",
    "gain_of",
    "level_gain_db",
    "windows_of",
]


class Predictor(nn.Module):
    """Encoder and head, with saving, loading and the prediction for a whole file.

    Parameters
    ----------
    encoder : Encoder
        Any of :mod:`diffconsole.encoders`.
    hidden : int
        Width of the head.
    has_style : bool
        Whether there is a second head, which brings a raw vocal to the style of a finished one.
    """

    def __init__(self, encoder: Encoder, hidden: int = 384, has_style: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = Head(encoder.dim, hidden)
        self.style = Head(2 * encoder.dim, hidden) if has_style else None
        self.hidden = hidden
        self.style_statistics: StyleStatistics | None = None
        self.info: dict[str, Any] = {}
        self.known = Known()

    @property
    def off(self) -> frozenset[str]:
        """The modules that the model does not know; they are off in what it predicts."""
        return self.known.off

    def forward(self, audio: Tensor, voice_features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict from levelled windows.

        Parameters
        ----------
        audio : Tensor
            ``(batch, channels, samples)`` at the encoder's rate and −18 LUFS.
        voice_features : Tensor, optional
            ``(batch, features)``, from :func:`.voice_features.extract_voice_features`.

        Returns
        -------
        mean, log_variance : Tensor
            ``(batch, parameters)``, settings in 0…1. The input gain is what comes on top of the
            gain that levelled the audio.
        """
        return self.head.predict_from_pooled(self.head.pool(self.encoder(audio)), voice_features)

    def predict_style_from_pooled(self, raw: Tensor, finished: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the strip that brings one voice to the style of another.

        Parameters
        ----------
        raw, finished : Tensor
            ``(batch, 2·dim)``, what :meth:`Head.pool` made of the raw vocal's frames and of those
            of another, finished one.

        Returns
        -------
        mean, log_variance : Tensor
            ``(batch, parameters)``, as from :meth:`forward`.
        """
        assert self.style is not None
        return self.style.predict_from_pooled(torch.cat((raw, finished), dim=-1))

    def point_estimate(self, mean: Tensor, deviation: Tensor) -> Tensor:
        """Return one value of each setting: the mean, with less reverb where it is uncertain.

        Parameters that the model does not know stay where they rest, whatever their rows say.

        Parameters
        ----------
        mean, deviation : Tensor
            ``(…, parameters)``, normalised.

        Returns
        -------
        Tensor
            ``(…, parameters)`` in 0…1, differentiable in `mean`.
        """
        chosen: Tensor = estimated(self.known, mean, deviation)
        return chosen

    @torch.no_grad()
    def forget(self, known: Known) -> None:
        """Give up the parameters that `known` lacks: their rows answer what they rest at, surely.

        The model is then what a file would give that never had them.
        """
        rows, names = row_tensors(self), known.names
        for name, value in self.state_dict().items():
            if name in rows:
                kept = taken_out(value, rows[name], names)
                value.copy_(at_places(kept, rows[name], names, padding(name, value)))
        self.known = known

    choose, style_answer = point_estimate, predict_style_from_pooled
    """Former names."""

    @torch.inference_mode()
    def predict(
        self, samples: np.ndarray | Tensor, sample_rate: int, style: Tensor | None = None
    ) -> Prediction:
        """Predict the settings of a raw vocal.

        Parameters
        ----------
        samples : ndarray or Tensor
            ``(channels, samples)`` as the file holds it; a tensor on any device.
        sample_rate : int
            Hz.
        style : Tensor, optional
            ``(1, 2·dim)``, of finished vocals
            (:func:`diffconsole.model.reference.prediction.style_of`): predict what leads there.

        Returns
        -------
        Prediction
            Settings that act on the raw file as it lies.

        Raises
        ------
        AudioError
            The vocal is silent, or the samples have another shape.
        ModelError
            What the model predicts is no number.
        """
        return self.predict_take(take_of(as_array(samples), sample_rate), style)

    @torch.inference_mode()
    def predict_take(self, take: Take, style: Tensor | None = None) -> Prediction:
        """Predict the settings of a take that was analysed already, as :meth:`predict` does."""
        mean, deviation = self.distribution_of(take, style)
        chosen = self.point_estimate(mean, deviation)
        return self.prediction_of(take, chosen, mean, deviation, towards_style=style is not None)

    @torch.inference_mode()
    def distribution_of(self, take: Take, style: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of the settings of a take, ``(parameters,)`` in 0…1 each."""
        self.eval()
        gain_db = gain_of(take)
        levelled = take.mono * np.float32(10.0 ** (gain_db / 20.0))
        windows = windows_of(levelled, take.sample_rate, self.encoder)
        device = next(self.parameters()).device
        if style is None:
            features = extract_voice_features(take.mono, take.sample_rate).to(device)
            mean, log_variance = self(windows.to(device), features.expand(len(windows), -1))
        else:
            pooled = self.head.pool(self.encoder(windows.to(device)))
            mean, log_variance = self.predict_style_from_pooled(
                pooled, style.expand(len(pooled), -1)
            )
        mean, log_variance = mean.double().cpu(), log_variance.double().cpu()
        return averaged(mean, log_variance)

    @torch.inference_mode()
    def prediction_of(
        self,
        take: Take,
        chosen: Tensor,
        mean: Tensor,
        deviation: Tensor,
        *,
        towards_style: bool = False,
        likely: Tensor | None = None,
    ) -> Prediction:
        """Return the prediction of settings that were chosen from their distribution.

        Parameters
        ----------
        take : Take
            Of the raw vocal.
        chosen, mean, deviation : Tensor
            ``(parameters,)``, normalised: the settings, their mean and standard deviation.
        towards_style : bool
            Whether they are the second head's.
        likely : Tensor, optional
            ``(switches,)``, how likely each is on; by default what that head says of the
            distribution.

        Raises
        ------
        ModelError
            A value is no number.
        """
        answering = self.style if towards_style and self.style is not None else self.head
        if likely is None:
            likely = answering.switches(mean, deviation.to(mean))
        return prediction_of(
            take, self.known, chosen, mean, deviation, likely,
            is_calibrated=answering.is_calibrated,
        )  # fmt: skip

    def save(self, folder: str | Path, info: Mapping[str, Any], card: str = "") -> None:
        """Write the model: weights in half precision, a JSON that rebuilds it, its card.

        What is no weight (statistics, windows, filters) and what half precision cannot hold stays
        in full. An encoder's own file, as TorchScript has one, is written beside.

        Parameters
        ----------
        folder : str or Path
            Made if it does not exist.
        info : mapping
            What the card knows, for machines: data, licences, date, figures.
        card : str
            Markdown for ``README.md``.
        """
        from safetensors.torch import save

        from ..files import atomic_path, atomic_set, remove_output

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        learnt = {name for name, _ in self.named_parameters(remove_duplicate=False)}
        rows, names, in_file = row_tensors(self), self.known.names, file_names(self)
        weights = {
            in_file.get(name, name): _compact(value)
            if name in learnt
            else value.detach().cpu().clone()
            for name, value in (
                (name, taken_out(value, rows[name], names) if name in rows else value)
                for name, value in self.state_dict().items()
            )
        }
        sidecar = {
            "format": FORMAT,
            "version": VERSION,
            "encoder": {"name": self.encoder.name, "config": self.encoder.config()},
            "hidden": self.hidden,
            "style": self.style is not None,
            "parameters": names["parameters"],
            "switches": names["switches"],
            "info": dict(info),
        }
        # Together: weights of one model and the JSON of another would make a third.
        with atomic_set():
            if self.encoder.file is None:
                remove_output(folder / ENCODER_FILE)
            else:
                with atomic_path(folder / ENCODER_FILE, force=True) as path:
                    path.write_bytes(self.encoder.file)
            with atomic_path(folder / "model.safetensors", force=True) as path:
                path.write_bytes(save({k: v.contiguous() for k, v in weights.items()}))
            if self.style is None or self.style_statistics is None:
                remove_output(folder / STATISTICS_FILE)
            else:
                with atomic_path(folder / STATISTICS_FILE, force=True) as path:
                    path.write_bytes(self.style_statistics.to_bytes())
            with atomic_path(folder / "model.json", force=True) as path:
                path.write_text(json_text(sidecar), encoding="utf-8")
            if card:
                with atomic_path(folder / "README.md", force=True) as path:
                    path.write_text(card, encoding="utf-8")

    @classmethod
    def load(
        cls,
        folder: str | Path | None = None,
        device: str = "cpu",
        *,
        trust_checkpoint: bool = False,
    ) -> Predictor:
        """Read a model folder; by default the shipped model.

        Parameters
        ----------
        folder : str or Path, optional
            What :meth:`save` wrote.
        device : str
            Where to compute.
        trust_checkpoint : bool
            Also open a model on a TorchScript file, which runs the code of the file's author.

        Raises
        ------
        ModelError
            Missing, damaged, without the strip's gains among its parameters, or in need of trust.

        Notes
        -----
        Rows are found by the keys that ``model.json`` lists. A module that the model does not know
        is off in what it predicts (:attr:`off`); a parameter that this program does not know is
        left out. :meth:`.known.Known.notices` says both.
        """
        from ..files import clear_unfinished
        from .files import load_folder

        folder = default_model() if folder is None else Path(folder)
        clear_unfinished([folder])
        expected = {"format": FORMAT, "version": VERSION}
        model = load_folder(cls, folder, OPTIONAL_STATE_KEYS, expected, trust=trust_checkpoint)
        if model.style is not None:
            model.style_statistics = load_of_model(folder, 2 * model.encoder.dim)
        return model.to(device).eval()


def _compact(weights: Tensor) -> Tensor:
    """Half precision, unless a value is too large for it."""
    full = weights.detach().cpu()
    half = full.half() if full.is_floating_point() else full.clone()
    return half if bool(half.isfinite().all()) else full.clone()


def json_text(data: Any) -> str:
    """Return indented JSON without NaN."""
    import json

    return json.dumps(data, indent=2, allow_nan=False) + "\n"
