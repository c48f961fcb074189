"""Commands that are killed, stopped, or run out of room at a given step of theirs.

One process imports everything and answers requests; each command runs in a fork of it, with its
renames or its writes counted. That takes a tenth of the time of starting a program each time.
"""

from __future__ import annotations

import builtins
import errno
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RENAMES = ("replace", "rename", "link", "unlink")


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes
    ----------
    code : int or None
        Its exit code; None if it was killed.
    stderr : str
        What it said.
    reached : bool
        Whether it came to the step at which the fault waited.
    """

    code: int | None
    stderr: str
    reached: bool


class Server:
    """The process that forks.

    Parameters
    ----------
    process : Popen
        Serving :func:`serve`.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self, *command: object, fault: str = "", at: int = 0, below: Path | None = None
    ) -> Outcome:
        """Run a command with a fault at its step `at` on files below a folder.

        Parameters
        ----------
        command : object
            Its words.
        fault : {"", "kill", "term", "full"}
            SIGKILL or SIGTERM before a rename; ENOSPC from a write on.
        at : int
            Which, from 1.
        below : Path, optional
            Only steps on files in there count.
        """
        request = {"command": [str(w) for w in command], "fault": fault, "at": at}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**request, "below": str(below)}) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))


@contextmanager
def served() -> Iterator[Server]:
    """Start the process that forks."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", "from tests.faults import serve; serve()"],
        cwd=Path(__file__).parents[1], env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield Server(process)
        finally:
            process.kill()


def serve() -> None:
    """Answer requests on stdin, each in a fork."""
    import torch

    from . import commands

    torch.set_num_threads(1)
    _shorten_long_work()
    with tempfile.TemporaryDirectory() as folder:
        # Once before the forks: what it imports and compiles, they all have.
        take = commands.write_take(Path(folder) / "take.wav", seconds=0.5)
        model = commands.write_model(Path(folder) / "model")
        commands.done("process", take, "-o", Path(folder) / "out", "--model", model)
    for line in sys.stdin:
        request = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            reached = _install(request["fault"], request["at"], request["below"], writer)
            result = commands.call(*request["command"])
            data = {"code": result.exit_code, "stderr": result.stderr, "reached": bool(reached)}
            os.write(writer, json.dumps(data).encode())
            os._exit(0)
        os.close(writer)
        with open(reader, "rb") as answers:
            content = answers.read()
        os.waitpid(child, 0)
        killed = json.dumps({"code": None, "stderr": "", "reached": True})
        print(content.decode() or killed, flush=True)


def _install(fault: str, at: int, below: str, writer: int) -> list[int]:
    """Count steps from now on and strike at one; what is returned is not empty after that."""
    steps, reached = itertools.count(1), list[int]()

    def step(*paths: object) -> None:
        if not any(
            os.fsdecode(p).startswith(below) for p in paths if isinstance(p, str | bytes | Path)
        ):
            return
        number = next(steps)
        if number < at or (fault != "full" and number > at):
            return
        reached.append(number)
        if fault == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(paths[0]))
        os.kill(os.getpid(), signal.SIGKILL if fault == "kill" else signal.SIGTERM)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            step(*args[:2])
            return function(*args, **kwargs)

        return call

    if fault in ("kill", "term"):
        for name in RENAMES:
            setattr(os, name, counted(getattr(os, name)))
    elif fault == "full":
        _fill_disk(step, counted)
    return reached


def _fill_disk(step: Callable[..., None], counted: Callable[..., Any]) -> None:
    """Let every call that takes room on a disk be a step."""
    plain_open, plain_os_open, plain_sync = io.open, os.open, os.fsync

    class Counting:
        def __init__(self, file: Any, path: object) -> None:
            self.file, self.path = file, path

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: Any) -> Any:
            step(self.path)
            return self.file.write(data)

    def open_file(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = plain_open(path, mode, *args, **kwargs)
        return Counting(file, path) if set(mode) & set("wax+") else file

    def os_open(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_CREAT:
            step(path)
        return plain_os_open(path, flags, *args, **kwargs)

    def sync(descriptor: int) -> None:
        step(os.readlink(f"/proc/self/fd/{descriptor}"))
        plain_sync(descriptor)

    io.open = builtins.open = open_file  # type: ignore[assignment]
    os.open, os.fsync, os.link = os_open, sync, counted(os.link)  # type: ignore[assignment]


def _shorten_long_work() -> None:
    """Replace searches, training and drawings, which have tests of their own, by stand-ins.

    Every file is written by the functions that always write it.
    """
    import diffconsole.evaluation
    import diffconsole.plots
    import diffconsole.plots.match
    import diffconsole.plots.training
    import diffconsole.training.finetune
    import diffconsole.training.match
    from diffconsole import cli_training
    from diffconsole.files import atomic_path
    from diffconsole.parameters import default_settings
    from diffconsole.training.checkpoint import save_checkpoint
    from diffconsole.training.finetune import CHECKPOINT, LOG, FinetuneResult
    from diffconsole.training.match import Match

    def draw(path: Path, force: bool) -> None:
        with atomic_path(path, force=force) as temporary:
            temporary.write_bytes(b"\x89PNG" + bytes(1000) + b"IEND")

    def search(pairs: Sequence[Any], options: Any, **_: Any) -> Iterator[Match]:
        for pair in pairs:
            yield Match(
                name=pair.name, settings=default_settings(), bypass=frozenset(), distance=1.0,
                level_distance=2.0, uncertainty={}, seconds=0.1, steps=1, history=[1.0],
                lag_seconds=pair.lag_seconds, polarity=pair.polarity,
                correlation=pair.correlation, options=options, stopped=False,
            )  # fmt: skip

    def train(model: Any, _train: Any, _held: Any, folder: Path, *_: Any, **__: Any) -> Any:
        history: list[dict[str, Any]] = [{"stage": "labels", "labelled": 1, "pairs": 1}]
        for epoch in (1, 2):
            history.append({"stage": "head", "epoch": epoch, "train": 1.0, "held_out": 1.0})
            save_checkpoint(folder / CHECKPOINT, model, None, {"history": history})
            with atomic_path(folder / LOG, force=True) as temporary:
                temporary.write_text("".join(json.dumps(entry) + "\n" for entry in history))
        with_weights = next(model.parameters())
        with_weights.data += 0.25
        return FinetuneResult(history, 2, 1.0, {"before": 2.0, "head": 1.0})

    modules: dict[Any, dict[str, Any]] = {
        diffconsole.plots: {
            "plot_presets": lambda _v, path, *, force, **_: draw(path, force),
        },
        diffconsole.plots.match: {
            "plot_match": lambda _pair, _preset, path, *, force, **_: draw(path, force),
        },
        diffconsole.plots.training: {
            "plot_training": lambda _history, path, *, force, **_: draw(path, force),
        },
        diffconsole.training.match: {"match": search},
        diffconsole.training.finetune: {"finetune": train},
        diffconsole.evaluation: {
            "model_distance": lambda _pair, _model: 1.0,
            "fixed_distance": lambda _pair, _fixed: 1.5,
        },
        cli_training: {"_choose_fixed": lambda _pairs, _report: _Named("rap")},
    }
    for module, changes in modules.items():
        for name, value in changes.items():
            setattr(module, name, value)


@dataclass(frozen=True)
class _Named:
    name: str
