"""Keeps the words of the MP3 decoder off stderr, where they would stand between the program's.

libmpg123 inside libsndfile writes to the process's stderr, with no way to ask it not to. While it
decodes, stderr goes into a file; what is not the decoder's is passed on afterwards.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["without_decoder_words"]

_WORDS = re.compile(rb"(?:Note|Warning|Error): |\[[^\]]*libmpg123[^\]]*\]|\s*$")
# stderr is the whole process's: one decoder at a time may turn it.
_one_at_a_time = threading.RLock()


@contextmanager
def without_decoder_words(kind: str) -> Iterator[None]:
    """Keep stderr free of the decoder's words while the block reads a file of this kind.

    Parameters
    ----------
    kind : str
        Of the container (:class:`.containers.Container`); only ``"MP3"`` changes anything.
    """
    if kind != "MP3":
        yield
        return
    with _one_at_a_time:
        try:
            kept, aside = os.dup(2), tempfile.TemporaryFile()  # noqa: SIM115
        except OSError:
            # No stderr, or no place for a file: the words are the smaller harm.
            yield
            return
        try:
            _flush()
            os.dup2(aside.fileno(), 2)
            yield
        finally:
            _flush()
            os.dup2(kept, 2)
            os.close(kept)
            with aside:
                aside.seek(0)
                for line in aside:
                    if not _WORDS.match(line):
                        with suppress(OSError):
                            os.write(2, line)


def _flush() -> None:
    with suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()
