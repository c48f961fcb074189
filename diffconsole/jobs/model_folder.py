"""The folder of a model that is trained for long: what may be written there, what is kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import ModelError, OutputError
from ..files import check_folder, check_output, clear_unfinished
from ..files.results import MODEL_FILES, protect_inputs

__all__ = ["check_model_folder", "interrupted", "stopped"]


def check_model_folder(
    folder: Path,
    state_files: Sequence[str],
    force: bool,
    *,
    others: Sequence[str] = (),
    inputs: Iterable[Path] = (),
) -> None:
    """Refuse a folder that holds a finished model, unless a run that replaces it has begun.

    Parameters
    ----------
    folder : Path
        For the model.
    state_files : sequence of str
        Names of what an unfinished run keeps there.
    force : bool
        Whether a finished model may be replaced.
    others : sequence of str
        Names of what else the run writes there.
    inputs : iterable of Path
        What the run reads, which it must not replace.

    Raises
    ------
    OutputError
        As said; a file there is an input, or is of no model and would be replaced.
    """
    check_folder(folder)
    if not folder.is_dir():
        return
    clear_unfinished([folder])
    written = [folder / name for name in (*MODEL_FILES, *state_files, *others)]
    protect_inputs(written, inputs, "is read by this command")
    unfinished = any((folder / name).exists() for name in state_files)
    if (folder / "model.json").exists() and not (force or unfinished):
        raise OutputError(f"{folder}: holds a model already; add --force to replace it")
    if not (force or unfinished):
        for name in MODEL_FILES:
            if os.path.lexists(folder / name):
                check_output(folder / name)


def stopped(folder: Path, state_files: Sequence[str]) -> ModelError:
    """Return the error of a run that was stopped: how to resume it, or that nothing is left."""
    if any((folder / name).exists() for name in state_files):
        return ModelError(
            f"stopped; the state is in {folder}: repeat the command, without --force, to resume"
        )
    return ModelError("stopped before the first state was kept; nothing is left of the run")


def interrupted(folder: Path, state_files: Sequence[str]) -> ModelError:
    """Return the error of a run of which another process is gone, and how to resume it."""
    if any((folder / name).exists() for name in state_files):
        return ModelError(
            f"another process of the run is gone; the state is in {folder}: repeat the command, "
            "without --force, to resume"
        )
    return ModelError("another process of the run is gone; nothing is left: start it again")
