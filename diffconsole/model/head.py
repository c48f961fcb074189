"""The head: from an encoder's frames and a voice's features to settings and their uncertainty."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..strip.parameters import PARAMETERS
from .switches import RULES, calibration_line, likely_on
from .voice_features import VOICE_FEATURES

__all__ = ["LEAST_LOG_VARIANCE", "PARAMETER_ROWS", "REACH", "SWITCH_COLUMNS", "Head"]

# Of a normal distribution 80 % lies within this many deviations of its mean.
CALIBRATED, CALIBRATED_DEVIATIONS = 0.8, 1.2816

REACH = 2.0
"""Standard deviations of the voices it was fitted on that the head's linear maps take in."""

LEAST_LOG_VARIANCE = -9.0

PARAMETER_ROWS = (
    "mean.weight", "mean.bias", "log_variance.weight", "log_variance.bias", "skip.weight",
    "voice.weight", "log_scale",
)  # fmt: skip
SWITCH_COLUMNS = ("switch_line",)
"""Tensors of a head with a row for each parameter, and with a column for each switch."""


class Head(nn.Module):
    """Mean and deviation of the encoder's frames → mean and log-variance of every setting.

    ``(batch, frames, dim)`` → two of ``(batch, parameters)``, settings normalised to 0…1. Beside
    the network two linear maps, which fine-tuning fits and pretraining leaves at zero, are added to
    the means before they are squashed into 0…1: one of the standardised mean and deviation, one of
    the standardised description of the voice (:mod:`diffconsole.model.voice_features`).
    """

    centre: Tensor
    spread: Tensor
    usual: Tensor
    usual_spread: Tensor
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
        self.register_buffer("centre", torch.zeros(2 * dim))
        self.register_buffer("spread", torch.ones(2 * dim))
        self.voice = nn.Linear(len(VOICE_FEATURES), len(PARAMETERS), bias=False)
        self.voice.requires_grad_(False)
        nn.init.zeros_(self.voice.weight)
        self.register_buffer("usual", torch.zeros(len(VOICE_FEATURES)))
        self.register_buffer("usual_spread", torch.ones(len(VOICE_FEATURES)))
        self.register_buffer("log_scale", torch.zeros(len(PARAMETERS)))
        self.register_buffer("switch_line", torch.tensor([[1.0], [0.0]]).repeat(1, len(RULES)))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means, 0…1, and the log-variances."""
        return self.answer(self.pool(frames))

    @staticmethod
    def pool(frames: Tensor) -> Tensor:
        """Return mean and deviation of the frames, ``(batch, 2·dim)``."""
        deviation = frames.std(dim=1, unbiased=False) if frames.shape[1] > 1 else 0 * frames[:, 0]
        return torch.cat((frames.mean(dim=1), deviation), dim=-1)

    def answer(self, pooled: Tensor, described: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the means, 0…1, and the log-variances.

        Parameters
        ----------
        pooled : Tensor
            ``(batch, 2·dim)``, what :meth:`pool` returned.
        described : Tensor, optional
            ``(batch, features)``, the voices' features; without it they count as usual ones.
        """
        x = self.body(self.norm(pooled))
        logits = self.mean(x) + self.skip(self.standardised(pooled))
        if described is not None:
            logits = logits + self.voice(self.unusual(described))
        log_variance = self.log_variance(x).clamp(LEAST_LOG_VARIANCE, 1.0) + 2.0 * self.log_scale
        return logits.sigmoid(), log_variance

    def standardised(self, pooled: Tensor) -> Tensor:
        """Return the linear map's input: a voice unlike all others moves it no further."""
        return ((pooled - self.centre) / self.spread).clamp(-REACH, REACH)

    def unusual(self, described: Tensor) -> Tensor:
        """Return how a voice differs from the usual ones, standardised and clipped."""
        return ((described - self.usual) / self.usual_spread).clamp(-REACH, REACH)

    @torch.no_grad()
    def start_at(self, normalised: Tensor) -> None:
        """Make an untrained head answer `normalised` ``(parameters,)`` for everything."""
        nn.init.zeros_(self.log_variance.weight)
        self.log_variance.bias.fill_(-3.0)
        self.mean.weight.mul_(0.1)
        self.mean.bias.copy_(torch.logit(normalised.clamp(0.005, 0.995)))

    @torch.no_grad()
    def anchor_at(self, normalised: Tensor, pooled: Tensor, share: float) -> None:
        """Make the head answer one strip for usual voices, and less than it did depart from it.

        ``logits = logit(strip) + share·(logits before − their mean over the usual voices)``

        Parameters
        ----------
        normalised : Tensor
            ``(parameters,)`` in 0…1, the strip.
        pooled : Tensor
            ``(voices, 2·dim)``, what :meth:`pool` made of usual voices; they count the same.
        share : float
            Of the departures: 0 leaves none.
        """
        for layer in (self.mean, self.skip, self.voice):
            layer.weight.mul_(share)
        logits = self.mean(self.body(self.norm(pooled))) + self.skip(self.standardised(pooled))
        usual = logits.mean(dim=0) - self.mean.bias
        self.mean.bias.copy_(torch.logit(normalised.to(usual).clamp(0.005, 0.995)) - usual)

    @torch.no_grad()
    def calibrate(self, mean: Tensor, log_variance: Tensor, target: Tensor) -> None:
        """Scale each setting's deviation, and the probabilities of the switches.

        Of the right settings 80 % shall lie in the middle 80 %; of the switches that are on with
        probability p, a share of p shall be on.

        Parameters
        ----------
        mean, log_variance, target : Tensor
            ``(examples, parameters)``: what this head answered, and what is right, of vocals that
            it was not trained on.
        """
        off = (target - mean).abs() * torch.exp(-0.5 * log_variance)
        scale = (off.quantile(CALIBRATED, dim=0) / CALIBRATED_DEVIATIONS).clamp(0.2, 5.0)
        self.log_scale += scale.log().to(self.log_scale)
        deviation = torch.exp(0.5 * log_variance) * scale
        self.switch_line.copy_(calibration_line(mean, deviation, target))

    @property
    def is_calibrated(self) -> bool:
        """Whether the probabilities of the switches were calibrated since the answers changed."""
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
