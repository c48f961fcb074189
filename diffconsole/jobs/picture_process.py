"""A second process that draws the pictures of takes, while this one does the rest.

Loading matplotlib takes about as long as predicting a strip. The process begins with it at once;
what it gets and gives are a line of JSON and the bytes that it announces, and it touches no file.
It ends when its standard input does, however this process ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..strip.preset import Preset
from .many.processes import cores

__all__ = ["PictureProcess", "pictures_beside"]

START = (
    "import sys; sys.path[:] = sys.argv[1].split(sys.argv[2]); "
    "from diffconsole.jobs.picture_worker import main; main()"
)
"""Python puts the working folder first; a file of that name there must not be run."""

LONGEST_LINE, LARGEST_PICTURE = 1 << 20, 1 << 28
LONGEST_SECONDS, LEAVING_SECONDS = 60.0, 1.0
"""How long a picture is waited for, and the process at its end."""


@contextlib.contextmanager
def pictures_beside(wanted: bool) -> Iterator[PictureProcess | None]:
    """Start the process that draws, where that saves time; at the end of the block it is gone.

    Parameters
    ----------
    wanted : bool
        Whether there are pictures to draw.

    Yields
    ------
    PictureProcess or None
        None where none is wanted, there is one core alone, or matplotlib is loaded already.
    """
    if not wanted or cores() < 2 or not sys.executable or "matplotlib.figure" in sys.modules:
        yield None
        return
    try:
        process = PictureProcess()
    except OSError:
        # No more processes or memory: the picture is drawn here.
        yield None
        return
    try:
        yield process
    finally:
        process.close()


class PictureProcess:
    """The process that draws, one picture at a time."""

    def __init__(self) -> None:
        path = os.pathsep.join(sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, path, os.pathsep],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C at the terminal is for this process, which ends the other one.
            start_new_session=os.name == "posix",
        )
        self._answer: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._free = threading.Lock()

    def begin(
        self,
        name: str,
        preset: Preset,
        raw: tuple[np.ndarray, int],
        processed: np.ndarray,
        title: str,
    ) -> None:
        """Let a picture be drawn; one that nobody came for is given up.

        Parameters
        ----------
        name : str
            Of the preset.
        preset : Preset
            What to draw.
        raw : (ndarray, int)
            The vocal, ``(channels, samples)``, and its rate in Hz.
        processed : ndarray
            What the preset made of it.
        title : str
            Above everything.
        """
        arrays = [np.ascontiguousarray(raw[0]), np.ascontiguousarray(processed)]
        head = {
            "name": name,
            "settings": preset.settings(),
            "bypass": sorted(preset.bypass()),
            "title": title,
            "rate": raw[1],
            "arrays": [[str(array.dtype), list(array.shape)] for array in arrays],
        }
        line = json.dumps(head).encode() + b"\n"
        # Of a thread: neither side waits for the other while it has something to do.
        self._answer = queue.SimpleQueue()
        given = (line, arrays, self._answer)
        threading.Thread(target=self._exchange, args=given, daemon=True).start()

    def finished(self) -> bytes | None:
        """Return the last picture as a PNG file has it, once it is drawn; None where it was not."""
        try:
            return self._answer.get(timeout=LONGEST_SECONDS)
        except queue.Empty:
            return None

    def _exchange(
        self, line: bytes, arrays: list[np.ndarray], answer: queue.SimpleQueue[bytes | None]
    ) -> None:
        picture = None
        try:
            with self._free:
                picture = self._drawn(line, arrays)
        finally:
            answer.put(picture)

    def _drawn(self, line: bytes, arrays: list[np.ndarray]) -> bytes | None:
        given, taken = self._process.stdin, self._process.stdout
        assert given is not None and taken is not None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            given.write(line)
            for array in arrays:
                given.write(array.data.cast("B"))
            given.flush()
            answer: dict[str, Any] = json.loads(taken.readline(LONGEST_LINE) or b"{}")
            count = int(answer["bytes"])
            if 0 < count <= LARGEST_PICTURE:
                found = taken.read(count)
                return found if len(found) == count else None
        return None

    def close(self) -> None:
        """End the process, whatever it does."""
        given = self._process.stdin
        if given is not None and self._free.acquire(blocking=False):
            # It has nothing to do, and time to remove what matplotlib keeps for a while.
            try:
                with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
                    given.close()
                    self._process.wait(LEAVING_SECONDS)
            finally:
                self._free.release()
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            # What could not be sent any more is flushed by closing.
            with contextlib.suppress(OSError, ValueError):
                if stream is not None:
                    stream.close()
