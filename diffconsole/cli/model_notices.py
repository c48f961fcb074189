"""What is to be said of a model that this version knows in part, before any process loads it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from ..files.small_files import read_small
from ..strip.parameters import BY_KEY

__all__ = ["model_notices"]

SIDECAR, LARGEST_BYTES = "model.json", 1 << 20


def model_notices(folder: Path) -> list[str]:
    """Return the lines about a model that predicts more than this version knows; none of others.

    Only ``model.json`` is read. What is wrong with a folder is said where the model is loaded.
    """
    keys = _keys(folder)
    if all(key in BY_KEY for key in keys):
        return []
    from ..model.known import Known

    return [f"{folder.resolve().name} {notice}" for notice in Known.of(keys).notices()]


def _keys(folder: Path) -> Collection[str]:
    try:
        keys = json.loads(read_small(folder / SIDECAR, LARGEST_BYTES) or b"{}")["parameters"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()
    return keys if isinstance(keys, list) and all(isinstance(key, str) for key in keys) else ()
