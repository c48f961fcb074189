"""Damped least squares on the samples of a mix: what settings leave of it, and their next step.

``left = Σ (y − m)² / Σ m²`` of the strip's result y and the mix m. A step solves ``(J·Jᵀ + D)·s =
−J·(y − m)`` with the slopes J of the samples by setting and a damping D that follows the diagonal
(Levenberg 1944, Marquardt 1963), within a box: no setting moves further than a share of its range
or leaves it, and the others make up for one that is held (bounded least squares, Stark and
Parker 1995).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.linalg
import scipy.optimize
import torch
from torch import Tensor

from ...strip.parameters import CHAIN, PARAMETERS
from .objective import HELD, INSERTS, KEYS, MatchObjective

__all__ = [
    "Fit",
    "changes_of",
    "fit_of",
    "free_places",
    "least_squares",
    "products_of",
    "slopes_of",
]

TRIES, LEAST_GAIN = 5, 0.02
NUDGE, LONGEST_STEP = 2e-3, 0.15
FINE_NUDGE = 2e-5
FINE = {place for place, p in enumerate(PARAMETERS) if not p.has_gradient}
"""A hundredth of the range of a pre-delay or of a time between echoes turns phases many times."""

DAMPING, LEAST_DAMPING = 1e-2, 1e-7
FLOOR = 1e-7
TOGETHER, RUN = 6, 1 << 14
BEHIND = frozenset(module.key for module in CHAIN if module.place in ("pan", "send"))
"""What lies behind the inserts is linear and the same for each of their settings."""


class Fit(NamedTuple):
    """A point, and how far its samples are from the mix.

    Attributes
    ----------
    point : Tensor
        ``(parameters,)`` in 0…1.
    tried : frozenset of str
        Modules whose later settings take part.
    result, off : Tensor
        ``(2, samples)``: what the strip makes of the raw vocal, and its difference to the mix.
    left : float
        Energy of the difference, as a share of the mix's.
    """

    point: Tensor
    tried: frozenset[str]
    result: Tensor
    off: Tensor
    left: float


def free_places(objective: MatchObjective) -> list[int]:
    """Return where the settings lie that the samples determine."""
    return [place for place in objective.searched if KEYS[place] not in HELD]


@torch.no_grad()
def fit_of(objective: MatchObjective, point: Tensor, off: frozenset[str] = frozenset()) -> Fit:
    """Return how far the samples of a point are from the mix, with these switches off."""
    result = objective.render(point[None], off)[0]
    difference = result - objective.mix[0]
    left = float(difference.square().sum()) / float(objective.mix.square().sum())
    return Fit(point, objective.tried, result, difference, left)


@torch.no_grad()
def least_squares(
    objective: MatchObjective,
    point: Tensor,
    steps: int,
    may_continue: Callable[[], bool] = lambda: True,
) -> Fit:
    """Return what damped least squares comes to from a point.

    Parameters
    ----------
    objective : MatchObjective
        The pair, with the modules that take part.
    point : Tensor
        ``(parameters,)`` in 0…1.
    steps : int
        At most so many; fewer where one gains next to nothing.
    may_continue : callable
        Asked before each step.
    """
    free = free_places(objective)
    energy = float(objective.mix.square().sum())
    fit, damping = fit_of(objective, point), DAMPING
    for _ in range(steps):
        if not may_continue():
            break
        slopes = slopes_of(objective, fit, free)
        products = products_of(torch.cat((slopes, fit.off.reshape(1, -1))))
        normal, downhill = products[:-1, :-1], products[:-1, -1]
        before = fit.left
        for _ in range(TRIES):
            damped = normal + torch.diag(damping * normal.diagonal() + FLOOR * energy)
            tried = fit.point.clone()
            tried[free] += _boxed(damped, downhill, tried[free])
            candidate = fit_of(objective, objective.in_the_middle(tried.clamp(0.0, 1.0)))
            if candidate.left < before:
                fit, damping = candidate, max(damping / 4.0, LEAST_DAMPING)
                break
            damping *= 4.0
        if fit.left > (1.0 - LEAST_GAIN) * before:
            break
    return fit


def products_of(rows: Tensor) -> Tensor:
    """Return the products of rows of samples, each with each, ``(rows, rows)`` float64.

    They are added up in double precision, run by run: those of settings that do much the same
    differ in their last digits.
    """
    return torch.stack([(run @ run.T).double() for run in rows.split(RUN, dim=1)]).sum(dim=0).cpu()


def _boxed(normal: Tensor, downhill: Tensor, point: Tensor) -> Tensor:
    """The step at which ``½·sᵀ·normal·s + downhill·s`` is least within the box."""
    try:
        root = scipy.linalg.cholesky(normal.numpy(), lower=True)
    except scipy.linalg.LinAlgError:
        # Of settings that do the same: no step, and the next one is damped more.
        return torch.zeros_like(point)
    wanted = scipy.linalg.solve_triangular(root, -downhill.numpy(), lower=True)
    here = point.double().cpu().numpy()
    # The ends of a setting that may not move would be one.
    low = np.maximum(-LONGEST_STEP, -here) - 1e-9
    high = np.minimum(LONGEST_STEP, 1.0 - here) + 1e-9
    found = scipy.optimize.lsq_linear(root.T, wanted, bounds=(low, high), method="bvls")
    return torch.from_numpy(found.x).to(point)


@torch.no_grad()
def slopes_of(objective: MatchObjective, fit: Fit, free: list[int]) -> Tensor:
    """Return how every sample changes with each free setting, ``(free, 2·samples)``."""
    # Away from the closer end, so that no setting leaves its range.
    sizes = torch.tensor([FINE_NUDGE if place in FINE else NUDGE for place in free])
    nudges = torch.where(fit.point[free] > 0.5, -sizes, sizes)
    nudged = fit.point.repeat(len(free), 1)
    nudged[torch.arange(len(free)), free] += nudges
    inserts = torch.tensor([PARAMETERS[place].module in INSERTS for place in free])
    slopes = torch.empty(len(free), fit.off.numel(), device=fit.off.device)
    for some, behind in ((inserts, False), (~inserts, True)):
        if some.any():
            slopes[some] = changes_of(objective, fit, nudged[some], behind=behind)
    return slopes.div_(nudges[:, None].to(slopes))


@torch.no_grad()
def changes_of(
    objective: MatchObjective, fit: Fit, points: Tensor, *, behind: bool = True
) -> Tensor:
    """Return the change of every sample from a fit to other points, ``(points, 2·samples)``.

    Parameters
    ----------
    objective : MatchObjective
        The pair, with the modules of the points.
    fit : Fit
        Where the change is counted from.
    points : Tensor
        ``(points, parameters)`` in 0…1.
    behind : bool
        Whether they differ behind the inserts too. Where they do not, of a mono voice only the
        inserts are rendered for each of them; the response of what lies behind does for all.
    """
    if behind or objective.raw.shape[1] > 1 or objective.raw.device.type != "cpu":
        rows = [objective.render(some) - fit.result for some in points.split(TOGETHER)]
        return torch.cat(rows).reshape(len(points), -1)
    # What the inserts change before the part rings on in it.
    objective, kept = objective.with_lead(), objective.raw.shape[-1]
    samples = objective.raw.shape[-1]
    length = scipy.fft.next_fast_len(2 * samples, real=True)
    response = scipy.fft.rfft(objective.response(fit.point).numpy(), length)
    before = objective.trying(fit.tried).render(fit.point[None], BEHIND)[:, :1]
    changes = torch.empty(len(points), 2, kept)
    for start in range(0, len(points), TOGETHER):
        inserted = objective.render(points[start : start + TOGETHER], BEHIND)[:, :1] - before
        spectra = scipy.fft.rfft(inserted.numpy(), length)
        found = scipy.fft.irfft(spectra * response, length)[..., samples - kept : samples]
        changes[start : start + TOGETHER] = torch.from_numpy(found)
    return changes.reshape(len(points), -1)
