"""The log of a fine-tuning run, as JSON lines: what happened, stage by stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import ModelError

__all__ = ["LOG", "read_history"]

LOG = "finetune.jsonl"
LARGEST_BYTES = 16 << 20


def read_history(folder: str | Path) -> list[dict[str, Any]]:
    """Return the entries of a run's log.

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
        with open(path, "rb") as file:
            lines = file.read(LARGEST_BYTES).decode("utf-8").splitlines()
        entries = [json.loads(line) for line in lines if line.strip()]
    except FileNotFoundError:
        raise ModelError(f"{folder}: no {LOG} here; give a folder that finetune wrote") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as a log ({str(error)[:200]})") from None
    if not entries or not all(isinstance(e, dict) and "stage" in e for e in entries):
        raise ModelError(f"{path}: holds no stages of a run")
    return entries
