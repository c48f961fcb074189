"""How a studio's settings depart from its one strip with the voice, in closed form.

A ridge regression of the labels' departures on the standardised features of the voices. All
settings share one strength of it, so that what is told for a voice is a blend of what was found
for voices like it, threshold and ratio and makeup from the same ones; told each by itself, they
would not belong together, and came out further from the mixes than no departure at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..parameters import PARAMETERS

__all__ = ["STRENGTHS", "Departures", "fit"]

STRENGTHS = (0.5, 2.0)
"""What is tried, against 1, the mean square of a standardised feature: the mixes held out choose.
Labels left out would choose too much: their errors are mostly those of a quick search."""

FEWEST = 4
"""Pairs; fewer say nothing of how voices differ."""


@dataclass(frozen=True)
class Departures:
    """What was fitted.

    Attributes
    ----------
    weight : Tensor
        ``(parameters, features)``: departures, in shares of the range, by standardised feature.
    explained : Tensor
        ``(parameters,)``: the share of the squared departures of pairs left out, 0…1.
    by_module : dict of str to float
        The same by module.
    """

    weight: Tensor
    explained: Tensor
    by_module: dict[str, float]


def fit(features: Tensor, departures: Tensor, strength: float) -> Departures:
    """Fit departures.

    Parameters
    ----------
    features : Tensor
        ``(pairs, features)``, standardised.
    departures : Tensor
        ``(pairs, parameters)``; their mean is no matter of the voice, and left out.
    strength : float
        With which departures are held at 0.
    """
    x, y = features.double(), departures.double()
    count, width = x.shape
    if count < FEWEST:
        none = torch.zeros(len(PARAMETERS))
        return Departures(none.unsqueeze(1).repeat(1, width), none, {})
    y = y - y.mean(dim=0)
    kernel = x @ x.T / width
    eye = torch.eye(count).double()
    inverse = torch.linalg.inv(kernel + strength * eye)
    weight = ((inverse @ y).T @ x / width).float()
    hat = kernel @ inverse
    # The error on each pair by the fit to all others, in closed form.
    error = ((y - hat @ y) / (1.0 - hat.diagonal()).unsqueeze(1)).square().sum(dim=0)
    total = y.square().sum(dim=0)
    explained = (1.0 - error / total.clamp(min=1e-9)).clamp(0.0, 1.0).float()
    modules = [p.section.split(".")[0] for p in PARAMETERS]
    by_module = {}
    for module in dict.fromkeys(modules):
        mask = torch.tensor([m == module for m in modules])
        if float(total[mask].sum()) > 1e-9:
            share = 1.0 - float(error[mask].sum() / total[mask].sum())
            by_module[module] = max(0.0, share)
    return Departures(weight, explained, by_module)
