"""Mixes that cannot show a module say nothing for or against it."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from diffconsole.model.predictor import level_gain_db
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.strip.later import start_settings
from diffconsole.strip.parameters import BY_KEY, PARAMETERS
from diffconsole.training.finetuning import module_evidence, module_trial
from diffconsole.training.finetuning.module_evidence import Asked, ask_pairs, shown_by
from diffconsole.training.finetuning.module_search import _dealt
from diffconsole.training.finetuning.module_trial import Kept, _is_worth, kept_modules
from diffconsole.training.finetuning.shared_settings import (
    common_level,
    from_label,
    refine_shared_times,
)
from diffconsole.training.matching.objective import INDEX, MatchObjective, parts_of, render_all
from diffconsole.training.matching.plan import Round

from ...synthetic import STUDIO, mixed, voice
from ..matching.test_tried import noisy_pair

GATE = {
    "gate.threshold_db": -40.0,
    "gate.ratio": 4.0,
    "gate.range_db": 24.0,
    "gate.attack_ms": 1.0,
    "gate.hold_ms": 30.0,
    "gate.release_ms": 80.0,
}
ECHO = {
    "delay.time_ms": 231.7,
    "delay.feedback": 0.35,
    "delay.width": 0.0,
    "delay.wet_db": -14.0,
}
DRY = {**STUDIO, "reverb.wet_db": -60.0}
SECONDS = 2.0


def point_of(settings: Mapping[str, float]) -> Tensor:
    settings = {**start_settings(), **settings}
    return torch.tensor([p.to_normalised(settings[p.key]) for p in PARAMETERS])


def levelled(raw: np.ndarray, settings: Mapping[str, float]) -> Pair:
    """A pair whose raw vocal lies at the level at which the search works."""
    raw = raw * np.float32(10.0 ** (level_gain_db(raw, PAIR_RATE)[0] / 20.0))
    return Pair("levelled", raw, mixed(raw[0], settings), 0.0, 1, 1.0)


@functools.cache
def raws() -> list[np.ndarray]:
    """Two voices with noise in their pauses, and three in which nothing is below the threshold."""
    noisy = [noisy_pair({}, seed, SECONDS).raw for seed in (3, 4)]
    rng = np.random.default_rng(5)
    loud = [voice(SECONDS, seed)[None] for seed in range(3)]
    loud = [raw + 0.1 * rng.standard_normal(raw.shape).astype(np.float32) for raw in loud]
    return [loud[0], noisy[0], loud[1], noisy[1], loud[2]]


def studio(settings: Mapping[str, float]) -> list[Pair]:
    return [levelled(raw, settings) for raw in raws()]


@pytest.fixture(scope="module")
def gated() -> list[Pair]:
    return studio({**DRY, **GATE})


@pytest.fixture(scope="module")
def asked(gated: list[Pair]) -> dict[str, list[Asked]]:
    """Of the studio with a gate, and of one without, what the mixes show of gates."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module_evidence, "TRIED", ("gate",))
        for name, pairs in (("gated", gated), ("none", [levelled(raws()[n], DRY) for n in (1, 3)])):
            labels = point_of(DRY).expand(len(pairs), -1)
            found[name] = ask_pairs(pairs, labels, "cpu", lambda *_: None)
    return found


def test_a_gate_that_two_of_five_mixes_can_show(asked: dict[str, list[Asked]]) -> None:
    (found,) = shown_by(asked["gated"])
    assert found.able.tolist() == [False, True, False, True, False]
    assert [number for number, _ in found.groups[0]] == [1, 3]


def test_one_mix_is_not_enough_though_it_is_half_of_those_that_can(
    asked: dict[str, list[Asked]],
) -> None:
    gated, none = asked["gated"], asked["none"]
    assert shown_by(none) == []
    assert shown_by([*gated[:3], none[1], gated[4]]) == []


def test_pairs_that_can_show_it_are_dealt(asked: dict[str, list[Asked]]) -> None:
    (found,) = shown_by(asked["gated"])
    assert _dealt([found], 2) == [3, 0, 1, 2, 4]
    everyone = found._replace(able=np.ones(5, bool))
    assert _dealt([everyone], 2) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("pairs", "half"), [(6, 3), (10, 4)])
def test_of_two_modules_that_different_mixes_can_show_both_are_fitted_and_decided(
    asked: dict[str, list[Asked]], pairs: int, half: int
) -> None:
    (found,) = shown_by(asked["gated"])
    numbers = np.arange(pairs)
    first, second = np.isin(numbers, (0, 2, 4)), np.isin(numbers, (1, 3, 5))
    order = _dealt([found._replace(able=able) for able in (first, second)], half)
    assert sorted(order) == numbers.tolist()
    for able in (first, second):
        assert able[order[:half]].any()
        assert able[order[half:]].any()


def tried_on(pairs: list[Pair]) -> Kept:
    """What is kept of a gate with the right settings, after a step of the rest."""
    objectives = common_level([MatchObjective(each, SECONDS, "cpu") for each in pairs])
    # Labels are a little off.
    label = point_of({**DRY, "eq.peak_1.gain_db": -4.0, "eq.high_shelf.gain_db": 6.0})
    points = torch.stack([from_label(label, each) for each in objectives])
    settings = point_of({**DRY, **GATE})
    return kept_modules(objectives, points, settings, frozenset({"gate"}), 1, lambda *_: None)


def test_two_pairs_decide_at_least() -> None:
    assert _is_worth(np.array([1.3, 1.1]), np.array([1.0, 1.0]))
    assert not _is_worth(np.array([1.3]), np.array([1.0]))
    assert not _is_worth(np.array([]), np.array([]))
    # One that is farther, of two or three, is too many.
    assert not _is_worth(np.array([1.3, 0.995]), np.array([1.0, 1.0]))
    assert not _is_worth(np.array([1.3, 1.3, 0.97]), np.array([1.0, 1.0, 1.0]))


def test_pairs_that_do_not_feel_a_module_do_not_decide(
    gated: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_trial, "SETTLE", Round(SECONDS, 1, 0.01, 8, 1))
    kept = tried_on([gated[0], gated[1], gated[3]])
    assert (kept.closer, kept.asked) == ({"gate": 2}, {"gate": 2})


def test_a_time_that_all_share_is_found_to_a_fraction_of_a_sample() -> None:
    echoing = {**STUDIO, **ECHO}
    pairs = [levelled(raw, echoing) for raw in raws()[:2]]
    objectives = [
        each.trying(frozenset({"delay"}))
        for each in common_level(parts_of(pairs, 2.0, "cpu", lead=0.0))
    ]
    points = torch.stack([from_label(point_of(echoing), each) for each in objectives])
    off = BY_KEY["delay.time_ms"].to_normalised(ECHO["delay.time_ms"] + 0.17)
    points[:, INDEX["delay.time_ms"]] = off
    refined = refine_shared_times(objectives, points, {"delay"})
    found = BY_KEY["delay.time_ms"].to_physical(refined[:, INDEX["delay.time_ms"]].double())
    assert found.tolist() == pytest.approx([ECHO["delay.time_ms"]] * 2, abs=0.02)
    assert torch.equal(refine_shared_times(objectives, points, {"gate"}), points)


def test_what_comes_before_a_part_rings_on_in_it() -> None:
    echoing = {**STUDIO, "reverb.wet_db": -6.0, "reverb.decay_s": 1.5}
    made, point = levelled(raws()[1], echoing), point_of(echoing)
    cut, led = (MatchObjective(made, 1.0, "cpu", start=PAIR_RATE, lead=lead) for lead in (0.0, 1.0))
    points = torch.stack([from_label(point, each) for each in (cut, led)])
    assert torch.equal(cut.raw, led.raw)
    assert torch.equal(cut.mix, led.mix)
    (lacking,), (whole,) = (o.distances(p[None]) for o, p in zip((cut, led), points, strict=True))
    assert float(whole) < 0.01 < 0.1 * float(lacking)
    together = render_all([led, led], points, [1, 1])
    with led.results.rooms_in_use():
        assert torch.equal(together[1], led.render(points[1:]))
    assert together[0].shape == led.mix.shape
