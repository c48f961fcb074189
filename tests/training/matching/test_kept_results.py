"""Modules' results that are kept: the same as without, found again, and no more than fit."""

from __future__ import annotations

import pytest
import torch

from diffconsole.pairs import Pair
from diffconsole.training.matching import kept_results
from diffconsole.training.matching.objective import INDEX, MatchObjective

from ...synthetic import STUDIO, mixed, voice
from .test_polish import point_of

ALL = frozenset({"gate", "compressor_2", "deesser", "saturation", "delay"})


@pytest.fixture(scope="module")
def objective() -> MatchObjective:
    raw = voice(1.2, 4)
    pair = Pair("one", raw[None], mixed(raw, STUDIO), 0.0, 1, 1.0)
    return MatchObjective(pair, 2.0, "cpu", ALL)


def changed(point: torch.Tensor, key: str, value: float) -> torch.Tensor:
    point = point.clone()
    point[INDEX[key]] = value
    return point


POINTS = (
    ("reverb.decay_s", 0.3), ("reverb.pre_delay_ms", 0.1), ("delay.time_ms", 0.4),
    ("delay.reverb_send_db", 0.7), ("pan.position", 0.4), ("eq.peak_1.gain_db", 0.3),
    ("compressor.makeup_db", 0.6), ("deesser.range_db", 0.6), ("saturation.drive_db", 0.5),
)  # fmt: skip


@torch.no_grad()
def test_results_are_those_of_the_console(objective: MatchObjective) -> None:
    point = point_of(STUDIO, objective)
    points = [changed(point, *one) for one in POINTS]
    for off in (frozenset[str](), frozenset({"reverb"}), frozenset({"eq.peak_1", "compressor"})):
        for one in [*points, *points]:
            # Two points have no part in what is kept of one.
            both = objective.render(torch.stack((one, one)), off)
            found = objective.render(one[None], off)
            assert float((found - both[:1]).norm()) <= 1e-6 * float(both[:1].norm())
            near = objective.render_near(one, off)
            assert float((near - found).norm()) <= 1e-4 * float(found.norm())
            assert torch.equal(near, objective.render_near(one, off))


@torch.no_grad()
def test_nothing_depends_on_what_was_kept(objective: MatchObjective) -> None:
    point = point_of(STUDIO, objective)
    points = torch.stack([changed(point, *one) for one in POINTS])
    together = objective.distances(points)
    for row, expected in zip(points.flip(0), together.flip(0), strict=True):
        fresh = objective.beginning(2.0)
        assert float(fresh.distances(row[None])) == float(expected)


@torch.no_grad()
def test_only_what_lies_behind_a_change_is_made_again(
    objective: MatchObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    for key, run in kept_results.RUNNERS.items():

        def counted(*arguments, key=key, run=run):  # type: ignore[no-untyped-def]
            made.append(key)
            return run(*arguments)

        monkeypatch.setitem(kept_results.RUNNERS, key, counted)
    fresh, point = objective.beginning(2.0), point_of(STUDIO, objective)

    def needed(*one: object) -> list[str]:
        made.clear()
        fresh.render_near(changed(point, *one) if one else point)  # type: ignore[arg-type]
        return sorted(made)

    inserts = ["compressor", "compressor_2", "deesser", "eq", "gate", "saturation"]
    behind = ["delay", "pan", "reverb"]
    assert needed() == sorted(inserts + behind)
    assert needed() == []
    assert needed("reverb.decay_s", 0.77) == ["reverb"]
    assert needed("delay.time_ms", 0.77) == ["delay"], "no echo goes into the reverb"
    assert needed("delay.reverb_send_db", 0.9) == ["delay", "reverb"]
    assert needed("pan.position", 0.77) == ["pan"]
    assert "eq" not in needed("compressor.ratio", 0.77)


def test_no_more_is_kept_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_results, "MOST_KEPT", 3)
    results, made = kept_results.KeptResults(), []

    def of(number: int) -> float:
        def make() -> torch.Tensor:
            made.append(number)
            return torch.tensor(float(number))

        return float(results.of((number,), make))

    assert [of(n) for n in (0, 1, 2, 0, 3, 0, 1)] == [0.0, 1.0, 2.0, 0.0, 3.0, 0.0, 1.0]
    assert made == [0, 1, 2, 3, 1]
