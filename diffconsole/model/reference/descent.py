"""Descent through the console: from a predicted strip to the one whose result has a style.

The settings that are sought are the most probable ones (maximum a posteriori): with ``s`` the
normalised settings, ``f(s)`` the style of what they make of the vocal
(:mod:`.style_features`), ``t`` and ``σ`` mean and deviation of the style that is expected of the
right result, ``m`` and ``d`` those of the settings that the model predicts,

``½·Σ_aspects w·mean(ρ(max(|f(s) − t|/σ − k, 0))) + ½·Σ((s − m)/d)²``

is brought down by Adam (Kingma and Ba, 2015), its gradient taken through the console, in turn for
each aspect and the module that brings it: a reverb that is missing shall not be made up for by an
EQ. The figures of an aspect say much the same of each other: ``w`` is how many independent ones
they count for.
``ρ(x) = x²`` up to ``c`` and ``2·c·x − c²`` beyond (Huber, "Robust estimation of a location
parameter", 1964): a figure that no strip can bring does not outweigh the others.
Within ``k`` deviations the prediction stays as it is: in their dynamics singers differ so much that
the model knows better there, while the sides of a mixed vocal show its reverb plainly.

No aspect ends further off than it began: of the settings on the way, and of those between the best
of them and the prediction, the most probable one is taken of which that holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ...console import Console
from ...strip.later import NOT_DRAWN
from ...strip.parameters import PARAMETERS, denormalize
from .style_features import ASPECTS, STYLE_RATE, aspect_of, style_features

__all__ = ["ASPECT_MODULES", "Descent", "StyleTarget", "descend", "moved_by"]

ASPECT_MODULES = {"tone": "eq", "dynamics": "compressor", "space": "reverb"}
"""The module that brings each aspect of a style."""

ASPECT_WEIGHTS = {"tone": 10.0, "dynamics": 2.0, "space": 40.0}
FREE_DEVIATIONS = {"tone": 0.0, "dynamics": 2.0, "space": 0.0}
"""Chosen on validation singers, to whom neither the model nor the regression was fitted."""

ROBUST_DEVIATIONS = 3.0
"""``c``: about what the references' own figures are limited to in :mod:`.style_statistics`."""

GUARD = 100.0
"""Weight of what an aspect is further off than at the beginning, deviations squared."""

BACK = (0.75, 0.5, 0.25)
"""Shares of the way to the best settings that are tried where these are further off somewhere."""

WORSE = 1e-3
"""Deviations that are no difference."""

HELD = ("compressor.makeup_db", *(p.key for p in PARAMETERS if not p.has_gradient))
"""Of these the style says nothing, or the gradient points anywhere: they stay as predicted."""

TURNS = ("space", "tone", "space", "dynamics")
"""Whose turn it is, over and over; those that are not followed are left out."""

STEPS, STEP_SIZE, LAST_SHARE = 32, 0.25, 0.1
MOMENTUM, SMOOTHING, EPSILON = 0.8, 0.95, 1e-6
LEAST_DEVIATION, FURTHEST = 0.02, 2.5
"""No setting goes further than so many deviations from its prediction."""

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

    def distance(self, features: Tensor, aspect: str) -> Tensor:
        """Return ``½·w·mean(ρ(max(|f − t|/σ − k, 0)))`` of what is known of an aspect, a scalar."""
        mine = aspect_of(aspect)
        off = ((features[mine] - self.mean[mine]) / self.deviation[mine]).abs()
        beyond = (off - FREE_DEVIATIONS[aspect]).clamp(min=0.0)
        known = self.deviation[mine].isfinite().sum().clamp(min=1)
        near = beyond.clamp(max=ROBUST_DEVIATIONS)
        robust = near * (2.0 * beyond - near)
        return 0.5 * ASPECT_WEIGHTS[aspect] * robust.sum() / known

    def beyond(self, features: Tensor, before: Mapping[str, float]) -> Tensor:
        """Return the sum of the squares of how much further off aspects are than before."""
        total = features.new_zeros(())
        for aspect, least in before.items():
            mine = aspect_of(aspect)
            off = ((features[mine] - self.mean[mine]) / self.deviation[mine]).square().sum()
            known = self.deviation[mine].isfinite().sum()
            total = total + ((off / known + 1e-12).sqrt() - least).clamp(min=0.0).square()
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


class _Found(NamedTuple):
    """Settings on the way: their improbability, how far they moved, how far each aspect is off."""

    value: float
    at: Tensor
    off: dict[str, float]

    def is_further(self, before: Mapping[str, float]) -> bool:
        """Whether an aspect is further off than before."""
        return any(self.off[aspect] > least + WORSE for aspect, least in before.items())


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
    off: Collection[str] = NOT_DRAWN,
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
    off : collection of str
        Modules that the model does not know.
    report_progress : callable
        Called after each step with the share that is done.
    """
    turns = [aspect for aspect in TURNS if aspect in aspects]
    moved = {aspect: moved_by((aspect,)).to(vocal.device) for aspect in aspects}
    taken = dict.fromkeys(aspects, 0)
    # Copies: what a prediction leaves behind may be inference tensors, which gradients refuse.
    start = mean.clone().to(vocal.device, torch.float32).clamp(0.0, 1.0)
    scale = deviation.clone().to(vocal.device, torch.float32).clamp(min=LEAST_DEVIATION)
    # Of a fixed length: another one at each step would make other noise each time.
    seconds = min(LONGEST_DECAY_S, vocal.shape[-1] / STYLE_RATE)
    bypass = {"pan", "output_gain", *off}
    console = Console(STYLE_RATE, bypass=bypass, reverb_seconds=seconds)
    before: dict[str, float] = {}
    at = torch.zeros_like(start)
    best = allowed = _Found(math.inf, at, {})
    momentum, square = torch.zeros_like(at), torch.zeros_like(at)

    def measured(leaf: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        settings = denormalize((start + leaf * scale).clamp(0.0, 1.0))
        features = style_features(
            console(vocal, {key: value.expand(len(vocal)) for key, value in settings.items()})
        )
        distances = {aspect: target.distance(features, aspect) for aspect in aspects}
        return features, distances, 0.5 * leaf.square().sum()

    for step in range(steps + 1):
        leaf = at.clone().requires_grad_(step < steps)
        features, distances, prior = measured(leaf)
        found = _Found(float(sum(distances.values(), prior).detach()), at,
                       target.deviations(features))  # fmt: skip
        if step == 0:
            before, best, allowed = found.off, found, found
        best = min(best, found, key=lambda each: each.value)
        if not found.is_further(before):
            allowed = min(allowed, found, key=lambda each: each.value)
        if step == steps:
            break
        aspect = turns[step % len(turns)]
        mine = moved[aspect]
        taken[aspect] += 1
        (gradient,) = torch.autograd.grad(
            distances[aspect] + prior + GUARD * target.beyond(features, before), leaf
        )
        gradient = torch.nan_to_num(gradient)
        momentum = torch.where(mine, momentum + (1.0 - MOMENTUM) * (gradient - momentum), momentum)
        square = torch.where(
            mine, square + (1.0 - SMOOTHING) * (gradient.square() - square), square
        )
        ahead = mine * momentum / (1.0 - MOMENTUM ** taken[aspect])
        rms = (square / (1.0 - SMOOTHING ** taken[aspect])).sqrt() + EPSILON
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / steps)
        size = STEP_SIZE * (LAST_SHARE + (1.0 - LAST_SHARE) * cosine)
        at = at - size * ahead / rms
        # Back to where the point is: beyond the ends of a range there is no gradient.
        at = torch.maximum(torch.minimum(at, (1.0 - start) / scale), -start / scale)
        at = at.clamp(-FURTHEST, FURTHEST)
        report_progress((step + 1) / steps)
    for share in BACK if best is not allowed else ():
        with torch.no_grad():
            features, distances, prior = measured(share * best.at)
        found = _Found(float(sum(distances.values(), prior)), share * best.at,
                       target.deviations(features))  # fmt: skip
        if not found.is_further(before):
            allowed = min(allowed, found, key=lambda each: each.value)
    point = (start + allowed.at * scale).clamp(0.0, 1.0)
    return Descent(point.detach().cpu(), steps, before, allowed.off)
