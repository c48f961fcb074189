"""Parts of one search beside each other: in order, in the caller's mode, the same on any number."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from diffconsole.kernels import operators as kernels
from diffconsole.kernels.threads import thread_count
from diffconsole.pairs import Pair
from diffconsole.training.matching.alternatives import Alternatives
from diffconsole.training.matching.beside import each, shared_threads
from diffconsole.training.matching.objective import MatchObjective
from diffconsole.training.matching.plan import Plan, Round
from diffconsole.training.matching.search import search
from diffconsole.training.matching.search_result import SearchResult

from ...synthetic import STUDIO, mixed, voice
from ..finetuning.helpers import few_candidates
from .test_polish import point_of

PLAN = Plan(
    (Round(0.5, 2, 0.05, 8, 3), Round(0.8, 3, 0.03, 4, 2, until=2)),
    thorough=False,
    last=Round(0.8, 2, 0.01, 4, 2),
    trial=Round(0.8, 1, 0.01, 4, 1),
    polish=Round(0.8, 2, 0.006, 2, 1),
)


@pytest.fixture(scope="module")
def pair() -> Pair:
    raw = voice(0.9, 5)
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.standard_normal((2, len(raw))).astype(np.float32)
    # Of another desk: the noise is in no sample of the strip's result.
    return Pair("other", raw[None], mixed(raw, STUDIO) + noise, 0.0, 1, 1.0)


@pytest.fixture
def two_threads() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_from_several_threads_of_one_thread_each(two_threads: None) -> None:
    def item(number: int) -> tuple[int, int, int, int]:
        time.sleep(0.02 if number % 2 else 0.0)
        return number, threading.get_ident(), torch.get_num_threads(), thread_count()

    with shared_threads("cpu"):
        assert (torch.get_num_threads(), thread_count()) == (1, 2), "what is alone has the loops"
        found = each(item, range(8))
    assert [number for number, *_ in found] == list(range(8))
    assert {(own, loops) for *_, own, loops in found} == {(1, 1)}
    assert len({place for _, place, *_ in found}) == 2
    assert (torch.get_num_threads(), thread_count()) == (2, 2)


def test_the_mode_of_the_caller_holds_on_every_thread(two_threads: None) -> None:
    def mode(_: int) -> tuple[bool, str]:
        time.sleep(0.01)
        return torch.is_grad_enabled(), kernels.name_for(torch.zeros(1))

    with shared_threads("cpu"), torch.no_grad(), kernels.use("generic"):
        assert each(mode, range(4)) == [(False, "generic")] * 4
    with shared_threads("cpu"):
        assert {gradients for gradients, _ in each(mode, range(4))} == {True}


def test_elsewhere_it_is_one_after_the_other(two_threads: None) -> None:
    with shared_threads("cuda"):
        places = each(lambda _: threading.get_ident(), range(4))
    assert set(places) == {threading.get_ident()}


def test_an_error_on_another_thread_is_the_callers(two_threads: None) -> None:
    def fail(number: int) -> int:
        time.sleep(0.01)
        raise ValueError(f"number {number}")

    with shared_threads("cpu"), pytest.raises(ValueError, match="number"):
        each(fail, range(4))


def searched(pair: Pair, threads: int) -> SearchResult:
    torch.set_num_threads(threads)
    (found,), stopped = search([pair], PLAN, without=("gate", "saturation", "compressor"))
    assert not stopped
    return found


def test_a_search_is_the_same_on_any_number_of_threads(
    pair: Pair, two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_candidates(monkeypatch.setattr)
    first, second = (searched(pair, threads) for threads in (1, 2))
    assert torch.equal(first.point, second.point)
    assert (first.tried, first.off) == (second.tried, second.off)
    assert first.history == second.history


def test_the_best_alternative_has_its_own_modules(pair: Pair) -> None:
    objective = MatchObjective(pair, 2.0, "cpu")
    point = point_of(STUDIO, objective)
    far = point.clone()
    far[1:9] = 0.9
    others = [objective.trying(frozenset({"gate"})), objective]
    found = Alternatives([0, 0], others, [far[None], point[None]])
    distance, best, at = found.best_of(0)
    assert best is objective
    assert torch.equal(at, point)
    assert distance == float(objective.distances(point[None]))
    assert distance < float(others[0].distances(far[None]))


def test_what_is_left_out_stays_out(pair: Pair) -> None:
    objective = MatchObjective(pair, 2.0, "cpu")
    point = point_of(STUDIO, objective)[None]
    without = frozenset({"reverb", "eq.peak_2"})
    here = objective.leaving(without)
    assert torch.equal(here.render(point), objective.render(point, without))
    assert here.distances(point) == objective.distances(point, without)
    assert not torch.equal(here.render(point), objective.render(point))
