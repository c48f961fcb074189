"""The command that runs everything on a GPU: its parts on the CPU, and what it says without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from diffconsole.training.finetuning import map_estimates

from .benchmarks import gpu
from .training.finetuning.helpers import few_candidates


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert gpu.main([]) == 2
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.slow
def test_a_rehearsal_runs_every_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few_candidates(monkeypatch.setattr)
    monkeypatch.setattr(map_estimates, "STEPS", 2)
    code = gpu.main(["--rehearse", "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["failed"] == [], capsys.readouterr().out
    assert code == 0
    assert set(found["steps"]) == set(gpu.JOBS)
    assert "1 passed" in "\n".join(found["tests"]["output"])


def test_what_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = {"exit": 1, "seconds": 0.0, "failed": True, "output": ["a line"]}
    monkeypatch.setattr(gpu, "ran", lambda *_: failed)
    monkeypatch.setattr(gpu, "JOBS", ("pretraining", "matching"))

    def broken(*_: object) -> None:
        raise RuntimeError("two devices")

    monkeypatch.setattr(gpu, "pretraining_step", broken)
    monkeypatch.setattr(gpu, "matching", lambda *_: None)
    assert gpu.main(["--rehearse", "--json", str(tmp_path / "found.json")]) == 1
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["failed"] == ["tests", "console", "pretraining"]
    assert "two devices" in found["steps"]["pretraining"]
