"""What commands share that train for long and keep their state in the model's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .errors import ModelError, OutputError

__all__ = ["check_model_folder", "stopped"]


def check_model_folder(folder: Path, state_files: Sequence[str], force: bool) -> None:
    """Refuse a folder that holds a finished model, unless a run that replaces it has begun."""
    from .files import check_folder

    check_folder(folder)
    unfinished = any((folder / name).exists() for name in state_files)
    if (folder / "model.json").exists() and not (force or unfinished):
        raise OutputError(f"{folder}: holds a model already; add --force to replace it")


def stopped(folder: Path, state_files: Sequence[str]) -> ModelError:
    """What to say of a run that was stopped: how it goes on."""
    if any((folder / name).exists() for name in state_files):
        return ModelError(
            f"stopped; the state is in {folder}: repeat the command, without --force, to go on"
        )
    return ModelError("stopped before the first state was kept; nothing is left of the run")
