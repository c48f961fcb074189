"""Several processes, on one machine or more, that train one model: what ``torchrun`` starts.

Plain DistributedDataParallel. A batch is the same and in the same order however many share it:
each takes its part, the gradients are the batch's, and so is the result. Only the first process
writes and reports.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import DiffconsoleError

__all__ = ["ALONE", "SINGLE_PROCESS", "Workers", "joined", "one_speaks", "process_group"]

T = TypeVar("T")

LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
"""Parts of what the libraries say when a process is gone."""


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

    def sum(self, mine: Tensor) -> Tensor:
        """Return the sum of everybody's tensor, which takes the place of this process's."""
        if self.size > 1:
            torch.distributed.all_reduce(mine)
        return mine

    def wrap(self, module: nn.Module, device: str) -> nn.Module:
        """Return the module with gradients that are everybody's mean."""
        if self.size == 1:
            return module
        ids = [torch.device(device).index or 0] if device.startswith("cuda") else None
        return nn.parallel.DistributedDataParallel(module, device_ids=ids)

    def lost_by(self, error: BaseException) -> bool:
        """Whether an error says that another process cannot be reached any more."""
        if self.size == 1 or not isinstance(error, RuntimeError):
            return False
        if isinstance(error, torch.distributed.DistError):
            return True
        return any(word in str(error) for word in LOST)

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
    # What lies in the CPU's memory is exchanged by gloo, whatever the device.
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield Workers(torch.distributed.get_rank(), torch.distributed.get_world_size()), device
    except BaseException:
        if not on_gpu:
            # NCCL would wait here for processes that are gone.
            torch.distributed.destroy_process_group()
        raise
    torch.distributed.destroy_process_group()


@contextmanager
def one_speaks(workers: Workers, lost: Callable[[], DiffconsoleError]) -> Iterator[None]:
    """Let one process say why the run ends, where it ends in one and so in all.

    The first one that fails raises its error. All others leave with exit code 1, without a word.
    After Ctrl-C the first process alone raises.

    Parameters
    ----------
    workers : Workers
        The processes.
    lost : callable
        Returns the error to raise where another process is gone and has said nothing, as one that
        the system killed.
    """
    try:
        yield
    except BaseException as error:
        if workers.size == 1:
            raise
        stopped = isinstance(error, KeyboardInterrupt)
        if (stopped and not workers.is_first) or not _is_first_to_fail():
            # What else the process would say on its way out concerns nobody.
            sys.stderr.flush()
            raise SystemExit(1) from None
        if workers.lost_by(error):
            raise lost() from None
        raise


def _is_first_to_fail() -> bool:
    """Whether no other process of the run has said before that it failed."""
    try:
        store = torch.distributed.distributed_c10d._get_default_store()
        return bool(store.add("diffconsole/failed", 1) == 1)
    except (RuntimeError, ValueError):
        # The first process, which holds the store, is gone; it knew why.
        return False


ALONE, joined = SINGLE_PROCESS, process_group
"""Former names."""
