"""Descent through the console: from a predicted strip to the one whose result has a style.

The settings that are sought are the most probable ones (maximum a posteriori): with ``s`` the
normalised settings, ``f(s)`` the style of what they make of the vocal
(:mod:`.style_features`), ``t`` and ``σ`` mean and deviation of the style that is expected of the
right result, ``m`` and ``d`` those of the settings that the model predicts,

``½·Σ_aspects w·mean(max(|f(s) − t|/σ − k, 0)²) + ½·Σ((s − m)/d)²``

is brought down by Adam (Kingma and Ba, 2015), its gradient taken through the console. The figures
of an aspect say much the same of each other: ``w`` is how many independent ones they count for.
Within ``k`` deviations the prediction stays as it is: of tone and dynamics singers differ so much
that the model knows better there, while the sides of a finished vocal show its reverb plainly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .console import Console
from .parameters import PARAMETERS, denormalize
from .style_features import ASPECTS, STYLE_RATE, aspect_of, style_features

__all__ = ["ASPECT_MODULES", "Descent", "StyleTarget", "descend", "moved_by"]

ASPECT_MODULES = {"tone": "eq", "dynamics": "compressor", "space": "reverb"}
"""The module that brings each aspect of a style."""

ASPECT_WEIGHTS = {"tone": 5.0, "dynamics": 5.0, "space": 40.0}
FREE_DEVIATIONS = {"tone": 1.0, "dynamics": 1.0, "space": 0.0}
"""Chosen on singers that neither the model nor the statistics of styles were made from."""

HELD = ("compressor.makeup_db", "reverb.pre_delay_ms")
"""Of these the style says nothing, or the gradient points anywhere: they stay as predicted."""

STEPS, STEP_SIZE, LAST_SHARE = 24, 0.2, 0.1
MOMENTUM, SMOOTHING, EPSILON = 0.8, 0.95, 1e-6
LEAST_DEVIATION = 0.02
LONGEST_DECAY_S = 4.0


@dataclass(frozen=True)
class StyleTarget:
    """The style that is expected of the right result.

    Attributes
    ----------
    mean : Tensor
        ``(features,)``, in the order of :data:`.style_features.STYLE_FEATURES`.
    deviation : Tensor
        ``(features,)``, of what the right result may have instead; infinite where nothing is
        known or followed.
    """

    mean: Tensor
    deviation: Tensor

    def distance(self, features: Tensor) -> Tensor:
        """Return ``½·Σ_aspects w·mean(max(|f − t|/σ − k, 0)²)``, the mean of what is known."""
        off = ((features - self.mean) / self.deviation).abs()
        total = features.new_zeros(())
        for aspect, weight in ASPECT_WEIGHTS.items():
            mine = aspect_of(aspect)
            known = self.deviation[mine].isfinite().sum().clamp(min=1)
            beyond = (off[mine] - FREE_DEVIATIONS[aspect]).clamp(min=0.0)
            total = total + 0.5 * weight * beyond.square().sum() / known
        return total

    def deviations(self, features: Tensor) -> dict[str, float]:
        """Return by aspect how many deviations a style lies off, root of the mean square."""
        off = ((features.detach() - self.mean) / self.deviation).square()
        found = {}
        for aspect in ASPECTS:
            mine = aspect_of(aspect)
            known = int(self.deviation[mine].isfinite().sum())
            if known:
                found[aspect] = math.sqrt(float(off[mine].sum()) / known)
        return found


@dataclass(frozen=True)
class Descent:
    """What a descent found.

    Attributes
    ----------
    point : Tensor
        ``(parameters,)`` in 0…1.
    steps : int
        That were done.
    before, after : dict of str to float
        By aspect, how far the styles of the prediction and of the point lie off
        (:meth:`StyleTarget.deviations`).
    """

    point: Tensor
    steps: int
    before: dict[str, float]
    after: dict[str, float]


def moved_by(aspects: tuple[str, ...]) -> Tensor:
    """Return which settings the descent moves for these aspects, ``(parameters,)`` of bool."""
    modules = {ASPECT_MODULES[aspect] for aspect in aspects}
    return torch.tensor(
        [p.section.split(".")[0] in modules and p.key not in HELD for p in PARAMETERS]
    )


def descend(
    vocal: Tensor,
    mean: Tensor,
    deviation: Tensor,
    target: StyleTarget,
    *,
    aspects: tuple[str, ...] = ASPECTS,
    steps: int = STEPS,
    report_progress: Callable[[float], None] = lambda _: None,
) -> Descent:
    """Find the most probable settings.

    Parameters
    ----------
    vocal : Tensor
        ``(passages, 1, samples)`` of the raw vocal at 44.1 kHz and −18 LUFS.
    mean, deviation : Tensor
        ``(parameters,)``, normalised: the prediction, where the descent begins.
    target : StyleTarget
        Where it leads.
    aspects : tuple of str
        Settings of other modules stay as they are.
    steps : int
        Of Adam, their size falling along a cosine; at 0 the prediction is returned.
    report_progress : callable
        Called after each step with the share that is done.
    """
    moved = moved_by(aspects).to(vocal.device)
    # Copies: what a prediction leaves behind may be inference tensors, which gradients refuse.
    start = mean.clone().to(vocal.device, torch.float32).clamp(0.0, 1.0)
    scale = deviation.clone().to(vocal.device, torch.float32).clamp(min=LEAST_DEVIATION)
    # Of a fixed length: another one at each step would make other noise each time.
    seconds = min(LONGEST_DECAY_S, vocal.shape[-1] / STYLE_RATE)
    console = Console(STYLE_RATE, bypass={"pan", "output_gain"}, reverb_seconds=seconds)
    best, least = start, math.inf
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    at = torch.zeros_like(start)
    momentum, square = torch.zeros_like(at), torch.zeros_like(at)
    for step in range(steps + 1):
        leaf = at.clone().requires_grad_(step < steps)
        point = (start + leaf * scale).clamp(0.0, 1.0)
        settings = {k: v.expand(len(vocal)) for k, v in denormalize(point).items()}
        features = style_features(console(vocal, settings))
        loss = target.distance(features) + 0.5 * leaf.square().sum()
        value = float(loss.detach())
        if step == 0:
            before = target.deviations(features)
        if value < least or not step:
            best, least, after = point.detach(), value, target.deviations(features)
        if step == steps:
            break
        (gradient,) = torch.autograd.grad(loss, leaf)
        gradient = torch.nan_to_num(gradient) * moved
        momentum = MOMENTUM * momentum + (1.0 - MOMENTUM) * gradient
        square = SMOOTHING * square + (1.0 - SMOOTHING) * gradient.square()
        ahead = momentum / (1.0 - MOMENTUM ** (step + 1))
        spread = (square / (1.0 - SMOOTHING ** (step + 1))).sqrt() + EPSILON
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / steps)
        size = STEP_SIZE * (LAST_SHARE + (1.0 - LAST_SHARE) * cosine)
        at = at - size * ahead / spread
        # Back to where the point is: beyond the ends of a range there is no gradient.
        at = torch.maximum(torch.minimum(at, (1.0 - start) / scale), -start / scale)
        report_progress((step + 1) / steps)
    return Descent(best.cpu(), steps, before, after)
