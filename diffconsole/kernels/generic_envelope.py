"""The detector's level from torch operations alone: any device, no compiler."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .scan import linear_scan

__all__ = ["follow", "follow_backward"]

MOST_SWEEPS = 64
"""Of the policy iteration; what is not settled then is solved sample by sample."""


def _branches(rising: Tensor, hold: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
    """Where the hold lasts, and where its last fraction ends; `left` is what is left at first."""
    places = torch.arange(rising.shape[-1], device=rising.device)
    never = torch.full_like(places, -1)
    last = torch.where(rising, places, never).cummax(dim=-1).values
    since = (places - last - 1).to(torch.float64)
    remains = torch.where(last >= 0, hold.unsqueeze(-1), left.unsqueeze(-1)) - since
    falls = ~rising
    return falls & (remains >= 1.0), falls & (remains < 1.0) & (remains > 0.0)


def _coefficients(
    rising: Tensor, parameters: Tensor, left: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the coefficient of every sample, and where it is that of the hold and of its end."""
    attack, release, hold = (p.unsqueeze(-1) for p in parameters.unbind(dim=-1))
    holds, ends = _branches(rising, parameters[:, 2], left)
    ending = release ** (1.0 - (hold - hold.floor()))
    k = torch.where(rising, attack, torch.where(ends, ending, release))
    return torch.where(holds, torch.ones_like(k), k), holds, ends


def _shifted(s: Tensor, start: Tensor) -> Tensor:
    return torch.cat((start.unsqueeze(-1), s[..., :-1]), dim=-1)


def follow(level: Tensor, parameters: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Follow a level by policy iteration; see :func:`diffconsole.kernels.envelope.envelope_from`.

    Guess where the level rises, solve the linear recurrence by a parallel scan, look again, until
    nothing changes: each sweep settles at least one further sample.
    """
    v = level.to(torch.float64)
    start, left = state.to(v.device).unbind(dim=-1)
    rising = v > _shifted(v, start)
    for _ in range(MOST_SWEEPS):
        k, _, _ = _coefficients(rising, parameters, left)
        add = (1.0 - k) * v
        add = torch.cat((add[..., :1] + k[..., :1] * start.unsqueeze(-1), add[..., 1:]), dim=-1)
        s = linear_scan(k, add)
        before = _shifted(s, start)
        again = v > before
        # A tie, seen to the rounding of the scan, gives the same level by either branch. Rising
        # or not also decides when the hold begins, so exact silence never counts as a rise.
        tie = (v - before).abs() <= 1e-13 * v.abs() + 1e-300
        changed = (again != rising) & ~tie
        if not bool(changed.any()):
            return s.to(level.dtype), _state_after(s, rising, parameters, left)
        rising = torch.where(changed, again, rising)
    return _follow_in_turn(level, parameters, state)


def _state_after(s: Tensor, rising: Tensor, parameters: Tensor, left: Tensor) -> Tensor:
    count = rising.shape[-1]
    places = torch.arange(count, device=rising.device)
    last = torch.where(rising, places, torch.full_like(places, -1)).max(dim=-1).values
    remains = torch.where(last >= 0, parameters[:, 2], left) - (count - 1 - last)
    return torch.stack((s[:, -1], remains.clamp(min=0.0)), dim=-1)


def _follow_in_turn(level: Tensor, parameters: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Solve what :func:`follow` solves, one sample after the other."""
    attack, release, hold = parameters.detach().cpu().numpy().T
    ending = release ** (1.0 - (hold - np.floor(hold)))
    v = level.detach().cpu().to(torch.float64).numpy()
    now, left = (column.copy() for column in state.cpu().numpy().T)
    s = np.empty_like(v)
    for n in range(v.shape[1]):
        rises, holds = v[:, n] > now, left >= 1.0
        k = np.where(left > 0.0, ending, release)
        k = np.where(rises, attack, np.where(holds, 1.0, k))
        left = np.where(rises, hold, np.where(holds, left - 1.0, 0.0))
        now = k * now + (1.0 - k) * v[:, n]
        s[:, n] = now
    after = torch.from_numpy(np.stack((now, left), axis=-1)).to(state.device)
    return torch.from_numpy(s).to(level), after


def follow_backward(
    gradient: Tensor, level: Tensor, followed: Tensor, parameters: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the level and of attack, release and hold."""
    v, s = level.to(torch.float64), followed.to(torch.float64)
    nothing = torch.zeros_like(parameters[:, 0])
    before = _shifted(s, nothing)
    rising = v > before
    k, holds, ends = _coefficients(rising, parameters, nothing)
    # carried[n] = gradient[n] + k[n+1]·carried[n+1]
    later = torch.nn.functional.pad(k[:, 1:], (0, 1))
    carried = linear_scan(later.flip(-1), gradient.to(torch.float64).flip(-1)).flip(-1)
    by_k = carried * (before - v)
    zero = torch.zeros_like(by_k)
    release, hold = parameters[:, 1], parameters[:, 2]
    fraction = hold - hold.floor()
    ending = release ** (1.0 - fraction)
    by_ending = torch.where(ends, by_k, zero).sum(dim=-1)
    falls = ~rising & ~holds & ~ends
    by_release = torch.where(falls, by_k, zero).sum(dim=-1)
    safe = release.clamp(min=1e-300)
    by_settings = (
        torch.where(rising, by_k, zero).sum(dim=-1),
        by_release + by_ending * (1.0 - fraction) * ending / safe,
        -by_ending * ending * safe.log(),
    )
    by_level = carried * (1.0 - k)
    return by_level.to(level.dtype), torch.stack(by_settings, dim=-1)
