"""The log of a fine-tuning run, as JSON lines: what happened, stage by stage."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError

__all__ = ["LOG", "read_history", "read_lines"]

LOG = "finetune.jsonl"
LARGEST_BYTES = 64 << 20
LARGEST_LINE_BYTES = 1 << 16
NUMBERS = ("held_out", "train", "strength", "epoch", "labelled", "pairs", "found")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read a file of JSON objects, one a line; lines that are none are passed over.

    Parameters
    ----------
    path : Path
        The file; of a longer one the first 64 MiB.

    Yields
    ------
    dict
        As it was written; what is NaN is no JSON.

    Raises
    ------
    ModelError
        The file cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path}: is not an ordinary file; remove it")
        with open(path, "rb") as file:
            while file.tell() < LARGEST_BYTES:
                line = file.readline(LARGEST_LINE_BYTES)
                if not line:
                    return
                try:
                    entry = json.loads(line, parse_constant=_refuse)
                except (ValueError, RecursionError):
                    continue
                if isinstance(entry, dict):
                    yield entry
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None


def read_history(folder: str | Path) -> list[dict[str, Any]]:
    """Return the entries of a run's log; damaged lines are passed over.

    Parameters
    ----------
    folder : str or Path
        What ``finetune -o`` wrote, finished or not.

    Raises
    ------
    ModelError
        No log there, or it is no log.
    """
    path = Path(folder) / LOG
    try:
        entries = [entry for entry in read_lines(path) if _is_stage(entry)]
    except FileNotFoundError:
        raise ModelError(f"{folder}: no {LOG} here; give a folder that finetune wrote") from None
    if not entries:
        raise ModelError(f"{path}: holds no stages of a run")
    return entries


def _is_stage(entry: Mapping[str, Any]) -> bool:
    """Whether an entry names its stage, and what should be a number is one."""
    stage = entry.get("stage")
    numbers = [entry[name] for name in NUMBERS if name in entry]
    return (
        isinstance(stage, str)
        and (stage != "ridge" or "strength" in entry)
        and all(type(v) in (int, float) and abs(v) <= sys.float_info.max for v in numbers)
    )


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")
