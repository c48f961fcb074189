"""The head: from an encoder's frames and a voice's features to settings and their uncertainty."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..strip.parameters import PARAMETERS
from .head_rows import (
    FILE_NAMES,
    LEAST_LOG_VARIANCE,
    MOST_LOG_VARIANCE,
    PARAMETER_ROWS,
    SWITCH_COLUMNS,
    Z_CLIP,
    standardised,
)
from .switches import RULES, calibration_line, likely_on
from .voice_features import VOICE_FEATURES

__all__ = ["FILE_NAMES", "LEAST_LOG_VARIANCE", "PARAMETER_ROWS", "SWITCH_COLUMNS", "Z_CLIP", "Head"]

# Of a normal distribution 80 % lies within this many deviations of its mean.
CALIBRATED, CALIBRATED_DEVIATIONS = 0.8, 1.2816


class Head(nn.Module):
    """Mean and deviation of the encoder's frames → mean and log-variance of every setting.

    ``(batch, frames, dim)`` → two of ``(batch, parameters)``, settings normalised to 0…1. Beside
    the network two linear maps, which fine-tuning fits and pretraining leaves at zero, are added to
    the means before the sigmoid: one of the standardised mean and deviation of the frames, one of
    the standardised features of the voice (:mod:`diffconsole.model.voice_features`).

    A state dict with the earlier names of the buffers (:data:`FILE_NAMES`) loads too.
    """

    feature_mean: Tensor
    feature_std: Tensor
    voice_mean: Tensor
    voice_std: Tensor
    log_scale: Tensor
    switch_line: Tensor

    def __init__(self, dim: int, hidden: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * dim)
        self.body = nn.Sequential(
            nn.Linear(2 * dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.mean = nn.Linear(hidden, len(PARAMETERS))
        self.log_variance = nn.Linear(hidden, len(PARAMETERS))
        self.skip = nn.Linear(2 * dim, len(PARAMETERS), bias=False).requires_grad_(False)
        nn.init.zeros_(self.skip.weight)
        self.register_buffer("feature_mean", torch.zeros(2 * dim))
        self.register_buffer("feature_std", torch.ones(2 * dim))
        self.voice = nn.Linear(len(VOICE_FEATURES), len(PARAMETERS), bias=False)
        self.voice.requires_grad_(False)
        nn.init.zeros_(self.voice.weight)
        self.register_buffer("voice_mean", torch.zeros(len(VOICE_FEATURES)))
        self.register_buffer("voice_std", torch.ones(len(VOICE_FEATURES)))
        self.register_buffer("log_scale", torch.zeros(len(PARAMETERS)))
        # Made so that a model without memory, as loading begins with, needs no symbolic shapes,
        # whose import takes as long as the rest of loading.
        line = torch.ones(2, len(RULES))
        line[1].zero_()
        self.register_buffer("switch_line", line)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means, 0…1, and the log-variances."""
        return self.predict_from_pooled(self.pool(frames))

    @staticmethod
    def pool(frames: Tensor) -> Tensor:
        """Return mean and deviation of the frames, ``(batch, 2·dim)``."""
        deviation = frames.std(dim=1, unbiased=False) if frames.shape[1] > 1 else 0 * frames[:, 0]
        return torch.cat((frames.mean(dim=1), deviation), dim=-1)

    def predict_from_pooled(
        self, pooled: Tensor, voice_features: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the means, 0…1, and the log-variances.

        Parameters
        ----------
        pooled : Tensor
            ``(batch, 2·dim)``, what :meth:`pool` returned.
        voice_features : Tensor, optional
            ``(batch, features)``; without it every voice counts as the mean voice.
        """
        x = self.body(self.norm(pooled))
        logits = self.mean(x) + self.skip(self.standardise_pooled(pooled))
        if voice_features is not None:
            logits = logits + self.voice(self.standardise_voice(voice_features))
        log_variance = self.log_variance(x).clamp(LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE)
        log_variance = log_variance + 2.0 * self.log_scale
        return logits.sigmoid(), log_variance

    def standardise_pooled(self, pooled: Tensor) -> Tensor:
        """Return pooled features as z-scores, clipped at ±:data:`Z_CLIP`."""
        z: Tensor = standardised(pooled, self.feature_mean, self.feature_std)
        return z

    def standardise_voice(self, voice_features: Tensor) -> Tensor:
        """Return a voice's features as z-scores, clipped at ±:data:`Z_CLIP`."""
        z: Tensor = standardised(voice_features, self.voice_mean, self.voice_std)
        return z

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *arguments: Any
    ) -> None:
        for name, former in FILE_NAMES.items():
            if prefix + former in state_dict:
                state_dict[prefix + name] = state_dict.pop(prefix + former)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @torch.no_grad()
    def start_at(self, normalised: Tensor) -> None:
        """Make an untrained head predict `normalised` ``(parameters,)`` for every input."""
        nn.init.zeros_(self.log_variance.weight)
        self.log_variance.bias.fill_(-3.0)
        self.mean.weight.mul_(0.1)
        self.mean.bias.copy_(torch.logit(normalised.clamp(0.005, 0.995)))

    @torch.no_grad()
    def anchor_at(self, normalised: Tensor, pooled: Tensor, share: float) -> None:
        """Make the head predict one strip for the mean voice, and scale the offsets of others.

        ``logits = logit(strip) + share·(logits before − their mean over the given voices)``

        Parameters
        ----------
        normalised : Tensor
            ``(parameters,)`` in 0…1, the strip.
        pooled : Tensor
            ``(voices, 2·dim)``, what :meth:`pool` returned for the voices; all have equal weight.
        share : float
            Factor of the offsets: 0 leaves none.
        """
        for layer in (self.mean, self.skip, self.voice):
            layer.weight.mul_(share)
        logits = self.mean(self.body(self.norm(pooled))) + self.skip(
            self.standardise_pooled(pooled)
        )
        voice_mean = logits.mean(dim=0) - self.mean.bias
        target = torch.logit(normalised.to(voice_mean).clamp(0.005, 0.995))
        self.mean.bias.copy_(target - voice_mean)

    @torch.no_grad()
    def calibrate(self, mean: Tensor, log_variance: Tensor, target: Tensor) -> None:
        """Scale each setting's deviation, and the probabilities of the switches.

        Of the right settings 80 % shall lie in the middle 80 %; of the switches that are on with
        probability p, a share of p shall be on.

        Parameters
        ----------
        mean, log_variance, target : Tensor
            ``(examples, parameters)``: what this head predicted, and what is right, for vocals that
            it was not trained on.
        """
        off = (target - mean).abs() * torch.exp(-0.5 * log_variance)
        scale = (off.quantile(CALIBRATED, dim=0) / CALIBRATED_DEVIATIONS).clamp(0.2, 5.0)
        self.log_scale += scale.log().to(self.log_scale)
        deviation = torch.exp(0.5 * log_variance) * scale
        self.switch_line.copy_(calibration_line(mean, deviation, target))

    @property
    def is_calibrated(self) -> bool:
        """Whether the probabilities of the switches were calibrated since the weights changed."""
        even = self.switch_line.new_tensor([[1.0], [0.0]])
        return not bool(torch.equal(self.switch_line, even.expand_as(self.switch_line)))

    def switches(self, mean: Tensor, deviation: Tensor) -> Tensor:
        """Return how likely each switch of :data:`diffconsole.model.switches.RULES` is on.

        Parameters
        ----------
        mean, deviation : Tensor
            ``(…, parameters)``, normalised, of one vocal or several.
        """
        return likely_on(mean, deviation, self.switch_line.to(mean))
