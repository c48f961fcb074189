"""Towards the style of other vocals: a raw vocal and finished ones of other songs and singers.

The model's second head takes the raw vocal's features beside the style of the references: mean and
deviation of the encoder's frames over the windows of each, averaged by the references' weights. It
is their sound that is averaged, not settings: between a bright and a dull one lies one in the
middle, not a strip with two halves of an EQ. From there a descent through the console
(:mod:`.descent`) goes on to the style of the references in plain figures, by aspect: the EQ brings
the tone, the compressor the dynamics, the reverb the space, and each aspect may have weights of its
own. The output gain is measured, not predicted: the result gets the references' mean loudness.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...audio import loudness_lufs
from ...audio.alignment.segment import loudest_start
from ...audio.take import Take, take_of
from ...console.render import render
from ...errors import ModelError, SettingsError
from ...progress import bar
from ...simplify.low_end import low_end_of
from ...strip.parameters import BY_KEY, MODULES, PARAMETERS, without_inaudible
from ...strip.preset import Preset
from ..head import Head
from ..predictor import Prediction, Predictor, gain_of, windows_of
from ..switches import RULES
from .descent import descend, moved_by
from .files import Reference, References, check_weights, read_references, without_bar
from .style_features import ASPECTS
from .target import passages_of, style_target

__all__ = [
    "Reference",
    "References",
    "StylePrediction",
    "check_weights",
    "predict_towards",
    "read_references",
    "style_of",
    "without_bar",
]

MEASURED_SECONDS = 30.0
SECTIONS = {
    "tone": ("eq",),
    "dynamics": ("input_gain", "compressor"),
    "space": ("pan", "reverb", "output_gain"),
}
"""The modules whose settings follow each aspect of a style; others follow none."""


@dataclass(frozen=True)
class StylePrediction(Prediction):
    """Settings towards references.

    Attributes
    ----------
    style : dict
        For provenance: ``"steps"`` of the descent, the ``"aspects"`` that were followed, and by
        aspect how far ``"before"`` and ``"after"`` the descent the style of the result was from
        the one that is expected of the right result, in deviations of that (root mean square).
    """

    style: dict[str, Any] = field(default_factory=dict)


@torch.inference_mode()
def style_of(
    model: Predictor, references: Sequence[Reference], aspect: str | None = None
) -> Tensor:
    """Return the mean style of finished vocals, ``(1, 2·dim)``, as the second head takes it.

    Parameters
    ----------
    model : Predictor
        With the second head.
    references : sequence of Reference
        At least one whose weight is above 0.
    aspect : str, optional
        Whose weights count; by default those of the whole.

    Raises
    ------
    ModelError
        The model has no such head.
    AudioError
        A reference is silent.
    """
    return _mean(_styles_of(model, references), _weights(references, aspect)).unsqueeze(0)


@torch.inference_mode()
def _styles_of(model: Predictor, references: Sequence[Reference]) -> Tensor:
    """The style of each, ``(references, 2·dim)``."""
    if model.style is None:
        raise ModelError(
            "this model cannot follow a reference: its encoder was changed by fine-tuning, or "
            "is none of ours; leave --model out to use the shipped one"
        )
    model.eval()
    return torch.stack([_embedding(model, reference.take) for reference in references])


@torch.inference_mode()
def _embedding(model: Predictor, take: Take) -> Tensor:
    """Mean and deviation of the encoder's frames, the mean over the windows, ``(2·dim,)``."""
    levelled = take.mono * np.float32(10.0 ** (gain_of(take) / 20.0))
    windows = windows_of(levelled, take.sample_rate, model.encoder)
    device = next(model.parameters()).device
    return Head.pool(model.encoder(windows.to(device))).mean(dim=0)


def _weights(references: Sequence[Reference], aspect: str | None) -> np.ndarray:
    """Shares of the references in an aspect; nothing but zeros where none counts."""
    weights = [r.weight if aspect is None else r.weight_of(aspect) for r in references]
    return np.array(weights) / (sum(weights) or 1.0)


def _mean(styles: Tensor, shares: np.ndarray) -> Tensor:
    return torch.from_numpy(shares).to(styles) @ styles


def predict_towards(
    model: Predictor,
    samples: np.ndarray,
    sample_rate: int,
    references: Sequence[Reference],
    *,
    take: Take | None = None,
    steps: int | None = None,
    report_progress: Callable[[float], None] | None = None,
) -> StylePrediction:
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
        At least one. An aspect in which none has any weight follows the prediction without them.
    take : Take, optional
        The raw vocal, where it was analysed already.
    steps : int, optional
        Of the descent from what the model predicts; at 0 its prediction is the result. By default
        32, or what :class:`References` say.
    report_progress : callable, optional
        Called with the share that is done, 0…1; by default a bar, if :class:`References` want one.

    Returns
    -------
    StylePrediction
        Settings that act on the raw file as it lies; the result is as loud as the references.

    Raises
    ------
    ModelError
        The model has no such head.
    AudioError
        The vocal or a reference is silent.
    SettingsError
        No reference has any weight in any aspect.
    """
    if not isinstance(references, References):
        references = References(tuple(references))
    steps = references.steps if steps is None else steps
    take = take_of(samples, sample_rate) if take is None else take
    shares = {aspect: _weights(references, aspect) for aspect in ASPECTS}
    followed = tuple(aspect for aspect in ASPECTS if shares[aspect].any())
    if not followed:
        raise SettingsError("no reference has any weight; leave them out instead")
    styles = _styles_of(model, references)
    mean, deviation = _distribution(model, take, styles, shares)
    chosen, moved_mean = model.point_estimate(mean, deviation), mean
    style: dict[str, Any] = {"steps": 0, "aspects": list(followed)}
    if steps:
        device = next(model.parameters()).device
        vocal = passages_of(take.mono * np.float32(10.0 ** (gain_of(take) / 20.0)),
                            take.sample_rate).to(device)  # fmt: skip
        finished = [(r.samples, r.sample_rate, r.take) for r in references]
        embeddings = _embedding(model, take).double().cpu().numpy(), styles.double().cpu().numpy()
        low_end = low_end_of(take.mono[0], take.sample_rate)
        target = style_target(
            vocal, mean.to(device), finished, shares, model.style_statistics, embeddings,
            0.0 if low_end is None else low_end.lowest_hz, model.off,
        )  # fmt: skip
        with bar("style", silent=references.silent) as show:
            found = descend(
                vocal, mean, deviation, target, aspects=followed, steps=steps, off=model.off,
                report_progress=report_progress or (lambda share: show(share, "")),
            )  # fmt: skip
        chosen, moved_mean = (
            torch.where(moved_by(followed), found.point.to(each), each) for each in (chosen, mean)
        )
        style |= {"steps": found.steps, "before": found.before, "after": found.after}
        style |= {name: {aspect: float(f"{value:.4g}") for aspect, value in style[name].items()}
                  for name in ("before", "after")}  # fmt: skip
    likely = _likely(model, moved_mean, deviation, followed)
    prediction = model.prediction_of(
        take, chosen, mean, deviation, towards_style=True, likely=likely
    )
    share = np.mean([shares[aspect] for aspect in followed], axis=0)
    wanted = float(share @ [reference.level[1] for reference in references])
    levelled = _as_loud(prediction, take, wanted)
    return StylePrediction(**vars(levelled), style=style)


@torch.inference_mode()
def _distribution(
    model: Predictor, take: Take, styles: Tensor, shares: Mapping[str, np.ndarray]
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the settings, each module towards its aspect's mean style."""
    found: dict[bytes, tuple[Tensor, Tensor]] = {}
    mean, deviation = (torch.zeros(len(PARAMETERS), dtype=torch.float64) for _ in range(2))
    if set(MODULES) - model.off - {module for some in SECTIONS.values() for module in some}:
        mean, deviation = model.distribution_of(take, None)
    for aspect, share in shares.items():
        style = _mean(styles, share).unsqueeze(0) if share.any() else None
        key = share.tobytes()
        if key not in found:
            found[key] = model.distribution_of(take, style)
        mine = torch.tensor([p.module in SECTIONS[aspect] for p in PARAMETERS])
        mean, deviation = (
            torch.where(mine, of_aspect, whole)
            for of_aspect, whole in zip(found[key], (mean, deviation), strict=True)
        )
    return mean, deviation


@torch.inference_mode()
def _likely(model: Predictor, mean: Tensor, deviation: Tensor, followed: Sequence[str]) -> Tensor:
    """How likely each switch is on, ``(switches,)``: by the head that its settings are from."""
    assert model.style is not None
    towards, plain = (head.switches(mean, deviation) for head in (model.style, model.head))
    modules = {module for aspect in followed for module in SECTIONS[aspect]}
    mine = torch.tensor([name.split(".")[0] in modules for name in RULES])
    return torch.where(mine, towards, plain)


def _as_loud(prediction: Prediction, take: Take, wanted_lufs: float) -> Prediction:
    """The prediction with the output gain that gives its result a loudness per channel."""
    # A part tells the loudness of a long vocal well enough, in a second instead of many.
    rate = take.sample_rate
    length = int(MEASURED_SECONDS * rate)
    start = loudest_start(take.mono, length)
    part = take.mono[:, start : start + length]
    result = render(part, rate, Preset.from_settings(prediction.settings), tail_seconds=0.0)
    loudness = loudness_lufs(result.samples, rate) - 10.0 * math.log10(len(result.samples))
    if not math.isfinite(loudness):
        return prediction
    key = "output_gain.gain_db"
    gain_db = wanted_lufs - loudness
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
