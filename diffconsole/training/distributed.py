"""Several processes, on one machine or more, that train one model: what ``torchrun`` starts.

Plain DistributedDataParallel. A batch is the same and in the same order however many share it:
each takes its part, the gradients are the batch's, and so is the result. Only the first process
writes and reports.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["ALONE", "SINGLE_PROCESS", "Workers", "joined", "process_group"]

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """The processes of a run.

    Attributes
    ----------
    rank : int
        Which one this is.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    def shard(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return this process's part of a batch's rows, and what each counts in its loss.

        Everybody gets as many rows, of weight 0 where the batch does not go round. The mean of
        the processes' weighted sums is the batch's mean.
        """
        most = -(-len(rows) // self.size)
        mine = rows[self.rank :: self.size]
        weight = torch.full((most,), self.size / len(rows))
        weight[len(mine) :] = 0.0
        return torch.cat((mine, rows[:1].expand(most - len(mine)))), weight

    def gather(self, value: T) -> list[T]:
        """Return everybody's value, in the order of the ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def collect(self, mine: Tensor, count: int) -> Tensor:
        """Put together what everybody found for the rows of :meth:`shard`, in the rows' order."""
        parts = self.gather(mine)
        return torch.stack([parts[i % self.size][i // self.size] for i in range(count)])

    def broadcast(self, value: T) -> T:
        """Return the first process's value."""
        if self.size == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]

    def wrap(self, module: nn.Module, device: str) -> nn.Module:
        """Return the module with gradients that are everybody's mean."""
        if self.size == 1:
            return module
        ids = [torch.device(device).index or 0] if device.startswith("cuda") else None
        return nn.parallel.DistributedDataParallel(module, device_ids=ids)

    share, agree = shard, broadcast
    """Former names."""


SINGLE_PROCESS = Workers()
"""One process."""


@contextmanager
def process_group(device: str = "cpu") -> Iterator[tuple[Workers, str]]:
    """Join the processes that torchrun started, if it did; leave them at the end.

    Parameters
    ----------
    device : str
        ``"cpu"`` (they communicate by gloo) or ``"cuda"`` (by NCCL, one GPU each).

    Yields
    ------
    workers : Workers
        The processes.
    device : str
        This one's.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield SINGLE_PROCESS, device
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Workers(torch.distributed.get_rank(), torch.distributed.get_world_size()), device
    finally:
        torch.distributed.destroy_process_group()


ALONE, joined = SINGLE_PROCESS, process_group
"""Former names."""
