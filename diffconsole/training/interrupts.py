"""Ctrl-C that waits for the end of what must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["forked_defaults", "uninterrupted", "uninterrupted_for"]

HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM inside a ``with`` block, and deliver them at its end.

    Where there is no handler of Python's, and in threads other than the main one, they are left
    alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    before = {number: signal.getsignal(number) for number in HELD}
    ours = [number for number, handler in before.items() if callable(handler)]
    for number in ours:
        signal.signal(number, lambda which, frame: held.append((which, frame)))
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
    for which, frame in held[:1]:
        handler = before[signal.Signals(which)]
        assert callable(handler)
        handler(which, frame)


@contextmanager
def uninterrupted_for(held: bool) -> Iterator[None]:
    """Ignore SIGINT and SIGTERM inside a ``with`` block, if asked: another process decides."""
    if not held or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in HELD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def forked_defaults() -> None:
    """Let SIGTERM end a forked process again whose parent ignores it."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
