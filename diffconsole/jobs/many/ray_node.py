"""What runs on a node of a Ray cluster: one work, with the model of this process.

Ray keeps a process for the next task, so the model is loaded once in each. Task, files, work and
outcome come and go as text and bytes; the code is the one that is installed on the node.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import explained
from .processes import THREADS
from .registry import NotLoaded, Runner, prepare
from .storage import run_stored
from .work import Task, Work

__all__ = ["DATE", "work_on_node"]

DATE = "SOURCE_DATE_EPOCH"


def work_on_node(
    version: str, date: str | None, task_line: str, files: list[Any], work_line: str
) -> str:
    """Do one work and return its outcome as a line of JSON, or an error that stops all works.

    Parameters
    ----------
    version : str
        Of the package where the works are handed out.
    date : str, optional
        ``SOURCE_DATE_EPOCH`` there.
    task_line, work_line : str
        Task and work, in JSON.
    files : list
        One reference to the contents of model and references, by option and name.
    """
    if version != __version__:
        line = f"a node has diffconsole {__version__}, not {version}; install the same on all"
        return json.dumps({"error": line})
    os.environ.pop(DATE, None)
    if date is not None:
        os.environ[DATE] = date
    try:
        runner, task, _ = _ready(task_line, files[0])
    except Exception as error:
        reason = explained(error) or f"unexpected {type(error).__name__}: {error}"
        return json.dumps({"error": reason})
    try:
        return run_stored(runner, task, Work.from_json(work_line)).to_json()
    except NotLoaded as error:
        return json.dumps({"error": error.reason})


@functools.lru_cache(maxsize=1)
def _ready(task_line: str, files: Any) -> tuple[Runner, Task, Any]:
    """Write what was sent to a folder, which lives as long as this process needs it."""
    # One work on each core: read when the libraries are loaded.
    for name in THREADS:
        os.environ[name] = "1"
    import ray

    task = Task.from_json(task_line)
    kept = tempfile.TemporaryDirectory(prefix="diffconsole-")
    task = _with_files(task, ray.get(files), Path(kept.name))
    return prepare(task), task, kept


def _with_files(task: Task, sent: Mapping[str, Mapping[str, bytes]], folder: Path) -> Task:
    """Write what was sent into a folder, and name it there."""
    options = dict(task.options)
    for option, some in sent.items():
        place = folder / option
        place.mkdir()
        for name, data in some.items():
            (place / Path(name).name).write_bytes(data)
        paths = [str(place / Path(name).name) for name in some]
        if option == "model":
            options[option] = str(place)
        else:
            options[option] = {**options[option], "paths": paths}
    return replace(task, options=options)
