"""Several processes of this machine, each with a model of its own, fed one work after the other.

They are started afresh rather than forked, so no thread or lock of this process is copied, and the
script that called need not guard its main part. A process that dies costs the work in its hand,
which is tried once more; another process takes its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import DiffconsoleError, SettingsError
from .executor import again
from .work import Outcome, Task, Work
from .worker import ERROR, READY

__all__ = ["Processes", "cores", "thread_limits"]

STOP_SECONDS = 15.0
MOST_LOST = 3
"""Processes that may die before their model is loaded, until no more are started."""

LONGEST_LINE = 1 << 26
THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip
"""Variables of the environment that say how many threads a library starts."""

START = (
    "import sys; sys.path[:] = sys.argv[1].split(sys.argv[2]); "
    "from diffconsole.jobs.many.worker import main; main()"
)
"""Python puts the working folder first; a file of that name there must not be run."""


MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(1 << 24),
}
"""Variables by which glibc keeps memory that was freed for the next take. It would give each larger
array back to the system, which clears every page of it again: a twentieth of the time of a take."""


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def kept_memory() -> dict[str, str]:
    """Return the environment in which memory is kept, but for what is set already."""
    return {name: os.environ.get(name, value) for name, value in MEMORY.items()}


def thread_limits(jobs: int) -> dict[str, str]:
    """Return the environment that divides the cores among `jobs` processes, at least one each.

    A lower number that is set already stays.
    """
    share = max(1, cores() // jobs)
    limits = {}
    for name in THREADS:
        given = os.environ.get(name, "")
        limits[name] = str(min(share, int(given)) if given.isdigit() and int(given) else share)
    return limits


class Processes:
    """An executor of several processes (:class:`.executor.Executor`).

    Parameters
    ----------
    jobs : int
        How many.
    """

    def __init__(self, jobs: int) -> None:
        if not sys.executable:
            raise SettingsError("--jobs needs the Python program, which is not known here; use 1")
        self.jobs = jobs

    def run(self, task: Task, works: Iterable[Work]) -> Iterator[Outcome]:
        """Yield outcomes as they come; at the end, or when it is closed, no process is left."""
        pool = _Pool(self.jobs, task, iter(works))
        try:
            while pool.feed():
                yield from pool.outcomes()
        except KeyboardInterrupt:
            pool.stop()
            # What was completed meanwhile counts.
            yield from pool.left_over()
            raise
        finally:
            pool.stop()


class _Worker:
    """A process, what it has in hand, and the thread that hands its answers on."""

    def __init__(self, jobs: int, task: Task, answers: queue.SimpleQueue[_Answer]) -> None:
        path = os.pathsep.join(sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, path, os.pathsep],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **thread_limits(jobs), **kept_memory()},
            # Ctrl-C at the terminal is for this process alone, which ends the others in order.
            start_new_session=os.name == "posix",
        )
        self.ready = False
        self.work: Work | None = None
        self.listener = threading.Thread(target=self._listen, args=(answers,), daemon=True)
        self.listener.start()
        self.send(task.to_json())

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        # A process that died is noticed by the end of its answers.
        with contextlib.suppress(OSError):
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def close(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def kill(self) -> int:
        """End it and the programs that it runs, which may outlive it; return its exit code."""
        # Once it is waited for, its number may be another process's.
        if self.process.returncode is None:
            if os.name == "posix":
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
        return self.process.wait()

    def _listen(self, answers: queue.SimpleQueue[_Answer]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            while line := lines.readline(LONGEST_LINE):
                answers.put((self, line))
        answers.put((self, None))


_Answer = tuple[_Worker, "bytes | None"]


class _Pool:
    def __init__(self, jobs: int, task: Task, works: Iterator[Work]) -> None:
        self.jobs, self.task, self.works = jobs, task, works
        self.answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self.workers: list[_Worker] = []
        self.again: deque[Work] = deque()
        self.tried: set[int] = set()
        self.lost_before_ready = 0

    def feed(self) -> bool:
        """Give every idle process a work, starting processes while there is work; is any busy."""
        while True:
            idle = next((w for w in self.workers if w.work is None), None)
            if idle is None and len(self.workers) >= self.jobs:
                return True
            work = self.again.popleft() if self.again else next(self.works, None)
            if work is None:
                return any(worker.work is not None for worker in self.workers)
            if idle is None:
                idle = _Worker(self.jobs, self.task, self.answers)
                self.workers.append(idle)
            idle.work = work
            idle.send(work.to_json())

    def outcomes(self) -> Iterator[Outcome]:
        """Wait for an answer, and yield the outcome that it holds, if it holds one."""
        worker, line = self.answers.get()
        # A line without an end was cut off when the process died.
        if line is None or not line.endswith(b"\n"):
            yield from self._lost(worker)
        elif line == READY:
            worker.ready = True
        elif line.startswith(ERROR):
            raise DiffconsoleError(json.loads(line)["error"])
        else:
            worker.work = None
            yield Outcome.from_json(line)

    def left_over(self) -> Iterator[Outcome]:
        """Yield what was completed before the processes ended."""
        while not self.answers.empty():
            worker, line = self.answers.get()
            if line is None or line == READY or line.startswith(ERROR):
                continue
            if line.endswith(b"\n"):
                yield Outcome.from_json(line)

    def stop(self) -> None:
        """End all processes: ask first, then insist."""
        workers, self.workers = self.workers, []
        for worker in workers:
            worker.close()
        try:
            # Its answers end when it does; it is not waited for before its programs are ended.
            for worker in workers:
                worker.listener.join(STOP_SECONDS)
        finally:
            for worker in workers:
                worker.kill()

    def _lost(self, worker: _Worker) -> Iterator[Outcome]:
        """A process is gone: its work is tried again, or fails if that was the second time."""
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        code, work = worker.kill(), worker.work
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if not worker.ready:
            # The model may be too large for so many processes: those that are there go on.
            self.lost_before_ready += 1
            if self.lost_before_ready >= MOST_LOST:
                self.jobs = max(1, len(self.workers))
            if not self.workers and self.lost_before_ready >= MOST_LOST:
                raise DiffconsoleError(
                    f"a process {how} before it could begin; there may be too little memory: try "
                    "fewer --jobs"
                )
            if work is not None:
                self.again.appendleft(work)
            return
        if work is None:
            return
        _clear(work)
        if work.number in self.tried:
            yield Outcome.failed(
                work,
                f"{work.name}: the process that worked on it {how}, twice; there may be too "
                "little memory: try fewer --jobs, or leave this file out",
            )
            return
        self.tried.add(work.number)
        self.again.appendleft(again(work))


def _clear(work: Work) -> None:
    """Undo what a process that died left half written."""
    from ...files import clear_unfinished

    folders = {Path(path).parent for path in work.outputs.values()}
    clear_unfinished(folder for folder in folders if folder.is_dir())
