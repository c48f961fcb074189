"""One batch whose rows several processes compute: statistics and dropout of the whole of it.

A network that looks at a batch as a whole (batch normalisation, losses that compare its rows) gives
other results on parts of it. Here every process knows which rows are its own, and what concerns all
rows is exchanged, forwards and backwards: the gradients are those of one process with all rows.
PyTorch's ``SyncBatchNorm`` does so on GPUs alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .distributed import SINGLE_PROCESS, Workers

__all__ = ["BatchPart", "GlobalBatchNorm", "GlobalDropout", "use_global_batch"]


class BatchPart:
    """The rows of a batch that one process computes.

    Of a batch with fewer rows than processes each computes all, as if it were alone.

    Parameters
    ----------
    processes : Workers
        Those that share each batch.

    Attributes
    ----------
    workers : Workers
        Those that share the present batch.
    batch : int
        Its rows in all.
    """

    def __init__(self, processes: Workers) -> None:
        self.processes = processes
        self.begin(processes.size)

    def begin(self, batch: int) -> None:
        """Go on to a batch of so many rows."""
        self.batch = batch
        self.workers = self.processes if batch >= self.processes.size else SINGLE_PROCESS

    @property
    def rows(self) -> slice:
        """The rows of this process; those of all processes follow each other."""
        rank, size = self.workers.rank, self.workers.size
        return slice(rank * self.batch // size, (rank + 1) * self.batch // size)

    def loss(self, losses: Tensor) -> Tensor:
        """Return what this process adds to the batch's loss.

        The mean over the processes of what this returns is the mean over the batch.

        Parameters
        ----------
        losses : Tensor
            ``(rows,)``, of this process's rows.
        """
        return losses.sum() * (self.workers.size / self.batch)

    def all_rows(self, mine: Tensor) -> Tensor:
        """Return the rows of all processes, ``(batch, …)``; gradients flow back to their owners."""
        gathered: Tensor = _AllRows.apply(mine, self)
        return gathered


def use_global_batch(module: nn.Module, part: BatchPart) -> None:
    """Let the dropout and the batch normalisation of a network act on the whole batch.

    The names in its state dict stay. Dropout draws from PyTorch's generator on the CPU, whatever
    the device: seeded the same, the masks of a batch are the same for any number of processes.

    Parameters
    ----------
    module : Module
        The network; changed in place.
    part : BatchPart
        Which rows are given to it.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            setattr(module, name, GlobalDropout(child.p, part))
        elif isinstance(child, nn.BatchNorm2d) and part.processes.size > 1:
            setattr(module, name, GlobalBatchNorm(child, part))
        else:
            use_global_batch(child, part)


class GlobalDropout(nn.Dropout):
    """Dropout whose masks are drawn for the whole batch; each process applies its rows of them."""

    def __init__(self, p: float, part: BatchPart) -> None:
        super().__init__(p)
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of ``(k·rows, …)``, where each row of the batch has `k` rows in turn."""
        if not self.training or not self.p:
            return x
        mine = self.part.rows
        each = len(x) // (mine.stop - mine.start)
        kept = torch.empty(each * self.part.batch, *x.shape[1:]).bernoulli_(1.0 - self.p)
        kept = kept[each * mine.start : each * mine.stop].div_(1.0 - self.p)
        return x * kept.to(x)


class GlobalBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by mean and variance of the whole batch; takes the place of another."""

    def __init__(self, former: nn.BatchNorm2d, part: BatchPart) -> None:
        super().__init__(former.num_features, former.eps, former.momentum)
        self.weight, self.bias = former.weight, former.bias
        self._buffers.update(former._buffers)
        self.training = former.training
        self.part = part

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(rows, channels, height, width)``."""
        if not self.training or self.part.workers.size == 1:
            return super().forward(input)
        result, mean, variance, count = _Normalise.apply(
            input, self.weight, self.bias, self.eps, self.part.workers
        )
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1.0)), self.momentum)
        normalised: Tensor = result
        return normalised


class _Normalise(torch.autograd.Function):
    """``(x − mean)/√(variance + eps)·weight + bias``, mean and variance over all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, workers: Workers
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        variance, mean = torch.var_mean(x.float(), (0, 2, 3), correction=0)
        # In double precision: a difference of large sums follows.
        variance, mean = variance.double(), mean.double()
        count = mean.new_full((1,), x.numel() // x.shape[1])
        sums = workers.sum(torch.cat((count, count * mean, count * (variance + mean**2))))
        total, first, second = sums.split((1, len(mean), len(mean)))
        mean64 = first / total
        variance = (second / total - mean64**2).clamp(min=0.0).to(weight)
        mean = mean64.to(weight)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.workers, ctx.total = eps, workers, float(total)
        result = nn.functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)
        counted = total.to(weight)
        ctx.mark_non_differentiable(mean, variance, counted)
        return result, mean, variance, counted

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        # As if mean and variance were given: dx = dy·weight/deviation.
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            grad.contiguous(), x, weight, mean, variance, None, None, False, ctx.eps,
            [True, True, True],
        )  # fmt: skip
        both = ctx.workers.sum(torch.stack((of_weight, of_bias))) / ctx.total
        scale = torch.rsqrt(variance + ctx.eps)
        # dx −= weight/deviation·(mean of dy + x̂·mean of dy·x̂), over all processes.
        slope = weight * scale * scale * both[0]
        offset = weight * scale * both[1] - slope * mean
        shape = (1, -1, 1, 1)
        of_x = of_x - torch.addcmul(offset.view(shape), x, slope.view(shape)).to(of_x)
        return of_x, of_weight, of_bias, None, None


class _AllRows(torch.autograd.Function):
    """The rows of all processes; the gradient of a row is the sum over all who used it."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, part: BatchPart) -> Tensor:
        ctx.part = part
        rows = mine.new_zeros((part.batch, *mine.shape[1:]))
        rows[part.rows] = mine
        return part.workers.sum(rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.part.workers.sum(grad.contiguous().clone())[ctx.part.rows], None
