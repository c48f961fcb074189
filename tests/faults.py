"""Commands that are killed, stopped, or run out of room at every step of theirs on files.

A step is a call that changes what a folder holds: a file made, written, put on the disk, renamed,
linked or removed. What a process leaves that is killed before a step is what lies there at that
moment, so one run shows all of its kills: the folder is copied before every step, links and times
included. A run that is stopped, or that finds the disk full, goes on after the step, so each of
these takes a run of its own. All run in this process, which has everything imported and compiled;
``python -m tests.benchmarks.faults`` kills real processes.
"""

from __future__ import annotations

import builtins
import errno
import io
import itertools
import json
import os
import pathlib
import shutil
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from .commands import call

__all__ = [
    "FAULTS",
    "Outcome",
    "States",
    "counted_steps",
    "put",
    "run",
    "short_work",
    "states",
    "striking",
    "taken",
]

FAULTS = ("kill", "term", "full")
MOST_STEPS = 400
# Those that need room on the disk; the others are steps of kills and stops only.
TAKE_ROOM = ("link", "mkdir")
OTHERS = ("replace", "rename", "unlink", "rmdir")


class Outcome(NamedTuple):
    """How a command ended: its exit code, None where it was killed, and what it said."""

    code: int | None
    stderr: str


States = Callable[[str, Path, Sequence[object]], Iterator[Outcome]]
"""What :func:`states` is; the benchmark's kills real processes."""


def run(*command: object) -> Outcome:
    """Run a command in this process, undisturbed."""
    result = call(*command)
    return Outcome(result.exit_code, result.stderr)


def states(fault: str, folder: Path, command: Sequence[object]) -> Iterator[Outcome]:
    """Yield once for every step of a command, with the folder as a fault at that step leaves it.

    Each time all that lies below the folder is what was there at first, then the command ran. At
    the end it is as the undisturbed command left it.

    Parameters
    ----------
    fault : {"kill", "term", "full"}
        SIGKILL or SIGTERM before a step; ENOSPC from a step on.
    folder : Path
        Only steps on files in there count.
    command : sequence
        Its words.
    """
    first = taken(folder)
    if fault == "kill":
        found: list[dict[str, _File | None]] = []

        def keep(_number: int, _path: object) -> None:
            state = taken(folder)
            if not found or state != found[-1]:
                found.append(state)

        with counted_steps(fault, folder, keep):
            last = run(*command)
        assert last.code == 0, last.stderr
        done = taken(folder)
        for state in found:
            put(folder, state)
            yield Outcome(None, "")
        put(folder, done)
        return
    for at in itertools.count(1):
        reached: list[int] = []
        with counted_steps(fault, folder, striking(fault, at, reached)):
            outcome = run(*command)
        if not reached:
            assert outcome.code == 0, outcome.stderr
            return
        assert at < MOST_STEPS
        yield outcome
        put(folder, first)


def striking(fault: str, at: int, reached: list[int]) -> Callable[[int, object], None]:
    """Return what strikes at a step, and notes that it came there."""

    def strike(number: int, path: object) -> None:
        if number < at or (fault != "full" and number > at):
            return
        reached.append(number)
        if fault == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if fault == "term":
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL, "would end the tests"
        os.kill(os.getpid(), signal.SIGKILL if fault == "kill" else signal.SIGTERM)

    return strike


@contextmanager
def counted_steps(
    fault: str, folder: Path, before: Callable[[int, object], None]
) -> Iterator[None]:
    """Call something before every step on files below a folder, with its number from 1."""
    below, numbers = str(folder), itertools.count(1)
    plain_open, plain_os_open, plain_sync = io.open, os.open, os.fsync

    def step(*paths: object) -> None:
        named = [os.fsdecode(p) for p in paths if isinstance(p, str | bytes | Path)]
        if any(name.startswith(below) for name in named):
            before(next(numbers), named[0])

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call_counted(*args: Any, **kwargs: Any) -> Any:
            step(*args[:2])
            return function(*args, **kwargs)

        return call_counted

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
        # Where there is no /proc, what is flushed is a step nevertheless.
        link = f"/proc/self/fd/{descriptor}"
        step(os.readlink(link) if os.path.lexists(link) else below)
        plain_sync(descriptor)

    names = TAKE_ROOM if fault == "full" else TAKE_ROOM + OTHERS
    changes = {"open": os_open, **{name: counted(getattr(os, name)) for name in names}}
    # Python 3.10's paths hold the functions of os themselves.
    accessor = getattr(pathlib, "_NormalAccessor", None)
    with ExitStack() as changed:
        for name, function in changes.items():
            changed.enter_context(mock.patch.object(os, name, function))
            if accessor is not None and name != "open":
                changed.enter_context(mock.patch.object(accessor, name, staticmethod(function)))
        if accessor is not None:
            changed.enter_context(mock.patch.object(accessor, "open", staticmethod(open_file)))
        changed.enter_context(mock.patch.object(os, "fsync", sync))
        changed.enter_context(mock.patch.object(io, "open", open_file))
        changed.enter_context(mock.patch.object(builtins, "open", open_file))
        yield


class _File(NamedTuple):
    """Names of one file have one `number`."""

    number: int
    mode: int
    mtime_ns: int
    data: bytes


def taken(folder: Path) -> dict[str, _File | None]:
    """Everything below a folder, with permissions, times and links."""
    found: dict[str, _File | None] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        name = str(path.relative_to(folder))
        if path.is_dir():
            found[name] = None
        else:
            # Not open(): that is counted.
            descriptor = os.open(path, os.O_RDONLY)
            with os.fdopen(descriptor, "rb") as file:
                data = file.read()
            found[name] = _File(status.st_ino, status.st_mode, status.st_mtime_ns, data)
    return found


def put(folder: Path, state: dict[str, _File | None]) -> None:
    """Make a folder hold what :func:`taken` found."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    made: dict[int, Path] = {}
    for name, file in state.items():
        path = folder / name
        if file is None:
            path.mkdir()
        elif file.number in made:
            os.link(made[file.number], path)
        else:
            path.write_bytes(file.data)
            os.chmod(path, file.mode & 0o7777)
            os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
            made[file.number] = path


@contextmanager
def short_work() -> Iterator[None]:
    """Replace searches, training and drawings, which have tests of their own, by stand-ins.

    Every file is written by the functions that always write it. A strip is simplified once for a
    take and a prediction, and a pair of files is aligned once for what they hold.
    """
    import diffconsole.jobs.finetune
    import diffconsole.jobs.predict
    import diffconsole.pairs.evaluation
    import diffconsole.pairs.pairs
    import diffconsole.pairs.residual
    import diffconsole.plots
    import diffconsole.plots.match
    import diffconsole.training.matching.match
    from diffconsole.files import atomic_path
    from diffconsole.strip.parameters import default_settings
    from diffconsole.training.checkpoint import save_checkpoint
    from diffconsole.training.finetuning.finetune import CHECKPOINT, LOG, FinetuneResult
    from diffconsole.training.matching.match import Match

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

    simple_strip, found = diffconsole.jobs.predict.simple_strip, dict[Any, Any]()

    def simplify_once(
        prediction: Any, take: Any, bypass: Collection[str] = (), _: Any = None
    ) -> Any:
        which = tuple(prediction.settings.items()), take.mono.tobytes(), frozenset(bypass)
        if which not in found:
            found[which] = simple_strip(prediction, take, bypass)
        return found[which]

    pair_of, aligned = diffconsole.pairs.pairs.pair_of, dict[Any, Any]()

    def align_once(name: str, raw: Any, mixed: Any, **more: Any) -> Any:
        which = name, raw.shape, raw.tobytes(), mixed.shape, mixed.tobytes(), repr(more)
        if which not in aligned:
            aligned[which] = pair_of(name, raw, mixed, **more)
        return aligned[which]

    modules: dict[Any, dict[str, Any]] = {
        diffconsole.jobs.predict: {"simple_strip": simplify_once},
        diffconsole.pairs.pairs: {"pair_of": align_once},
        diffconsole.plots: {
            "plot_presets": lambda _v, path, *, force, **_: draw(path, force),
        },
        diffconsole.plots.match: {
            "plot_match": lambda _pair, _preset, path, *, force, **_: draw(path, force),
        },
        diffconsole.training.matching.match: {"match": search},
        diffconsole.pairs.evaluation: {
            "model_distance": lambda _pair, _model: 1.0,
            "fixed_distance": lambda _pair, _fixed: 1.5,
            "level_distance": lambda _pair: 2.0,
        },
        diffconsole.pairs.residual: {
            "measure_residual": lambda _pair, _preset: None,
            "in_words": lambda _: [],
        },
        diffconsole.jobs.finetune: {
            "finetune": train,
            "plot_training": lambda _history, path, *, force, **_: draw(path, force),
            "model_distance": lambda _pair, _model: 1.0,
            "choose_factory_preset": lambda _pairs, _progress: _Named("rap"),
        },
    }
    with ExitStack() as changed:
        for module, changes in modules.items():
            for name, value in changes.items():
                changed.enter_context(mock.patch.object(module, name, value))
        yield


class _Named(NamedTuple):
    name: str
