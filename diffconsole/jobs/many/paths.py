"""Which files a command works on: files, folders and patterns as given, in a fixed order.

Of a folder the files with an audio ending count (:mod:`diffconsole.audio.endings`), or those of
another kind. Hidden files and our own results are left out, and so are links to folders, which may
lead in a circle, and the folder of the results where it lies inside.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...audio.endings import AUDIO_SUFFIXES, has_audio_ending
from ...errors import SettingsError

__all__ = ["AUDIO", "PRESETS", "Found", "Input", "Kind", "find_inputs", "is_many", "parse_shard"]

PROCESSED = ".processed"


@dataclass(frozen=True)
class Kind:
    """A kind of files that a folder is searched for.

    Attributes
    ----------
    name : str
        For messages.
    wanted : callable
        Of a path: whether it is one.
    endings : str
        For messages.
    """

    name: str
    wanted: Callable[[Path], bool]
    endings: str


def _is_take(path: Path) -> bool:
    return has_audio_ending(path) and not path.stem.lower().endswith(PROCESSED)


AUDIO = Kind("audio", _is_take, ", ".join(AUDIO_SUFFIXES[:7]) + " …")
PRESETS = Kind("preset", lambda path: path.name.lower().endswith(".preset.json"), ".preset.json")


@dataclass(frozen=True)
class Input:
    """A file to work on.

    Attributes
    ----------
    path : Path
        As it is opened and reported.
    place : Path
        Its place below the folder or pattern that it was found by, which the results mirror; of a
        file that was named itself its name.
    """

    path: Path
    place: Path


@dataclass
class Found:
    """What was found: the files in order, and a line for each folder that cannot be read."""

    inputs: list[Input] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def is_many(given: Sequence[Path]) -> bool:
    """Whether a folder, or a pattern that is no file's name, is among them."""
    return any(path.is_dir() or _is_pattern(path) for path in given)


def find_inputs(
    given: Sequence[Path],
    kind: Kind = AUDIO,
    *,
    recursive: bool = False,
    output: Path | None = None,
) -> Found:
    """Find the files that names, folders and patterns stand for; each once.

    Parameters
    ----------
    given : sequence of Path
        Files, folders, and patterns with ``*``, ``?``, ``[…]`` and ``**``. A file that is named
        counts whatever its ending is, and whether it is there or not.
    kind : Kind
        What counts of a folder and of a pattern.
    recursive : bool
        Whether the folders below a folder count.
    output : Path, optional
        The folder of the results, which is not searched.

    Raises
    ------
    SettingsError
        A folder or a pattern has no such file.
    """
    found, seen = Found(), set()
    for path in given:
        if path.is_dir():
            some = list(_walk(path, kind, recursive, output, found.problems))
            if not some and not found.problems:
                if not recursive and any(True for _ in _walk(path, kind, True, output, [])):
                    raise SettingsError(
                        f"{path}: is a folder with {kind.name} files in the folders below it "
                        "alone; add --recursive to work on them"
                    )
                raise SettingsError(
                    f"{path}: is a folder; give one that has {kind.name} files in it "
                    f"({kind.endings})"
                )
        elif _is_pattern(path):
            some = list(_matches(path, kind, recursive, output, found.problems))
            if not some:
                raise SettingsError(f"{path}: no {kind.name} file matches this pattern")
        else:
            some = [Input(path, Path(path.name))]
        for entry in some:
            place = os.path.abspath(entry.path)
            if place not in seen:
                seen.add(place)
                found.inputs.append(entry)
    return found


def parse_shard(text: str) -> tuple[int, int]:
    """Return I and N of ``"I/N"``: the I-th of N parts of the list, from 1.

    Raises
    ------
    SettingsError
        It is none.
    """
    first, slash, second = text.partition("/")
    if slash and first.isascii() and second.isascii() and first.isdigit() and second.isdigit():
        part, parts = int(first), int(second)
        if 1 <= part <= parts <= 1_000_000:
            return part, parts
    raise SettingsError(f"--shard {text!r}: give I/N with I from 1 to N, as 1/8 … 8/8")


def _is_pattern(path: Path) -> bool:
    return glob.has_magic(str(path)) and not os.path.lexists(path)


def _matches(
    pattern: Path, kind: Kind, recursive: bool, output: Path | None, problems: list[str]
) -> Iterator[Input]:
    fixed = []
    for part in pattern.parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    root = Path(*fixed) if fixed else Path()
    for name in sorted(glob.iglob(str(pattern), recursive=True), key=_order):
        path = Path(name)
        place = path.relative_to(root)
        if _leaves(root, place) or (output is not None and _lies_in(path, output, root)):
            continue
        if path.is_dir():
            for entry in _walk(path, kind, recursive, output, problems):
                yield Input(entry.path, place / entry.place)
        elif not _is_hidden(path.name) and kind.wanted(path):
            yield Input(path, place)


def _walk(
    root: Path, kind: Kind, recursive: bool, output: Path | None, problems: list[str]
) -> Iterator[Input]:
    """The files below a folder, those of a folder before those of the folders in it."""
    left = [root]
    while left:
        folder = left.pop()
        try:
            with os.scandir(folder) as entries:
                known = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            problems.append(f"{folder}: cannot be read ({error.strerror or error})")
            continue
        below = []
        for entry in known:
            path = folder / entry.name
            if _is_hidden(entry.name):
                continue
            if entry.is_dir():
                inside = recursive and not entry.is_symlink()
                if inside and not (output is not None and _is_same(path, output)):
                    below.append(path)
            # A link that leads nowhere is a file that is missing, and said to be.
            elif kind.wanted(path) and (entry.is_file() or entry.is_symlink()):
                yield Input(path, path.relative_to(root))
        left += reversed(below)


def _order(name: str) -> list[bytes]:
    return [os.fsencode(part) for part in Path(name).parts]


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _is_same(path: Path, other: Path) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def _lies_in(path: Path, output: Path, root: Path) -> bool:
    """Whether a file lies in the folder of the results, where that is below the pattern's."""
    inside = Path(os.path.realpath(output))
    return inside != Path(os.path.realpath(root)) and inside in Path(os.path.realpath(path)).parents


def _leaves(root: Path, place: Path) -> bool:
    """Whether a link to a folder lies on the way, or the way goes back."""
    if ".." in place.parts:
        return True
    folder = root
    for part in place.parts[:-1]:
        folder = folder / part
        if folder.is_symlink():
            return True
    return False
