"""Names by which presets of one picture can be told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

__all__ = ["apart", "numbered"]


def apart(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Return the names; those that occur twice with their file's name, or its folders, beside them.

    Parameters
    ----------
    names : sequence of str
        What the presets call themselves.
    paths : sequence of Path
        Of their files.
    """
    shown = list(names)
    files = [path.absolute() for path in paths]
    for depth in range(1, 1 + max((len(file.parts) for file in files), default=0)):
        twice = _twice(shown)
        if not twice:
            break
        for place in twice:
            # "raw (take 2/raw.preset.json)": as many folders as are needed.
            tail = "/".join(files[place].parts[-depth:])
            shown[place] = f"{names[place]} ({tail})"
    return numbered(shown)


def numbered(names: Sequence[str]) -> list[str]:
    """Return the names; those that occur twice with numbers: ``"raw (1)"``, ``"raw (2)"``."""
    shown, seen = list(names), Counter[str]()
    for place in _twice(names):
        seen[names[place]] += 1
        shown[place] = f"{names[place]} ({seen[names[place]]})"
    return shown


def _twice(names: Sequence[str]) -> list[int]:
    counted = Counter(names)
    return [place for place, name in enumerate(names) if counted[name] > 1]
