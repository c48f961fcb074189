"""Which function does a work of each command, and what surrounds it: hashes, failures, time."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import explained
from .earlier import check_not_edited, digests, is_whole
from .work import DONE, KEPT, Outcome, Result, Task, Work

__all__ = ["COMMANDS", "NotLoaded", "Runner", "prepare", "run_work"]


class NotLoaded(Exception):
    """What all works need cannot be loaded, so none can be done; the cause says why."""

    @property
    def reason(self) -> str:
        """One line for the user."""
        cause = self.__cause__
        assert isinstance(cause, Exception)
        return explained(cause) or f"unexpected {type(cause).__name__}: {cause}"


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Runner:
    """What does the works of a command.

    Attributes
    ----------
    do : callable
        Of a work: does it and writes its files; raises what is wrong with them.
    recall : callable
        Of a work: the same result, read from the files that are written already.
    load : callable
        Loads what `do` needs for every work, as the model; called before each `do`, it loads once.
    """

    do: Callable[[Work], Result]
    recall: Callable[[Work], Result]
    load: Callable[[], object] = _nothing


COMMANDS = {
    "process": "takes:prepare_process",
    "predict": "takes:prepare_predict",
    "apply": "takes:prepare_apply",
    "export": "exports:prepare_export",
    "match": "pairs:prepare_match",
    "evaluate": "pairs:prepare_evaluate",
}
"""By command the module of this package and the function in it that makes a :class:`Runner` of a
task."""


def prepare(task: Task) -> Runner:
    """Return what does the works of a task; the model is loaded with the first that needs it.

    Raises
    ------
    DiffconsoleError
        The task is none that can be done.
    """
    module, _, name = COMMANDS[task.command].partition(":")
    make: Callable[[Task], Runner] = getattr(
        importlib.import_module(f".{module}", __package__), name
    )
    return make(task)


def run_work(runner: Runner, task: Task, work: Work) -> Outcome:
    """Do one work, unless an earlier run did it and all is whole and unchanged.

    Parameters
    ----------
    runner : Runner
        What :func:`prepare` made of the task.
    task : Task
        Whose fingerprint an earlier result must have.
    work : Work
        What to do.

    Returns
    -------
    Outcome
        Also of a work that failed, whatever went wrong with it.

    Raises
    ------
    NotLoaded
        What all works need cannot be loaded.
    KeyboardInterrupt
        Ctrl-C.
    """
    start = time.perf_counter()
    try:
        inputs = digests(work.inputs)
        if work.earlier is not None:
            if is_whole(work, task.fingerprint, inputs):
                state, result = KEPT, runner.recall(work)
                return _outcome(work, state, result, inputs, start)
            check_not_edited(work)
        try:
            runner.load()
        except Exception as error:
            raise NotLoaded from error
        for path in work.outputs.values():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        return _outcome(work, DONE, runner.do(work), inputs, start)
    except NotLoaded:
        raise
    except Exception as error:
        return Outcome.failed(work, _line(work, error))


def _outcome(
    work: Work, state: str, result: Result, inputs: dict[str, dict[str, object]], start: float
) -> Outcome:
    written = digests(work.outputs)
    seconds = round(time.perf_counter() - start, 3)
    return Outcome(
        work.number, work.name, state, "", tuple(result.notices), result.row, result.data, inputs,
        written, seconds,
    )  # fmt: skip


def _line(work: Work, error: Exception) -> str:
    """One line for the user; a bug costs its file only, and is named as what it is."""
    line = explained(error) or f"unexpected {type(error).__name__}: {error}; please report it"
    named = any(line.startswith(path) for path in (work.name, *work.inputs.values()))
    return line if named else f"{work.name}: {line}"
