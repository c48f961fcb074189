"""The presets that come with the program, and finding one by its key or a file's path."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PresetError

if TYPE_CHECKING:
    from .preset import Preset

__all__ = ["factory_folder", "factory_presets", "find_preset"]


def factory_folder() -> Path:
    """Return the folder of the factory presets: installed beside the code, or the checkout's."""
    installed = Path(__file__).parents[1] / "factory"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "presets"


def factory_presets() -> dict[str, Preset]:
    """Return the factory presets by key, which is the file's stem, in order of the key."""
    from .preset import Preset

    return {path.stem: Preset.read(path) for path in sorted(factory_folder().glob("*.json"))}


def find_preset(name_or_path: str | Path) -> Preset:
    """Read a preset file, or the factory preset of that key; a file goes first.

    Raises
    ------
    PresetError
        Neither exists, or the file is not valid.
    """
    from .preset import Preset

    key = str(name_or_path)
    if os.path.isfile(key) or key != Path(key).name:
        return Preset.read(key)
    known = [path.stem for path in sorted(factory_folder().glob("*.json"))]
    if key in known:
        return Preset.read(factory_folder() / f"{key}.json")
    near = difflib.get_close_matches(key, known, n=1)
    if near and not os.path.exists(key):
        raise PresetError(f"{key}: no such file or factory preset; did you mean {near[0]!r}?")
    return Preset.read(key)
