"""How much faster several processes pretrain than one, with the same batch.

Each process has one thread. Two measurements: ``training`` alone, with examples that are ready, so
that a process is a core; and the ``whole``, with one process that makes examples beside each. The
numbers of processes take turns for several rounds, since other work may share the machine; of each
the fastest round counts, and the load of the machine is printed. Beside the time of a step stands
the CPU time that the first process spends on it: where cores are free and processes do not wait for
each other, a step takes about that.

Run: ``python -m tests.benchmarks.pretrain_processes [--processes 1 2] [--steps 24] [--rounds 2]
[--batch 48] [--what training whole]``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffconsole.strip.parameters import PARAMETERS
from diffconsole.training.distributed import process_group
from diffconsole.training.pretraining import pretrain as pretraining
from diffconsole.training.pretraining.examples import SOUNDS, Example, Stream
from diffconsole.training.pretraining.pretrain import PretrainOptions, pretrain
from tests.synthetic import write_people
from tests.training.launch import start_processes

WARM = 4
"""First steps that do not count."""


class Ready(Stream):
    """Examples that cost nothing: noise of the right shape."""

    def example(self, seed: tuple[int, int]) -> Example:
        """Draw the example of a seed."""
        rng = np.random.default_rng(seed)
        sounds = rng.standard_normal((SOUNDS, 128, 216), np.float32)
        target = rng.uniform(size=(SOUNDS, len(PARAMETERS))).astype(np.float32)
        return torch.from_numpy(sounds).half(), torch.from_numpy(target)


def process(arguments: argparse.Namespace) -> None:
    """Be one of the processes, and write the times of the first."""
    torch.set_num_threads(1)
    if arguments.what[0] == "training":
        pretraining.Stream = Ready  # type: ignore[misc]
    options = PretrainOptions(
        str(arguments.folder / "voices"), held_out=("ben",), batch=arguments.batch,
        steps=arguments.steps, style_strips=0,
    )  # fmt: skip
    at: list[tuple[float, float]] = []

    def report(event: dict[str, Any]) -> None:
        if "loss" in event:
            at.append((time.monotonic(), time.process_time()))

    pretraining._finish = lambda *_: {}  # type: ignore[assignment]
    with process_group() as (processes, device):
        pretrain(
            options, arguments.folder / "model", resume=False, device=device, report=report,
            validation=2, processes=processes,
        )  # fmt: skip
        if processes.is_first:
            (wall, cpu), (first, spent) = at[-1], at[WARM - 1]
            count = len(at) - WARM
            found = {"wall_s": (wall - first) / count, "cpu_s": (cpu - spent) / count}
            (arguments.folder / "times.json").write_text(json.dumps(found))


def measured(size: int, what: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds of a step, by the clock and of the first process's CPU time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_people(folder / "voices", {"anna": 1, "ben": 2, "carla": 3, "dora": 4})
        words = ["-m", "tests.benchmarks.pretrain_processes", "--folder", name, "--what", what,
                 "--steps", str(arguments.steps), "--batch", str(arguments.batch)]  # fmt: skip
        ends = [each.wait() for each in start_processes(size, words)]
        if any(ends):
            raise SystemExit(f"{size} processes ended with {ends}")
        found: dict[str, float] = json.loads((folder / "times.json").read_text())
        return found


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--what", nargs="+", default=["training", "whole"])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder is not None:
        process(arguments)
        return 0
    print(f"{os.cpu_count()} cores; {arguments.steps} steps of {arguments.batch} sounds")
    print(f"{'':<10}processes   s a step   speed   CPU s a step   speed   load")
    for what in arguments.what:
        best: dict[int, dict[str, float]] = {}
        for _ in range(arguments.rounds):
            for size in arguments.processes:
                found = measured(size, what, arguments)
                load = os.getloadavg()[0]
                if size not in best or found["wall_s"] < best[size]["wall_s"]:
                    best[size] = {**found, "load": load}
        one = best[arguments.processes[0]]
        for size, found in best.items():
            ratios = [one[key] / found[key] for key in ("wall_s", "cpu_s")]
            print(
                f"{what:<10}{size:9}   {found['wall_s']:8.3f}   {ratios[0]:5.2f}   "
                f"{found['cpu_s']:12.3f}   {ratios[1]:5.2f}   {found['load']:4.1f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
