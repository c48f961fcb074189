"""The compressor from torch operations alone: any device, no compiler."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ...kernels.scan import linear_scan as _linear_scan

__all__ = ["compress_backward", "compress_forward", "compress_from", "scan_levels"]

FLOOR = 1e-6

MOST_SWEEPS = 64
"""Of the policy iteration; what is not settled then is solved sample by sample."""


def _before(levels: Tensor, start: Tensor | None = None) -> Tensor:
    if start is None:
        return torch.nn.functional.pad(levels[..., :-1], (1, 0))
    return torch.cat((start.unsqueeze(-1), levels[..., :-1]), dim=-1)


def scan_levels(
    v: Tensor, attack: Tensor, release: Tensor, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Solve the branching one-pole by policy iteration.

    Guess each sample's branch, solve the linear recurrence by a parallel scan, choose the
    branches again from the solution, until none changes. The recursion is monotone in its
    state, so each sweep settles at least one further sample and in practice all in 5–25. After
    :data:`MOST_SWEEPS` the rest is solved sample by sample: long, but no longer than the signal.

    Parameters
    ----------
    v : Tensor
        ``(batch, samples)`` float64, not negative.
    attack, release : Tensor
        ``(batch,)`` float64 coefficients.
    start : Tensor, optional
        ``(batch,)`` float64, the level before the first sample; 0 by default.

    Returns
    -------
    levels, rising : Tensor
        ``(batch, samples)``: the level, and where the attack ran.
    """
    a, r = attack.unsqueeze(-1), release.unsqueeze(-1)
    rising = v > _before(v, start)
    for _ in range(MOST_SWEEPS):
        coefficient = torch.where(rising, a, r)
        add = (1.0 - coefficient) * v
        if start is not None:
            add[..., 0] += coefficient[..., 0] * start
        levels = _linear_scan(coefficient, add)
        before = _before(levels, start)
        again = v > before
        # A tie, seen to the rounding of the scan, gives the same level by either branch.
        tie = (v - before).abs() <= 1e-13 * v.abs() + 1e-300
        changed = (again != rising) & ~tie
        if not bool(changed.any()):
            return levels, rising
        rising = torch.where(changed, again, rising)
    return _levels_in_turn(v, attack, release, start)


def _levels_in_turn(
    v: Tensor, attack: Tensor, release: Tensor, start: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Solve what :func:`scan_levels` solves, one sample after the other."""
    a, r = attack.cpu().numpy(), release.cpu().numpy()
    peaks = v.cpu().numpy()
    levels, rising = np.empty_like(peaks), np.empty(peaks.shape, bool)
    level = np.zeros(len(peaks)) if start is None else start.cpu().numpy()
    for n in range(peaks.shape[1]):
        now = peaks[:, n]
        rising[:, n] = now > level
        coefficient = np.where(rising[:, n], a, r)
        level = coefficient * level + (1.0 - coefficient) * now
        levels[:, n] = level
    return torch.from_numpy(levels).to(v.device), torch.from_numpy(rising).to(v.device)


def _peaks(audio: Tensor) -> Tensor:
    x = audio.to(torch.float64).abs()
    return x[:, 0] if x.shape[1] == 1 else torch.maximum(*x.unbind(dim=1))


def _change_db(levels: Tensor, parameters: Tensor) -> tuple[Tensor, ...]:
    """Change of level in dB, with makeup, and its derivatives by level, slope and knee in dB."""
    _, _, threshold, slope, knee, makeup = parameters[:, :6, None].unbind(dim=1)
    over = 20.0 * torch.log10(levels.clamp(min=FLOOR)) - threshold + 0.5 * knee
    bend = torch.where(knee > 0.0, 0.5 / knee.clamp(min=1e-30), torch.zeros_like(knee))
    inside = over.clamp(min=0.0).minimum(knee)
    bent = inside * bend
    change = inside * bent + (over - knee).clamp(min=0.0)
    by_level = slope * torch.where(over < knee, 2.0 * bent, (over > 0.0).to(over.dtype))
    return slope * change + makeup, by_level, change, slope * (bent - 2.0 * bent * bent)


def _mixed(factor: Tensor, parameters: Tensor) -> Tensor:
    """The gain of the dry and the compressed signal together; see :func:`.process.compressor`."""
    if parameters.shape[1] == 6:
        return factor
    wet, dry = parameters[:, 6:, None].unbind(dim=1)
    return dry + wet * factor


def compress_forward(audio: Tensor, parameters: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    """Compressor; returns the audio and, if kept, the levels, negative where they rose."""
    attack, release = parameters[:, 0], parameters[:, 1]
    levels, rising = scan_levels(_peaks(audio), attack, release)
    factor = _mixed(torch.pow(10.0, _change_db(levels, parameters)[0] / 20.0), parameters)
    y = (audio * factor.unsqueeze(1)).to(audio.dtype)
    saved = torch.where(rising, -levels, levels).to(audio.dtype)
    return y, saved if keep else saved.new_empty((len(saved), 0))


def compress_from(audio: Tensor, parameters: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Compress a part of a signal; see :func:`.compressor_operator.compress_from`."""
    start = state.to(audio.device)
    levels, _ = scan_levels(_peaks(audio), parameters[:, 0], parameters[:, 1], start)
    factor = _mixed(torch.pow(10.0, _change_db(levels, parameters)[0] / 20.0), parameters)
    return (audio * factor.unsqueeze(1)).to(audio.dtype), levels[:, -1].cpu()


def compress_backward(
    gradient: Tensor, audio: Tensor, parameters: Tensor, saved: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the audio and of the parameters, from the levels that were kept."""
    rising = saved < 0.0
    levels = saved.to(torch.float64).abs()
    change, by_level, by_slope, by_knee = _change_db(levels, parameters)
    factor = torch.pow(10.0, change / 20.0)
    by_gain = (gradient.to(torch.float64) * audio).sum(dim=1)
    by_wet = by_gain * factor
    product = by_wet if parameters.shape[1] == 6 else by_wet * parameters[:, 6:7]
    by_db = product * (math.log(10.0) / 20.0)
    # The dB of a level and those of a gain cancel: d(dB)/ds = 20/ln(10)/s.
    steepness = torch.where(levels > FLOOR, by_level / levels.clamp(min=FLOOR), 0.0)
    error = product * steepness
    a = torch.where(rising, parameters[:, :1], parameters[:, 1:2])
    # carried[n] = error[n] + a[n+1]·carried[n+1]
    later = torch.nn.functional.pad(a[:, 1:], (0, 1))
    carried = _linear_scan(later.flip(-1), error.flip(-1)).flip(-1)
    peaks = _peaks(audio)
    by_a = carried * (_before(levels) - peaks)
    zero = torch.zeros_like(by_a)
    sums = (
        torch.where(rising, by_a, zero),
        torch.where(rising, zero, by_a),
        -by_db * by_level,
        by_db * by_slope,
        by_db * by_knee,
        by_db,
        by_wet,
        by_gain,
    )[: parameters.shape[1]]
    grad_parameters = torch.stack([part.sum(dim=-1) for part in sums], dim=-1)
    # Of two channels the louder one carries the level, the first if they are equal.
    loudest = audio.abs().argmax(dim=1, keepdim=True)
    leads = torch.zeros_like(audio).scatter_(1, loudest, 1.0)
    by_peak = (carried * (1.0 - a)).unsqueeze(1) * leads * audio.sign()
    factor = _mixed(factor, parameters)
    return (gradient * factor.unsqueeze(1) + by_peak).to(audio.dtype), grad_parameters
