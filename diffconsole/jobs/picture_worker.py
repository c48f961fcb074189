"""What runs in the process that draws pictures; see :mod:`.picture_process`."""

from __future__ import annotations

import atexit
import json
import os
import queue
import signal
import sys
import threading
from io import BufferedReader
from typing import Any

import numpy as np

__all__ = ["main"]

Request = tuple[dict[str, Any], list[np.ndarray]]


def main() -> None:
    """Draw what standard input asks for; leave at its end, in the middle of a picture too."""
    # Libraries may print; what they print must not stand between the pictures.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    try:
        _load()
    except Exception:
        os._exit(1)
    while True:
        head, arrays = requests.get()
        try:
            picture = _drawn(head, arrays)
        except Exception:
            # Who asked draws it again and says what is wrong.
            picture = b""
        try:
            answers.write(json.dumps({"bytes": len(picture)}).encode() + b"\n" + picture)
            answers.flush()
        except OSError:
            # Who asked is gone.
            os._exit(1)


def _load() -> None:
    import matplotlib.backends.backend_agg  # noqa: F401

    from .. import plots  # noqa: F401


def _drawn(head: dict[str, Any], arrays: list[np.ndarray]) -> bytes:
    from ..plots import StripView, image_of_presets

    raw, processed = arrays
    view = StripView(head["name"], head["settings"], frozenset(head["bypass"]))
    return image_of_presets(
        [view], "png", raw=(raw, head["rate"]), processed=processed, title=head["title"]
    )


def _read(source: BufferedReader, requests: queue.SimpleQueue[Request]) -> None:
    while line := source.readline():
        head = json.loads(line)
        arrays = []
        for kind, shape in head["arrays"]:
            array = np.empty(shape, kind)
            if source.readinto(array.data.cast("B")) != array.nbytes:
                os._exit(0)
            arrays.append(array)
        requests.put((head, arrays))
    # At once: the other thread may be loading or drawing. Matplotlib removes a folder of its own.
    atexit._run_exitfuncs()
    os._exit(0)
