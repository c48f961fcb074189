"""Jobs that run beside each other, one thread each, and report their progress.

Several searches on one thread each get more done than one after the other on all threads: most of
what a step does on a few seconds of sound is too little to be shared out.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["side_by_side"]

Result = TypeVar("Result")
Progress = Callable[[float, float], None]
# How often the calling thread looks whether something has happened, so that Ctrl-C is noticed.
TICK_SECONDS = 0.2


def side_by_side(
    jobs: Sequence[Callable[[Progress], Result]],
    threads: int,
    report_progress: Callable[[int, float, float], None],
) -> Iterator[Result]:
    """Run jobs on a few threads and yield their results in the jobs' order.

    Parameters
    ----------
    jobs : sequence of callable
        Each is called with what reports its progress, a share of 0…1 and a loss. After Ctrl-C that
        raises ``KeyboardInterrupt``: the job then returns what it has.
    threads : int
        That many at once; 1 runs them in the calling thread, with all of torch's threads.
    report_progress : callable
        Called in the calling thread with a job's number, share and loss.

    Yields
    ------
    Result
        After Ctrl-C those of the jobs that had begun.
    """
    if threads <= 1:
        for number, job in enumerate(jobs):
            yield job(lambda share, loss, number=number: report_progress(number, share, loss))  # type: ignore[misc]
        return
    before = torch.get_num_threads()
    stop = threading.Event()
    reported: queue.SimpleQueue[tuple[int, float, float]] = queue.SimpleQueue()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    started = [pool.submit(_run, job, number, reported, stop) for number, job in enumerate(jobs)]
    try:
        for future in started:
            _watch(future, reported, stop, report_progress)
            result = future.result()
            if result is None:
                return
            yield result[0]
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _run(
    job: Callable[[Progress], Result],
    number: int,
    reported: queue.SimpleQueue[tuple[int, float, float]],
    stop: threading.Event,
) -> tuple[Result] | None:
    if stop.is_set():
        return None

    def report_progress(share: float, loss: float) -> None:
        reported.put((number, share, loss))
        if stop.is_set():
            raise KeyboardInterrupt

    return (job(report_progress),)


def _watch(
    future: Future[tuple[Result] | None],
    reported: queue.SimpleQueue[tuple[int, float, float]],
    stop: threading.Event,
    report_progress: Callable[[int, float, float], None],
) -> None:
    """Pass on what the jobs report until this one is done; Ctrl-C stops all of them."""
    while not (future.done() and reported.empty()):
        try:
            event = reported.get(timeout=TICK_SECONDS)
            if not stop.is_set():
                report_progress(*event)
        except queue.Empty:
            continue
        except KeyboardInterrupt:
            if stop.is_set():
                raise
            stop.set()
