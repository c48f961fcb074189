"""Fine-tuning in processes of its own: killed and repeated, and several that work together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diffconsole.training.log import LOG

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


def command(folder: Path) -> list[str]:
    folder.mkdir(exist_ok=True)
    return [sys.executable, "-m", "tests.training.finetuning.helpers", str(folder)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process leaves that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(command(folder), cwd=ROOT, check=True, timeout=900.0)
    return folder


@pytest.mark.skipif(os.name != "posix", reason="only POSIX systems have SIGKILL")
def test_kill_9(tmp_path: Path, whole: Path) -> None:
    """Killed and repeated by a process each, as a user does it: the same end, to the last digit."""
    killed = tmp_path / "killed"
    with subprocess.Popen(command(killed), cwd=ROOT) as process:
        patience = time.monotonic() + 300.0
        log = killed / LOG
        while time.monotonic() < patience and process.poll() is None:
            if log.exists() and '"studio"' in log.read_text():
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    subprocess.run(command(killed), cwd=ROOT, check=True, timeout=300.0)
    for name in ("end.json", "end.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_end_as_one(tmp_path: Path, whole: Path) -> None:
    port, processes = str(_free_port()), []
    for rank in range(2):
        given = {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank),
                 "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}  # fmt: skip
        processes.append(subprocess.Popen(command(tmp_path), env={**os.environ, **given}, cwd=ROOT))
    assert [process.wait(timeout=900) for process in processes] == [0, 0]
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
