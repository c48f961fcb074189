"""What concerns a whole batch is the same whether one process computes it or several do."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffconsole.training.distributed import SINGLE_PROCESS, Workers
from diffconsole.training.global_batch import BatchPart, GlobalBatchNorm, use_global_batch
from diffconsole.training.pretraining.pretrain_model import match_loss


@dataclass
class Meeting:
    """Where threads that stand for processes exchange tensors."""

    size: int
    parts: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.size, timeout=30.0)


@dataclass(frozen=True)
class Threads(Workers):
    meeting: Any = None

    def sum(self, mine: Tensor) -> Tensor:
        self.meeting.parts[self.rank] = mine
        self.meeting.barrier.wait()
        total = torch.stack([self.meeting.parts[r] for r in range(self.size)]).sum(dim=0)
        self.meeting.barrier.wait()
        return total


def in_threads(size: int, work: Callable[[Workers], Any]) -> list[Any]:
    meeting, found = Meeting(size), {}
    threads = [
        threading.Thread(target=lambda r=rank: found.update({r: work(Threads(r, size, meeting))}))
        for rank in range(size)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60.0)
    return [found[rank] for rank in range(size)]


def part_of(workers: Workers, batch: int) -> BatchPart:
    part = BatchPart(workers)
    part.begin(batch)
    return part


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.GELU(),
        nn.Conv2d(4, 4, 3, bias=False),
        nn.BatchNorm2d(4),
    )


@pytest.mark.parametrize("size", [2, 3])
def test_normalises_by_the_whole_batch(size: int) -> None:
    """Results, gradients and running statistics, with parts of unequal size."""
    torch.manual_seed(3)
    batch, weights = 5.0 + 0.1 * torch.randn(7, 1, 9, 8), torch.randn(7, 4, 5, 4)
    # One start for all: the threads share PyTorch's random state.
    begun = network()

    def work(workers: Workers) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        part, net = part_of(workers, len(batch)), copy.deepcopy(begun)
        use_global_batch(net, part)
        assert isinstance(net[1], GlobalBatchNorm) == (workers.size > 1)
        x = batch[part.rows].clone().requires_grad_()
        y = net(x)
        part.loss((y**2 * weights[part.rows]).flatten(1).sum(dim=1)).backward()
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        return y.detach(), [x.grad, *gradients], list(net.buffers())

    alone = work(SINGLE_PROCESS)
    found = in_threads(size, work)
    assert torch.allclose(torch.cat([f[0] for f in found]), alone[0], atol=1e-4)
    # What each adds, as DistributedDataParallel averages it; of the inputs each has its own.
    inputs = torch.cat([f[1][0] for f in found]) / size
    assert torch.allclose(inputs, alone[1][0], atol=1e-4)
    for of_all, of_one in zip(zip(*(f[1][1:] for f in found), strict=True), alone[1][1:],
                              strict=True):  # fmt: skip
        mean = torch.stack(of_all).mean(dim=0)
        assert torch.allclose(mean, of_one, atol=1e-3 * float(of_one.abs().max() + 1e-2))
    for f in found:
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(f[2], alone[2], strict=True))


def test_drops_what_one_process_drops() -> None:
    def work(workers: Workers) -> Tensor:
        part, net = part_of(workers, 5), nn.Sequential(nn.Dropout(0.3))
        use_global_batch(net, part)
        with lock:
            torch.manual_seed(11)
            # Rows of three each, as the sounds of an example follow each other.
            return net(torch.ones(15, 6)[3 * part.rows.start : 3 * part.rows.stop])

    lock = threading.Lock()
    alone = work(SINGLE_PROCESS)
    torch.manual_seed(11)
    assert torch.equal(alone, nn.functional.dropout(torch.ones(15, 6), 0.3))
    assert torch.equal(torch.cat(in_threads(2, work)), alone)


def test_passages_are_found_among_the_whole_batch() -> None:
    sounds = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(3))

    def work(workers: Workers) -> tuple[Tensor, Tensor]:
        part = part_of(workers, 5)
        mine = sounds[:, part.rows].clone().requires_grad_()
        losses = match_loss(mine[0], mine[1], mine[2], mine[3], part)
        part.loss(losses).backward()
        assert mine.grad is not None
        return losses.detach(), mine.grad / workers.size

    alone = work(SINGLE_PROCESS)
    found = in_threads(2, work)
    for part in (0, 1):
        dim = 0 if part == 0 else 1
        assert torch.allclose(torch.cat([f[part] for f in found], dim), alone[part], atol=1e-5)


def test_more_processes_than_rows() -> None:
    """Each computes all of them; the mean of what they add is the mean."""
    part = BatchPart(Workers(1, 3))
    part.begin(2)
    assert part.rows == slice(0, 2)
    assert float(part.loss(torch.tensor([1.0, 3.0]))) == 2.0
    part.begin(7)
    assert [part_of(Workers(r, 3), 7).rows for r in range(3)] == [
        slice(0, 2), slice(2, 4), slice(4, 7)
    ]  # fmt: skip
