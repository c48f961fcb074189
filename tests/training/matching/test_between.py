"""Between the rounds of a search: what gradients do not move, and what is compared with what."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffconsole.strip.parameters import BY_KEY
from diffconsole.training.matching.alternatives import Alternatives
from diffconsole.training.matching.between import REACHES_MS, refine_times
from diffconsole.training.matching.objective import INDEX, MatchObjective
from diffconsole.training.matching.plan import Round

from ...synthetic import STUDIO, pair
from .test_polish import point_of
from .test_tried import DELAY

KNOWN = {**STUDIO, **DELAY, "reverb.pre_delay_ms": 33.337}
TIMES = ("delay.time_ms", "reverb.pre_delay_ms")


@pytest.fixture(scope="module")
def objective() -> MatchObjective:
    return MatchObjective(pair(12, KNOWN, seconds=3.0), 3.0, "cpu", frozenset({"delay"}))


def moved(point: Tensor, **by_ms: float) -> Tensor:
    """The point with times that are off: ``delay__time_ms=0.5``."""
    point = point.clone()
    for name, more_ms in by_ms.items():
        parameter = BY_KEY[name.replace("__", ".")]
        value = float(parameter.to_physical(float(point[INDEX[parameter.key]])))
        point[INDEX[parameter.key]] = parameter.to_normalised(value + more_ms)
    return point


def time_ms(point: Tensor, key: str) -> float:
    return float(BY_KEY[key].to_physical(float(point[INDEX[key]])))


def test_times_that_are_off_by_a_little_are_found(objective: MatchObjective) -> None:
    right = point_of(KNOWN, objective)
    point = moved(right, delay__time_ms=0.33, reverb__pre_delay_ms=-1.4)
    found = refine_times(objective, point)
    for key in TIMES:
        assert abs(time_ms(found, key) - KNOWN[key]) < REACHES_MS[-1]
    others = [place for key, place in INDEX.items() if key not in TIMES]
    assert torch.equal(found[others], point[others])
    before, after = objective.distances(torch.stack((point, found))).tolist()
    assert after < 0.5 * before


def test_right_times_stay(objective: MatchObjective) -> None:
    point = point_of(KNOWN, objective)
    found = refine_times(objective, point)
    for key in TIMES:
        assert abs(time_ms(found, key) - KNOWN[key]) < REACHES_MS[-1]


def test_the_time_of_a_delay_that_is_off_stays(objective: MatchObjective) -> None:
    point = moved(point_of(KNOWN, objective), delay__time_ms=0.33)
    found = refine_times(objective.trying(frozenset()), point)
    assert time_ms(found, "delay.time_ms") == time_ms(point, "delay.time_ms")


def test_times_stay_within_their_ranges(objective: MatchObjective) -> None:
    point = point_of(KNOWN, objective)
    point[[INDEX[key] for key in TIMES]] = torch.tensor([0.0, 1.0])
    found = refine_times(objective, point)
    assert bool(((found >= 0.0) & (found <= 1.0)).all())


def test_a_point_stands_beside_itself_with_its_bells_moved(objective: MatchObjective) -> None:
    right = point_of(KNOWN, objective)
    off = moved(right, delay__time_ms=0.33, reverb__pre_delay_ms=-1.4)
    both = Alternatives([0, 1], [objective] * 2, [off[None], off[None]]).beside_refined()
    assert set(both.owners) == {0, 1}
    assert both.owners == sorted(both.owners)
    assert len(both.owners) == len(both.objectives) == len(both.points) <= 4
    for owner in (0, 1):
        distance, _, point = both.best_of(owner)
        assert distance < float(objective.distances(off[None]))
        assert abs(time_ms(point, "delay.time_ms") - KNOWN["delay.time_ms"]) < REACHES_MS[-1]


def test_the_best_of_each_pair(objective: MatchObjective) -> None:
    right = point_of(KNOWN, objective)
    off, farther = moved(right, delay__time_ms=0.33), moved(right, delay__time_ms=3.0)
    found = Alternatives([0, 0, 1], [objective] * 3, [farther[None], right[None], off[None]]).best()
    assert found.owners == [0, 1]
    assert torch.equal(torch.cat(found.points), torch.stack((right, off)))


def test_the_work_of_a_round_is_of_the_steps_that_are_done() -> None:
    assert Round(2.0, 10, 0.02, 4, 3).work == 60.0
    assert Round(2.0, 10, 0.02, 4, 3, until=7).work == 42.0
