"""Modules that came later come back from a studio's mixes, and none where there are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from diffconsole.model.predictor import Predictor
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.strip.later import FIRST_PARAMETERS, start_settings
from diffconsole.strip.parameters import BY_KEY, PARAMETERS, default_settings
from diffconsole.training.finetuning import finetune as finetune_module
from diffconsole.training.finetuning import module_evidence, module_search, module_trial
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

DRY = {**STUDIO, "reverb.wet_db": -30.0, "reverb.decay_s": 0.3}
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


SECONDS = 2.0
"""Of the excerpts too: in one that begins amid a note the compressor starts at rest, and a few
steps have more to gain from that than from a delay."""


@pytest.fixture(scope="module")
def dry() -> list[Pair]:
    return [pair(seed, DRY, SECONDS) for seed in range(4)]


@pytest.fixture(scope="module")
def echoing() -> list[Pair]:
    return [pair(seed, {**DRY, **SLAP}, SECONDS) for seed in range(5)]


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of the steps, on excerpts of two seconds."""
    for module in (module_evidence, module_search):
        monkeypatch.setattr(module, "SECONDS", SECONDS)
    monkeypatch.setattr(
        module_search, "FIT", (Round(2.0, 4, 0.05, 8, 1), Round(2.0, 6, 0.04, 8, 1))
    )
    monkeypatch.setattr(module_trial, "SETTLE", Round(2.0, 4, 0.03, 8, 1))
    monkeypatch.setattr(module_trial, "FINISH", Round(2.0, 4, 0.03, 8, 1))


@pytest.mark.usefixtures("few_steps")
def test_a_delay_of_all_mixes_comes_back(echoing: list[Pair]) -> None:
    shares: list[float] = []
    found = find_modules(echoing, labels_of(echoing), report=lambda share, _: shares.append(share))
    assert found.on == ("delay",)
    assert found.closer == {"delay": 3}
    assert found.asked == {"delay": 3}
    assert found.decided == 3
    time_ms, wet_db = (
        float(BY_KEY[key].to_physical(found.settings[key]))
        for key in ("delay.time_ms", "delay.wet_db")
    )
    assert time_ms == pytest.approx(120.0, abs=1.0)
    assert wet_db == pytest.approx(-18.0, abs=3.0)
    assert shares == sorted(shares)
    assert 0.0 < shares[0] < shares[-1] <= 1.0


@pytest.mark.usefixtures("few_steps")
def test_a_studio_without_modules_gets_none(dry: list[Pair]) -> None:
    assert find_modules(dry, labels_of(dry)) == StudioModules()


@pytest.mark.usefixtures("few_steps")
def test_a_delay_of_one_mix_is_nobodys(dry: list[Pair], echoing: list[Pair]) -> None:
    pairs = [*dry[:2], echoing[2], *dry[3:]]
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
    {"delay": 3},
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
    # Of a version in which the same mixes decided every module.
    assert StudioModules.of_progress({**kept, "asked": 3}) == FOUND


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
        {"asked": 3.0},
        {"asked": {}},
        {"asked": {"delay": "3"}},
        {"decided": "3"},
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
    record = modules_record(own, {"delay": 3}, {"delay": 3})
    assert record["delay"]["settings"]["time_ms"] == pytest.approx(120.0)
    words = "Delay: in all mixes, echoes every 120 ms at −18 dB"
    assert record["delay"]["words"].startswith(words)
    words = modules_record(own, {"delay": 2}, {"delay": 3})["delay"]["words"]
    assert words.startswith("Delay: in 2 of 3 mixes,")
    few = modules_record(own, {"delay": 2}, {"delay": 2}, 5)["delay"]["words"]
    assert few.startswith("Delay: in all mixes that can show it,")
    # As the history of a run of an earlier version says it.
    assert modules_record(own, {"delay": 3}, 3) == record


# A run


QUICK = FinetuneOptions(studio_epochs=1, head_epochs=1, top_epochs=1, batch=2, top_stages=1,
                        held_out=0.2)  # fmt: skip


def find_at_once(patch: Callable[[Any, str, Any], None]) -> list[int]:
    """Let the delay be found without a search; of how many pairs it is asked for."""
    quick_runs(patch)
    asked: list[int] = []

    def found(pairs: Sequence[Pair], labels: Tensor, **_: Any) -> StudioModules:
        asked.append(len(pairs))
        return FOUND

    patch(finetune_module, "find_modules", found)
    return asked


@pytest.fixture
def found_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return find_at_once(monkeypatch.setattr)


def run(
    pairs: Sequence[Pair], folder: Path, report: Callable[[dict[str, Any]], None] = lambda _: None,
    options: FinetuneOptions = QUICK,
) -> tuple[Predictor, FinetuneResult]:  # fmt: skip
    folder.mkdir(exist_ok=True)
    model = base_model()
    return model, finetune(model, pairs[1:], pairs[:1], folder, options, report=report)


class Course(NamedTuple):
    """A run that nothing stopped, and what a process leaves that is killed in a stage."""

    pairs: list[Pair]
    model: Predictor
    result: FinetuneResult
    folder: Path
    killed: dict[str, Path]
    asked: list[int]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Course:
    base = tmp_path_factory.mktemp("whole")
    pairs = [pair(seed, {**DRY, **SLAP}, seconds=1.0) for seed in range(4)]
    killed: dict[str, Path] = {}

    def report(event: dict[str, Any]) -> None:
        stage = event["stage"]
        if "loss" in event and stage in ("studio", "head") and stage not in killed:
            killed[stage] = Path(shutil.copytree(base / "run", base / stage))

    with pytest.MonkeyPatch.context() as patch:
        asked = find_at_once(patch.setattr)
        model, result = run(pairs, base / "run", report)
    return Course(pairs, model, result, base / "run", killed, asked)


def test_a_model_predicts_what_the_studio_has(whole: Course, tmp_path: Path) -> None:
    model, result = whole.model, whole.result
    assert whole.asked == [3]
    assert result.best != "before"
    entry = {"stage": "modules", "closer": {"delay": 3}, "asked": {"delay": 3}, "decided": 0}
    assert entry in result.history
    assert result.modules["delay"]["time_ms"] == pytest.approx(120.0, rel=1e-3)
    model.save(tmp_path / "model", {})
    for each in (model, Predictor.load(tmp_path / "model")):
        assert each.off & {"delay", "gate", "saturation"} == {"gate", "saturation"}
        settings = each.predict(whole.pairs[0].raw, PAIR_RATE).settings
        assert settings["delay.time_ms"] == pytest.approx(120.0, rel=0.01)
        assert settings["delay.wet_db"] == pytest.approx(-18.0, abs=3.0)
        assert "gate.range_db" not in settings


@pytest.mark.parametrize("stage", ["studio", "head"])
def test_a_killed_run_has_the_modules(
    whole: Course, found_at_once: list[int], tmp_path: Path, stage: str
) -> None:
    folder = Path(shutil.copytree(whole.killed[stage], tmp_path / "run"))
    assert (folder / CHECKPOINT).is_file()
    model, _ = run(whole.pairs, folder)
    assert found_at_once == [], "not searched again"
    assert model.known == whole.model.known
    for name, value in whole.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert (folder / LOG).read_text() == (whole.folder / LOG).read_text()


def test_the_model_as_it_was_has_none(found_at_once: list[int], tmp_path: Path) -> None:
    """Where nothing that was learnt is better, nothing is on that the model did not know."""
    pairs = [pair(seed, FIRST, seconds=1.0) for seed in range(3)]
    known = base_model().known.without_untrained()
    model, result = run(pairs, tmp_path, options=replace(QUICK, head_epochs=0, top_epochs=0))
    assert found_at_once == [2]
    assert result.best == "before"
    assert result.modules == {}
    assert model.known == known


def test_no_time_is_no_search(found_at_once: list[int], tmp_path: Path) -> None:
    pairs = [pair(seed, seconds=1.0) for seed in range(3)]
    run(pairs, tmp_path, options=FinetuneOptions(minutes=1e-9, held_out=0.2))
    assert found_at_once == []
