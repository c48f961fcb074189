"""Where the works of an archive run: the protocol of executors, and the one in this process.

How an executor is added. It is any object with a method ``run(task, works)`` that is an iterator of
outcomes. In whatever process or machine it uses, it calls

>>> runner = prepare(task)                     # once a process
>>> outcome = run_work(runner, task, work)     # once a work; never raises for a broken file

and gives each outcome on. The model is loaded with the first work that needs it, so a run that has
nothing left to do loads none; where it cannot be loaded, ``run_work`` raises
:class:`.registry.NotLoaded`, and the executor raises the error that is its cause. Task, work and
outcome travel as JSON (``to_json``, ``from_json``). It keeps these rules, and the rest (names of
results, manifest, table, reports, Ctrl-C) is not its concern:

- one outcome for each work that it has taken, in any order, as soon as it is there;
- ``works`` is an iterator that is taken from in the calling thread, one by one, and no further
  ahead than keeps the machine busy: taking a work writes into the manifest that it has begun, and a
  work that is begun and never finished is done again by ``--resume``;
- a process or machine that dies costs only the work in hand, which is tried once more and then
  reported as failed: :meth:`.work.Outcome.failed` with a line that names the file;
- before such a second try, or where a work may have been left half done, the work has
  ``replace=True`` (:func:`again`);
- when the iterator is closed, or a KeyboardInterrupt passes through it, everything that it started
  has ended before it returns. Files are written whole or not at all, so a process may be killed;
- paths in a work may be read and written where it runs. An executor for other storage copies the
  inputs to local files, runs the work with local paths (``dataclasses.replace``), copies the
  outputs back and puts the paths of the work into the outcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from .registry import NotLoaded, prepare, run_work
from .work import Outcome, Task, Work

__all__ = ["Executor", "InThisProcess", "again"]


class Executor(Protocol):
    """Runs works somewhere; the module says what is asked of it."""

    def run(self, task: Task, works: Iterable[Work]) -> Iterator[Outcome]:
        """Yield an outcome for each work, in the order in which they are completed.

        Raises
        ------
        DiffconsoleError
            No work can be done at all: the model cannot be loaded, or there is no machine.
        """
        ...


class InThisProcess:
    """Runs one work after the other where it is called."""

    def run(self, task: Task, works: Iterable[Work]) -> Iterator[Outcome]:
        """Yield the outcomes in the order of the works."""
        runner = prepare(task)
        for work in works:
            try:
                outcome = run_work(runner, task, work)
            except NotLoaded as error:
                assert error.__cause__ is not None
                raise error.__cause__ from None
            yield outcome


def again(work: Work) -> Work:
    """Return a work as it is tried a second time: what it may have written is replaced."""
    return replace(work, replace=True)
