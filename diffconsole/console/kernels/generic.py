"""Kernels from torch operations alone: any device, no compiler, float64 inside.

Slower than :mod:`.cpu` on a CPU, and what runs on CUDA until a kernel of its own does.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..shapes import fast_length

__all__ = ["compress", "scan_levels", "sections"]

FLOOR = 1e-6


def sections(audio: Tensor, coefficients: Tensor) -> Tensor:
    """Cascade of second-order sections by frequency sampling in float64.

    The transform is longer than the signal by the time that the cascade's slowest pole needs to
    fall by 160 dB, so what wraps around is below float32's resolution.

    Parameters, returns: see :func:`diffconsole.console.kernels.sections`.
    """
    samples = audio.shape[-1]
    length = fast_length(samples + ringing_samples(coefficients))
    x = audio.to(torch.float64)
    angle = torch.arange(length // 2 + 1, device=x.device, dtype=torch.float64)
    z1 = torch.polar(torch.ones_like(angle), angle * (-2.0 * math.pi / length))
    z2 = z1 * z1
    b0, b1, b2, a1, a2 = coefficients.unsqueeze(-1).unbind(dim=-2)
    response = ((b0 + b1 * z1 + b2 * z2) / (1.0 + a1 * z1 + a2 * z2)).prod(dim=1)
    y = torch.fft.irfft(torch.fft.rfft(x, length) * response.unsqueeze(1), length)
    return y[..., :samples].to(audio.dtype)


def ringing_samples(coefficients: Tensor) -> int:
    """Samples that the slowest pole needs to fall by 160 dB (a host sync, five seconds at most)."""
    a1, a2 = coefficients.detach()[..., 3], coefficients.detach()[..., 4]
    root = torch.sqrt(torch.complex(a1 * a1 - 4.0 * a2, torch.zeros_like(a1)))
    radius = torch.maximum((-a1 + root).abs(), (-a1 - root).abs()).max() / 2.0
    nepers = -torch.log(radius.clamp(1e-6, 1.0 - 1e-7))
    return int(math.ceil(160.0 / 20.0 * math.log(10.0) / float(nepers)))


def _linear_scan(multiply: Tensor, add: Tensor) -> Tensor:
    """Solve ``s[n] = multiply[n]·s[n−1] + add[n]``, s[−1] = 0, by doubling strides."""
    stride = 1
    while stride < add.shape[-1]:
        later_add = add[..., stride:] + multiply[..., stride:] * add[..., :-stride]
        later_multiply = multiply[..., stride:] * multiply[..., :-stride]
        add = torch.cat((add[..., :stride], later_add), dim=-1)
        multiply = torch.cat((multiply[..., :stride], later_multiply), dim=-1)
        stride *= 2
    return add


def _before(levels: Tensor) -> Tensor:
    return torch.nn.functional.pad(levels[..., :-1], (1, 0))


def scan_levels(v: Tensor, attack: Tensor, release: Tensor) -> tuple[Tensor, Tensor]:
    """Solve the branching one-pole by policy iteration.

    Guess each sample's branch, solve the linear recurrence by a parallel scan, choose the
    branches again from the solution, until none changes. The recursion is monotone in its
    state, so each sweep settles at least one further sample and in practice all in 5–25.

    Parameters
    ----------
    v : Tensor
        ``(batch, samples)`` float64, not negative.
    attack, release : Tensor
        ``(batch,)`` float64 coefficients.

    Returns
    -------
    levels, rising : Tensor
        ``(batch, samples)``: the level, and where the attack ran.
    """
    a, r = attack.unsqueeze(-1), release.unsqueeze(-1)
    rising = v > torch.nn.functional.pad(v[..., :-1], (1, 0))
    while True:
        coefficient = torch.where(rising, a, r)
        levels = _linear_scan(coefficient, (1.0 - coefficient) * v)
        again = v > _before(levels)
        # A tie, seen to the rounding of the scan, gives the same level by either branch.
        tie = (v - _before(levels)).abs() <= 1e-13 * v.abs() + 1e-300
        changed = (again != rising) & ~tie
        if not bool(changed.any()):
            return levels, rising
        rising = torch.where(changed, again, rising)


class _Levels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, attack: Tensor, release: Tensor) -> Tensor:
        levels, rising = scan_levels(v, attack, release)
        ctx.save_for_backward(v, attack, release, levels, rising)
        return levels

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v, attack, release, levels, rising = ctx.saved_tensors
        a = torch.where(rising, attack.unsqueeze(-1), release.unsqueeze(-1))
        # carried[n] = grad[n] + a[n+1]·carried[n+1]
        later = torch.nn.functional.pad(a[..., 1:], (0, 1))
        carried = _linear_scan(later.flip(-1), grad_outputs[0].flip(-1)).flip(-1)
        by_a = carried * (_before(levels) - v)
        zero = torch.zeros_like(by_a)
        return (
            carried * (1.0 - a),
            torch.where(rising, by_a, zero).sum(dim=-1),
            torch.where(rising, zero, by_a).sum(dim=-1),
        )


def compress(
    audio: Tensor,
    attack: Tensor,
    release: Tensor,
    threshold_db: Tensor,
    slope: Tensor,
    knee_db: Tensor,
    makeup_db: Tensor,
) -> Tensor:
    """Compressor; see :func:`diffconsole.console.kernels.compress`."""
    x = audio.to(torch.float64)
    v = x.abs().amax(dim=1) if x.shape[1] == 1 else torch.maximum(*x.abs().unbind(dim=1))
    s: Tensor = _Levels.apply(v, attack, release)
    level = 20.0 * torch.log10(torch.where(s > FLOOR, s, torch.full_like(s, FLOOR)))
    t, m, w = (p.unsqueeze(-1) for p in (threshold_db, slope, knee_db))
    over = level - t + 0.5 * w
    inside = (over > 0.0) & (over < w)
    safe_w = torch.where(w > 0.0, w, torch.ones_like(w))
    bend = torch.where(inside, over, torch.zeros_like(over)) ** 2 / (2.0 * safe_w)
    straight = torch.where(inside | (over <= 0.0), torch.zeros_like(over), level - t)
    change_db = m * (bend + straight)
    factor = torch.pow(10.0, (change_db + makeup_db.unsqueeze(-1)) / 20.0)
    return (x * factor.unsqueeze(1)).to(audio.dtype)
