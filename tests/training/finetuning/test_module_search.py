"""Modules that came later come back from a studio's mixes, and none where there are none."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffconsole.model.predictor import Predictor
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.strip.later import FIRST_PARAMETERS, start_settings
from diffconsole.strip.parameters import BY_KEY, PARAMETERS, default_settings
from diffconsole.training.finetuning import finetune as finetune_module
from diffconsole.training.finetuning import module_search, module_trial
from diffconsole.training.finetuning.finetune import (
    CHECKPOINT,
    FinetuneOptions,
    FinetuneResult,
    finetune,
)
from diffconsole.training.finetuning.finetune_state import is_whole
from diffconsole.training.finetuning.module_search import find_modules
from diffconsole.training.finetuning.module_words import modules_record
from diffconsole.training.finetuning.studio_modules import StudioModules, later_keys
from diffconsole.training.log import LOG
from diffconsole.training.matching.plan import Round

from ...synthetic import STUDIO, pair
from .helpers import base_model, quick_runs

DRY = {**STUDIO, "reverb.wet_db": -30.0}
SLAP = {"delay.time_ms": 120.0, "delay.feedback": 0.1, "delay.wet_db": -18.0, "delay.width": 0.0}
FIRST = {key: value for key, value in default_settings().items() if key in FIRST_PARAMETERS}
PLACES = {p.key: place for place, p in enumerate(PARAMETERS)}


def labels_of(pairs: Sequence[Pair]) -> Tensor:
    """What mixed them but for later modules, a little off."""
    truth = {**start_settings(), **DRY}
    point = torch.tensor([p.to_normalised(truth[p.key]) for p in PARAMETERS])
    moved = torch.tensor([p.key in FIRST_PARAMETERS and p.module != "reverb" for p in PARAMETERS])
    noise = torch.randn((len(pairs), len(PARAMETERS)), generator=torch.Generator().manual_seed(1))
    return (point + 0.01 * noise * moved).clamp(0.0, 1.0)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of the steps, on excerpts of two seconds."""
    for name, seconds in (("EVIDENCE_SECONDS", 3.0), ("SECONDS", 2.0), ("MOST_FITTED", 3)):
        monkeypatch.setattr(module_search, name, seconds)
    monkeypatch.setattr(
        module_search, "FIT", (Round(2.0, 4, 0.05, 8, 1), Round(2.0, 6, 0.04, 8, 1))
    )
    monkeypatch.setattr(module_trial, "SETTLE", Round(2.0, 4, 0.03, 8, 1))
    monkeypatch.setattr(module_trial, "FINISH", Round(2.0, 4, 0.03, 8, 1))


@pytest.mark.usefixtures("few_steps")
def test_a_delay_of_all_mixes_comes_back() -> None:
    pairs = [pair(seed, {**DRY, **SLAP}, seconds=3.0) for seed in range(6)]
    shares: list[float] = []
    found = find_modules(pairs, labels_of(pairs), report=lambda share, _: shares.append(share))
    assert found.on == ("delay",)
    assert found.closer == {"delay": 3}
    assert found.asked == 3
    time_ms, wet_db = (
        float(BY_KEY[key].to_physical(found.settings[key]))
        for key in ("delay.time_ms", "delay.wet_db")
    )
    assert time_ms == pytest.approx(120.0, abs=1.0)
    assert wet_db == pytest.approx(-18.0, abs=3.0)
    assert shares == sorted(shares)
    assert 0.0 < shares[0] < shares[-1] <= 1.0


@pytest.mark.usefixtures("few_steps")
def test_a_studio_without_modules_gets_none() -> None:
    pairs = [pair(seed, DRY, seconds=3.0) for seed in range(6)]
    assert find_modules(pairs, labels_of(pairs)) == StudioModules()


@pytest.mark.usefixtures("few_steps")
def test_a_delay_of_one_mix_is_nobodys() -> None:
    pairs = [pair(seed, {**DRY, **SLAP} if seed == 2 else DRY, 3.0) for seed in range(6)]
    assert "delay" not in find_modules(pairs, labels_of(pairs)).on


def test_few_labels_say_nothing_of_modules() -> None:
    pairs = [pair(seed, seconds=1.0) for seed in range(4)]
    labels = labels_of(pairs)
    labels[0] = float("nan")
    assert find_modules(pairs, labels) == StudioModules()


# What is kept of them


FOUND = StudioModules(
    {
        key: BY_KEY[key].to_normalised(SLAP.get(key, BY_KEY[key].default))
        for key in sorted(later_keys({"delay"}))
    },
    {"reverb.wet_db": -0.1, "eq.peak_1.gain_db": 0.05},
    {"delay": 3},
    3,
)


def test_labels_with_modules() -> None:
    labels = torch.full((3, len(PARAMETERS)), 0.5)
    labels[1] = float("nan")
    labels[2, PLACES["reverb.wet_db"]] = 0.05
    moved = FOUND.with_modules(labels)
    assert moved[1].isnan().all()
    assert moved[:, PLACES["reverb.wet_db"]].tolist()[::2] == pytest.approx([0.4, 0.0])
    time = PLACES["delay.time_ms"]
    assert moved[0, time] == pytest.approx(FOUND.settings["delay.time_ms"])
    assert torch.equal(StudioModules().with_modules(labels)[0], labels[0])


def test_they_are_kept_with_the_progress() -> None:
    kept = json.loads(json.dumps(FOUND.to_progress()))
    assert StudioModules.of_progress(kept) == FOUND
    assert StudioModules.of_progress({}) == StudioModules()


@pytest.mark.parametrize(
    "damage",
    [
        {"settings": []},
        {"settings": {}},
        {"settings": {**FOUND.settings, "delay.wet_db": 2.0}},
        {"settings": {**FOUND.settings, "delay.wet_db": None}},
        {"closer": {"reverb": 3}},
        {"change": {"nothing.gain_db": 0.1}},
        {"asked": "3"},
    ],
)
def test_damaged_ones_are_refused(damage: dict[str, Any]) -> None:
    kept = {**FOUND.to_progress(), **damage}
    with pytest.raises(ValueError, match="damaged"):
        StudioModules.of_progress(kept)
    progress = {"stage": "studio", "scores": {}, "history": [], "modules": kept}
    assert not is_whole(progress, {})
    assert is_whole({**progress, "modules": FOUND.to_progress()}, {})


def test_they_are_named() -> None:
    own = FOUND.own_settings(torch.tensor([FOUND.settings.get(p.key, 0.5) for p in PARAMETERS]))
    record = modules_record(own, {"delay": 3}, 3)
    assert record["delay"]["settings"]["time_ms"] == pytest.approx(120.0)
    words = "Delay: in all mixes, echoes every 120 ms at −18 dB"
    assert record["delay"]["words"].startswith(words)
    assert modules_record(own, {"delay": 2}, 3)["delay"]["words"].startswith("Delay: in 2 of 3 mix")


# A run


QUICK = FinetuneOptions(studio_epochs=1, head_epochs=1, top_epochs=1, batch=2, top_stages=1,
                        held_out=0.2)  # fmt: skip


class Killed(BaseException):
    """Nothing in the run may catch it and tidy up."""


@pytest.fixture
def found_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The delay is found without a search; how often it was asked for."""
    quick_runs(monkeypatch.setattr)
    asked: list[int] = []

    def found(pairs: Sequence[Pair], labels: Tensor, **_: Any) -> StudioModules:
        asked.append(len(pairs))
        return FOUND

    monkeypatch.setattr(finetune_module, "find_modules", found)
    return asked


def run(
    pairs: Sequence[Pair], folder: Path, report: Callable[[dict[str, Any]], None] = lambda _: None,
    options: FinetuneOptions = QUICK,
) -> tuple[Predictor, FinetuneResult]:  # fmt: skip
    folder.mkdir(exist_ok=True)
    model = base_model()
    return model, finetune(model, pairs[1:], pairs[:1], folder, options, report=report)


def test_a_model_predicts_what_the_studio_has(found_at_once: list[int], tmp_path: Path) -> None:
    pairs = [pair(seed, {**DRY, **SLAP}, seconds=1.0) for seed in range(5)]
    model, result = run(pairs, tmp_path)
    assert found_at_once == [4]
    assert result.best != "before"
    assert {"stage": "modules", "closer": {"delay": 3}, "asked": 3} in result.history
    assert result.modules["delay"]["time_ms"] == pytest.approx(120.0, rel=1e-3)
    model.save(tmp_path / "model", {})
    for each in (model, Predictor.load(tmp_path / "model")):
        assert each.off & {"delay", "gate", "saturation"} == {"gate", "saturation"}
        settings = each.predict(pairs[0].raw, PAIR_RATE).settings
        assert settings["delay.time_ms"] == pytest.approx(120.0, rel=0.01)
        assert settings["delay.wet_db"] == pytest.approx(-18.0, abs=3.0)
        assert "gate.range_db" not in settings


@pytest.mark.parametrize("stage", ["studio", "head"])
def test_a_killed_run_has_the_modules(found_at_once: list[int], tmp_path: Path, stage: str) -> None:
    pairs = [pair(seed, {**DRY, **SLAP}, seconds=1.0) for seed in range(5)]
    whole, _ = run(pairs, tmp_path / "whole")

    def kill(event: dict[str, Any]) -> None:
        if event["stage"] == stage and "loss" in event:
            raise Killed

    with pytest.raises(Killed):
        run(pairs, tmp_path, kill)
    assert (tmp_path / CHECKPOINT).is_file()
    model, _ = run(pairs, tmp_path)
    assert found_at_once == [4, 4], "not searched again"
    assert model.known == whole.known
    for name, value in whole.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert (tmp_path / LOG).read_text() == (tmp_path / "whole" / LOG).read_text()


def test_the_model_as_it_was_has_none(found_at_once: list[int], tmp_path: Path) -> None:
    """Where nothing that was learnt is better, nothing is on that the model did not know."""
    pairs = [pair(seed, FIRST, seconds=1.0) for seed in range(5)]
    known = base_model().known.without_untrained()
    model, result = run(pairs, tmp_path, options=replace(QUICK, head_epochs=0, top_epochs=0))
    assert found_at_once == [4]
    assert result.best == "before"
    assert result.modules == {}
    assert model.known == known


def test_no_time_is_no_search(found_at_once: list[int], tmp_path: Path) -> None:
    pairs = [pair(seed, seconds=1.0) for seed in range(3)]
    run(pairs, tmp_path, options=FinetuneOptions(minutes=1e-9, held_out=0.2))
    assert found_at_once == []
