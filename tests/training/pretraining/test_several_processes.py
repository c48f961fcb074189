"""Processes that pretrain together end as one does, and resume with what they would have seen."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from diffconsole.training.pretraining.pretrain import CHECKPOINT
from diffconsole.training.pretraining.pretrain_model import PretrainModel

from ...synthetic import small_encoders, write_people
from ..forked import Runs, runs_of

STEPS = 5
HELPER = "tests.training.pretraining.several_processes"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "voices"
    return write_people(folder, {"anna": 1, "ben": 2, "carla": 3})


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    with runs_of(HELPER) as runs:
        yield runs


def seen(folder: Path, size: int) -> dict[int, list[tuple[int, float]]]:
    """By step, the numbers of the examples and their sums, in the order of the batch."""
    by_step: dict[int, list[Any]] = {}
    for rank in range(size):
        for line in Path(f"{folder}.{size}.{rank}.jsonl").read_text().splitlines():
            step = (entry := json.loads(line))["step"]
            found = list(zip(entry["numbers"], entry["sums"], strict=True))
            # Of the first step, with fewer examples than processes, each computes all.
            by_step[step] = found if step == 0 else by_step.get(step, []) + found
    return by_step


@pytest.fixture(scope="module")
def alone(runs: Runs, voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "model"
    assert runs.run(1, voices, folder, STEPS) == [0]
    return folder


def differ_by(one: Path, other: Path) -> float:
    first, second = (load_file(f"{folder}.end.safetensors") for folder in (one, other))
    assert first.keys() == second.keys()
    return max(float((first[k].double() - second[k].double()).abs().max()) for k in first)


@pytest.mark.slow
def test_two_end_with_the_weights_of_one(
    runs: Runs, voices: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runs.run(2, voices, tmp_path / "model", STEPS) == [0, 0]
    assert seen(tmp_path / "model", 2) == seen(alone, 1)
    assert sorted(seen(alone, 1)) == list(range(STEPS))
    assert differ_by(alone, tmp_path / "model") < 1e-5
    # They have moved by far more than that.
    small_encoders(monkeypatch.setattr)
    torch.manual_seed(0)
    start, end = PretrainModel(False).state_dict(), load_file(f"{alone}.end.safetensors")
    name = "model.encoder.blocks.0.0.weight"
    assert float((start[name] - end[name]).abs().max()) > 5e-5


@pytest.mark.slow
def test_a_killed_process_ends_all_and_the_run_resumes(
    runs: Runs, voices: Path, alone: Path, tmp_path: Path
) -> None:
    """The second of two dies by SIGKILL; the first ends too; one process finishes the run."""
    folder = tmp_path / "model"
    ends = runs.run(2, voices, folder, STEPS, 3)
    assert ends[1] == -signal.SIGKILL
    assert ends[0] not in (0, -signal.SIGKILL)
    assert (folder / CHECKPOINT).exists()
    assert runs.run(1, voices, folder, STEPS) == [0]
    whole, before, after = seen(alone, 1), seen(folder, 2), seen(folder, 1)
    assert 2 <= min(after) <= 3, "the state of the last whole step"
    assert max(after) == STEPS - 1
    for step, found in whole.items():
        assert (after if step >= min(after) else before)[step] == found
    assert differ_by(alone, folder) < 1e-5
