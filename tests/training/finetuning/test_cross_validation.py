"""Few pairs: all are learnt from, and each decides as those with other voices predict it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from diffconsole.audio import loudness_lufs
from diffconsole.model.predictor import Predictor
from diffconsole.model.voice_features import VOICE_FEATURES
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.training.finetuning.cross_validation import settings_of, shifts_of
from diffconsole.training.finetuning.engineer_prior import shipped_prior
from diffconsole.training.finetuning.finetune import (
    FinetuneOptions,
    FinetuneResult,
    finetune,
    split_pairs,
)
from diffconsole.training.finetuning.voice_clusters import cluster_voices

from ...synthetic import pair
from .helpers import base_model, quick_runs

QUICK = FinetuneOptions(studio_epochs=1, head_epochs=2, top_epochs=1, batch=2, top_stages=1)


def descriptions(singers: list[int], seed: int = 0) -> torch.Tensor:
    """Takes of some singers, who differ as voices do."""
    rng = np.random.default_rng(seed)
    spread = shipped_prior().voice_std
    own = rng.normal(0.0, spread, (max(singers) + 1, len(VOICE_FEATURES)))
    takes = own[singers] + rng.normal(0.0, 0.15 * spread, (len(singers), len(VOICE_FEATURES)))
    return torch.from_numpy(takes).float()


# Voices that are alike


def test_takes_of_one_singer_stay_together() -> None:
    singers = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    groups = cluster_voices(descriptions(singers), 4)
    assert sorted(n for group in groups for n in group) == list(range(10))
    assert [sorted({singers[n] for n in group}) for group in groups] == [[0], [1], [2], [3]]


def test_one_singer_alone_falls_into_parts() -> None:
    """Who is left out must not be everybody."""
    for count in (2, 3, 5, 9):
        groups = cluster_voices(descriptions([0] * count), 1)
        assert max(map(len, groups)) <= max(count / 2, 1)
    assert cluster_voices(descriptions([0]), 5) == [[0]]


# The strip without some labels


def test_the_strip_moves_away_from_what_is_left_out() -> None:
    place = [p.key for p in PARAMETERS].index("reverb.wet_db")
    found = torch.full((3, len(PARAMETERS)), 0.5)
    found[0, place], found[2, place] = 0.9, 0.3
    shifts = shifts_of(found, descriptions([0, 1, 2]))
    assert float(shifts[0, place]) < 0.0 <= float(shifts[2, place])
    found[1] = float("nan")
    assert not shifts_of(found, descriptions([0, 1, 2]))[1].any()
    found[2] = float("nan")
    assert not shifts_of(found, descriptions([0, 1, 2])).any()


def test_settings_act_on_the_raw_as_it_lies() -> None:
    each = pair(3, seconds=2.0)
    point = [0.5] * len(PARAMETERS)
    (settings,) = settings_of([point], [each])
    lift = -18.0 - loudness_lufs(each.raw, PAIR_RATE)
    assert settings["input_gain.gain_db"] == pytest.approx(lift, abs=0.1)
    assert settings["compressor.threshold_db"] == pytest.approx(-30.0)


# A run


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_runs(monkeypatch.setattr)


@pytest.fixture(scope="module")
def studio() -> list[Pair]:
    return [pair(seed, seconds=1.0) for seed in range(5)]


def run(
    studio: list[Pair], folder: Path, options: FinetuneOptions = QUICK,
    report: Callable[[dict[str, Any]], None] = lambda _: None,
) -> tuple[Predictor, FinetuneResult]:  # fmt: skip
    folder.mkdir(exist_ok=True)
    model = base_model()
    train, held = split_pairs(studio, options)
    return model, finetune(model, train, held, folder, options, report=report)


class Course(NamedTuple):
    """A run that nothing stopped, and what a process leaves that is killed in one of its stages."""

    model: Predictor
    result: FinetuneResult
    killed: dict[str, Path]


@pytest.fixture(scope="module")
def whole(studio: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Course:
    base, killed = tmp_path_factory.mktemp("whole"), dict[str, Path]()

    def report(event: dict[str, Any]) -> None:
        stage = event["stage"]
        if "loss" in event and event["fraction"] > 0.4 and stage not in killed:
            killed[stage] = Path(shutil.copytree(base / "run", base / stage))

    with pytest.MonkeyPatch.context() as patch:
        quick_runs(patch.setattr)
        return Course(*run(studio, base / "run", report=report), killed)


def test_few_pairs_are_not_split(studio: list[Pair]) -> None:
    train, held = split_pairs(studio, QUICK)
    assert train == held == studio
    train, held = split_pairs(studio, replace(QUICK, held_out=0.2))
    assert (len(train), len(held)) == (4, 1)
    train, held = split_pairs(studio * 4, QUICK)
    assert (len(train), len(held)) == (16, 4)


def test_every_pair_is_learnt_from_and_measured(studio: list[Pair], whole: Course) -> None:
    result = whole.result
    assert result.history[1] == {"stage": "labels", "labelled": 5, "pairs": 5}
    stages = [entry["stage"] for entry in result.history]
    assert "top" not in stages, "what cannot be measured on left out pairs is not trained"
    assert all(len(each) == len(studio) for each in result.by_pair.values())
    assert result.scores[result.best] < 0.7 * result.scores["before"]
    assert np.shape(result.crossed) == (len(studio), len(PARAMETERS))
    points = np.array(result.crossed)
    assert points.min() >= 0.0 and points.max() <= 1.0
    # Left out together, or not, pairs see other strips than their own.
    assert np.ptp(points, axis=0).max() > 1e-4
    json.dumps(result.history)


@pytest.mark.parametrize("stage", ["near", "head"])
def test_a_killed_run_ends_as_it_would_have(
    studio: list[Pair], tmp_path: Path, whole: Course, stage: str
) -> None:
    folder = Path(shutil.copytree(whole.killed[stage], tmp_path / "run"))
    reported: list[str] = []
    model, result = run(studio, folder, report=lambda event: reported.append(event["stage"]))
    assert reported[0] == stage, "only what was missing is done"
    expected = whole.model.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in model.state_dict().items())
    assert result.history == whole.result.history
    assert result.crossed == whole.result.crossed


def test_steps_bound_the_trainings_of_the_folds(studio: list[Pair], tmp_path: Path) -> None:
    """So few steps leave none for strip and offsets together."""
    _, result = run(studio, tmp_path, replace(QUICK, steps=4))
    assert result.steps <= 4
    assert "head" not in [entry["stage"] for entry in result.history]
