"""One process of a pretraining run on few voices, as torchrun starts it; for tests.

Run: ``python -m tests.training.pretraining.several_processes VOICES FOLDER STEPS [KILL_AT]`` with
the variables that torchrun sets. It keeps its state after every step; with a step to kill at, the
last process kills itself with SIGKILL after it. What it ends with is beside the folder, in
``FOLDER.end.safetensors``, the numbers of each step's examples in ``FOLDER.SIZE.RANK.jsonl``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from diffconsole.training.distributed import process_group
from diffconsole.training.pretraining import pretrain as pretraining
from diffconsole.training.pretraining import training_run
from diffconsole.training.pretraining.examples import Pool
from diffconsole.training.pretraining.pretrain import PretrainOptions, pretrain


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    voices, folder, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    kill_at = int(sys.argv[4]) if len(sys.argv) > 4 else None
    pretraining.VALIDATIONS = 2
    training_run.KEEP_SECONDS = 0.0
    options = PretrainOptions(
        voices,
        held_out=("ben",),
        batch=24,
        steps=steps,
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
            if last and event.get("step") == kill_at and "loss" in event:
                os.kill(os.getpid(), signal.SIGKILL)

        def finish(run: Any, *_: Any) -> dict[str, Any]:
            state = run.trained.state_dict()
            save_file(
                {k: v.detach().clone() for k, v in state.items()}, f"{folder}.end.safetensors"
            )
            return {}

        pretraining._finish = finish  # type: ignore[assignment]
        pretrain(options, folder, device=device, report=report, validation=3, processes=processes)


if __name__ == "__main__":
    main()
