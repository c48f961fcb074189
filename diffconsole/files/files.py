"""Outputs written whole or not at all: a hidden temporary file beside the target, then a rename.

Every file that the package writes for a person goes through :func:`atomic_path`, so an
interrupted run, an error or a full disk never leaves half a file, and an older file of that name
stays as it was until the new one is complete. Files that belong together are written in the block
of an :func:`atomic_set` and appear together or not at all.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from ..errors import OutputError
from .filesets import FileSet, Member, SetError, place_new, recover
from .signals import held_back
from .temporaries import create, sweep

__all__ = [
    "atomic_path",
    "atomic_set",
    "check_folder",
    "check_output",
    "clear_unfinished",
    "remove_output",
    "results_folder",
]

# A suffix is for people who look at the temporary file; a name has at most 255 bytes.
LONGEST_SUFFIX = 64

# The set of the block that runs, so that writers need not hand it down.
_current: ContextVar[FileSet | None] = ContextVar("set of outputs", default=None)

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
        raise _refusal(shown, FileExistsError(errno.EEXIST, ""))
    return target


@contextmanager
def atomic_path(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary file to write, and make it the target when the block ends without error.

    Within an :func:`atomic_set` it becomes the target when that block ends.

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
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= LONGEST_SUFFIX else ""
    try:
        # Made here, not by the writer: a folder without permission then shows before the work.
        owned = create(target.parent, suffix)
    except (OSError, ValueError) as error:
        raise _refusal(shown, error) from error
    temporary, files = owned.path, _current.get()
    waits = False
    try:
        yield temporary
        _settle(temporary, target)
        if files is not None:
            files.add(Member(target, owned, force, shown))
            waits = True
        elif force:
            check_output(path, force=True)
            os.replace(temporary, target)
        else:
            place_new(temporary, target)
    except OSError as error:
        # A missing input read inside the block is not this file's failure: it passes as it is.
        if error.errno in _NO_ROOM or _concerns(error, temporary, target):
            raise _refusal(shown, error) from error
        raise
    finally:
        if not waits:
            owned.release(remove=True)


@contextmanager
def atomic_set() -> Iterator[None]:
    """Let all files that are written in the block appear together at its end, or none of them.

    This holds for a process that is killed, too: the next run that finds its unfinished set
    (:func:`clear_unfinished`) puts everything back as it was. A set within a set is part of it.
    Files written by other threads are not part of a set.

    Raises
    ------
    OutputError
        A file cannot take its name; then no file of the set is changed.
    """
    if _current.get() is not None:
        yield
        return
    files = FileSet()
    token = _current.set(files)
    try:
        yield
        # An interrupt that comes now undoes the set, but does not disturb the undoing.
        with held_back() as raise_if_stopped:
            files.commit(raise_if_stopped)
    except SetError as error:
        cause = error.__cause__
        assert isinstance(cause, OSError)
        raise _refusal(error.member.shown, cause) from cause
    finally:
        _current.reset(token)
        files.drop()


def remove_output(path: Path) -> None:
    """Remove a file if it is there; within an :func:`atomic_set` it goes when the set counts."""
    files = _current.get()
    if files is None:
        path.unlink(missing_ok=True)
    else:
        files.add(Member(Path(os.path.realpath(path)), None, True, str(path)))


def clear_unfinished(folders: Iterable[Path]) -> None:
    """Undo what killed runs left unfinished in these folders, and remove their temporary files.

    Runs that are still going on are left alone; so is what cannot be changed.
    """
    for folder in dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders):
        recover(folder)
        sweep(folder)


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
        if error.errno in _NO_ROOM:
            raise _refusal(str(folder), error) from None
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
    if number == errno.EEXIST:
        return OutputError(f"{shown}: exists already; add --force to replace it, or choose another")
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return OutputError(f"{shown}: cannot be written ({reason}); choose another name or folder")
