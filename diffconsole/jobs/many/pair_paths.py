"""Pairs of raw and mixed files in two trees of the same folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ...errors import PairError
from ...pairs import PairFiles, find_pairs

__all__ = ["find_pairs_below"]


def find_pairs_below(
    raw: Path, mixed: Path, outputs: tuple[Path, ...] = ()
) -> tuple[list[tuple[Path, PairFiles]], list[str]]:
    """Pair files by name in every folder of one tree with the same folder of another.

    Hidden folders are left out, and links to folders.

    Parameters
    ----------
    raw, mixed : Path
        The trees.
    outputs : tuple of Path
        Folders of results, which are left out where they lie inside.

    Returns
    -------
    pairs : list of tuple of Path and PairFiles
        Each with its folder's place in the tree, in the order of the places and names.
    left_over : list of str
        One line for each file and folder without a partner.

    Raises
    ------
    PairError
        Not a folder, no pair at all, or two files of one folder with the same name.
    """
    found: list[tuple[Path, PairFiles]] = []
    left_over: list[str] = []
    for folder in _folders(raw, outputs):
        place = folder.relative_to(raw)
        if not (mixed / place).is_dir():
            if place == Path():
                find_pairs(raw, mixed)  # says what is wrong with the folder
            left_over.append(f"{folder}: no folder {mixed / place} beside it")
            continue
        try:
            pairs, without = find_pairs(folder, mixed / place)
        except PairError as error:
            if "has a partner" not in str(error):
                raise
            if any(path.is_file() for path in folder.iterdir()):
                left_over.append(str(error))
            continue
        found += [(place, pair) for pair in pairs]
        left_over += without
    if not found:
        raise PairError(f"no file below {raw} has a partner of the same name below {mixed}")
    return found, left_over


def _folders(root: Path, outputs: tuple[Path, ...]) -> Iterator[Path]:
    if not root.is_dir():
        raise PairError(f"{root}: not a folder; give the folder that holds the files")
    left_out = {os.path.realpath(path) for path in outputs}
    for folder, below, _ in os.walk(root):
        below[:] = sorted(
            name
            for name in below
            if not name.startswith(".") and os.path.realpath(Path(folder) / name) not in left_out
        )
        yield Path(folder)
