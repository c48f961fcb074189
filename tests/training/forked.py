"""Processes of runs, forked from one that has imported what they need; for tests.

Importing takes longer than what the tests let a process do. The processes share nothing else: each
has its place among them in its environment, as torchrun gives it. ``python -m
tests.training.forked MODULE`` is what they are forked from; it reads a line of JSON for each run,
and writes the numbers of the processes, then how they ended.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Runs", "runs_of"]

BESIDE = ("torch._dynamo", "numba.core.dispatcher")
"""What a module's own imports leave for later, which takes a second and more."""

MOST_SECONDS = 600
"""A process that takes longer is ended by SIGALRM."""


class Runs:
    """Runs of one module's ``main``, one after the other, each in one process or several.

    Attributes
    ----------
    process : subprocess.Popen
        What the processes are forked from.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def start(self, size: int, *words: object) -> list[int]:
        """Start a process for each rank, and return the numbers of the processes."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([size, [str(word) for word in words]]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def ends(self) -> list[int]:
        """Wait for what was started: exit codes, or signals below 0, in the order of the ranks."""
        return self._answer()

    def run(self, size: int, *words: object) -> list[int]:
        """Start and wait."""
        self.start(size, *words)
        return self.ends()

    def _answer(self) -> list[int]:
        assert self.process.stdout is not None
        return list(json.loads(self.process.stdout.readline()))


@contextmanager
def runs_of(module: str) -> Iterator[Runs]:
    """Import a module once, and let its ``main`` run with words in processes of their own."""
    given = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", __name__, module],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **given}, cwd=Path(__file__).parents[2],
    ) as process:  # fmt: skip
        yield Runs(process)
    assert process.returncode == 0


def _fork(main: Callable[..., None], words: list[str], given: dict[str, str]) -> int:
    """Run ``main`` in a process of its own, and return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.alarm(MOST_SECONDS)
        # What the run says must not be taken for an answer.
        os.dup2(2, 1)
        os.environ.update(given)
        main(*words)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _serve(module: str) -> None:
    main = importlib.import_module(module).main
    for name in BESIDE:
        importlib.import_module(name)
    for line in sys.stdin:
        size, words = json.loads(line)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        given = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        started = [
            _fork(main, words, {**given, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(size)
        ]
        print(json.dumps(started), flush=True)
        statuses = [os.waitpid(each, 0)[1] for each in started]
        print(json.dumps([os.waitstatus_to_exitcode(status) for status in statuses]), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
