"""Several processes: the parts of a batch, and the same end as with one."""

from __future__ import annotations

import pytest
import torch

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


def test_former_names_work():
    from diffconsole.training import distributed

    assert distributed.ALONE is SINGLE_PROCESS
    assert distributed.joined is process_group
    assert distributed.ALONE.agree("x") == "x"
    rows = torch.arange(5)
    for part, again in zip(Workers(1, 2).share(rows), Workers(1, 2).shard(rows), strict=True):
        assert torch.equal(part, again)
