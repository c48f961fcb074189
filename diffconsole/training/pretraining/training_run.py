"""The training of a pretraining run: steps, validations, checkpoints, in one process or several.

Several processes (:mod:`diffconsole.training.distributed`) compute their rows of each batch. All
have the same weights and examples; the first one decides by its clock, and it alone writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ...errors import DiffconsoleError, ModelError
from ..checkpoint import load_checkpoint, save_checkpoint
from ..distributed import Workers
from ..global_batch import BatchPart
from ..interrupts import ignored_signals, leave_group, uninterrupted
from .examples import Example, Pool, Stream, schedule_of
from .exchange import exchanged
from .pretrain_model import PretrainModel, ValidationSet, validate
from .pretrain_options import PretrainOptions, identity_of, with_present_names

__all__ = ["Report", "TrainingRun"]

KEEP_SECONDS = 120.0
"""Between checkpoints."""

PREFETCHED = 8
"""Steps for which each process that makes examples is ahead."""

DROPOUT_SEED = 4

Report = Callable[[dict[str, Any]], None]


class TrainingRun:
    """Weights, optimizer and progress of a run.

    Attributes
    ----------
    progress : dict
        ``step``, ``seconds``, ``best`` (the figures of the best state) and the options; saved in
        the checkpoint, with what else is put into it.
    best : dict of str to Tensor
        Weights of the best state, in the first process.
    """

    def __init__(
        self,
        trained: PretrainModel,
        options: PretrainOptions,
        checkpoint: Path,
        workers: Workers,
        device: str,
        report: Report,
        shards: str | None = None,
    ) -> None:
        self.trained, self.options, self.checkpoint = trained, options, checkpoint
        self.workers, self.device, self.report = workers, device, report
        self.optimizer = torch.optim.AdamW(
            trained.parameters(), lr=options.learning_rate, weight_decay=0.01
        )
        self.progress: dict[str, Any] = {
            "step": 0, "seconds": 0.0, "best": None, "options": identity_of(options),
        }  # fmt: skip
        if shards is not None:
            # An example's number says nothing on other shards.
            self.progress["shards"] = shards
        self.best: dict[str, Tensor] = {}
        self.schedule = schedule_of(options.seed, options.batch)
        self.part = BatchPart(workers)
        self.part.begin(self.schedule.size)
        if workers.size > self.schedule.size:
            raise ModelError(
                f"{workers.size} processes would share a batch of {self.schedule.size} examples; "
                "start fewer, or raise --batch"
            )
        self.began = time.monotonic()

    def resume(self) -> None:
        """Continue from the checkpoint, if the first process finds one.

        Raises
        ------
        ModelError
            It is of a run with other data or options, or damaged.
        """
        state: tuple[Any, ...] | None = None
        if self.workers.is_first and self.checkpoint.exists():
            # A run of before there were options in it is of these.
            like = {key: self.progress[key] for key in ("step", "seconds", "best")}
            progress, self.best = load_checkpoint(
                self.checkpoint, self.trained, self.optimizer, like
            )
            identity = identity_of(self.options)
            stored = with_present_names(progress.get("options", identity))
            alike = progress.get("shards") == self.progress.get("shards")
            if stored != identity or not alike:
                raise ModelError(
                    f"{self.checkpoint.parent}: holds an unfinished run with other data or "
                    "options; repeat that command to finish it, or add --force to start again"
                )
            self.progress = progress
            state = progress, self.trained.state_dict(), self.optimizer.state_dict()
        if self.workers.size == 1:
            return
        # Only the first process's machine may have the folder.
        state = self.workers.broadcast(_on_cpu(state))
        if state is not None and not self.workers.is_first:
            self.progress = state[0]
            self.trained.load_state_dict(state[1])
            self.optimizer.load_state_dict(state[2])

    def keep(self) -> None:
        """Write the checkpoint; the first process alone does."""
        self.progress["seconds"] = time.monotonic() - self.began
        if self.workers.is_first:
            save_checkpoint(self.checkpoint, self.trained, self.optimizer, self.progress, self.best)

    def train(
        self, stream: Stream, makers: int, validation_set: ValidationSet, validations: int
    ) -> None:
        """Train until the budget is spent, and validate at the end.

        Stopped by Ctrl-C, or because another process was lost, it writes the state.

        Parameters
        ----------
        stream : Stream
            Makes examples from :attr:`progress`'s step on, in this process's turns.
        makers : int
            Processes that make examples for this one.
        validation_set : ValidationSet
            This process's share.
        validations : int
            About how many there are over the run.
        """
        loader = DataLoader(
            stream, None, num_workers=makers, prefetch_factor=PREFETCHED,
            worker_init_fn=_start_maker,
        )  # fmt: skip
        self.trained.share_batch(self.part)
        wrapped = self.workers.wrap(self.trained, self.device)
        pool = Pool(self.schedule)
        self.began = time.monotonic() - self.progress["seconds"]
        saved = self.validated_at = time.monotonic()
        self.trained.train()
        try:
            # What the first process decides ends the others; a signal to them alone does not.
            with ignored_signals(not self.workers.is_first):
                for made in exchanged(_made(loader), self.workers, stream.mel):
                    share, due = self._decided(validations)
                    if share >= 1.0:
                        break
                    if due:
                        self.validate(validation_set)
                    self.part.begin(self.schedule.size_of(self.progress["step"]))
                    batch = pool.batch(self.progress["step"], made, self.part.rows)
                    # Half a step is no state that a run can resume from.
                    with uninterrupted():
                        loss = self._step(wrapped, batch[0], batch[1], share)
                    self.report({"fraction": share, "step": self.progress["step"], "loss": loss})
                    if time.monotonic() - saved > KEEP_SECONDS:
                        self.keep()
                        saved = time.monotonic()
                self.validate(validation_set)
                # What follows takes minutes: a run that is stopped there resumes there.
                self.keep()
        except (KeyboardInterrupt, RuntimeError) as error:
            if "DataLoader worker" in str(error):
                # It may have come in the middle of a step: the last state that was kept is whole.
                raise ModelError(
                    "a process that makes examples was killed, perhaps for want of memory; use "
                    "fewer --workers, and repeat the command to resume"
                ) from None
            if isinstance(error, KeyboardInterrupt) or self.workers.lost_by(error):
                # A second signal, as torchrun sends it, must not end the writing.
                with uninterrupted():
                    self.keep()
            raise

    def validate(self, validation_set: ValidationSet) -> None:
        """Measure the state, and keep it if it is the best so far."""
        figures = validate(self.trained, validation_set, self.workers)
        self.report({"held_out": figures, "step": self.progress["step"]})
        with uninterrupted():
            self.progress["validated"] = self.progress["step"]
            if self.progress["best"] is None or figures["sum"] < self.progress["best"]["sum"]:
                self.progress["best"] = figures
                if self.workers.is_first:
                    state = self.trained.state_dict()
                    self.best = {k: v.detach().cpu().clone() for k, v in state.items()}
        self.validated_at = time.monotonic()

    def _decided(self, validations: int) -> tuple[float, bool]:
        """Share of the budget that is spent, and whether it is time to validate."""
        options, number = self.options, self.progress["step"]
        if options.steps is not None:
            every = max(1, round(options.steps / validations))
            # Runs of earlier versions have it under another name.
            last = self.progress.get("validated", self.progress.get("judged", 0))
            due = bool(number % every == 0 and number != last)
            return (float(number / options.steps) if options.steps else 1.0), due
        now, budget = time.monotonic(), options.minutes * 60.0
        due = now - self.validated_at > max(60.0, budget / validations)
        return self.workers.broadcast(((now - self.began) / budget, due))

    def _step(
        self, wrapped: torch.nn.Module, sounds: Tensor, target: Tensor, share: float
    ) -> float:
        """Train on one batch, and return its loss."""
        number = self.progress["step"]
        # By the step: a resumed run drops what it would have dropped.
        torch.manual_seed(_seed_of(self.options.seed, number))
        for group in self.optimizer.param_groups:
            warm = min(1.0, (number + 1) / 100)
            group["lr"] = self.options.learning_rate * warm * 0.5 * (1 + np.cos(np.pi * share))
        before = [buffer.clone() for buffer in self.trained.buffers()]
        try:
            losses = wrapped(sounds.to(self.device), target.to(self.device))
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.part.loss(losses["sum"])
            loss.backward()
            whole = self.workers.sum(loss.detach().clone())
        except RuntimeError:
            # Another process was lost: the state stays that of the step before.
            for buffer, value in zip(self.trained.buffers(), before, strict=True):
                buffer.copy_(value)
            raise
        torch.nn.utils.clip_grad_norm_(self.trained.parameters(), 5.0)
        self.optimizer.step()
        self.progress["step"] += 1
        return float(whole) / self.workers.size


def _seed_of(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, DROPOUT_SEED, step)).generate_state(1, np.uint64)[0])


def _on_cpu(value: Any) -> Any:
    """Tensors within dicts, lists and tuples, on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on_cpu(each) for each in value)
    return value


def _made(loader: DataLoader[dict[int, Example]]) -> Iterator[Mapping[int, Example]]:
    """What the makers make; their errors in one line."""
    try:
        yield from loader
    except DiffconsoleError as error:
        # The loader puts the name of the error and its traceback before the words.
        kind = type(error)
        words = str(error).strip().splitlines()[-1]
        raise kind(words.removeprefix(f"{kind.__module__}.{kind.__name__}: ")) from None


def _start_maker(_: int) -> None:
    torch.set_num_threads(1)
    leave_group()
