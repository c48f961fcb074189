"""Offsets of a studio's settings from its one strip, predicted from the voice in closed form.

A Bayesian linear regression of the labels' offsets on standardised features of the voices.
For the offset of setting ``j`` of pair ``i``

    d_ij = b_j + Σ_k z_k · X_ijk + w_j · x_i + e_ij

- the second term has an informative prior over engineers (:mod:`.engineer_prior`): directions
  ``X`` in which they differ, with coefficients ``z`` of a known mean and deviation, the same for
  all settings of a module. They are few, so few pairs determine them; the prior is scaled by the
  evidence, down to 0 where the studio follows other rules.
- the third is a ridge regression on the encoder's features, the tone in third octaves, and the
  dynamics features (level, dynamics, room, noise, pace). Each group of features has one weight,
  however many features it has, as an engineer would give it: the tone decides most of the
  equalizer, dynamics most of the compressor, room and pace most of the reverb. The settings of a
  module share these weights.
- the variance of the error is inverse to the confidence in a pair's label.

All terms are normally distributed, so the mean of the posterior and the errors on pairs left out
are closed forms (Rasmussen and Williams, *Gaussian Processes for Machine Learning*, 2006, sections
2.7 and 5.4). Without the prior, and with equal confidence, it is a ridge regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...model.voice_features import DYNAMICS_FEATURES
from ...strip.parameters import PARAMETERS
from .engineer_prior import StripPrior

__all__ = ["ALPHAS", "OffsetFit", "blend", "fit"]

ALPHAS = (0.5, 2.0, 8.0)
"""Ridge penalties that are tried, for features of mean square 1; pairs left out weigh the fits."""

SHARES = {
    "eq": (0.2, 0.7, 0.1),
    "compressor": (0.2, 0.1, 0.7),
    "reverb": (0.3, 0.1, 0.6),
}
EQUAL = (0.3, 0.4, 0.3)
"""Weights of the encoder's, the tone's and the dynamics features, by module and elsewhere. Chosen
on a virtual studio's pairs (:mod:`tests.benchmarks.virtual_studios`), singers left out in turn."""

PRIOR_SCALES = (0.0, 0.25, 0.5, 1.0)
"""Factors of the prior's mean and deviation that are tried; weighed by the evidence."""

LEAST_TOTAL = 1e-9
FEWEST = 4
"""Fewest pairs: fewer do not show how voices differ."""

PRIOR_DEVIATION, PRIOR_PAIRS = 0.03, 2.0
"""Expected deviation of an offset, in shares of the range, and the pairs that it counts as."""

VARIANCE_STEPS = 4

FREE = 1e4
"""Variance of the mean, relative to that of the offsets: the mean is not shrunk."""


@dataclass(frozen=True)
class OffsetFit:
    """What was fitted.

    Attributes
    ----------
    encoder_weight, voice_weight : Tensor
        ``(parameters, features)``: offsets, in shares of the range, by standardised feature of
        the encoder and of the voice.
    left : Tensor
        ``(parameters,)``: the mean squared error on pairs left out, against the mean square of
        the offsets from their mean; 1 where there are no offsets. Above 1 where
        the fit to few pairs predicts worse than their mean.
    by_module : dict of str to float
        The share of the squared offsets of pairs left out, from the mean of the others, that
        the fit to the others explains, 0…1, by module.
    crossed : Tensor
        ``(pairs, parameters)``: the offset for each pair's voice by the fit to all others.
    prior_scales : dict of str to float
        Posterior mean of the factor of the prior by module: 0 where the pairs show nothing of it,
        1 where they agree with it.
    """

    encoder_weight: Tensor
    voice_weight: Tensor
    left: Tensor
    by_module: dict[str, float]
    crossed: Tensor
    prior_scales: dict[str, float]

    @property
    def explained(self) -> Tensor:
        """``(parameters,)``: the share of the squared offsets of pairs left out, 0…1."""
        return (1.0 - self.left).clamp(0.0, 1.0)


@dataclass(frozen=True)
class _Posterior:
    """The posterior of one module, for one ridge penalty and one factor of the prior.

    Attributes
    ----------
    evidence : float
        Logarithm of the likelihood of the offsets.
    shares : Tensor
        ``(directions,)``, the mean of the coefficients ``z``.
    dual : Tensor
        ``(pairs, settings)``, dual coefficients: the ridge's weights are the features times them.
    off : Tensor
        ``(pairs, settings)``: the errors of the fit to all others.
    """

    evidence: float
    shares: Tensor
    dual: Tensor
    off: Tensor


def fit(
    encoder_features: Tensor,
    voice_features: Tensor,
    offsets: Tensor,
    alpha: float,
    prior: StripPrior | None = None,
    confidence: Tensor | None = None,
    groups: Sequence[Sequence[int]] | None = None,
) -> OffsetFit:
    """Fit offsets by features of the voice.

    Parameters
    ----------
    encoder_features : Tensor
        ``(pairs, 2·dim)``, the encoder's features, standardised.
    voice_features : Tensor
        ``(pairs, features)``, of :mod:`diffconsole.model.voice_features`, standardised.
    offsets : Tensor
        ``(pairs, parameters)``; their mean is left out, since the voice does not explain it.
    alpha : float
        Ridge penalty.
    prior : StripPrior, optional
        Over engineers, for the same features.
    confidence : Tensor, optional
        ``(pairs,)``, above 0: the weight of each label, 1 by default.
    groups : sequence of sequence of int, optional
        Pairs that are left out together; by default each by itself.

    Returns
    -------
    OffsetFit
        Weights of 0 where there are fewer than four pairs.
    """
    tones = voice_features.shape[1] - len(DYNAMICS_FEATURES)
    kinds = [
        part.double()
        for part in (encoder_features, voice_features[:, :tones], voice_features[:, tones:])
    ]
    y = offsets.double()
    modules = [p.module for p in PARAMETERS]
    weights = [torch.zeros(len(PARAMETERS), kind.shape[1]).double() for kind in kinds]
    prior_weight = torch.zeros(len(PARAMETERS), voice_features.shape[1]).double()
    left, by_module, found_scales = torch.ones(len(PARAMETERS)), {}, {}
    crossed = torch.zeros_like(y)
    if len(y) < FEWEST:
        return _of(weights, prior_weight, left, {}, crossed, {})
    groups = [[pair] for pair in range(len(y))] if groups is None else groups
    noise = 1.0 / (torch.ones(len(y)) if confidence is None else confidence).double()
    y = y - y.mean(dim=0)
    voices = voice_features.double() - voice_features.double().mean(dim=0)
    kinds = [kind - kind.mean(dim=0) for kind in kinds]
    total, others = y.square().sum(dim=0), _from_others(y, groups)
    for module in dict.fromkeys(modules):
        columns = torch.tensor([m == module for m in modules])
        shares = SHARES.get(module, EQUAL)
        factors = [share / kind.shape[1] for share, kind in zip(shares, kinds, strict=True)]
        kernel = torch.stack([s * kind @ kind.T for s, kind in zip(factors, kinds, strict=True)])
        kernel = kernel.sum(dim=0)
        known = prior is not None and module in prior.directions
        tried = PRIOR_SCALES if known else (0.0,)
        mean, directions = _of_module(prior, module, columns, voice_features.shape[1])
        posteriors = [
            _posterior(
                y[:, columns],
                kernel,
                alpha,
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
            prior_weight[columns] += share * scale * reaction
        found_scales[module] = sum(s * float(p) for s, p in zip(tried, likely, strict=True))
        crossed[:, columns] = _without_means(y[:, columns] - off, y[:, columns], groups)
        error, whole = off.square().sum(dim=0), total[columns]
        varies = whole > LEAST_TOTAL
        left[columns] = torch.where(varies, error / whole.clamp(min=LEAST_TOTAL), 1.0).float()
        if bool(varies.any()):
            from_others = float(others[:, columns][:, varies].square().sum())
            by_module[module] = max(0.0, 1.0 - float(error[varies].sum()) / from_others)
    return _of(weights, prior_weight, left, by_module, crossed, found_scales)


def blend(fits: Sequence[OffsetFit], weights: Sequence[float]) -> OffsetFit:
    """Return the mean of fits to the same pairs, by weights whose sum is 1."""
    first = fits[0]

    def mean(name: str) -> Tensor:
        parts = [w * getattr(each, name) for w, each in zip(weights, fits, strict=True)]
        return torch.stack(parts).sum(dim=0)

    def shares(name: str) -> dict[str, float]:
        pairs = list(zip(weights, (getattr(each, name) for each in fits), strict=True))
        return {key: sum(w * some[key] for w, some in pairs) for key in getattr(first, name)}

    return OffsetFit(
        mean("encoder_weight"), mean("voice_weight"), mean("left"), shares("by_module"),
        mean("crossed"), shares("prior_scales"),
    )  # fmt: skip


def _of(
    weights: list[Tensor],
    prior_weight: Tensor,
    left: Tensor,
    by_module: dict[str, float],
    crossed: Tensor,
    scales: dict[str, float],
) -> OffsetFit:
    voice = torch.cat(weights[1:], dim=1) + prior_weight
    return OffsetFit(weights[0].float(), voice.float(), left, by_module, crossed.float(), scales)


def _of_module(
    prior: StripPrior | None, module: str, columns: Tensor, features: int
) -> tuple[Tensor, Tensor]:
    """The prior's mean and directions for the settings of a module."""
    if prior is None or module not in prior.directions:
        none = torch.zeros(int(columns.sum()), features).double()
        return none, none[None][:0]
    return prior.mean[columns], prior.directions[module][:, columns]


def _posterior(
    y: Tensor,
    kernel: Tensor,
    alpha: float,
    noise: Tensor,
    voices: Tensor,
    mean: Tensor,
    directions: Tensor,
    groups: Sequence[Sequence[int]],
) -> _Posterior:
    """The posterior of a module, for one ridge penalty and one factor of the prior.

    The covariance of a setting is its own variance times that of the pairs, and the settings have
    in common only the shares of the directions (Woodbury's identity). The variances are those at
    which the expectation of the errors agrees with them, as in expectation maximisation.
    """
    covariance = kernel + alpha * torch.diag(noise) + FREE * torch.ones_like(kernel)
    factor = torch.linalg.cholesky(covariance)
    precise, half_log = torch.cholesky_inverse(factor), float(factor.diagonal().log().sum())
    designs = torch.einsum("nf,ksf->snk", voices, directions)
    solved = torch.einsum("nm,smk->snk", precise, designs)
    inner = torch.einsum("snk,snl->skl", designs, solved)
    residual = y - voices @ mean.T
    projected = torch.einsum("snk,ns->sk", solved, residual)
    pairs, count = y.shape
    prior_square = PRIOR_PAIRS * PRIOR_DEVIATION**2 / (1.0 + alpha)
    variance = (y.square().sum(dim=0) / (1.0 + alpha) + prior_square) / (pairs - 1.0 + PRIOR_PAIRS)
    for _ in range(VARIANCE_STEPS):
        precision = (inner / variance[:, None, None]).sum(dim=0)
        root = torch.linalg.cholesky(precision + torch.eye(len(precision)).double())
        toward = (projected / variance[:, None]).sum(dim=0)
        shares = torch.cholesky_solve(toward[:, None], root)[:, 0]
        covariance_of_shares = torch.cholesky_inverse(root) if len(root) else root
        last = residual - torch.einsum("snk,k->ns", designs, shares)
        dual = precise @ last
        now = variance
        expected = (last * dual).sum(dim=0) + torch.einsum("skl,kl->s", inner, covariance_of_shares)
        variance = (expected + prior_square) / (pairs - 1.0 + PRIOR_PAIRS)
    whitened = precise @ residual
    evidence = -0.5 * float(((residual * whitened).sum(dim=0) / now).sum()) - count * half_log
    evidence -= 0.5 * float(
        (pairs - 1.0 + PRIOR_PAIRS) * now.log().sum() + (prior_square / now).sum()
    )
    evidence += 0.5 * float(toward @ shares) - float(root.diagonal().log().sum())
    # Errors on pairs left out: what the inverse covariance has of them, solved for what it has of
    # the offsets; Woodbury's identity once more.
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
    """Offsets from the mean of the pairs of other groups; that of all is 0."""
    found = y.clone()
    for group in groups:
        found[group] += y[group].sum(dim=0) / max(len(y) - len(group), 1)
    return found


def _without_means(predicted: Tensor, y: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Predictions from other groups, relative to the mean voice and offset of all pairs.

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
