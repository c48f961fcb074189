"""What pretraining trains, its four tasks, and how a state of it is validated."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...encoders import create
from ...encoders.logmel import LogMelEncoder
from ...model.head import Head
from ...model.predictor import Predictor
from ..distributed import SINGLE_PROCESS, Workers
from ..global_batch import BatchPart, use_global_batch
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

CHUNK = 8
"""Examples that are validated at once, and among which passages have to be found then."""


class PretrainModel(nn.Module):
    """The predictor, and what it learns by and leaves behind: a listener and a projection."""

    def __init__(self, half_digits: bool) -> None:
        super().__init__()
        self.half_digits = half_digits
        self.model = Predictor(create("logmel"), has_style=True)
        dim = self.model.encoder.dim
        self.listener = Head(dim, self.model.hidden)
        self.projection = nn.Linear(2 * dim, 64)
        self.part: BatchPart | None = None

    def share_batch(self, part: BatchPart) -> None:
        """Train on these rows of each batch; everything acts on the whole batch from now on."""
        self.part = part
        use_global_batch(self, part)

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
        part = self.part if self.training else None
        one, two, three, four = self.projection(processed).unbind(dim=1)
        match = match_loss(one, two, three, four, part)
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


def match_loss(
    first: Tensor, second: Tensor, third: Tensor, other: Tensor, part: BatchPart | None = None
) -> Tensor:
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
    part : BatchPart, optional
        Which rows of the batch these are, where several processes share it; the others are among
        those to find them in.
    """
    first, second, third, other = (
        nn.functional.normalize(each, dim=-1) for each in (first, second, third, other)
    )
    own = torch.arange(len(first), device=first.device)
    candidates: Sequence[Tensor] = (first, second, third)
    if part is not None and part.workers.size > 1:
        own = own + part.rows.start
        candidates = part.all_rows(torch.stack((first, second, third), dim=1)).unbind(dim=1)
    losses = []
    for anchor, positive in ((first, 1), (second, 0), (first, 2), (third, 0)):
        among = anchor @ candidates[positive].T
        alike = torch.cat((among, (anchor * other).sum(-1, keepdim=True)), dim=1)
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


def make_validation_set(
    stream: Stream, count: int, workers: Workers = SINGLE_PROCESS
) -> ValidationSet:
    """Make the examples that states are compared on.

    Several processes take turns, :data:`CHUNK` examples each, and get their own ones only.
    """
    mine: Sequence[int] = range(count)
    if workers.size > 1:
        mine = [n for n in mine if n // CHUNK % workers.size == workers.rank]
    examples = [stream.example((stream.seed, number)) for number in mine]
    if not examples:
        return ValidationSet(torch.empty(0), torch.empty(0))
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
def validate(
    pretrain_model: PretrainModel,
    validation_set: ValidationSet,
    workers: Workers = SINGLE_PROCESS,
) -> dict[str, float]:
    """Return the mean of each loss over the validation set, which several processes may share."""
    pretrain_model.eval()
    device = next(pretrain_model.parameters()).device
    mine = [
        {name: loss.cpu() for name, loss in pretrain_model(*(p.to(device) for p in part)).items()}
        for part in zip(
            validation_set.sounds.split(CHUNK), validation_set.target.split(CHUNK), strict=True
        )
        if len(part[0])
    ]
    pretrain_model.train()
    parts = workers.gather(mine)
    found = [
        parts[i % workers.size][i // workers.size] for i in range(sum(len(part) for part in parts))
    ]
    return means_of({name: torch.cat([f[name] for f in found]) for name in found[0]})
