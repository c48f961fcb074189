"""Several processes: the parts of a batch, and the same end as with one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diffconsole.training.distributed import SINGLE_PROCESS, Workers, process_group


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_parts_of_a_batch(size: int, count: int) -> None:
    """All rows once, as many for each; the mean of the weighted sums is the batch's mean."""
    rows, values = torch.arange(10, 10 + count), torch.rand(count + 10)
    parts = [Workers(rank, size).shard(rows) for rank in range(size)]
    assert len({len(mine) for mine, _ in parts}) == 1
    counted = torch.cat([mine[weight > 0] for mine, weight in parts])
    assert sorted(counted.tolist()) == rows.tolist()
    sums = [(weight * values[mine]).sum() for mine, weight in parts]
    assert float(sum(sums)) / size == pytest.approx(float(values[rows].mean()), rel=1e-5)


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group() as (workers, device):
        assert workers == SINGLE_PROCESS
        assert device == "cpu"
    assert SINGLE_PROCESS.gather(3) == [3]
    assert SINGLE_PROCESS.broadcast("x") == "x"
    values = torch.rand(4)
    assert torch.equal(SINGLE_PROCESS.collect(values, 4), values)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(folder: Path, size: int) -> None:
    folder.mkdir()
    port, processes = str(_free_port()), []
    for rank in range(size):
        given = {"WORLD_SIZE": str(size), "RANK": str(rank), "LOCAL_RANK": str(rank),
                 "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}  # fmt: skip
        command = [sys.executable, "-m", "tests.training.finetuning.helpers", str(folder)]
        processes.append(
            subprocess.Popen(command, env={**os.environ, **given}, cwd=Path(__file__).parents[2])
        )
    assert [process.wait(timeout=900) for process in processes] == [0] * size


@pytest.mark.slow
def test_two_processes_end_as_one(tmp_path: Path) -> None:
    ends, histories = [], []
    for size in (1, 2):
        folder = tmp_path / str(size)
        _run(folder, size)
        ends.append(load_file(folder / "end.safetensors"))
        histories.append(json.loads((folder / "end.json").read_text()))
    # Where a gradient is next to nothing, its rounding is what Adam sees.
    for name, value in ends[0].items():
        assert torch.allclose(ends[1][name].float(), value.float(), atol=1e-4), name
    for one, two in zip(*histories, strict=True):
        assert one["stage"] == two["stage"]
        trained = one.get("epoch", 0) > 0 or one["stage"] == "ridge"
        exact = pytest.approx(one.get("held_out", 0.0), abs=1e-3 if trained else 1e-6)
        assert two.get("held_out", 0.0) == exact


def test_former_names_work():
    from diffconsole.training import distributed

    assert distributed.ALONE is SINGLE_PROCESS
    assert distributed.joined is process_group
    assert distributed.ALONE.agree("x") == "x"
    rows = torch.arange(5)
    for part, again in zip(Workers(1, 2).share(rows), Workers(1, 2).shard(rows), strict=True):
        assert torch.equal(part, again)
