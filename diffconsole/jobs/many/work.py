"""One piece of work on an archive, its task and its outcome: plain data that travels as JSON.

Nothing here holds code, open files or arrays, so a work may be sent to another process, or to
another machine, and is the same there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["DONE", "FAILED", "KEPT", "Outcome", "Result", "Task", "Work"]

DONE, KEPT, FAILED = "done", "kept", "failed"
"""States of an outcome: written now; whole and unchanged from an earlier run; not written."""


@dataclass(frozen=True)
class Task:
    """What is done to every file of an archive.

    Attributes
    ----------
    command : str
        A key of :data:`.registry.COMMANDS`.
    options : dict
        What the command was asked for, as JSON has it: the model's folder, the device, amounts.
    fingerprint : str
        Hexadecimal digits that differ where options, model or version of the package differ: a
        result of an earlier run counts only under the same ones.
    """

    command: str
    options: Mapping[str, Any]
    fingerprint: str = ""

    def to_json(self) -> str:
        """Return the task in one line of JSON."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Task:
        """Read what :meth:`to_json` returns."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Work:
    """One file of an archive, or one pair of files, and where its results go.

    Attributes
    ----------
    number : int
        Its place among the inputs, from 0.
    name : str
        What it is called in reports and in the manifest: mostly the path of the input as given.
    inputs : dict of str to str
        Paths of the files that are read, by their role, as ``"raw"``.
    outputs : dict of str to str
        Paths of the files that are written, by their role, as ``"preset"`` and ``"audio"``. Their
        folders need not exist.
    replace : bool
        Whether files that exist may be replaced.
    earlier : dict, optional
        What the manifest knows of this work from an earlier run, for :func:`.registry.run_work` to
        check; None where nothing is kept.
    options : dict
        What is asked for this file alone, on top of the task's.
    """

    number: int
    name: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str] = field(default_factory=dict)
    replace: bool = False
    earlier: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the work in one line of JSON."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Work:
        """Read what :meth:`to_json` returns."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Result:
    """What a command's function returns for one work, once its files are written.

    Attributes
    ----------
    notices : tuple of str
        What the user should know.
    row : dict, optional
        A line of the table of results: figures and texts by column.
    data : dict
        What ``--json`` holds of it besides the files.
    """

    notices: tuple[str, ...] = ()
    row: Mapping[str, Any] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How one work ended.

    Attributes
    ----------
    number, name
        Of the work.
    state : str
        :data:`DONE`, :data:`KEPT` or :data:`FAILED`.
    failure : str
        One line that names the file, what is wrong and what to do; empty unless it failed.
    notices, row, data
        As of :class:`Result`.
    inputs, outputs : dict of str to dict
        By role: ``"path"``, ``"bytes"`` and ``"sha256"`` of what was read and of what was written.
    seconds : float
        How long it took.
    """

    number: int
    name: str
    state: str
    failure: str = ""
    notices: tuple[str, ...] = ()
    row: Mapping[str, Any] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def failed(cls, work: Work, failure: str) -> Outcome:
        """Return the outcome of a work that failed, with the line that says why."""
        return cls(work.number, work.name, FAILED, failure)

    def to_json(self) -> str:
        """Return the outcome in one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Outcome:
        """Read what :meth:`to_json` returns."""
        data = json.loads(text)
        return cls(**{**data, "notices": tuple(data["notices"])})
