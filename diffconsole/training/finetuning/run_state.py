"""Where a fine-tuning run stands: its states, its budget, and what of them lies on disk."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from ...files import atomic_path
from ...model.predictor import Predictor
from ..by_key import by_key
from ..checkpoint import load_checkpoint, save_checkpoint
from ..distributed import Workers
from ..log import LOG
from .finetune_options import FinetuneOptions
from .finetune_state import is_whole
from .stages import MOST_STEPS, TRAINED

__all__ = ["CHECKPOINT", "LEAST_BETTER", "RunState"]

CHECKPOINT = "finetune.safetensors"
LEAST_BETTER = 1e-4
# Of the time, what may be gone when a stage ends.
TIME_SHARE = {
    "labels": 0.3, "modules": 0.38, "studio": 0.45, "near": 0.8, "head": 0.9, "top": 1.0,
}  # fmt: skip


class RunState:
    """The best state of each stage, with its scores, and the progress that a checkpoint keeps.

    Parameters
    ----------
    model : Predictor
        Is trained in place; as it is now is the state ``before``.
    folder : Path
        For checkpoint and log.
    options : FinetuneOptions
        Budget, and how many of the encoder's stages are ever trained.
    workers : Workers
        Processes that share the work.
    fingerprint : str
        Of pairs, options and weights: a run with another one is not resumed.
    """

    def __init__(
        self,
        model: Predictor,
        folder: Path,
        options: FinetuneOptions,
        workers: Workers,
        fingerprint: str,
    ) -> None:
        self.model, self.folder, self.options, self.workers = model, folder, options, workers
        top = model.encoder.stages()[-options.top_stages :] if options.top_stages else []
        moved = {id(v) for _, module in top for v in module.state_dict(keep_vars=True).values()}
        self.kept = [
            name
            for name, value in model.state_dict(keep_vars=True).items()
            if name.startswith("head.") or id(value) in moved
        ]
        self.states = {"before": self.state()}
        self.progress: dict[str, Any] = {
            "fingerprint": fingerprint,
            "stage": "labels",
            "epoch": 0,
            "worse": 0,
            "seconds": 0.0,
            "steps": 0,
            "scores": {},
            "by_pair": {},
            "weights": [],
            "amounts": {},
            "modules": {},
            "crossed": {},
            "history": [],
        }
        self.optimizer: torch.optim.Optimizer | None = None
        self.began = time.monotonic()

    def state(self) -> dict[str, Tensor]:
        """A copy of what is ever trained."""
        state = self.model.state_dict()
        return {name: state[name].detach().cpu().clone() for name in self.kept}

    def restore(self, name: str) -> None:
        """Set the model to a state."""
        self.model.load_state_dict({**self.model.state_dict(), **self.states[name]})

    def keep(
        self, stage: str, score: float, each: list[float], points: Tensor | None = None
    ) -> None:
        """Keep the model as a stage's state, with its distances and the settings they are of."""
        self.progress["scores"][stage], self.progress["by_pair"][stage] = score, each
        self.states[stage] = self.state()
        if points is not None:
            self.progress["crossed"][stage] = [by_key(point) for point in points.tolist()]

    def best(self) -> str:
        """The stage with the best state; of equals the first."""
        scores = self.progress["scores"]
        return min(scores, key=lambda name: scores[name])

    def is_over(self, stage: str) -> bool:
        """Whether the time that this stage ends by is gone; the first process decides."""
        self.progress["seconds"] = time.monotonic() - self.began
        if self.options.steps is not None:
            return stage in TRAINED and self.steps_left(stage) <= 0
        return self.workers.broadcast(self.time_is_up(stage))

    def time_is_up(self, stage: str) -> bool:
        """The same of the time, as this process alone has it."""
        limit = self.options.minutes * 60.0 * TIME_SHARE[stage]
        return self.options.steps is None and time.monotonic() - self.began > limit

    def steps_left(self, stage: str) -> int:
        """Steps until a stage has to leave the rest to the next ones."""
        if self.options.steps is None:
            return MOST_STEPS
        by_then = math.ceil(self.options.steps * (TRAINED.index(stage) + 1) / len(TRAINED))
        return by_then - int(self.progress["steps"])

    def note(self, entry: Mapping[str, Any]) -> None:
        """Add to the run's history."""
        self.progress["history"].append(dict(entry))

    def save(self) -> None:
        """Write the state and the log; the model's whole weights as far as they are trained."""
        self.progress["seconds"] = time.monotonic() - self.began
        if not self.workers.is_first:
            return
        states = {f"{n}/{k}": v for n, state in self.states.items() for k, v in state.items()}
        path = self.folder / CHECKPOINT
        save_checkpoint(path, self.model, self.optimizer, self.progress, states)
        lines = [json.dumps(entry) + "\n" for entry in self.progress["history"]]
        with atomic_path(self.folder / LOG, force=True) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")

    def resume(self, optimizer_of: Callable[[str], torch.optim.Optimizer]) -> None:
        """Resume from the checkpoint, which the first process reads for all.

        Parameters
        ----------
        optimizer_of : callable
            Makes the optimizer of a stage, to be loaded.

        Raises
        ------
        ModelError
            The checkpoint is damaged, or of another run.
        """
        path, fingerprint = self.folder / CHECKPOINT, self.progress["fingerprint"]
        if self.workers.is_first:
            self.progress, flat = load_checkpoint(path, self.model, like=self.progress)
            self.states = {}
            for name, value in flat.items():
                stage, _, key = name.partition("/")
                self.states.setdefault(stage, {})[key] = value
            if not is_whole(self.progress, self.states):
                raise ModelError(
                    f"{path}: cannot resume from this checkpoint (its progress is damaged); remove "
                    "it to start again"
                )
        weights = {k: v.cpu() for k, v in self.model.state_dict().items()}
        shared = self.workers.broadcast((self.progress, self.states, weights))
        self.progress, self.states, weights = shared
        self.model.load_state_dict(weights)
        if self.progress["fingerprint"] != fingerprint:
            raise ModelError(
                f"{self.folder}: holds an unfinished run of other pairs, options or model; "
                "repeat that command to finish it, or add --force to start again"
            )
        stage = self.progress["stage"]
        if stage in TRAINED and self.progress["epoch"] > 0:
            self.optimizer = optimizer_of(stage)
            if self.workers.is_first:
                load_checkpoint(path, self.model, self.optimizer)
            self.optimizer.load_state_dict(self.workers.broadcast(self.optimizer.state_dict()))
        self.began = time.monotonic() - self.progress["seconds"]
