"""Parts of one search that run beside each other, each on one thread.

Most of what a step does on a few seconds of sound is too little to be shared out by torch. So a
search gives torch one thread and splits its points instead: always into the same parts, so that
the result is the same on any number of threads. What cannot be split leaves the other threads to
the compiled loops.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from ...kernels.kept_memory import kept_memory
from ...kernels.threads import loops_on, one_thread, run_tasks, thread_count

__all__ = ["each", "shared_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_shared: contextvars.ContextVar[bool] = contextvars.ContextVar("shared", default=False)


@contextlib.contextmanager
def shared_threads(device: str) -> Iterator[None]:
    """Let :func:`each` and the compiled loops use torch's threads, and torch itself one.

    On a CPU only; what a search allocates stays with the process until it ends.
    """
    if device != "cpu":
        yield
        return
    token = _shared.set(True)
    try:
        threads = thread_count()
        with kept_memory(), one_thread(), loops_on(threads):
            yield
    finally:
        _shared.reset(token)


def each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return the function's results, in order, from as many threads as may be used.

    In one of these threads, and outside of :func:`shared_threads`, one after the other.
    """
    if len(items) < 2 or thread_count() < 2 or not _shared.get():
        return [function(item) for item in items]
    found: list[Result | None] = [None] * len(items)
    gradients = torch.is_grad_enabled()
    contexts = [contextvars.copy_context() for _ in items]

    def call(number: int) -> None:
        with one_thread(), loops_on(1), torch.set_grad_enabled(gradients):
            found[number] = function(items[number])

    run_tasks(lambda number: contexts[number].run(call, number), len(items))
    return found  # type: ignore[return-value]
