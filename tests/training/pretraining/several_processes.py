"""One process of a pretraining run on few voices, as torchrun starts it; for tests.

:func:`main` wants the variables that torchrun sets. The run keeps its state after every step; with
a step to kill at, the last process kills itself with SIGKILL after it. What it ends with is beside
the folder, in ``FOLDER.end.safetensors``, the numbers of each step's examples in
``FOLDER.SIZE.RANK.jsonl``.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from diffconsole.training.distributed import process_group
from diffconsole.training.pretraining import pretrain as pretraining
from diffconsole.training.pretraining import training_run
from diffconsole.training.pretraining.examples import Pool
from diffconsole.training.pretraining.pretrain import PretrainOptions, pretrain

from ...synthetic import small_encoders
from .short_examples import short_examples


def main(voices: str, name: str, steps: str, kill_at: str = "") -> None:
    """Train on voices into the folder of a name, for some steps; perhaps be killed at one."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    folder = Path(name)
    small_encoders(setattr)
    short_examples(setattr)
    pretraining.VALIDATIONS = 2
    training_run.KEEP_SECONDS = 0.0
    options = PretrainOptions(
        voices,
        held_out=("ben",),
        batch=16,
        steps=int(steps),
        style_strips=0,
        module_examples=0,
        learning_rate=1e-3,
    )
    with process_group() as (processes, device):
        log = Path(f"{folder}.{processes.size}.{processes.rank}.jsonl")
        plain = Pool.batch

        def noted(pool: Pool, step: int, made: Any, rows: slice = slice(None)) -> Any:
            numbers = [*pool.schedule.fresh_in(step), *pool.schedule.again_in(step)][rows]
            found = plain(pool, step, made, rows)
            sums = [float(sounds.double().sum()) for sounds in found[0]]
            with log.open("a") as file:
                file.write(json.dumps({"step": step, "numbers": numbers, "sums": sums}) + "\n")
            return found

        Pool.batch = noted  # type: ignore[method-assign]

        def report(event: dict[str, Any]) -> None:
            last = processes.rank == processes.size - 1
            if last and str(event.get("step")) == kill_at and "loss" in event:
                os.kill(os.getpid(), signal.SIGKILL)

        def finish(run: Any, *_: Any) -> dict[str, Any]:
            state = run.trained.state_dict()
            save_file(
                {k: v.detach().clone() for k, v in state.items()}, f"{folder}.end.safetensors"
            )
            return {}

        pretraining._finish = finish  # type: ignore[assignment]
        pretrain(options, folder, device=device, report=report, validation=2, processes=processes)
