"""Hidden temporary files: their names, their locks, and how stale ones are found and removed.

A temporary file is locked as long as the process that made it works on it. The system releases
the lock when the process ends, however it ends, so a file that can be locked is nobody's. Files
of other computers on a shared disk, and systems without such locks, go by age.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["BACKUP", "JOURNAL", "Owned", "create", "find", "is_abandoned", "new_token", "sweep"]

JOURNAL, BACKUP = "set", "old"
"""Kinds of hidden files that belong to several outputs: their list, and what they replace."""

# A day: longer than anybody waits for one file to be written.
OLD_SECONDS = 24 * 3600.0
# Files of earlier versions have no computer in their names.
NAME = re.compile(
    r"\.diffconsole-(?:(set|old)-)?(?:([0-9a-f]{8})-)?([0-9a-f]{12})(?:[-.].*)?", re.DOTALL
)


class Owned:
    """A hidden file of this process: its path, and the lock that shows that it is in use.

    Parameters
    ----------
    path : Path
        The file.
    descriptor : int, optional
        Open on the file, with the lock; ``None`` where there are no locks.
    """

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path, self._descriptor = path, descriptor

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back, once; remove the file too if asked."""
        if remove:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def new_token() -> str:
    """Return what no other temporary file has in its name."""
    return f"{_computer()}-{secrets.token_hex(6)}"


def create(folder: Path, suffix: str, kind: str = "", token: str | None = None) -> Owned:
    """Make an empty hidden file with the permissions of an ordinary new one, and lock it.

    Raises
    ------
    OSError, ValueError
        As the system refuses it.
    """
    while True:
        name = "-".join(filter(None, (".diffconsole", kind, token or new_token())))
        path = folder / f"{name}{suffix}"
        # 0o666 less the umask is what an ordinary new file gets.
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        if not _may_stay_open(kind):
            os.close(descriptor)
            return Owned(path, None)
        _lock(descriptor)
        # Between the two calls another process may have found it unlocked and removed it.
        if _is_same_file(path, descriptor):
            return Owned(path, descriptor)
        os.close(descriptor)


def find(folder: Path) -> list[tuple[str, Path]]:
    """Return the kind (``""`` for an output's own) and path of every hidden file of ours."""
    found = []
    with suppress(OSError, ValueError), os.scandir(folder) as entries:
        for entry in entries:
            match = NAME.fullmatch(entry.name)
            if match and entry.is_file(follow_symlinks=False):
                found.append((match[1] or "", folder / entry.name))
    return found


def is_abandoned(path: Path) -> Owned | None:
    """Lock a hidden file if surely no process works on it any more; ``None`` if one may."""
    match = NAME.fullmatch(path.name)
    try:
        status = path.lstat()
        if match is None or not stat.S_ISREG(status.st_mode) or not _is_ours(status):
            return None
        kind = match[1] or ""
        if match[2] == _computer() and _may_stay_open(kind):
            descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            locked = _lock(descriptor, wait=False)
            if locked and _is_same_file(path, descriptor):
                return Owned(path, descriptor)
            os.close(descriptor)
            if locked is not None:
                return None
        return Owned(path, None) if abs(time.time() - status.st_mtime) > OLD_SECONDS else None
    except (OSError, ValueError):
        return None


def sweep(folder: Path) -> None:
    """Remove the temporary files in a folder that surely no process works on any more.

    Unfinished sets of outputs are undone before (:func:`.filesets.recover`): what is found here
    is no part of any.
    """
    for kind, path in find(folder):
        if kind == BACKUP:
            # A link to the file that was replaced: it has no lock of its own. Its set's list is
            # there as long as it is needed, and is looked for after the backup was found.
            match = NAME.fullmatch(path.name)
            assert match is not None
            journal = f".diffconsole-{JOURNAL}-{match[2]}-{match[3]}.json"
            with suppress(OSError):
                if not os.path.lexists(folder / journal) and _is_ours(path.lstat()):
                    path.unlink(missing_ok=True)
        elif kind == "" and (stale := is_abandoned(path)) is not None:
            stale.release(remove=True)


def _computer() -> str:
    """This computer's name as eight digits: a lock says nothing of another one's processes."""
    return hashlib.sha256(platform.node().encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _is_ours(status: os.stat_result) -> bool:
    """Whether a file is this user's; in a shared folder others may plant any."""
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def _may_stay_open(kind: str) -> bool:
    """Whether a file can be kept open; Windows renames no open one, and lists are not renamed."""
    return os.name == "posix" or kind == JOURNAL


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


def _lock(descriptor: int, *, wait: bool = True) -> bool | None:
    """Lock a file; False if another process has it, None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return _lock_on_windows(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _lock_on_windows(descriptor: int) -> bool | None:
    import importlib

    msvcrt = importlib.import_module("msvcrt")
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        # Far behind the contents: a locked byte cannot be read by others.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)
    return True
