"""What pretraining trains, its four tasks, and how a state of it is judged."""

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
from .examples import Stream
from .targets import settings_loss

__all__ = ["Judged", "Pupil", "calibrate", "judge", "judged_of", "means_of"]

LISTEN_WEIGHT, STYLE_WEIGHT, MATCH_WEIGHT, TEMPERATURE = 1.0, 1.0, 0.1, 0.1


class Pupil(nn.Module):
    """The predictor, and what it learns by and leaves behind: a listener and a projection."""

    def __init__(self, half_digits: bool) -> None:
        super().__init__()
        self.half_digits = half_digits
        self.model = Predictor(create("logmel"), has_style=True)
        dim = self.model.encoder.dim
        self.listener = Head(dim, self.model.hidden)
        self.projection = nn.Linear(2 * dim, 64)

    def forward(self, heard: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Losses of ``(batch, 4, mels, frames)`` and ``(batch, 4, parameters)``, ``(batch,)``."""
        batch = len(heard)
        encoder = self.model.encoder
        assert isinstance(encoder, LogMelEncoder)
        half: AbstractContextManager[Any] = contextlib.nullcontext()
        if self.half_digits and self.training:
            half = torch.autocast(heard.device.type, torch.bfloat16)
        with half:
            frames = encoder.frames_of(heard.float().flatten(0, 1))
        pooled = Head.pool(frames.float()).reshape(batch, 4, -1)
        finish = settings_loss(*self.model.head.answer(pooled[:, 0]), target[:, 0])
        both = pooled[:, 1:3].flatten(0, 1)
        listen = settings_loss(*self.listener.answer(both), target[:, 1:3].flatten(0, 1))
        style = settings_loss(*self.model.style_answer(pooled[:, 3], pooled[:, 2]), target[:, 3])
        seen = nn.functional.normalize(self.projection(both), dim=-1).reshape(batch, 2, -1)
        alike = seen[:, 0] @ seen[:, 1].T / TEMPERATURE
        own = torch.arange(batch, device=alike.device)
        match = 0.5 * sum(
            nn.functional.cross_entropy(a, own, reduction="none") for a in (alike, alike.T)
        )
        listened = listen["total"].reshape(batch, 2).mean(dim=1)
        return {
            **finish,
            "listen": listened,
            "style": style["total"],
            "match": torch.as_tensor(match),
            "sum": finish["total"]
            + LISTEN_WEIGHT * listened
            + STYLE_WEIGHT * style["total"]
            + MATCH_WEIGHT * match,
        }


@dataclass(frozen=True)
class Judged:
    """Examples of the people that judge, ``(examples, 4, …)`` each."""

    heard: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.heard)


def judged_of(stream: Stream, count: int) -> Judged:
    """Make the examples that states are judged by."""
    examples = [stream.example((stream.seed, number)) for number in range(count)]
    return Judged(*map(torch.stack, zip(*examples, strict=True)))


@torch.no_grad()
def calibrate(pupil: Pupil, judged: Judged) -> None:
    """Scale the uncertainty of both heads that are kept, by the people that judge."""
    model = pupil.model
    assert isinstance(model.encoder, LogMelEncoder) and model.style is not None
    device = next(pupil.parameters()).device
    found = [
        Head.pool(model.encoder.frames_of(some.float().flatten(0, 1).to(device)))
        for some in judged.heard.split(4)
    ]
    pooled = torch.cat(found).reshape(len(judged), 4, -1)
    for head, answer, task in (
        (model.head, model.head.answer(pooled[:, 0]), 0),
        (model.style, model.style_answer(pooled[:, 3], pooled[:, 2]), 3),
    ):
        mean, log_variance = (part.cpu() for part in answer)
        head.calibrate(mean, log_variance, judged.target[:, task])


def means_of(losses: dict[str, Tensor]) -> dict[str, float]:
    """Return the mean of each, in four digits."""
    return {name: round(float(value.mean()), 4) for name, value in losses.items()}


@torch.no_grad()
def judge(pupil: Pupil, judged: Judged) -> dict[str, float]:
    """Return the losses of a pupil, the mean of each."""
    pupil.eval()
    device = next(pupil.parameters()).device
    found = [
        pupil(heard.to(device), target.to(device))
        for heard, target in zip(judged.heard.split(8), judged.target.split(8), strict=True)
    ]
    pupil.train()
    return means_of({name: torch.cat([f[name] for f in found]) for name in found[0]})
