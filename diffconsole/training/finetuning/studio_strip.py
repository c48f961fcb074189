"""What is common to a studio's strips: one for all, the others in its terms, their deviation.

Different bells make the same curve, and different thresholds and ratios the same dynamics, so
labels cannot be compared setting by setting: the mean of two that sound the same may sound like
neither. They are put in the terms of one strip first: the settings closest to it that make the
same curves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...modules.compressor.process import static_curve_db
from ...strip.later import FIRST_PARAMETERS
from ...strip.parameters import PARAMETERS, denormalize
from ..matching.objective import INDEX
from ..pretraining.targets import eq_curve_db, relevance

__all__ = ["in_terms_of", "middle_of", "label_std_of"]

LEVELS_DB = torch.linspace(-48.0, -6.0, 22)
STEPS, STEP_SIZE = 100, 0.03
# How far a setting may move, in shares of its range, for 1 dB of the curves.
STIFFNESS = 30.0
MAX_STD, MIN_STD = 0.25, 0.02
# Of a normal distribution, median absolute deviation to standard deviation.
MAD = 1.4826
CURVES = [
    p.module == "eq"
    or p.key in [f"compressor.{name}" for name in ("threshold_db", "ratio", "knee_db", "makeup_db")]
    for p in PARAMETERS
]


def curves_db(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the EQ's curves and the compressor's, makeup included, in dB."""
    settings = denormalize(points.double())
    threshold, ratio, knee, makeup = (
        settings[f"compressor.{name}"].unsqueeze(-1)
        for name in ("threshold_db", "ratio", "knee_db", "makeup_db")
    )
    levels = LEVELS_DB.to(threshold)
    return eq_curve_db(settings), static_curve_db(levels, threshold, ratio, knee) + makeup


def in_terms_of(strip: Tensor, labels: Tensor) -> Tensor:
    """Return the settings closest to a strip that make the labels' curves.

    Parameters
    ----------
    strip : Tensor
        ``(parameters,)`` in 0…1.
    labels : Tensor
        ``(labels, parameters)`` in 0…1.

    Returns
    -------
    Tensor
        ``(labels, parameters)``; settings without a curve are the labels'.
    """
    found = _descend(strip, *curves_db(labels), count=len(labels))
    mask = torch.tensor(CURVES)
    return torch.where(mask, found.to(labels.dtype), labels)


def middle_of(labels: Tensor) -> Tensor:
    """Return one strip whose curves and other settings are the medians of the labels'."""
    start = _weighted_medians(labels)
    eq, dynamics = curves_db(labels)
    middle = [curve.median(dim=0, keepdim=True).values for curve in (eq, dynamics)]
    found = _descend(start, middle[0], middle[1], count=1)[0].to(labels.dtype)
    return torch.where(torch.tensor(CURVES), found, start).clamp(0.005, 0.995)


def label_std_of(offsets: Tensor) -> Tensor:
    """Return a robust standard deviation of the offsets, within 0.02…0.25 of the range."""
    deviation = MAD * offsets.abs().median(dim=0).values
    return deviation.clamp(MIN_STD, MAX_STD)


def _weighted_medians(labels: Tensor) -> Tensor:
    """Medians in which a label counts as far as its setting is audible."""
    weight = relevance(denormalize(labels))
    order = labels.argsort(dim=0)
    share = weight.gather(0, order).cumsum(dim=0)
    place = (share < share[-1:] / 2.0).sum(dim=0).clamp(max=len(labels) - 1)
    return labels.gather(0, order.gather(0, place[None]))[0]


@torch.enable_grad()
def _descend(start: Tensor, eq: Tensor, dynamics: Tensor, *, count: int) -> Tensor:
    """Adam on the curves' errors and the distance from the start; no audio is used."""
    start = start.double()
    mask = torch.tensor(CURVES).to(start)
    points = start.repeat(count, 1).requires_grad_()
    optimizer = torch.optim.Adam([points], lr=STEP_SIZE, betas=(0.8, 0.95))
    eq, dynamics = eq.detach(), dynamics.detach()
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = STEP_SIZE * (1.0 - 0.95 * step / STEPS)
        ours = curves_db(points)
        error = (ours[0] - eq).square().mean(dim=1) + (ours[1] - dynamics).square().mean(dim=1)
        l2_penalty = (points - start).square().mean(dim=1) * (len(CURVES) / len(FIRST_PARAMETERS))
        optimizer.zero_grad()
        (error + STIFFNESS * l2_penalty).sum().backward()
        assert points.grad is not None
        points.grad.nan_to_num_().mul_(mask)
        optimizer.step()
        with torch.no_grad():
            points.clamp_(0.0, 1.0)
            # Level is the makeup's: the ends' curves say nothing of the other gains.
            points[:, INDEX["output_gain.gain_db"]] = start[INDEX["output_gain.gain_db"]]
    return points.detach()
