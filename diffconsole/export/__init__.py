"""Presets for other software: one file per format, found by its file.

A new format is one file here with a :class:`~diffconsole.export.base.Format` named ``FORMAT``;
another package adds one by an entry point ``diffconsole.formats`` that names such an object:

``[project.entry-points."diffconsole.formats"]``
``mydaw = "my_package:FORMAT"``
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from ..errors import DiffconsoleError, ExportError, OutputError, PresetError
from ..files import atomic_path, atomic_set, clear_unfinished, results_folder
from ..files.plugins import Plugins, installed
from ..files.results import check_results
from ..files.small_files import read_small
from ..strip.preset import Preset
from .base import DEFAULT_RATE, Figure, Files, Format, Mapped, Strip

__all__ = [
    "ENTRY_POINTS",
    "Figure",
    "Files",
    "Format",
    "Mapped",
    "Strip",
    "added_formats",
    "export_preset",
    "find_format",
    "formats",
    "import_preset",
]

ENTRY_POINTS = "diffconsole.formats"

# As the formats are listed: what people mix in first. Others follow by their names.
FIRST = ("ffmpeg", "pedalboard", "lv2", "easyeffects", "reaper", "dawproject", "sox",
         "equalizerapo", "ir", "csv", "markdown")  # fmt: skip

# What readers meet in files of another kind; text that nests too deeply is one.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, SyntaxError,
              ArithmeticError, RecursionError, MemoryError)  # fmt: skip


LONGEST_REASON = 400


def _built_in() -> dict[str, Format]:
    found = {}
    for module in pkgutil.iter_modules(__path__):
        made = getattr(importlib.import_module(f"{__name__}.{module.name}"), "FORMAT", None)
        if isinstance(made, Format):
            found[made.key] = made
    order = {key: place for place, key in enumerate(FIRST)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def added_formats() -> Plugins[Format]:
    """Return the formats that other packages add."""
    return _added(_built_in())


def _added(built_in: Collection[str]) -> Plugins[Format]:
    plugins = installed(ENTRY_POINTS, Format, built_in)
    for name, form in list(plugins.found.items()):
        if form.key != name:
            del plugins.found[name]
            plugins.broken[name] = (
                f"the format of {form.title!r} has the key {form.key!r}, which must be the name "
                f"of the entry point, {name!r}"
            )
    return plugins


def formats() -> dict[str, Format]:
    """Return every format by its key: those built in, then those of other packages."""
    built_in = _built_in()
    return {**built_in, **_added(built_in).found}


def find_format(key: str) -> Format:
    """Return the format of a key.

    Raises
    ------
    ExportError
        There is none; names those that there are.
    """
    built_in = _built_in()
    if key in built_in:
        return built_in[key]
    known = formats()
    if key not in known:
        broken = added_formats().broken.get(key)
        if broken:
            raise ExportError(f"format {key!r}: {broken}")
        raise ExportError(f"no format {key!r}; there are {', '.join(known)}")
    return known[key]


def export_preset(
    preset: Preset,
    key: str,
    path: str | Path,
    *,
    sample_rate: int = DEFAULT_RATE,
    channels: int = 1,
    force: bool = False,
    inputs: Iterable[Path] = (),
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write a preset for other software, whole or not at all.

    Parameters
    ----------
    preset : Preset
        The strip.
    key : str
        Of the format.
    path : str or Path
        The file, beside which the files go that it needs; for a format that writes a folder the
        folder, made if it is not there.
    sample_rate, channels : int
        Of the audio that the other software will work on.
    force : bool
        Replace files that exist.
    inputs : iterable of Path
        Files that are never replaced, as the preset's own.

    Returns
    -------
    written : tuple of Path
        The files.
    losses : tuple of str
        What does not carry over, one line each.

    Raises
    ------
    ExportError
        No such format, or the strip holds nothing that it can carry.
    OutputError
        A file exists and `force` is not set, or cannot be written.
    """
    form, path = find_format(key), Path(path)
    strip = Strip(preset, sample_rate, channels, form.at_rate)
    if form.is_folder:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path}: is a file; {key} writes several files, give a folder")
    else:
        if not path.name.lower().endswith(form.ending):
            raise OutputError(f"{path}: {key} writes a {form.ending} file; end its name so")
        check_results([path], [], force, inputs=inputs)
    files = _contents(form, strip)
    with contextlib.ExitStack() as whole:
        whole.enter_context(results_folder(path if form.is_folder else None))
        folder = path if form.is_folder else path.parent
        targets = {folder / name if name else path: data for name, data in files.items()}
        for target in targets:
            if target.parent != path and form.is_folder:
                whole.enter_context(results_folder(target.parent))
        clear_unfinished(target.parent for target in targets)
        # A companion that is there already, byte by byte, is what another preset needs as well.
        new = {target: data for target, data in targets.items() if not _holds(target, data)}
        check_results(new, [], force, inputs=inputs)
        whole.enter_context(atomic_set())
        for target, data in new.items():
            with atomic_path(target, force=force) as temporary:
                temporary.write_bytes(data)
    return tuple(targets), form.losses(strip)


def _contents(form: Format, strip: Strip) -> Files:
    """What a format writes; one of another package is held to the rules."""
    if form.key in _built_in():
        return form.write(strip)
    try:
        files = dict(form.write(strip))
    except Exception as error:
        if isinstance(error, DiffconsoleError):
            raise
        reason = " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
        raise ExportError(f"format {form.key!r}: it cannot write this strip ({reason})") from error
    for name, data in files.items():
        if not isinstance(data, bytes):
            raise ExportError(f"format {form.key!r}: {name!r} is {type(data).__name__}, not bytes")
        parts = name.replace("\\", "/").split("/")
        if name and ("" in parts or ".." in parts or Path(name).is_absolute()):
            raise ExportError(f"format {form.key!r}: {name!r} is no name of a file in the folder")
    return files


def _holds(path: Path, data: bytes) -> bool:
    """Whether a file is there that holds just these bytes."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def import_preset(path: str | Path, key: str | None = None) -> tuple[Preset, str]:
    """Read back what a format wrote, or what the other software saved.

    Parameters
    ----------
    path : str or Path
        File or folder.
    key : str, optional
        Of the format; by default the one that the ending, or what is in the folder, tells.

    Returns
    -------
    preset : Preset
        With the parameters that the format carries.
    key : str
        Of the format.

    Raises
    ------
    ExportError
        No such format, it cannot be read back, or the file is not of it.
    """
    path = Path(path)
    if not path.exists():
        raise ExportError(f"{path}: no such file or folder")
    if not path.is_file() and not path.is_dir():
        return _import_once(path, key)
    if path.suffix.lower() == ".json" and _is_preset(path):
        raise ExportError(f"{path}: is a preset already; use it as it is")
    if key is None:
        return _by_itself(path)
    form = find_format(key)
    if form.read is None:
        raise ExportError(f"{path}: {key} is for other software alone and cannot be read back")
    return _read(form, path), key


def _import_once(path: Path, key: str | None) -> tuple[Preset, str]:
    """Import from what can be read once only, as a pipe: by way of a file of the same name."""
    try:
        content = read_small(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ExportError(f"{path}: cannot be read ({reason})") from None
    if content is None:
        raise ExportError(f"{path}: over 1 MB, which no preset is; give a preset's file")
    with tempfile.TemporaryDirectory(prefix="diffconsole-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(content)
        try:
            return import_preset(copy, key)
        except ExportError as error:
            raise ExportError(str(error).replace(str(copy), str(path))) from None


def _is_preset(path: Path) -> bool:
    try:
        Preset.read(path)
    except PresetError:
        return False
    return True


def _read(form: Format, path: Path) -> Preset:
    assert form.read is not None
    try:
        return form.read(path)
    except (ExportError, PresetError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        if len(reason) > LONGEST_REASON:
            # What is quoted of a file can be as long as the file.
            reason = f"{reason[: LONGEST_REASON // 2]} … {reason[-LONGEST_REASON // 2 :]}"
        named = "" if reason.startswith(str(path)) else f"{path}: "
        raise ExportError(f"{named}{reason}") from None
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise ExportError(f"{path}: not what {form.key} exports ({reason})") from None


def _by_itself(path: Path) -> tuple[Preset, str]:
    """Read a file by its ending, a folder by what it holds."""
    readable = [form for form in formats().values() if form.read is not None]
    fitting = [
        form for form in readable
        if (form.is_folder and path.is_dir())
        or (not form.is_folder and path.name.lower().endswith(form.ending))
        or (form.read_endings and path.name.lower().endswith(form.read_endings))
    ]  # fmt: skip
    if len(fitting) == 1:
        return _read(fitting[0], path), fitting[0].key
    found = []
    for form in fitting:
        with contextlib.suppress(ExportError):
            found.append((_read(form, path), form.key))
    if len(found) != 1:
        some = ", ".join(form.key for form in (fitting or readable))
        raise ExportError(f"{path}: of which format? Say --from, one of {some}")
    return found[0]
