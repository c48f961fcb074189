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
from ...strip.parameters import BY_KEY
from .objective import INDEX, SEARCHED, MatchObjective
from .samples import fit_of, least_squares

__all__ = ["near_in_samples", "pre_delay_in_mix", "refine_least_squares"]

PRE_DELAY = BY_KEY["reverb.pre_delay_ms"]
DISTINCT, PEAK_SAMPLES = 2.0, 8
# The difference of the samples, as a share of the mix's energy, from which settings are
# refined: with the return found, and without, where a mix may have next to no reverb.
NEAR, NEAR_WITHOUT_RETURN = 1.0, 0.03
FAR = 0.5
"""A distance above which a mix without a return that is found is from another desk: its samples
lead nowhere."""

STEPS = 16


@torch.no_grad()
def pre_delay_in_mix(objective: MatchObjective, point: Tensor) -> float | None:
    """Return the pre-delay, 0…1, at which the return is found in the mix; none if nowhere.

    It is the lag at which the phases of the return without pre-delay agree with those of what the
    dry vocal leaves of the mix, if that lag stands out.
    """
    place = INDEX[PRE_DELAY.key]
    at_once = point.clone()
    at_once[place] = PRE_DELAY.to_normalised(PRE_DELAY.low)
    dry = objective.render_near(point, frozenset({"reverb"}))
    wet = objective.render_near(at_once) - dry
    length = 2 * wet.shape[-1]
    # Between the sides lies next to nothing but the return.
    ours, theirs = (
        torch.cat((audio, audio[:1] - audio[1:])) for audio in (wet[0], (objective.mix - dry)[0])
    )
    cross = torch.fft.rfft(ours, length).conj() * torch.fft.rfft(theirs, length)
    size = cross.abs()
    whitened = cross / (size + 1e-3 * size.mean(dim=-1, keepdim=True) + 1e-20)
    last = int(PRE_DELAY.high / 1000.0 * PAIR_RATE)
    responses = torch.fft.irfft(whitened, length)[:, : last + 1].cpu()
    for response in (responses[:2].sum(dim=0), responses[2]):
        peak = int(response.argmax())
        away = (torch.arange(last + 1) - peak).abs() > PEAK_SAMPLES
        if float(response[peak]) > DISTINCT * float(response[away].abs().max()):
            break
    else:
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
    moved = near_in_samples(objective, point)
    if moved is None:
        return point
    # More settings take more renderings a step; the work stays the same.
    steps = STEPS * len(SEARCHED) // len(objective.searched)
    moved = least_squares(objective, moved, steps, may_continue).point
    both = objective.distances(torch.stack((point, moved)))
    return moved if float(both[1]) < float(both[0]) else point


@torch.no_grad()
def near_in_samples(objective: MatchObjective, point: Tensor) -> Tensor | None:
    """Return the point with the return where it is found; none where samples lead nowhere."""
    found_at = pre_delay_in_mix(objective, point)
    if found_at is None and float(objective.distances(point[None])) > FAR:
        return None
    moved = point.clone()
    if found_at is not None:
        moved[INDEX[PRE_DELAY.key]] = found_at
    near = NEAR if found_at is not None else NEAR_WITHOUT_RETURN
    return moved if fit_of(objective, moved).left < near else None
