"""How a studio's settings depart from its one strip with the voice, in closed form.

A ridge regression of the labels' departures on what is heard and told of the voices, standardised:
the encoder's features, the tone in third octaves, and the manner (level, dynamics, room, noise,
pace). Each kind counts as one, however many figures it has, by shares that an engineer would give
it: the tone has most say in the equalizer, dynamics in the compressor, room and pace in the reverb.
Settings of one module share them, so that what is told for a voice is a blend of what was found
for voices like it, threshold and ratio and makeup from the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..parameters import PARAMETERS
from ..voice import MANNER

__all__ = ["STRENGTHS", "Departures", "fit"]

STRENGTHS = (0.5, 1.0, 2.0)
"""What is tried, against 1, the mean square of a feature: the mixes held out choose."""

SHARES = {
    "eq": (0.2, 0.7, 0.1),
    "compressor": (0.2, 0.1, 0.7),
    "reverb": (0.3, 0.1, 0.6),
}
EQUAL = (0.3, 0.4, 0.3)
"""Of the encoder's features, the tone and the manner, by module and elsewhere. Chosen on a virtual
studio's pairs (:mod:`tests.benchmarks.virtual_studios`), people left out in turn."""

LEAST_TOTAL = 1e-9
FEWEST = 4
"""Pairs; fewer say nothing of how voices differ."""


@dataclass(frozen=True)
class Departures:
    """What was fitted.

    Attributes
    ----------
    heard_weight, voice_weight : Tensor
        ``(parameters, features)``: departures, in shares of the range, by standardised feature of
        the encoder and of the description.
    left : Tensor
        ``(parameters,)``: the mean squared error on pairs left out, against the mean square of
        the departures from their mean; 1 where nothing departs. Above 1 where few pairs tell less
        than their own spread makes believe.
    by_module : dict of str to float
        The share of the squared departures of pairs left out, from the mean of the others, that
        the fit to the others explains, 0…1, by module.
    """

    heard_weight: Tensor
    voice_weight: Tensor
    left: Tensor
    by_module: dict[str, float]

    @property
    def explained(self) -> Tensor:
        """``(parameters,)``: the share of the squared departures of pairs left out, 0…1."""
        return (1.0 - self.left).clamp(0.0, 1.0)


def fit(heard: Tensor, described: Tensor, departures: Tensor, strength: float) -> Departures:
    """Fit departures.

    Parameters
    ----------
    heard : Tensor
        ``(pairs, 2·dim)``, the encoder's features, standardised.
    described : Tensor
        ``(pairs, features)``, the descriptions (:mod:`diffconsole.voice`), standardised.
    departures : Tensor
        ``(pairs, parameters)``; their mean is no matter of the voice, and left out.
    strength : float
        With which departures are held at 0.

    Returns
    -------
    Departures
        All of them 0 where there are fewer than four pairs.
    """
    tones = described.shape[1] - len(MANNER)
    kinds = [part.double() for part in (heard, described[:, :tones], described[:, tones:])]
    y = departures.double()
    modules = [p.section.split(".")[0] for p in PARAMETERS]
    weights = [torch.zeros(len(PARAMETERS), kind.shape[1]).double() for kind in kinds]
    left, by_module = torch.ones(len(PARAMETERS)), {}
    if len(y) < FEWEST:
        return _of(weights, left, {})
    y = y - y.mean(dim=0)
    # The mean is fitted too, without being held at 0.
    of_mean = 1.0 / len(y)
    kinds = [kind - kind.mean(dim=0) for kind in kinds]
    for module in dict.fromkeys(modules):
        columns = torch.tensor([m == module for m in modules])
        shares = SHARES.get(module, EQUAL)
        scales = [share / kind.shape[1] for share, kind in zip(shares, kinds, strict=True)]
        kernel = torch.stack([s * kind @ kind.T for s, kind in zip(scales, kinds, strict=True)])
        kernel = kernel.sum(dim=0)
        inverse = torch.linalg.inv(kernel + strength * torch.eye(len(y)).double())
        dual = inverse @ y[:, columns]
        for weight, scale, kind in zip(weights, scales, kinds, strict=True):
            weight[columns] = scale * dual.T @ kind
        hat = kernel @ inverse
        # The error on each pair by the fit to all others, their mean included, in closed form.
        share = of_mean + hat.diagonal()
        error = (y[:, columns] - hat @ y[:, columns]) / (1.0 - share).unsqueeze(1)
        off, total = error.square().sum(dim=0), y[:, columns].square().sum(dim=0)
        departs = total > LEAST_TOTAL
        left[columns] = torch.where(departs, off / total.clamp(min=LEAST_TOTAL), 1.0).float()
        if bool(departs.any()):
            from_others = float(total[departs].sum()) / (1.0 - of_mean) ** 2
            by_module[module] = max(0.0, 1.0 - float(off[departs].sum()) / from_others)
    return _of(weights, left, by_module)


def _of(weights: list[Tensor], left: Tensor, by_module: dict[str, float]) -> Departures:
    voice = torch.cat(weights[1:], dim=1)
    return Departures(weights[0].float(), voice.float(), left, by_module)
