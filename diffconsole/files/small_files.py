"""Small files of users, read to a bounded size and within a bounded time.

A path may name anything: a pipe of the shell is read to its end, a device that never ends only as
far as the limit, and a pipe into which nobody writes no longer than a few seconds.
"""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path

__all__ = ["LARGEST_BYTES", "read_small"]

LARGEST_BYTES = 1 << 20
PATIENCE_SECONDS = 5.0
CHUNK_BYTES = 1 << 16


def read_small(path: str | Path, largest_bytes: int = LARGEST_BYTES) -> bytes | None:
    """Return the content of a file, or None where it holds more than it may.

    Parameters
    ----------
    path : str or Path
        A file, or whatever else can be read.
    largest_bytes : int
        No more than one byte above it is read.

    Raises
    ------
    OSError
        The file cannot be opened or read; or it is a pipe or a device that gives nothing for five
        seconds.
    """
    # Without O_NONBLOCK, opening a pipe waits for its writer without end.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    try:
        waits = hasattr(os, "O_NONBLOCK") and not stat.S_ISREG(os.fstat(descriptor).st_mode)
        content = bytearray()
        while len(content) <= largest_bytes:
            if waits:
                _await(descriptor)
            read = os.read(descriptor, min(CHUNK_BYTES, largest_bytes + 1 - len(content)))
            if not read:
                return bytes(content)
            content += read
        return None
    finally:
        os.close(descriptor)


def _await(descriptor: int) -> None:
    """Wait until a pipe or a device can be read or has ended."""
    # A folder and some devices cannot be waited for; reading them answers at once.
    try:
        ready, _, _ = select.select([descriptor], [], [], PATIENCE_SECONDS)
    except (OSError, ValueError):
        return
    if not ready:
        raise TimeoutError(None, f"gave nothing for {PATIENCE_SECONDS:g} seconds; give a file")
