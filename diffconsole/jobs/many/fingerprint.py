"""What a result depends on besides its input: options, model, version; as a few digits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ... import __version__
from .earlier import digest_of
from .work import Task

__all__ = ["task_of"]

WITHOUT = ("table", "model")
"""Options that change no result; a model counts by its files, not by the folder's place."""


def task_of(command: str, options: Mapping[str, Any], files: Iterable[Path] = ()) -> Task:
    """Return a task with its fingerprint.

    Parameters
    ----------
    command : str
        As of :class:`.work.Task`.
    options : dict
        As of :class:`.work.Task`.
    files : iterable of Path
        What all works read, as the files of the model and the references: their contents count.
    """
    asked = {key: value for key, value in options.items() if key not in WITHOUT}
    digest = hashlib.sha256()
    digest.update(json.dumps([command, asked, __version__], sort_keys=True).encode())
    for path in files:
        found = digest_of(path)
        digest.update(f"{path.name}:{found and found['sha256']}".encode("utf-8", "replace"))
    return Task(command, options, digest.hexdigest()[:32])
