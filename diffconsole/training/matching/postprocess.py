"""After a search: what is inaudible is left out, and the uncertainty of each setting estimated."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...strip.parameters import BY_KEY, EQ_BANDS, PARAMETERS
from .beside import each
from .objective import HELD, INDEX, KEYS, MatchObjective
from .samples import fit_of

__all__ = ["estimate_sensitivity", "levelled", "prune_inaudible"]

EQ_SWITCHES = frozenset(f"eq.{band}" for band in EQ_BANDS)
# A switch goes off where the distance then rises by less than this share.
INAUDIBLE = 0.003
# A switch without which it rises by so many times that share is not tried again.
CLEARLY = 10.0
# The same of what is left of the samples, and a share of the mix's energy that counts as nothing.
SAME_SAMPLES, LEAST_SAMPLES = 0.03, 1e-7
# Below this distance the difference to the mix is inaudible, and shares of it say nothing.
LEAST_DISTANCE = 0.1
# The range of a setting in which the distance rises by less than this share is its uncertainty.
UNCERTAIN, PROBE = 0.01, 0.04


@torch.no_grad()
def levelled(objective: MatchObjective, point: Tensor) -> Tensor:
    """Return the point with the makeup with the lowest distance to the mix, within 2 dB.

    A few steps of a search leave the level off by a decibel, which is audible at once and costs one
    rendering to put right.
    """
    result = objective.render_near(point)
    gains_db = torch.linspace(-2.0, 2.0, 9, device=result.device)
    distances = torch.cat(
        each(lambda gain_db: objective.distance(result * 10.0 ** (gain_db / 20.0)), list(gains_db))
    )
    makeup = BY_KEY["compressor.makeup_db"]
    gain_db = float(gains_db[int(distances.argmin())])
    moved = point.clone()
    value = float(makeup.to_physical(float(point[INDEX[makeup.key]])))
    moved[INDEX[makeup.key]] = makeup.to_normalised(makeup.clip(value + gain_db))
    if objective.tried:
        # What was tried may lie behind the makeup and change with the level.
        before, after = objective.distances(torch.stack((point, moved))).tolist()
        return moved if after < before else point
    return moved


def prune_inaudible(
    objective: MatchObjective, point: Tensor, *, one_by_one: bool = True, of_samples: bool = False
) -> frozenset[str]:
    """Return the modules and bands that the result does without.

    Parameters
    ----------
    objective : MatchObjective
        The pair.
    point : Tensor
        ``(parameters,)`` in 0…1.
    one_by_one : bool
        Try them again after each that is left out, the least audible first; else each once, on a
        part of the frames.
    of_samples : bool
        Ask how much of the mix's samples is left rather than for the distance: where the strip has
        matched them, an EQ band that the distance does without may still be in the mix.
    """
    single = (*(f"eq.{band}" for band in EQ_BANDS), "eq", "pan", "reverb", "compressor")
    # Only without both of the last a mono mix is reached.
    choices = [*(frozenset({name}) for name in single), frozenset({"pan", "reverb"})]
    off: frozenset[str] = frozenset()
    part = (0, 1 if one_by_one else 4)

    def measured(off: frozenset[str]) -> float:
        if of_samples:
            return fit_of(objective, point, off).left
        return float(objective.distances(point[None], off, part))

    centre = measured(off)
    least = INAUDIBLE * max(centre, LEAST_DISTANCE)
    if of_samples:
        least = SAME_SAMPLES * centre + LEAST_SAMPLES
    most = centre + least
    while True:
        left = [c for c in choices if not c <= off and not (c & EQ_SWITCHES and "eq" in off)]
        without = dict(zip(left, each(lambda c: measured(off | c), left), strict=True))  # noqa: B023
        fine = sorted((c for c in left if without[c] <= most), key=lambda c: without[c])
        if not one_by_one:
            for choice in fine:
                together = measured(off | choice)
                off = off | choice if together <= most else off
            return off
        if not fine:
            return off
        off = off | fine[0]
        choices = [c for c in left if without[c] <= centre + CLEARLY * least]


def estimate_sensitivity(
    objective: MatchObjective, point: Tensor, off: frozenset[str]
) -> dict[str, tuple[float, float]]:
    """Return how far each setting goes before the distance rises by 1 %, by its curvature."""
    centre = float(objective.distances(point[None], off))
    # A setting of what is off changes nothing, whatever its value.
    idle = [p.key for p in PARAMETERS if p.module in off or p.section in off]
    still = [KEYS[place] for place in objective.searched if KEYS[place] in idle]
    places = [place for place in objective.searched if KEYS[place] not in (*HELD, *still)]
    values = point[places]
    ends = torch.stack((values - PROBE, values + PROBE), dim=1).clamp(0.0, 1.0)
    points = point.repeat(len(places), 2, 1)
    points[torch.arange(len(places)), :, places] = ends
    rises = objective.distances(points.flatten(0, 1), off).reshape(-1, 2) - centre
    found = dict.fromkeys(still, (0.0, 1.0))
    for place, value, pair, rise in zip(places, values.tolist(), ends, rises, strict=True):
        curvature = max(float(rise.sum() / (pair - value).square().sum()), 1e-6)
        width = math.sqrt(UNCERTAIN * centre / curvature)
        found[KEYS[place]] = (max(value - width, 0.0), min(value + width, 1.0))
    return {key: found[key] for key in KEYS if key in found}
