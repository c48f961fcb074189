"""Several outputs that take their names together, or none of them, also when the process is killed.

All new files are complete in hidden temporary files before the first one takes its name. A list of
what is about to happen (a journal) is written before, and removed after the last: that removal is
the moment at which the whole set counts. Until then every replaced file is kept under a hidden
name. A run that finds the journal of a process that is gone puts everything back as it was.

A set may spread over several folders. Each has a journal with the names in it; the first folder's
is the one that counts, the others name its path.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .temporaries import BACKUP, JOURNAL, Owned, create, find, is_abandoned, new_token

__all__ = ["FileSet", "Member", "SetError", "place_new", "recover"]

LARGEST_JOURNAL_BYTES = 1 << 20
# What file systems without links answer.
_NO_LINKS = {
    errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK,
    errno.EXDEV, errno.EINVAL,
}  # fmt: skip
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1


class SetError(Exception):
    """An output of a set could not take its name; the system error is its cause."""

    def __init__(self, member: Member) -> None:
        super().__init__(member.shown)
        self.member = member


@dataclass
class Member:
    """An output of a set.

    Attributes
    ----------
    target : Path
        The name that it takes.
    temporary : Owned or None
        The complete file; ``None`` for a file that goes away with the set.
    force : bool
        Whether an existing file may be replaced.
    shown : str
        The name as the user gave it.
    backup : str
        Hidden name of what it replaces, set by the commit.
    """

    target: Path
    temporary: Owned | None
    force: bool
    shown: str
    backup: str = ""


class FileSet:
    """Outputs that are waiting for their names."""

    def __init__(self) -> None:
        self.members: list[Member] = []

    def add(self, member: Member) -> None:
        """Add an output; of two with one name the later one counts."""
        for earlier in self.members:
            if earlier.target == member.target and earlier.temporary is not None:
                earlier.temporary.release(remove=True)
        self.members = [m for m in self.members if m.target != member.target] + [member]

    def drop(self) -> None:
        """Remove the temporary files; every output stays as it was."""
        for member in self.members:
            if member.temporary is not None:
                member.temporary.release(remove=True)
        self.members = []

    def commit(self, may_go_on: Callable[[], None] = lambda: None) -> None:
        """Let every output take its name; on any failure put everything back as it was.

        Parameters
        ----------
        may_go_on : callable
            Called before the last step; what it raises undoes the set.

        Raises
        ------
        SetError
            One output could not be placed.
        """
        folders = list(dict.fromkeys(member.target.parent for member in self.members))
        token, journals = new_token(), list[Owned]()
        try:
            self._begin(folders, token, journals)
            for member in self.members:
                try:
                    _place(member)
                except OSError as error:
                    raise SetError(member) from error
            may_go_on()
            if journals:
                os.unlink(journals[-1].path)
        except BaseException:
            _undo([journal.path for journal in journals])
            raise
        finally:
            for journal in journals:
                journal.release()
        for member in self.members:
            with suppress(OSError):
                (member.target.parent / member.backup).unlink(missing_ok=True)
        for journal in journals[:-1]:
            with suppress(OSError):
                journal.path.unlink(missing_ok=True)
        self.drop()

    def _begin(self, folders: Sequence[Path], token: str, journals: list[Owned]) -> None:
        """Write the journals, the one that counts last."""
        for number, member in enumerate(self.members):
            member.backup = f".diffconsole-{BACKUP}-{token}-{number}"
        home = folders[0] / f".diffconsole-{JOURNAL}-{token}.json" if folders else None
        for folder in reversed(folders):
            there = [member for member in self.members if member.target.parent == folder]
            data: dict[str, Any] = {"files": [_entry(member) for member in there]}
            if folder == folders[0]:
                data["others"] = [str(journal.path) for journal in journals]
            else:
                data["home"] = str(home)
            try:
                journals.append(create(folder, ".json", JOURNAL, token))
                with open(journals[-1].path, "w", encoding="utf-8") as file:
                    file.write(json.dumps(data))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise SetError(there[0]) from error


def recover(folder: Path) -> None:
    """Undo the sets that killed runs left unfinished in a folder.

    What cannot be undone, because the folder is read-only or belongs to another user, stays. Sets
    of processes that are still running are left alone.
    """
    for kind, path in find(folder):
        if kind != JOURNAL:
            continue
        journal = is_abandoned(path)
        if journal is None:
            continue
        home = _read(path).get("home")
        if isinstance(home, str) and Path(home).name == path.name:
            journal.release()
            journal = is_abandoned(Path(home)) if os.path.lexists(home) else None
            if journal is None and not os.path.lexists(home):
                # The set was complete, or had not begun.
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        if journal is not None:
            _undo([*map(Path, _others(journal.path)), journal.path])
            journal.release()


def place_new(temporary: Path, target: Path) -> None:
    """Give a file a name that no file has, without ever replacing one.

    Raises
    ------
    FileExistsError
        A file of that name is there.
    """
    if os.name == "nt":
        os.rename(temporary, target)
        return
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if not _rename_new(temporary, target):
            # Neither links nor such renames here: as near as it gets.
            if os.path.lexists(target):
                raise FileExistsError(
                    errno.EEXIST, os.strerror(errno.EEXIST), str(target)
                ) from None
            os.replace(temporary, target)
    else:
        os.unlink(temporary)


@cache
def _renameat2() -> Callable[..., int] | None:
    """Linux's rename that can refuse to replace, if the C library has it."""
    if not sys.platform.startswith("linux"):
        return None
    with suppress(OSError):
        return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return None


def _rename_new(temporary: Path, target: Path) -> bool:
    """Rename without replacing; False where the system cannot."""
    call = _renameat2()
    if call is None:
        return False
    names = os.fsencode(temporary), os.fsencode(target)
    if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(number, os.strerror(number), str(temporary), None, str(target))


def _entry(member: Member) -> dict[str, Any]:
    """What the journal says of an output: names in its folder, and how the new file is known."""
    entry: dict[str, Any] = {
        "target": member.target.name,
        "old": member.backup,
        "existed": os.path.lexists(member.target),
    }
    if member.temporary is not None:
        status = os.stat(member.temporary.path)
        entry["temporary"] = member.temporary.path.name
        entry["size"], entry["mtime_ns"] = status.st_size, status.st_mtime_ns
    return entry


def _place(member: Member) -> None:
    """Give an output its name, and keep what it replaces under a hidden one."""
    backup = member.target.parent / member.backup
    if member.temporary is None:
        with suppress(FileNotFoundError):
            os.rename(member.target, backup)
        return
    if not member.force:
        place_new(member.temporary.path, member.target)
        return
    try:
        os.link(member.target, backup)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Some answer so before they look whether the file is there.
        with suppress(FileNotFoundError):
            os.rename(member.target, backup)
    os.replace(member.temporary.path, member.target)


def _undo(journals: Sequence[Path]) -> None:
    """Put back what the journals list, the one that counts last; then remove them.

    It may be interrupted anywhere and begun again. What the system refuses leaves the journals,
    for the next run.
    """
    try:
        for path in journals:
            for entry in _read(path).get("files", []):
                _put_back(path.parent, entry)
        for path in reversed(journals):
            path.unlink(missing_ok=True)
    except OSError:
        return


def _put_back(folder: Path, entry: dict[str, Any]) -> None:
    target, backup = folder / entry["target"], folder / entry["old"]
    is_new = "temporary" in entry and _is_file(target, entry["size"], entry["mtime_ns"])
    if os.path.lexists(backup):
        # Any other file of that name is what was there before, or what somebody wrote since.
        if is_new or not os.path.lexists(target):
            os.replace(backup, target)
        # Two links to one file are not renamed by POSIX.
        backup.unlink(missing_ok=True)
    elif is_new and not entry["existed"]:
        target.unlink(missing_ok=True)
    if "temporary" in entry:
        (folder / entry["temporary"]).unlink(missing_ok=True)


def _is_file(path: Path, size: int, mtime_ns: int) -> bool:
    """Whether a file is just as the set wrote it."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (size, mtime_ns)


def _others(home: Path) -> list[str]:
    """The journals in other folders of a set, as far as they are journals of this user."""
    listed = _read(home).get("others", [])
    return [path for path in listed if Path(path).name == home.name and _read(Path(path))]


def _read(path: Path) -> dict[str, Any]:
    """What a journal says; nothing if it is damaged, as when the run died while writing it."""
    try:
        with open(path, "rb") as file:
            data = json.loads(file.read(LARGEST_JOURNAL_BYTES))
        files = data["files"]
        known = all(_is_entry(entry) for entry in files)
        lists = all(isinstance(other, str) for other in data.get("others", []))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return data if known and lists else {}


def _is_entry(entry: dict[str, Any]) -> bool:
    """Whether an entry names files in the journal's own folder, and no others."""
    names = [entry["target"], entry["old"], *([entry["temporary"]] if "temporary" in entry else [])]
    plain = all(
        isinstance(n, str) and n not in ("", ".", "..") and n == Path(n).name for n in names
    )
    numbers = "temporary" not in entry or all(
        isinstance(entry[key], int) for key in ("size", "mtime_ns")
    )
    return plain and numbers and isinstance(entry["existed"], bool)
