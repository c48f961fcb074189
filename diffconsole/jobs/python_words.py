"""Errors of what the commands do, with the remedy as Python users write it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import DiffconsoleError

__all__ = ["python_words"]

WORDS = (
    ("add --force", "pass force=True"),
    ("repeat the command, without --force,", "repeat the call, without force=True,"),
    ("repeat that command", "repeat that call"),
)
"""What a message says at the command line, and what stands for it in Python."""


@contextmanager
def python_words() -> Iterator[None]:
    """Name arguments of Python in the errors of the block where they name options of a command."""
    try:
        yield
    except DiffconsoleError as error:
        message = str(error)
        for option, argument in WORDS:
            message = message.replace(option, argument)
        if message == str(error):
            raise
        raise type(error)(message) from None
