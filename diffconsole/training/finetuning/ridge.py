"""How a studio's settings depart from its one strip with the voice, in closed form.

A Bayesian linear regression of the labels' departures on what is known of the voices, standardised.
For the departure of setting ``j`` of pair ``i``

    d_ij = b_j + Σ_k z_k · X_ijk + w_j · x_i + e_ij

- the second term is what engineers usually do (:mod:`.habits`): directions ``X`` that they differ
  in, with shares ``z`` of a known mean and deviation, the same for all settings of a module. A
  handful of figures, which few pairs determine; scaled by the evidence, to nothing where the
  studio follows other rules.
- the third is a ridge regression on the encoder's features, the tone in third octaves, and the
  manner (level, dynamics, room, noise, pace). Each kind counts as one, however many figures it
  has, by shares that an engineer would give it: the tone has most say in the equalizer, dynamics
  in the compressor, room and pace in the reverb. Settings of one module share them.
- the error is the larger, the less sure a pair's label is.

All is normal, so the mean of the posterior and the errors on pairs left out are closed forms
(Rasmussen and Williams, *Gaussian Processes for Machine Learning*, 2006, sections 2.7 and 5.4).
Without habits, and with labels that are equally sure, it is a ridge regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...model.voice_features import MANNER
from ...strip.parameters import PARAMETERS
from .habits import Habits

__all__ = ["STRENGTHS", "Departures", "blend", "fit"]

STRENGTHS = (0.5, 2.0, 8.0)
"""What is tried, against 1, the mean square of a feature; pairs left out weigh the fits."""

SHARES = {
    "eq": (0.2, 0.7, 0.1),
    "compressor": (0.2, 0.1, 0.7),
    "reverb": (0.3, 0.1, 0.6),
}
EQUAL = (0.3, 0.4, 0.3)
"""Of the encoder's features, the tone and the manner, by module and elsewhere. Chosen on a virtual
studio's pairs (:mod:`tests.benchmarks.virtual_studios`), people left out in turn."""

HABIT_SCALES = (0.0, 0.25, 0.5, 1.0)
"""Of the habits' mean and deviation, that are tried; weighed by the evidence."""

LEAST_TOTAL = 1e-9
FEWEST = 4
"""Pairs; fewer say nothing of how voices differ."""

USUAL_DEVIATION, USUAL_PAIRS = 0.03, 2.0
"""Of a departure, in shares of the range, and how many pairs this expectation counts as."""

VARIANCE_STEPS = 4

FREE = 1e4
"""Variance of the mean, against the departures': it is not held at 0."""


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
    crossed : Tensor
        ``(pairs, parameters)``: the departure for each pair's voice by the fit to all others.
    habit_scales : dict of str to float
        How much of the engineers' usual reactions was found in these pairs, by module, the mean
        over what is likely: 0 none, 1 as it is over engineers.
    """

    heard_weight: Tensor
    voice_weight: Tensor
    left: Tensor
    by_module: dict[str, float]
    crossed: Tensor
    habit_scales: dict[str, float]

    @property
    def explained(self) -> Tensor:
        """``(parameters,)``: the share of the squared departures of pairs left out, 0…1."""
        return (1.0 - self.left).clamp(0.0, 1.0)


@dataclass(frozen=True)
class _Posterior:
    """Of one module, with one strength of its ridge and one scale of its habits.

    Attributes
    ----------
    evidence : float
        Logarithm of the likelihood of the departures.
    shares : Tensor
        ``(directions,)``, the mean of ``z``.
    dual : Tensor
        ``(pairs, settings)``: the ridge's weights are its kinds' features times it.
    off : Tensor
        ``(pairs, settings)``: the errors of the fit to all others.
    """

    evidence: float
    shares: Tensor
    dual: Tensor
    off: Tensor


def fit(
    heard: Tensor,
    described: Tensor,
    departures: Tensor,
    strength: float,
    habits: Habits | None = None,
    certainty: Tensor | None = None,
    groups: Sequence[Sequence[int]] | None = None,
) -> Departures:
    """Fit departures.

    Parameters
    ----------
    heard : Tensor
        ``(pairs, 2·dim)``, the encoder's features, standardised.
    described : Tensor
        ``(pairs, features)``, the descriptions (:mod:`diffconsole.model.voice_features`),
        standardised.
    departures : Tensor
        ``(pairs, parameters)``; their mean is no matter of the voice, and left out.
    strength : float
        With which the ridge's departures are held at 0.
    habits : Habits, optional
        What engineers usually do, by the same descriptions.
    certainty : Tensor, optional
        ``(pairs,)``, above 0: what each label counts, 1 by default.
    groups : sequence of sequence of int, optional
        Pairs that are left out together; by default each by itself.

    Returns
    -------
    Departures
        All of them 0 where there are fewer than four pairs.
    """
    tones = described.shape[1] - len(MANNER)
    kinds = [part.double() for part in (heard, described[:, :tones], described[:, tones:])]
    y = departures.double()
    modules = [p.module for p in PARAMETERS]
    weights = [torch.zeros(len(PARAMETERS), kind.shape[1]).double() for kind in kinds]
    usual = torch.zeros(len(PARAMETERS), described.shape[1]).double()
    left, by_module, found_scales = torch.ones(len(PARAMETERS)), {}, {}
    crossed = torch.zeros_like(y)
    if len(y) < FEWEST:
        return _of(weights, usual, left, {}, crossed, {})
    groups = [[pair] for pair in range(len(y))] if groups is None else groups
    noise = 1.0 / (torch.ones(len(y)) if certainty is None else certainty).double()
    y = y - y.mean(dim=0)
    voices = described.double() - described.double().mean(dim=0)
    kinds = [kind - kind.mean(dim=0) for kind in kinds]
    total, others = y.square().sum(dim=0), _from_others(y, groups)
    for module in dict.fromkeys(modules):
        columns = torch.tensor([m == module for m in modules])
        shares = SHARES.get(module, EQUAL)
        factors = [share / kind.shape[1] for share, kind in zip(shares, kinds, strict=True)]
        kernel = torch.stack([s * kind @ kind.T for s, kind in zip(factors, kinds, strict=True)])
        kernel = kernel.sum(dim=0)
        known = habits is not None and module in habits.directions
        tried = HABIT_SCALES if known else (0.0,)
        mean, directions = _of_module(habits, module, columns, described.shape[1])
        posteriors = [
            _posterior(
                y[:, columns],
                kernel,
                strength,
                noise,
                voices,
                scale * mean,
                scale * directions,
                groups,
            )
            for scale in tried
        ]
        likely = torch.tensor([p.evidence for p in posteriors]).double().softmax(dim=0)
        off = torch.zeros_like(y[:, columns])
        for share, scale, posterior in zip(likely.tolist(), tried, posteriors, strict=True):
            off += share * posterior.off
            for weight, factor, kind in zip(weights, factors, kinds, strict=True):
                weight[columns] += share * factor * posterior.dual.T @ kind
            reaction = mean + torch.einsum("k,ksf->sf", posterior.shares, directions)
            usual[columns] += share * scale * reaction
        found_scales[module] = sum(s * float(p) for s, p in zip(tried, likely, strict=True))
        crossed[:, columns] = _without_means(y[:, columns] - off, y[:, columns], groups)
        error, whole = off.square().sum(dim=0), total[columns]
        departs = whole > LEAST_TOTAL
        left[columns] = torch.where(departs, error / whole.clamp(min=LEAST_TOTAL), 1.0).float()
        if bool(departs.any()):
            from_others = float(others[:, columns][:, departs].square().sum())
            by_module[module] = max(0.0, 1.0 - float(error[departs].sum()) / from_others)
    return _of(weights, usual, left, by_module, crossed, found_scales)


def blend(fits: Sequence[Departures], weights: Sequence[float]) -> Departures:
    """Return the mean of fits to the same pairs, by weights whose sum is 1."""
    first = fits[0]

    def mean(name: str) -> Tensor:
        parts = [w * getattr(each, name) for w, each in zip(weights, fits, strict=True)]
        return torch.stack(parts).sum(dim=0)

    def shares(name: str) -> dict[str, float]:
        pairs = list(zip(weights, (getattr(each, name) for each in fits), strict=True))
        return {key: sum(w * some[key] for w, some in pairs) for key in getattr(first, name)}

    return Departures(
        mean("heard_weight"), mean("voice_weight"), mean("left"), shares("by_module"),
        mean("crossed"), shares("habit_scales"),
    )  # fmt: skip


def _of(
    weights: list[Tensor],
    usual: Tensor,
    left: Tensor,
    by_module: dict[str, float],
    crossed: Tensor,
    scales: dict[str, float],
) -> Departures:
    voice = torch.cat(weights[1:], dim=1) + usual
    return Departures(weights[0].float(), voice.float(), left, by_module, crossed.float(), scales)


def _of_module(
    habits: Habits | None, module: str, columns: Tensor, features: int
) -> tuple[Tensor, Tensor]:
    """The habits' mean and directions for the settings of a module."""
    if habits is None or module not in habits.directions:
        none = torch.zeros(int(columns.sum()), features).double()
        return none, none[None][:0]
    return habits.mean[columns], habits.directions[module][:, columns]


def _posterior(
    y: Tensor,
    kernel: Tensor,
    strength: float,
    noise: Tensor,
    voices: Tensor,
    mean: Tensor,
    directions: Tensor,
    groups: Sequence[Sequence[int]],
) -> _Posterior:
    """The posterior of a module with one strength of its ridge and one scale of its habits.

    The covariance of a setting is its own variance times that of the pairs, and the settings have
    in common only the shares of the directions (Woodbury's identity). The variances are those at
    which the expectation of the errors agrees with them, as in expectation maximisation.
    """
    covariance = kernel + strength * torch.diag(noise) + FREE * torch.ones_like(kernel)
    factor = torch.linalg.cholesky(covariance)
    precise, half_log = torch.cholesky_inverse(factor), float(factor.diagonal().log().sum())
    designs = torch.einsum("nf,ksf->snk", voices, directions)
    solved = torch.einsum("nm,smk->snk", precise, designs)
    inner = torch.einsum("snk,snl->skl", designs, solved)
    residual = y - voices @ mean.T
    told = torch.einsum("snk,ns->sk", solved, residual)
    pairs, count = y.shape
    usual = USUAL_PAIRS * USUAL_DEVIATION**2 / (1.0 + strength)
    variance = (y.square().sum(dim=0) / (1.0 + strength) + usual) / (pairs - 1.0 + USUAL_PAIRS)
    for _ in range(VARIANCE_STEPS):
        precision = (inner / variance[:, None, None]).sum(dim=0)
        root = torch.linalg.cholesky(precision + torch.eye(len(precision)).double())
        toward = (told / variance[:, None]).sum(dim=0)
        shares = torch.cholesky_solve(toward[:, None], root)[:, 0]
        spread = torch.cholesky_inverse(root) if len(root) else root
        last = residual - torch.einsum("snk,k->ns", designs, shares)
        dual = precise @ last
        now = variance
        expected = (last * dual).sum(dim=0) + torch.einsum("skl,kl->s", inner, spread)
        variance = (expected + usual) / (pairs - 1.0 + USUAL_PAIRS)
    whitened = precise @ residual
    evidence = -0.5 * float(((residual * whitened).sum(dim=0) / now).sum()) - count * half_log
    evidence -= 0.5 * float((pairs - 1.0 + USUAL_PAIRS) * now.log().sum() + (usual / now).sum())
    evidence += 0.5 * float(toward @ shares) - float(root.diagonal().log().sum())
    # Errors on pairs left out: what the inverse covariance has of them, solved for what it has of
    # the departures; Woodbury's identity once more.
    solved, whitened = solved / now[:, None, None], dual / now
    precision = precision + torch.eye(len(precision)).double()
    off = torch.empty_like(y)
    for group in groups:
        own, across = precise[group][:, group], solved[:, group]
        alone = torch.linalg.solve(own, whitened[group]) * now
        spread_out = torch.linalg.solve(own, across) * now[:, None, None]
        core = precision - torch.einsum("snk,snl->kl", across, spread_out)
        common = torch.linalg.solve(core, torch.einsum("snk,ns->k", across, alone))
        off[group] = alone + torch.einsum("snk,k->ns", spread_out, common)
    return _Posterior(evidence, shares, dual, off)


def _from_others(y: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Departures from the mean of the pairs of other groups; that of all is 0."""
    found = y.clone()
    for group in groups:
        found[group] += y[group].sum(dim=0) / max(len(y) - len(group), 1)
    return found


def _without_means(predicted: Tensor, y: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """What is predicted from other groups, against the usual voice and departure of all pairs.

    The means of the others differ from those of all by what the group itself has; here they are
    put back, since the studio's strip is that of all.
    """
    found = predicted.clone()
    for group in groups:
        rest = max(len(y) - len(group), 1)
        own = y[group].sum(dim=0)
        moved = (predicted[group].sum(dim=0) + len(group) * own / rest) * rest / len(y)
        found[group] += (own - moved) / rest
    return found
