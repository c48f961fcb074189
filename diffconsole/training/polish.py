"""Where a mix was made by a console like this one, its settings can be had to the last digit.

A reverb's return is noise: until its pre-delay is right to a fraction of a sample, it is as far
from the mix's as another reverb, and no gradient leads there. Cross-correlation finds it at once.
From there the difference of the samples themselves, which hears every setting, takes over by
damped least squares (Levenberg 1944, Marquardt 1963). On a mix from another desk nothing stands
out, or nothing is gained, and the point is returned as it was.

One thing the samples do not tell: an EQ that is louder, into a threshold as much higher, with less
makeup, sounds the same. There the levels of real mixes decide (:mod:`diffconsole.statistics`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from .. import statistics
from ..pairs import PAIR_RATE
from ..parameters import BY_KEY, denormalize
from .scene import HELD, INDEX, KEYS, Scene
from .targets import eq_curve_db

__all__ = ["pre_delay_heard", "solved"]

PRE_DELAY = BY_KEY["reverb.pre_delay_ms"]
DISTINCT, PEAK_SAMPLES = 2.0, 8
# The difference of the samples, as a share of the mix's energy, from which the settings are solved:
# with the return found, and without, where a mix may have next to no reverb.
NEAR, NEAR_WITHOUT_RETURN = 0.7, 0.03
STEPS, USUAL_STEPS, LAST_STEPS, TRIES, LEAST_GAIN = 16, 8, 8, 5, 0.02
USUAL_WEIGHT = 3e-4
# Nearer than this what differs is next to silent.
LEAST_DISTANCE = 0.15
NUDGE, LONGEST_STEP = 2e-3, 0.12
DAMPING, LEAST_DAMPING = 1e-2, 1e-7
FREE = [place for place, key in enumerate(KEYS) if key not in HELD]


@torch.no_grad()
def pre_delay_heard(scene: Scene, point: Tensor) -> float | None:
    """Return the pre-delay, 0…1, at which the return is found in the mix; none if nowhere.

    It is the lag at which the phases of the return without pre-delay agree with those of what the
    dry vocal leaves of the mix, if that lag stands out.
    """
    place = INDEX[PRE_DELAY.key]
    at_once = point.clone()
    at_once[place] = PRE_DELAY.to_normalised(PRE_DELAY.low)
    dry = scene.render(point[None], frozenset({"reverb"}))
    wet = scene.render(at_once[None]) - dry
    length = 2 * wet.shape[-1]
    cross = torch.fft.rfft(wet[0], length).conj() * torch.fft.rfft((scene.mix - dry)[0], length)
    size = cross.abs()
    whitened = cross / (size + 1e-3 * size.mean(dim=-1, keepdim=True) + 1e-20)
    last = int(PRE_DELAY.high / 1000.0 * PAIR_RATE)
    heard = torch.fft.irfft(whitened, length)[:, : last + 1].sum(dim=0)
    peak = int(heard.argmax())
    away = (torch.arange(last + 1) - peak).abs() > PEAK_SAMPLES
    if float(heard[peak]) < DISTINCT * float(heard[away.to(heard.device)].abs().max()):
        return None
    offset = 0.0
    if 0 < peak < last:
        before, top, after = heard[peak - 1 : peak + 2].tolist()
        offset = 0.5 * (before - after) / (before - 2.0 * top + after)
    return PRE_DELAY.to_normalised(PRE_DELAY.clip((peak + offset) / PAIR_RATE * 1000.0))


@torch.no_grad()
def solved(scene: Scene, point: Tensor, go_on: Callable[[], bool] = lambda: True) -> Tensor:
    """Return the point at which the samples differ least, if it is the nearer one to the mix.

    Parameters
    ----------
    scene : Scene
        The pair.
    point : Tensor
        ``(parameters,)`` in 0…1.
    go_on : callable
        Asked before each step.
    """
    heard = pre_delay_heard(scene, point)
    moved = point.clone()
    if heard is not None:
        moved[INDEX[PRE_DELAY.key]] = heard
    problem = _Problem(scene, go_on)
    if not problem.error(moved) < (NEAR if heard is not None else NEAR_WITHOUT_RETURN):
        return point
    moved = problem.descend(moved, STEPS)
    # Louder into a higher threshold sounds the same: what is usual decides, then again the samples.
    usual = problem.descend(moved, USUAL_STEPS, usual_weight=USUAL_WEIGHT)
    usual = problem.descend(usual, LAST_STEPS)
    near, start, unusual = scene.distances(torch.stack((usual, point, moved))).tolist()
    if near > max(unusual, LEAST_DISTANCE):
        usual, near = moved, unusual
    return usual if near < start else point


class _Problem:
    """The difference of the samples, as a share of the mix's energy, and how far levels are usual.

    ``error = ‖result − mix‖²/‖mix‖² + weight·Σ((level − usual)/deviation)²``
    """

    def __init__(self, scene: Scene, go_on: Callable[[], bool]) -> None:
        self.scene, self.go_on, self.told_to_stop = scene, go_on, False
        self.energy = float(scene.mix.square().sum())

    def left(self, point: Tensor) -> Tensor:
        """What the result is off, ``(2·samples,)``."""
        return (self.scene.render(point[None])[0] - self.scene.mix[0]).reshape(-1)

    def error(self, point: Tensor) -> float:
        return float(self.left(point).square().sum()) / self.energy

    def descend(self, point: Tensor, steps: int, usual_weight: float = 0.0) -> Tensor:
        """Damped least squares, until a step gains little or `go_on` says no."""
        damping, left, levels = DAMPING, self.left(point), _unusual(point[None])[0]

        def total(left: Tensor, levels: Tensor) -> float:
            pull = usual_weight * float(levels.square().sum())
            return float(left.square().sum()) / self.energy + pull

        error = total(left, levels)
        for _ in range(steps):
            self.told_to_stop = self.told_to_stop or not self.go_on()
            if self.told_to_stop:
                break
            slopes, level_slopes = self.slopes(point, left)
            normal = (slopes @ slopes.T).double().cpu() / self.energy
            downhill = (slopes @ left).double().cpu() / self.energy
            normal += usual_weight * level_slopes @ level_slopes.T
            downhill += usual_weight * level_slopes @ levels
            before = error
            for _ in range(TRIES):
                damped = normal + torch.diag(damping * normal.diagonal() + 1e-7)
                step = torch.linalg.solve(damped, -downhill).clamp(-LONGEST_STEP, LONGEST_STEP)
                tried = point.clone()
                tried[FREE] = (tried[FREE] + step.to(tried)).clamp(0.0, 1.0)
                tried = self.scene.in_the_middle(tried)
                off, off_levels = self.left(tried), _unusual(tried[None])[0]
                error = total(off, off_levels)
                if error < before:
                    point, left, levels = tried, off, off_levels
                    damping = max(damping / 4.0, LEAST_DAMPING)
                    break
                damping *= 4.0
            else:
                break
            if error > (1.0 - LEAST_GAIN) * before:
                break
        return point

    def slopes(self, point: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        """How samples and levels change with each setting: ``(free, 2·samples)``, ``(free, 2)``."""
        # Away from the nearer end, so that no setting leaves its range.
        nudges = torch.where(point[FREE] > 0.5, -NUDGE, NUDGE)
        nudged = point.repeat(len(FREE), 1)
        nudged[torch.arange(len(FREE)), FREE] += nudges
        mix = self.scene.mix
        rows = [(self.scene.render(some) - mix).flatten(1) - left for some in nudged.split(6)]
        levels = (_unusual(nudged) - _unusual(point[None])) / nudges[:, None].double()
        return torch.cat(rows) / nudges[:, None].to(left), levels


def _unusual(points: Tensor) -> Tensor:
    """How many deviations the EQ's mean level and the threshold are from usual, ``(points, 2)``."""
    settings = denormalize(points.double().cpu())
    found = torch.stack((_eq_level_db(settings), settings["compressor.threshold_db"]), dim=1)
    usual, deviation = _usual_levels()
    return (found - usual) / deviation


def _eq_level_db(settings: Mapping[str, Tensor]) -> Tensor:
    return eq_curve_db(settings).double().mean(dim=1)


@functools.cache
def _usual_levels() -> tuple[Tensor, Tensor]:
    """Median and deviation, in dB, of both levels in real mixes of vocals at −18 LUFS."""
    rng, table = np.random.default_rng(0), statistics.load()
    drawn = [table.sample(rng)[0] for _ in range(300)]
    tensors = {key: torch.tensor([strip[key] for strip in drawn]).double() for key in drawn[0]}
    levels = torch.stack((_eq_level_db(tensors), tensors["compressor.threshold_db"]), dim=1)
    return levels.median(dim=0).values, levels.std(dim=0)
