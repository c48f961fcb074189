"""Many files: one kind of work on each file of an archive, in several processes, resumable.

A command names a :class:`~.work.Task` (what is done and how, once) and a
:class:`~.work.Work` for each file. An executor (:mod:`.executor`) runs them, here or elsewhere, and
gives an :class:`~.work.Outcome` for each. :mod:`.manifest` remembers on disk what is done.
"""

from __future__ import annotations

from .executor import Executor, InThisProcess
from .registry import COMMANDS, prepare, run_work
from .work import Outcome, Result, Task, Work

__all__ = [
    "COMMANDS",
    "Executor",
    "InThisProcess",
    "Outcome",
    "Result",
    "Task",
    "Work",
    "prepare",
    "run_work",
]
