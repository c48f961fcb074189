"""Where a mix was made by a console like this one, its settings can be had to the last digit.

A reverb's return is noise: until its pre-delay is right to a fraction of a sample, it is as far
from the mix's as another reverb, and no gradient leads there. Cross-correlation finds it at once.
From there the difference of the samples themselves, which depends on every setting, takes over by
damped least squares (Levenberg 1944, Marquardt 1963). On a mix from another desk nothing stands
out, or nothing is gained, and the point is returned as it was.

One thing the samples do not show: an EQ that is louder, into a threshold as much higher, with less
makeup, sounds the same. Which of them it is, the way there decides.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...pairs import PAIR_RATE
from ...strip.later import is_later
from ...strip.parameters import BY_KEY, PARAMETERS
from .objective import HELD, INDEX, KEYS, SEARCHED, MatchObjective

__all__ = ["pre_delay_in_mix", "refine_least_squares"]

PRE_DELAY = BY_KEY["reverb.pre_delay_ms"]
DISTINCT, PEAK_SAMPLES = 2.0, 8
# The difference of the samples, as a share of the mix's energy, from which settings are
# refined: with the return found, and without, where a mix may have next to no reverb.
NEAR, NEAR_WITHOUT_RETURN = 0.7, 0.03
FAR = 0.5
"""A distance above which a mix without a return that is found is from another desk: its samples
lead nowhere."""

STEPS, TRIES, LEAST_GAIN = 16, 5, 0.02
NUDGE, LONGEST_STEP = 2e-3, 0.12
FINE_NUDGE = 2e-5
FINE = {place for place, p in enumerate(PARAMETERS) if not p.has_gradient and is_later(p)}
"""Of a time between echoes a hundredth of the range turns the phases many times."""

DAMPING, LEAST_DAMPING = 1e-2, 1e-7


@torch.no_grad()
def pre_delay_in_mix(objective: MatchObjective, point: Tensor) -> float | None:
    """Return the pre-delay, 0…1, at which the return is found in the mix; none if nowhere.

    It is the lag at which the phases of the return without pre-delay agree with those of what the
    dry vocal leaves of the mix, if that lag stands out.
    """
    place = INDEX[PRE_DELAY.key]
    at_once = point.clone()
    at_once[place] = PRE_DELAY.to_normalised(PRE_DELAY.low)
    dry = objective.render(point[None], frozenset({"reverb"}))
    wet = objective.render(at_once[None]) - dry
    length = 2 * wet.shape[-1]
    cross = torch.fft.rfft(wet[0], length).conj() * torch.fft.rfft((objective.mix - dry)[0], length)
    size = cross.abs()
    whitened = cross / (size + 1e-3 * size.mean(dim=-1, keepdim=True) + 1e-20)
    last = int(PRE_DELAY.high / 1000.0 * PAIR_RATE)
    response = torch.fft.irfft(whitened, length)[:, : last + 1].sum(dim=0)
    peak = int(response.argmax())
    away = (torch.arange(last + 1) - peak).abs() > PEAK_SAMPLES
    if float(response[peak]) < DISTINCT * float(response[away.to(response.device)].abs().max()):
        return None
    offset = 0.0
    if 0 < peak < last:
        before, top, after = response[peak - 1 : peak + 2].tolist()
        offset = 0.5 * (before - after) / (before - 2.0 * top + after)
    return PRE_DELAY.to_normalised(PRE_DELAY.clip((peak + offset) / PAIR_RATE * 1000.0))


@torch.no_grad()
def refine_least_squares(
    objective: MatchObjective, point: Tensor, may_continue: Callable[[], bool] = lambda: True
) -> Tensor:
    """Return the point at which the samples differ least, if its distance to the mix is lower.

    Parameters
    ----------
    objective : MatchObjective
        The pair.
    point : Tensor
        ``(parameters,)`` in 0…1.
    may_continue : callable
        Asked before each step.
    """
    free = [place for place in objective.searched if KEYS[place] not in HELD]
    found_at = pre_delay_in_mix(objective, point)
    if found_at is None and float(objective.distances(point[None])) > FAR:
        return point
    moved = point.clone()
    if found_at is not None:
        moved[INDEX[PRE_DELAY.key]] = found_at
    energy = float(objective.mix.square().sum())
    result = objective.render(moved[None])[0]
    left = result - objective.mix[0]
    error, damping = float(left.square().sum()) / energy, DAMPING
    if not error < (NEAR if found_at is not None else NEAR_WITHOUT_RETURN):
        return point
    # More settings take more renderings a step; the work stays the same.
    for _ in range(STEPS * len(SEARCHED) // len(objective.searched)):
        if not may_continue():
            break
        slopes = _slopes(objective, moved, result, free)
        normal, downhill = slopes @ slopes.T, slopes @ left.reshape(-1)
        normal, downhill = normal.double().cpu(), downhill.double().cpu()
        before = error
        for _ in range(TRIES):
            damped = normal + torch.diag(damping * normal.diagonal() + 1e-7 * energy)
            step = torch.linalg.solve(damped, -downhill).clamp(-LONGEST_STEP, LONGEST_STEP)
            tried = moved.clone()
            tried[free] = (tried[free] + step.to(tried)).clamp(0.0, 1.0)
            tried = objective.in_the_middle(tried)
            candidate = objective.render(tried[None])[0]
            off = candidate - objective.mix[0]
            error = float(off.square().sum()) / energy
            if error < before:
                moved, result, left = tried, candidate, off
                damping = max(damping / 4.0, LEAST_DAMPING)
                break
            damping *= 4.0
        else:
            break
        if error > (1.0 - LEAST_GAIN) * before:
            break
    both = objective.distances(torch.stack((point, moved)))
    return moved if float(both[1]) < float(both[0]) else point


def _slopes(objective: MatchObjective, point: Tensor, result: Tensor, free: list[int]) -> Tensor:
    """How every sample changes with each free setting, ``(free, 2·samples)``."""
    # Away from the closer end, so that no setting leaves its range.
    sizes = torch.tensor([FINE_NUDGE if place in FINE else NUDGE for place in free])
    nudges = torch.where(point[free] > 0.5, -sizes, sizes)
    nudged = point.repeat(len(free), 1)
    nudged[torch.arange(len(free)), free] += nudges
    rows = [objective.render(some) - result for some in nudged.split(6)]
    return torch.cat(rows).reshape(len(free), -1) / nudges[:, None].to(result)
