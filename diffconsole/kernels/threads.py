"""Tasks on a few threads: as many as torch may use, the calling one among them.

Without torch in memory they are as many as it would take: one a core that the process may use, or
what ``OMP_NUM_THREADS`` says.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["lane_groups", "loops_on", "one_thread", "run_tasks", "thread_count"]

LANES = 8

_own = threading.local()


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    # One a process: after a fork the parent's threads do not exist, and waiting for them hangs.
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="diffconsole")


def thread_count() -> int:
    """Return how many threads may be used, at least 1."""
    own: int | None = getattr(_own, "count", None)
    if own is not None:
        return own
    # While torch is being imported it has no such function yet.
    of_torch = getattr(sys.modules.get("torch"), "get_num_threads", None)
    if of_torch is not None:
        return int(of_torch())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_tasks(task: Callable[[int], Any], count: int) -> None:
    """Call ``task(0)`` … ``task(count − 1)``, each once, on at most torch's number of threads.

    A thread pool instead of numba's own threading keeps compilation short, calls from several
    threads safe, and the machine free of more threads than ``torch.set_num_threads`` allows.
    """
    threads = min(thread_count(), count)
    if threads <= 1:
        for index in range(count):
            task(index)
        return
    left = itertools.count()

    def work() -> None:
        while (index := next(left)) < count:
            task(index)

    others = [_pool(os.getpid()).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        # Nothing may still write to the arrays when an error leaves this call.
        for other in others:
            other.exception()
    for other in others:
        other.result()


def lane_groups(count: int) -> list[slice]:
    """Split `count` signals into groups that run side by side, at most eight, for all threads."""
    if count == 0:
        return []
    groups = -(-count // min(LANES, -(-count // thread_count())))
    edges = [count * index // groups for index in range(groups + 1)]
    return [slice(first, stop) for first, stop in zip(edges, edges[1:], strict=False)]


@contextlib.contextmanager
def loops_on(threads: int) -> Iterator[None]:
    """Let :func:`run_tasks` in the calling thread use so many threads, whatever torch may use."""
    before = getattr(_own, "count", None)
    _own.count = threads
    try:
        yield
    finally:
        _own.count = before


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let :func:`run_tasks`, and torch if it is there, use the calling thread only.

    Many small operations take several times as long where each is shared out. Torch keeps the
    number for each thread; the calling thread's is restored at the end, after errors too.
    """
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    if torch:
        torch.set_num_threads(1)
    try:
        with loops_on(1):
            yield
    finally:
        if torch:
            torch.set_num_threads(before)
