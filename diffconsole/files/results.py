"""Whether the results of a command may be written: nothing replaces what the command reads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import OutputError
from .files import check_output, clear_unfinished

__all__ = ["MODEL_FILES", "check_results", "files_of_model", "protect_inputs"]

MODEL_FILES = (
    "model.json", "model.safetensors", "encoder.pt", "style_statistics.safetensors", "README.md",
)  # fmt: skip
"""What a model's folder may hold of the model itself."""


def check_results(
    paths: Iterable[Path], raws: Iterable[Path], force: bool, *, inputs: Iterable[Path] = ()
) -> None:
    """Refuse results that could not be written, or would replace an input even with --force.

    What a killed run left unfinished in the results' folders is undone before.

    Parameters
    ----------
    paths : iterable of Path
        The results.
    raws : iterable of Path
        The raw takes.
    force : bool
        Whether files may be replaced.
    inputs : iterable of Path
        Whatever else the command reads: presets, references, mixes, lists, models.

    Raises
    ------
    OutputError
        Names the result and what to do.
    """
    paths = list(paths)
    clear_unfinished(path.parent for path in paths if path.parent.is_dir())
    protect_inputs(paths, raws, "is a raw take")
    protect_inputs(paths, inputs, "is read by this command")
    named: set[str] = set()
    for path in paths:
        check_output(path, force=force)
        place = os.path.realpath(path)
        if place in named:
            raise OutputError(f"{path}: is named for two results; choose another name for one")
        named.add(place)


def protect_inputs(paths: Iterable[Path], inputs: Iterable[Path], what: str) -> None:
    """Refuse results that are inputs, by whatever name, link or second name of the file.

    An input that is a folder stands for all files in it.

    Raises
    ------
    OutputError
        Names the result, says what it is, and what to do.
    """
    existing = [path for path in paths if os.path.lexists(path)]
    if not existing:
        return
    places, folders = set(), set()
    for path in inputs:
        places |= _places(path)
        if os.path.isdir(path):
            folders.add(os.path.realpath(path))
    for path in existing:
        real = os.path.realpath(path)
        if _places(path) & places or folders.intersection(map(str, Path(real).parents)):
            raise OutputError(f"{path}: {what} and would be replaced; choose another name")


def files_of_model(folder: Path | None) -> list[Path]:
    """Return the files that reading a model reads; none for the shipped model."""
    return [] if folder is None else [folder / name for name in MODEL_FILES]


def _places(path: Path) -> set[object]:
    """What makes two names one file: the path without links, and the file itself."""
    places: set[object] = set()
    try:
        places.add(os.path.realpath(path))
        status = os.stat(path)
    except (OSError, ValueError):
        return places
    if status.st_ino:
        places.add((status.st_dev, status.st_ino))
    return places
