"""Ctrl-C that waits for the end of what must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["ignored_signals", "leave_signals_to_parent", "uninterrupted"]

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
def ignored_signals(held: bool = True) -> Iterator[None]:
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


def leave_signals_to_parent() -> None:
    """Ignore SIGINT and SIGTERM from now on, in a process that ends with its parent.

    A terminal and ``torchrun`` send them to a program's whole group; were the helpers to end at
    once, their parent would fail in the middle of a step.
    """
    for number in HELD:
        signal.signal(number, signal.SIG_IGN)
