"""Signals that end a program: SIGTERM works as Ctrl-C does, and neither disturbs a short step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

__all__ = ["held_back", "like_ctrl_c"]

# SIGHUP comes when the terminal is closed; Windows has neither.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def like_ctrl_c() -> Iterator[None]:
    """Raise KeyboardInterrupt for the signals that end a program, while the block runs.

    A signal that is ignored, as by ``nohup``, or that a program handles itself, stays as it is.
    """
    changed: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:
                changed[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in changed.items():
            with suppress(ValueError):
                signal.signal(number, handler)


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Hold the signals that end a program back while the block runs.

    Yields
    ------
    callable
        Raises KeyboardInterrupt if such a signal has come. One that comes after the last call
        acts when the block has ended.
    """
    came: list[tuple[int, FrameType | None]] = []
    handlers: dict[int, Any] = {}

    def raise_if_stopped() -> None:
        if came:
            came.clear()
            raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, *_ENDING):
            # What the system does by default, or what was set outside Python, is left alone.
            if callable(handler := signal.getsignal(number)):
                handlers[number] = handler
                signal.signal(number, lambda number, frame: came.append((number, frame)))
    try:
        yield raise_if_stopped
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number, frame in came:
        handlers[number](number, frame)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
