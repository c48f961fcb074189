"""What an earlier run left: whether it is whole and unchanged, by the bytes of its files."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import OutputError, PresetError

if TYPE_CHECKING:
    from .work import Work

__all__ = ["REPLACE_EDITED", "check_not_edited", "digest_of", "digests", "is_whole"]

CHUNK_BYTES = 1 << 20
REPLACE_EDITED = "replace_edited"
"""Option of a work whose preset is replaced even if it was edited."""


def digest_of(path: str | Path) -> dict[str, Any] | None:
    """Return length and SHA-256 of a file, or of all files in a folder with their names.

    None of what cannot be read, or is neither.
    """
    digest, length = hashlib.sha256(), 0
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            for file in sorted(p for p in Path(path).rglob("*") if p.is_file()):
                digest.update(os.fsencode(file.relative_to(path).as_posix()) + b"\0")
                length += _add(digest, file)
        elif stat.S_ISREG(mode):
            length = _add(digest, path)
        else:
            return None
    except (OSError, ValueError):
        # Whoever reads the file for its content says what is wrong with it.
        return None
    return {"path": str(path), "bytes": length, "sha256": digest.hexdigest()}


def _add(digest: Any, path: str | Path) -> int:
    length = 0
    with open(path, "rb") as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
            length += len(block)
    return length


def digests(paths: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return what :func:`digest_of` finds, by role; without the files that are not there."""
    found = {role: digest_of(path) for role, path in paths.items()}
    return {role: digest for role, digest in found.items() if digest is not None}


def is_whole(work: Work, fingerprint: str, inputs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an earlier run did a work under the same fingerprint, and no file has changed since.

    Parameters
    ----------
    work : Work
        With what the manifest knows of it.
    fingerprint : str
        Of the task now.
    inputs : dict of str to dict
        What :func:`digests` finds of the inputs now.
    """
    earlier = work.earlier
    if earlier is None or earlier.get("fingerprint") != fingerprint:
        return False
    # Of a work that writes no files the manifest holds the figures.
    if not earlier.get("outputs" if work.outputs else "data"):
        return False
    if set(inputs) != set(work.inputs) or not _same(inputs, earlier.get("inputs", {})):
        return False
    outputs = earlier.get("outputs", {})
    if not set(outputs) <= set(work.outputs):
        return False
    return _same(digests({role: work.outputs[role] for role in outputs}), outputs)


def check_not_edited(work: Work) -> None:
    """Refuse to replace a preset that somebody has edited since an earlier run wrote it.

    Other results that were changed or cut off are made again, and so is a preset that is damaged.

    Raises
    ------
    OutputError
        Names the preset.
    """
    path = work.outputs.get("preset")
    earlier = work.earlier or {}
    known = earlier.get("outputs", {}).get("preset")
    # A run that was killed while it worked on this file may have written another preset itself.
    if path is None or known is None or earlier.get("state") == "begun":
        return
    if work.options.get(REPLACE_EDITED):
        return
    now = digest_of(path)
    if now is None or now["sha256"] == known.get("sha256"):
        return
    from ...strip.preset import Preset

    try:
        Preset.read(Path(path))
    except (PresetError, OSError):
        return
    raise OutputError(
        f"{path}: was edited since it was written, and is not replaced; add --force to replace "
        "it, or move it away"
    )


def _same(now: Mapping[str, Mapping[str, Any]], then: Mapping[str, Mapping[str, Any]]) -> bool:
    return now.keys() == then.keys() and all(
        now[role].get("sha256") == then[role].get("sha256") for role in now
    )
