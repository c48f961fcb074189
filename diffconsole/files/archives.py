"""Single members of zip archives that users have, read with everything bounded beforehand."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from ..errors import ExportError

__all__ = ["read_member"]

LARGEST_ARCHIVE_BYTES = 1 << 30
LARGEST_READ_BYTES = 4 << 20
"""At once: an archive states the size of its table of contents itself."""

# All that zipfile raises on archives that are damaged or of a kind that it does not read.
DAMAGED: tuple[type[Exception], ...] = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, NotImplementedError, RuntimeError,
    EOFError, struct.error, ValueError, OSError, MemoryError,
)  # fmt: skip
try:
    import lzma
except ImportError:  # Python may be built without it; zipfile then refuses such members itself
    pass
else:
    DAMAGED += (lzma.LZMAError,)


def read_member(path: Path, name: str, largest_bytes: int, kind: str) -> bytes | None:
    """Return a member of a zip archive, or None where it holds more than it may.

    Parameters
    ----------
    path : Path
        The archive.
    name : str
        The member's.
    largest_bytes : int
        No more than one byte above it is unpacked, whatever the archive says of its size.
    kind : str
        What to give instead, for the errors: ``"a .dawproject file"``.

    Raises
    ------
    ExportError
        Not an ordinary file, over 1 GB, damaged, encrypted, packed in a way that is not known, or
        without that member.
    """
    try:
        # Not opened before: opening a pipe or a device may never end.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ExportError(f"{path}: is not an ordinary file; give {kind}")
        if status.st_size > LARGEST_ARCHIVE_BYTES:
            raise ExportError(f"{path}: over 1 GB; save a project of the vocal's track alone")
        with _Bounded(path) as file, zipfile.ZipFile(file) as archive:
            entry = archive.getinfo(name)
            if entry.flag_bits & 1:
                raise ExportError(f"{path}: is encrypted; save it again without a password")
            if entry.file_size > largest_bytes:
                return None
            with archive.open(entry) as member:
                content = member.read(largest_bytes + 1)
            return None if len(content) > largest_bytes else content
    except KeyError:
        raise ExportError(f"{path}: no {name} in it; give {kind}") from None
    except DAMAGED as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        reason = reason or type(error).__name__
        raise ExportError(f"{path}: not {kind}, or damaged ({reason}); save it again") from None


class _Bounded(io.FileIO):
    """A file of which no more than a few megabytes are read at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, as a file does; refuse to return very many."""
        left = os.fstat(self.fileno()).st_size - self.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > LARGEST_READ_BYTES:
            raise ValueError("its table of contents is over 4 MB")
        return super().read(wanted) or b""
