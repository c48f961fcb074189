"""Where a module's twins lie: its JavaScript for the audition page, its JSFX for REAPER."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from ..errors import SettingsError
from ..strip.module import Module

__all__ = ["twin_path"]


def twin_path(module: Module, name: str) -> Path:
    """Return the path of a file beside the code of a module, which is not loaded for it.

    Parameters
    ----------
    module : Module
        Its row.
    name : str
        The file's name: the row's ``script`` or ``effect``.

    Raises
    ------
    SettingsError
        The row names code or a file that is not there.
    """
    loaded = sys.modules.get(module.implementation)
    found = None if loaded else importlib.util.find_spec(module.implementation)
    code = loaded.__file__ if loaded else found and found.origin
    if not code:
        raise SettingsError(
            f"module {module.key}: its row names {module.implementation}, which is not there"
        )
    path = Path(code).parent / name
    if not path.is_file():
        raise SettingsError(
            f"module {module.key}: its row names {path}, which is not there; add it"
        )
    return path
