"""Fine-tuning in processes of its own: killed and repeated, and several that work together."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diffconsole.training.log import LOG

from ..forked import Runs, runs_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    with runs_of("tests.training.finetuning.helpers") as runs:
        yield runs


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process leaves that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert runs.run(1, folder) == [0]
    return folder


def test_kill_9(runs: Runs, tmp_path: Path, whole: Path) -> None:
    """Killed and repeated by a process each, as a user does it: the same end, to the last digit."""
    killed = tmp_path / "killed"
    (process,) = runs.start(1, killed)
    patience = time.monotonic() + 300.0
    log = killed / LOG
    while time.monotonic() < patience:
        if log.exists() and '"studio"' in log.read_text():
            break
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    assert runs.ends() == [-signal.SIGKILL]
    assert runs.run(1, killed) == [0]
    for name in ("end.json", "end.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_two_processes_end_as_one(runs: Runs, tmp_path: Path, whole: Path) -> None:
    assert runs.run(2, tmp_path) == [0, 0]
    ends = [load_file(folder / "end.safetensors") for folder in (whole, tmp_path)]
    histories = [json.loads((folder / "end.json").read_text()) for folder in (whole, tmp_path)]
    # Where a gradient is next to nothing, its rounding is what Adam sees.
    for name, value in ends[0].items():
        assert torch.allclose(ends[1][name].float(), value.float(), atol=1e-4), name
    for one, two in zip(*histories, strict=True):
        assert one["stage"] == two["stage"]
        trained = one.get("epoch", 0) > 0 or one["stage"] == "ridge"
        exact = pytest.approx(one.get("held_out", 0.0), abs=1e-3 if trained else 1e-6)
        assert two.get("held_out", 0.0) == exact
