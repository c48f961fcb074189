"""Towards the style of other vocals: a raw vocal and finished ones of other songs and singers.

The model's second head hears the raw vocal beside the style of the references: mean and deviation
of the encoder's frames over the windows of each, averaged by the references' weights. It is their
sound that is averaged, not settings: between a bright and a dull one lies one in the middle, not a
strip with two halves of an EQ. The output gain is measured, not predicted: the result gets the
references' mean loudness.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .audio import loudness_lufs, read_audio_file
from .errors import AudioError, ModelError, SettingsError
from .head import Head
from .parameters import BY_KEY, without_inaudible
from .predictor import Prediction, Predictor, gain_of, windows_of
from .preset import Preset
from .render import render
from .take import Take, take_of

__all__ = ["Reference", "predict_towards", "read_references", "style_of"]

MEASURED_SECONDS = 30.0


@dataclass(frozen=True)
class Reference:
    """A finished vocal whose style is wanted.

    Attributes
    ----------
    name : str
        For messages and provenance.
    samples : ndarray
        ``(channels, samples)`` float32.
    sample_rate : int
        Hz.
    weight : float
        Above 0; against those of the other references.
    messages : tuple of str
        What its user should know of its file, a line each.
    """

    name: str
    samples: np.ndarray
    sample_rate: int
    weight: float = 1.0
    messages: tuple[str, ...] = ()

    @functools.cached_property
    def take(self) -> Take:
        """What is analysed of it."""
        return take_of(self.samples, self.sample_rate)

    @property
    def level(self) -> tuple[float, float]:
        """Gain in dB that levels it, and its loudness per channel in LUFS.

        Two channels measure 3 dB above one that sounds the same.

        Raises
        ------
        AudioError
            It is silent.
        """
        return gain_of(self.take), self.take.level_lufs


def read_references(paths: Sequence[Path], weights: Sequence[float] = ()) -> list[Reference]:
    """Read finished vocals.

    Parameters
    ----------
    paths : sequence of Path
        Audio files.
    weights : sequence of float
        One for each; by default all count the same.

    Raises
    ------
    SettingsError
        Another number of weights than of files, or a weight that is not above 0.
    AudioError
        A file cannot be read, or is silent.
    """
    if weights and len(weights) != len(paths):
        raise SettingsError(
            f"{len(weights)} weights for {len(paths)} references; give one for each, in order"
        )
    for weight in weights:
        if not 0.0 < weight < math.inf:
            raise SettingsError(f"a reference's weight is {weight:g}; give a number above 0")
    found = []
    for path, weight in zip(paths, weights or [1.0] * len(paths), strict=True):
        file = read_audio_file(path)
        reference = Reference(path.name, file.samples, file.sample_rate, weight, file.messages)
        try:
            _ = reference.level
        except AudioError as error:
            raise AudioError(f"{path}: as a reference, {error}") from None
        found.append(reference)
    return found


@torch.inference_mode()
def style_of(model: Predictor, references: Sequence[Reference]) -> Tensor:
    """Return the mean style of finished vocals, ``(1, 2·dim)``, as the second head hears it.

    Raises
    ------
    ModelError
        The model has no such head.
    AudioError
        A reference is silent.
    """
    if model.style is None:
        raise ModelError(
            "this model cannot follow a reference: its encoder was changed by fine-tuning, or "
            "is none of ours; leave --model out to use the shipped one"
        )
    model.eval()
    device = next(model.parameters()).device
    styles = []
    for reference in references:
        take = reference.take
        levelled = take.mono * np.float32(10.0 ** (gain_of(take) / 20.0))
        windows = windows_of(levelled, take.sample_rate, model.encoder)
        styles.append(Head.pool(model.encoder(windows.to(device))).mean(dim=0))
    weights = torch.tensor([r.weight for r in references], device=device)
    return ((weights / weights.sum()) @ torch.stack(styles)).unsqueeze(0)


def predict_towards(
    model: Predictor, samples: np.ndarray, sample_rate: int, references: Sequence[Reference]
) -> Prediction:
    """Predict the settings that bring a raw vocal to the style of finished ones.

    Parameters
    ----------
    model : Predictor
        With the second head: the shipped model, or one fine-tuned with its encoder as it was.
    samples : ndarray
        ``(channels, samples)`` float32 of the raw vocal.
    sample_rate : int
        Hz.
    references : sequence of Reference
        At least one.

    Returns
    -------
    Prediction
        Settings that act on the raw file as it lies; the result is as loud as the references.

    Raises
    ------
    ModelError
        The model has no such head.
    AudioError
        The vocal or a reference is silent.
    """
    take = take_of(samples, sample_rate)
    prediction = model.predict_take(take, style_of(model, references))
    total = sum(r.weight for r in references)
    wanted = sum(r.weight * r.level[1] for r in references) / total
    # A part tells the loudness of a long vocal well enough, in a second instead of many.
    rate = take.sample_rate
    part = _loudest(take.mono, int(MEASURED_SECONDS * rate))
    result = render(part, rate, Preset.from_settings(prediction.settings), tail_seconds=0.0)
    loudness = loudness_lufs(result.samples, rate) - 10.0 * math.log10(len(result.samples))
    if not math.isfinite(loudness):
        return prediction
    key = "output_gain.gain_db"
    gain_db = wanted - loudness
    low, high = prediction.uncertainty[key]
    moved = {
        name: BY_KEY[key].clip(value + gain_db)
        for name, value in (("chosen", prediction.settings[key]), ("low", low), ("high", high))
    }
    return replace(
        prediction,
        settings=without_inaudible({**prediction.settings, key: moved["chosen"]}),
        uncertainty={**prediction.uncertainty, key: (moved["low"], moved["high"])},
    )


def _loudest(samples: np.ndarray, length: int) -> np.ndarray:
    from .pairs import loudest_start

    if samples.shape[1] <= length:
        return samples
    start = loudest_start(samples, length)
    return samples[:, start : start + length]
