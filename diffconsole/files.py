"""Outputs written whole or not at all: a hidden temporary file beside the target, then a rename.

Every file that the package writes for a person goes through :func:`atomic_path`, so an
interrupted run, an error or a full disk never leaves half a file, and an older file of that name
stays as it was until the new one is complete.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import OutputError

__all__ = ["atomic_path", "check_folder", "check_output", "results_folder"]

# What the system says when there is no room, with the words for people.
_NO_ROOM = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EFBIG: "the file grows larger than the system allows here; choose another folder",
    getattr(errno, "EDQUOT", errno.ENOSPC): (
        "the disk is full (quota reached); free some space or choose another folder"
    ),
}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def check_output(path: str | Path, *, force: bool = False) -> Path:
    """Say early whether a file could be written, before any long work.

    Parameters
    ----------
    path : str or Path
        The file to be written.
    force : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The place to write: ``path`` with symbolic links followed, so that a link stays a link.

    Raises
    ------
    OutputError
        The target exists and ``force`` is false, or is a folder or a device; its folder is
        missing, is no folder or cannot be written.
    """
    shown = str(path)
    try:
        target = Path(os.path.realpath(path))
        _check_folder(target.parent, shown)
        try:
            mode = os.stat(target).st_mode
        except FileNotFoundError:
            return target
    except (OSError, ValueError) as error:
        raise _refusal(shown, error) from error
    if stat.S_ISDIR(mode):
        raise OutputError(f"{shown}: is a folder; give the name of a file")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{shown}: is not an ordinary file; choose another name")
    if not force:
        raise OutputError(f"{shown}: exists already; add --force to replace it, or choose another")
    return target


@contextmanager
def atomic_path(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary file to write, and make it the target when the block ends without error.

    Parameters
    ----------
    path : str or Path
        The file to be written.
    force : bool
        Whether an existing file may be replaced.

    Yields
    ------
    Path
        An empty hidden file in the target's folder, with the target's suffix. Write it, close
        it; at the end of the block it takes the target's name in one step. On any exception, an
        interrupt included, it is removed and the target is left as it was.

    Raises
    ------
    OutputError
        As :func:`check_output`; the disk is full; the target appeared meanwhile without
        ``force``.
    """
    shown = str(path)
    target = check_output(path, force=force)
    temporary = target.parent / f".diffconsole-{secrets.token_hex(6)}{target.suffix}"
    try:
        # Made here, not by the writer: a folder without permission then shows before the work.
        # 0o666 less the umask is what an ordinary new file gets.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except (OSError, ValueError) as error:
        raise _refusal(shown, error) from error
    try:
        yield temporary
        _settle(temporary, target)
        check_output(path, force=force)
        os.replace(temporary, target)
    except OSError as error:
        # A missing input read inside the block is not this file's failure: it passes as it is.
        if error.errno in _NO_ROOM or _concerns(error, temporary, target):
            raise _refusal(shown, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_folder(folder: Path) -> None:
    """Say early whether files could be written into a folder, which may not exist yet.

    Raises
    ------
    OutputError
        It is a file or lies in one, or nothing can be written there.
    """
    for place in (folder, *folder.absolute().parents):
        if place.is_dir():
            if not os.access(place, os.W_OK | os.X_OK):
                raise OutputError(
                    f"{folder}: no permission to write there; choose another folder or change "
                    "its permissions"
                )
            return
        if os.path.lexists(place):
            which = f"{folder}: is" if place == folder else f"{folder}: {place} is"
            raise OutputError(f"{which} a file; results need a folder")


@contextmanager
def results_folder(folder: Path | None) -> Iterator[None]:
    """Make a folder for results; if the block leaves it empty, it is removed again.

    Parameters
    ----------
    folder : Path, optional
        An existing one is fine, and stays.

    Raises
    ------
    OutputError
        As :func:`check_folder`; or it cannot be made.
    """
    if folder is None:
        yield
        return
    check_folder(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{folder}: cannot be made ({reason}); choose another folder") from None
    try:
        yield
    finally:
        for place in made:
            with suppress(OSError):  # not empty: there are results in it
                place.rmdir()


def _settle(temporary: Path, target: Path) -> None:
    """Put the bytes on the disk, and keep the permissions of the file that is replaced."""
    if target.exists():
        os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
    # Network and quota file systems report a full disk only here. Read-write, for Windows.
    descriptor = os.open(temporary, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _concerns(error: OSError, *paths: Path) -> bool:
    """Whether an error names one of these files."""
    return any(str(path) in (error.filename, error.filename2) for path in paths)


def _check_folder(folder: Path, shown: str) -> None:
    """Refuse a missing folder, and a file where the folder should be."""
    try:
        mode = os.stat(folder).st_mode
    except FileNotFoundError:
        raise OutputError(f"{shown}: the folder {folder} does not exist; create it first") from None
    except NotADirectoryError:
        mode = 0
    if not stat.S_ISDIR(mode):
        raise OutputError(f"{shown}: {folder} is not a folder; choose another place")


def _refusal(shown: str, error: Exception) -> OutputError:
    """Put a system error into one line that names the file and the remedy."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _NO_ROOM:
        return OutputError(f"{shown}: {_NO_ROOM[number]}")
    if number in _DENIED:
        return OutputError(
            f"{shown}: no permission to write there; choose another folder or change its "
            "permissions"
        )
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return OutputError(f"{shown}: cannot be written ({reason}); choose another name or folder")
