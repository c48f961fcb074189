"""What is done of an archive, on disk beside the results: a line of JSON for each step.

Lines are only ever added, each by one write, so a process that is killed costs at most its last
line, which is then left out when the file is read. A work has a line when it begins and one when
it ends; the last one counts. Several runs at once, as the tasks of a job array, each have a file of
their own, and all of them are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import OutputError
from .work import DONE, FAILED, KEPT, Outcome

__all__ = ["BEGUN", "DAMAGED", "NAME", "Manifest", "read_manifests", "work_key"]

NAME = "diffconsole.manifest"
ENDING = ".jsonl"
FORMAT = "diffconsole.manifest"
BEGUN = "begun"
DAMAGED = "damaged"
"""Key that a record has whose line lacks what it should hold; never in the file."""

LONGEST_LINE = 1 << 20
MOST_BYTES = 1 << 32
STATES = (BEGUN, DONE, KEPT, FAILED)


def work_key(outputs: Mapping[str, str], inputs: Mapping[str, str], folder: Path) -> str:
    """Return what a work is called in the manifest: its results, by their places in the folder.

    A work that writes nothing goes by its inputs. Names that are long are shortened by a hash.
    """
    paths = outputs or inputs
    places = {
        role: os.path.relpath(os.path.abspath(path), folder.absolute())
        for role, path in paths.items()
    }
    role = next(iter(places))
    text = f"{role}:{places[role]}"
    if len(text) > 1024:
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        text = f"{text[:512]}…{digest}"
    return text


def read_manifests(folder: Path, damaged: list[Path] | None = None) -> dict[str, dict[str, Any]]:
    """Return the last line of every work in the manifests of a folder, by its key.

    A line that cannot be read is left out: of a run that was killed, or of a newer version. One
    that names its work and lacks what a line of its state holds counts as begun, and has
    ``"damaged"``.

    Parameters
    ----------
    folder : Path
        Of the results.
    damaged : list of Path, optional
        Gets the path of a manifest for each such line.

    Raises
    ------
    OutputError
        What has a manifest's name is no ordinary file, cannot be read, or is larger than any
        archive makes it.
    """
    found: dict[str, dict[str, Any]] = {}
    paths = list(folder.glob(f"{NAME}*{ENDING}"))
    for path in paths:
        _check_ordinary(path)
    for path in sorted(paths, key=_age):
        if path.stat().st_size > MOST_BYTES:
            raise OutputError(f"{path}: is larger than 4 GB and no manifest; move it away")
        for line in _lines(path):
            record = _read(line)
            if record is not None:
                earlier = found.get(record["work"])
                if record["state"] == KEPT:
                    record = {**(earlier or record), "state": DONE}
                # Begun again is no reason to forget what it wrote before.
                elif record["state"] != DONE and earlier is not None:
                    record = {**{k: earlier[k] for k in _KEPT if k in earlier}, **record}
                if record["state"] == DONE and not _is_complete(record):
                    record = _begun(record["work"])
                found[record["work"]] = record
            if damaged is not None and (record is None or DAMAGED in record):
                damaged.append(path)
    return found


_KEPT = ("fingerprint", "inputs", "outputs", "roles", "data")


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines that are not empty; of one that is too long its beginning alone."""
    begins = True
    with _opened(path) as file:
        while line := file.readline(LONGEST_LINE):
            if begins and line.strip():
                yield line
            begins = line.endswith(b"\n")


def _begun(work: str) -> dict[str, Any]:
    """What is known of a work whose line is damaged: that it was begun."""
    return {"format": FORMAT, "work": work, "state": BEGUN, DAMAGED: True}


def _is_complete(record: Mapping[str, Any]) -> bool:
    """Whether a work that is done has all that this is checked by."""
    return (
        isinstance(record.get("fingerprint"), str)
        and bool(record.get("inputs"))
        and bool(record.get("outputs") or record.get("data"))
    )


class Manifest:
    """A file to which a run adds what it begins and ends.

    Parameters
    ----------
    folder : Path
        Of the results; it must exist.
    part : str
        What distinguishes the file of this run from those of others at the same time: ``"1-of-8"``.
    """

    def __init__(self, folder: Path, part: str = "") -> None:
        self.path = folder / f"{NAME}{f'.{part}' if part else ''}{ENDING}"
        self._file: BinaryIO | None = None

    def __enter__(self) -> Manifest:
        _check_ordinary(self.path)
        try:
            # Unbuffered: one write, one line, at the end of the file whoever else writes to it.
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
            if self._file.tell() and not _ends_in_line(self.path):
                self._file.write(b"\n")
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror or error}); choose another folder"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def begin(self, key: str, roles: Iterable[str]) -> None:
        """Add that a work has begun, and the roles of the results that may be there from now on."""
        self._add({"work": key, "state": BEGUN, "roles": list(roles)})

    def end(self, key: str, outcome: Outcome, fingerprint: str) -> None:
        """Add how a work ended; of one that was whole already the earlier line holds."""
        record: dict[str, Any] = {"work": key, "state": outcome.state}
        if outcome.state == FAILED:
            record["failure"] = outcome.failure[:2000]
        elif outcome.state == DONE:
            record["fingerprint"] = fingerprint
            record["inputs"] = {role: _short(file) for role, file in outcome.inputs.items()}
            record["outputs"] = {role: _short(file) for role, file in outcome.outputs.items()}
            record["seconds"] = outcome.seconds
            if not outcome.outputs:
                record["data"] = dict(outcome.data)
        self._add(record)

    def _add(self, record: Mapping[str, Any]) -> None:
        assert self._file is not None
        try:
            self._file.write(_line(record))
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror or error}); free some space and "
                "repeat the command with --resume"
            ) from None


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps({"format": FORMAT, **record}).encode("ascii") + b"\n"


def _short(file: Mapping[str, Any]) -> dict[str, Any]:
    return {"bytes": file["bytes"], "sha256": file["sha256"]}


def _check_ordinary(path: Path) -> None:
    """Refuse a link, which may lead out of the folder, a folder, or a pipe that never ends."""
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise OutputError(f"{path}: is no ordinary file, as a manifest is; move it away")


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be read ({error.strerror or error}); mend its permissions"
        ) from None


def _age(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.name


def _ends_in_line(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        return None
    if not isinstance(record.get("work"), str) or record.get("state") not in STATES:
        return None
    record.pop(DAMAGED, None)
    return record if _is_sound(record) else _begun(record["work"])


def _is_sound(record: Mapping[str, Any]) -> bool:
    """Whether what a line holds is of the right types."""
    for key in ("inputs", "outputs"):
        files = record.get(key, {})
        if not isinstance(files, dict) or not all(
            isinstance(file, dict) and isinstance(file.get("sha256"), str)
            for file in files.values()
        ):
            return False
    roles = record.get("roles", [])
    return (
        isinstance(roles, list)
        and all(isinstance(role, str) for role in roles)
        and isinstance(record.get("data", {}), dict)
        and (record["state"] != BEGUN or "roles" in record)
    )
