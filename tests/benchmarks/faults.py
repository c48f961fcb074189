"""Real processes, killed, stopped or out of room at every step of every command.

``python -m tests.benchmarks.faults`` runs each command of the tests once for each of its steps on
files, in a process of its own that gets SIGKILL or SIGTERM before that step, or finds the disk
full from there on, and checks what lies there afterwards as the tests do.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..fault_checks import CHECKS
from ..faults import FAULTS, Outcome, counted_steps, put, run, short_work, striking, taken
from ..faults import states as in_process

__all__ = ["states"]

MOST_STEPS = 400


def states(
    fault: str, folder: Path, command: Sequence[object], every: int = 1
) -> Iterator[Outcome]:
    """As the tests' :func:`tests.faults.states`, each with a process of its own."""
    first = taken(folder)
    for at in itertools.count(1, every):
        outcome, reached = _in_fork(fault, at, folder, command)
        if not reached:
            break
        assert at < MOST_STEPS
        yield outcome
        put(folder, first)
    put(folder, first)
    assert run(*command).code == 0


def _in_fork(fault: str, at: int, folder: Path, command: Sequence[object]) -> tuple[Outcome, bool]:
    """Run a command with a fault at a step; how it ended, and whether it came to that step."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            reached: list[int] = []
            with counted_steps(fault, folder, striking(fault, at, reached)):
                outcome = run(*command)
            with os.fdopen(writer, "w") as answer:
                json.dump([outcome.code, outcome.stderr, bool(reached)], answer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        content = answers.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Outcome(None, ""), True
    code, stderr, came = json.loads(content)
    return Outcome(code, stderr), came


def main() -> None:
    """Run from the command line; exit code 1 where a check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", choices=CHECKS, action="append")
    parser.add_argument("--fault", choices=FAULTS, action="append")
    parser.add_argument("--every", type=int, default=1, help="1 is every step, 2 every other, …")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    failed = 0
    with short_work(), tempfile.TemporaryDirectory() as warm:
        # What this imports and compiles, all processes have.
        CHECKS["process over older"](Path(os.path.realpath(warm)), "full", in_process)
        gc.freeze()
        for name in arguments.command or CHECKS:
            for fault in arguments.fault or FAULTS:
                began = time.monotonic()
                with tempfile.TemporaryDirectory() as folder:
                    try:
                        root = Path(os.path.realpath(folder))
                        count = CHECKS[name](root, fault, lambda *of: states(*of, arguments.every))
                        said = f"{count} states"
                    except AssertionError:
                        failed += 1
                        traceback.print_exc(file=sys.stdout)
                        said = "FAILED"
                print(f"{name}, {fault}: {said}, {time.monotonic() - began:.0f} s", flush=True)
    # Some libraries take what is frozen at the end for a leak.
    gc.unfreeze()
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
