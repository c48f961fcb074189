"""What pretraining trains, its four tasks, and how a state of it is validated."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...encoders import create
from ...encoders.logmel import LogMelEncoder
from ...model.head import Head
from ...model.predictor import Predictor
from .examples import SOUNDS, Stream
from .targets import settings_loss

__all__ = [
    "ValidationSet",
    "PretrainModel",
    "calibrate",
    "make_validation_set",
    "match_loss",
    "means_of",
    "validate",
]

LISTEN_WEIGHT, STYLE_WEIGHT, MATCH_WEIGHT, TEMPERATURE = 1.0, 1.0, 0.1, 0.1
PROCESSED = (1, 2, 4, 5)
"""The sounds of an example that went through a strip."""


class PretrainModel(nn.Module):
    """The predictor, and what it learns by and leaves behind: a listener and a projection."""

    def __init__(self, half_digits: bool) -> None:
        super().__init__()
        self.half_digits = half_digits
        self.model = Predictor(create("logmel"), has_style=True)
        dim = self.model.encoder.dim
        self.listener = Head(dim, self.model.hidden)
        self.projection = nn.Linear(2 * dim, 64)

    def forward(self, sounds: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the losses, ``(batch,)`` each, of examples as :data:`.examples.Example` has them.

        Parameters
        ----------
        sounds : Tensor
            ``(batch, sounds, mels, frames)``.
        target : Tensor
            ``(batch, sounds, parameters)``.
        """
        pooled = self._pooled(sounds)
        finish = settings_loss(*self.model.head.predict_from_pooled(pooled[:, 0]), target[:, 0])
        # By slices: a list of places would be an index that is copied to the device each time.
        processed, known = (
            torch.stack([each[:, place] for place in PROCESSED], dim=1) for each in (pooled, target)
        )
        listen = _mean_loss(*self.listener.predict_from_pooled(processed), known)
        second, third = pooled[:, 2], pooled[:, 4]
        references = (second, third, 0.5 * (second + third))
        style = torch.stack([
            settings_loss(
                *self.model.predict_style_from_pooled(pooled[:, 3], reference), target[:, 3]
            )["total"]
            for reference in references
        ]).mean(dim=0)  # fmt: skip
        match = match_loss(*self.projection(processed).unbind(dim=1))
        return {
            **finish,
            "listen": listen,
            "style": style,
            "match": match,
            "sum": finish["total"]
            + LISTEN_WEIGHT * listen
            + STYLE_WEIGHT * style
            + MATCH_WEIGHT * match,
        }

    def _pooled(self, sounds: Tensor) -> Tensor:
        """Mean and deviation of each sound's frames, ``(batch, sounds, 2·dim)``."""
        encoder = self.model.encoder
        assert isinstance(encoder, LogMelEncoder)
        half: AbstractContextManager[Any] = contextlib.nullcontext()
        if self.half_digits and self.training:
            half = torch.autocast(sounds.device.type, torch.bfloat16)
        with half:
            frames = encoder.frames_of(sounds.float().flatten(0, 1))
        return Head.pool(frames.float()).reshape(len(sounds), SOUNDS, -1)


def match_loss(first: Tensor, second: Tensor, third: Tensor, other: Tensor) -> Tensor:
    """Return how badly passages through one strip are recognised among others, ``(batch,)``.

    ``−log(exp(a·p/τ) / (Σ exp(a·b/τ) + exp(a·o/τ)))``, cosine similarities, τ = 0.1: the first
    passage of each example has to find its second and its third among those of the batch, and
    they have to find it; beside them lies the first passage after another strip, `other`, which
    has the same singer and other processing (InfoNCE with a hard negative: van den Oord et al.,
    2018; Robinson et al., "Contrastive learning with hard negative samples", 2021).

    Parameters
    ----------
    first, second, third, other : Tensor
        ``(batch, dim)``.
    """
    first, second, third, other = (
        nn.functional.normalize(each, dim=-1) for each in (first, second, third, other)
    )
    own = torch.arange(len(first), device=first.device)
    losses = []
    for anchor, positive in ((first, second), (second, first), (first, third), (third, first)):
        alike = torch.cat((anchor @ positive.T, (anchor * other).sum(-1, keepdim=True)), dim=1)
        losses.append(nn.functional.cross_entropy(alike / TEMPERATURE, own, reduction="none"))
    return torch.stack(losses).mean(dim=0)


def _mean_loss(mean: Tensor, log_variance: Tensor, target: Tensor) -> Tensor:
    """Mean loss of several sounds, ``(batch,)`` of ``(batch, sounds, parameters)`` each."""
    batch, sounds = target.shape[:2]
    flat = (part.flatten(0, 1) for part in (mean, log_variance, target))
    return settings_loss(*flat)["total"].reshape(batch, sounds).mean(dim=1)


@dataclass(frozen=True)
class ValidationSet:
    """Examples of validation speakers, ``(examples, sounds, …)`` each."""

    sounds: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.sounds)


def make_validation_set(stream: Stream, count: int) -> ValidationSet:
    """Make the examples that states are compared on."""
    examples = [stream.example((stream.seed, number)) for number in range(count)]
    return ValidationSet(*map(torch.stack, zip(*examples, strict=True)))


@torch.no_grad()
def calibrate(pretrain_model: PretrainModel, validation_set: ValidationSet) -> None:
    """Scale the uncertainty of both heads that are kept, by the validation set."""
    model = pretrain_model.model
    assert isinstance(model.encoder, LogMelEncoder) and model.style is not None
    device = next(pretrain_model.parameters()).device
    pooled = torch.cat(
        [pretrain_model._pooled(some.to(device)) for some in validation_set.sounds.split(4)]
    )
    for head, answer, task in (
        (model.head, model.head.predict_from_pooled(pooled[:, 0]), 0),
        (model.style, model.predict_style_from_pooled(pooled[:, 3], pooled[:, 2]), 3),
    ):
        mean, log_variance = (part.cpu() for part in answer)
        head.calibrate(mean, log_variance, validation_set.target[:, task])


def means_of(losses: dict[str, Tensor]) -> dict[str, float]:
    """Return the mean of each, in four digits."""
    return {name: round(float(value.mean()), 4) for name, value in losses.items()}


@torch.no_grad()
def validate(pretrain_model: PretrainModel, validation_set: ValidationSet) -> dict[str, float]:
    """Return the mean of each loss over the validation set."""
    pretrain_model.eval()
    device = next(pretrain_model.parameters()).device
    found = [
        pretrain_model(sounds.to(device), target.to(device))
        for sounds, target in zip(
            validation_set.sounds.split(8), validation_set.target.split(8), strict=True
        )
    ]
    pretrain_model.train()
    return means_of({name: torch.cat([f[name] for f in found]) for name in found[0]})
