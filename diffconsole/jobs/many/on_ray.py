"""An executor on a Ray cluster: each work is a task of its own, on whichever node has a free core.

A work whose node dies is done again on another node. Ray's own retries are not used: what the first
try may have written must be replaced by the second, which Ray does not know.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import DiffconsoleError, SettingsError
from ...files.results import MODEL_FILES
from .executor import again
from .ray_node import DATE, work_on_node
from .storage import Places
from .work import Outcome, Task, Work

__all__ = ["OnRay"]

AHEAD = 2
"""Works per core that are handed out: one in hand, one that waits on the way."""

MOST_TRIES = {"crash": 3, "node": 6}
"""Of one work, by what is lost: the process alone, maybe by the file's fault, or the node."""

REFRESH_SECONDS = 5.0
POLL_SECONDS = 0.5
REACH_SECONDS = 10.0
STOP_SECONDS = 15.0
LARGEST_MODEL_BYTES = 1 << 34


class OnRay:
    """Runs works on the nodes of a Ray cluster (:class:`.executor.Executor`).

    Model and references are sent to the nodes. Inputs and results must lie where all nodes reach
    them by the same path, or in a storage (:mod:`.storage`). On each node the same version of the
    package must be installed.

    Parameters
    ----------
    address : str
        Of the cluster, as ``"10.0.0.1:6379"``; ``"auto"`` for the one that this machine belongs to.
    jobs : int, optional
        At most so many works at once; by default as many as the cluster has cores.
    places : Places, optional
        Which paths stand for files of a storage.
    """

    def __init__(self, address: str, jobs: int | None = None, places: Places | None = None) -> None:
        self.address, self.jobs, self.places = address, jobs, places or Places()

    def run(self, task: Task, works: Iterable[Work]) -> Iterator[Outcome]:
        """Yield outcomes as they come; what is still running at the end is stopped."""
        left = iter(works)
        with _joined(self.address) as ray, closing(_Cluster(ray, task, self.jobs)) as cluster:
            try:
                while True:
                    while cluster.has_room():
                        work = next(left, None)
                        if work is None:
                            break
                        cluster.start(self.places.stored(work))
                    if not cluster.running:
                        break
                    for outcome in cluster.outcomes():
                        yield outcome
                        self.places.keep_manifest()
            finally:
                self.places.keep_manifest(now=True)


class _Cluster:
    """What runs on the cluster, and how often each work was tried."""

    def __init__(self, ray: Any, task: Task, jobs: int | None) -> None:
        self.ray, self.jobs, self.task = ray, jobs, task
        self.running: dict[Any, Work] = {}
        self.again: deque[Work] = deque()
        self.tries: dict[int, int] = {}
        self.cores, self.looked = 1, 0.0
        self.files = ray.put(_files_of(task))
        self.do = ray.remote(num_cpus=1, max_retries=0)(work_on_node)
        self.task_line = task.to_json()

    def has_room(self) -> bool:
        """Return whether another work can be started; nodes may have come or gone."""
        while self.again:
            self.start(self.again.popleft())
        if time.monotonic() - self.looked > REFRESH_SECONDS:
            self.cores = max(1, int(self.ray.cluster_resources().get("CPU", 1)))
            self.looked = time.monotonic()
        most = AHEAD * self.cores if self.jobs is None else self.jobs
        return len(self.running) < most

    def start(self, work: Work) -> None:
        # In a list, the reference arrives as one: a node reads the files once, not with each work.
        date = os.environ.get(DATE)
        line = self.do.remote(__version__, date, self.task_line, [self.files], work.to_json())
        self.running[line] = work

    def outcomes(self) -> Iterator[Outcome]:
        """Wait a moment, and yield what has ended."""
        errors = self.ray.exceptions
        ended, _ = self.ray.wait(list(self.running), num_returns=1, timeout=POLL_SECONDS)
        for line in ended:
            work = self.running.pop(line)
            try:
                answer = self.ray.get(line)
            except errors.RayTaskError as error:
                raise DiffconsoleError(_unable(error)) from None
            except (errors.LocalRayletDiedError, errors.RaySystemError) as error:
                raise DiffconsoleError(
                    f"the connection to the Ray cluster is lost ({_short(error)}); repeat the "
                    "command with --resume"
                ) from None
            except errors.RayError as error:
                is_crash = isinstance(error, (errors.WorkerCrashedError, errors.OutOfMemoryError))
                yield from self._lost(work, "crash" if is_crash else "node", error)
                continue
            if answer.startswith('{"error"'):
                raise DiffconsoleError(json.loads(answer)["error"])
            yield Outcome.from_json(answer)

    def _lost(self, work: Work, what: str, error: Exception) -> Iterator[Outcome]:
        """A node or a process is gone: its work is tried again, or fails after the last try."""
        self.tries[work.number] = self.tries.get(work.number, 1) + 1
        if self.tries[work.number] > MOST_TRIES[what]:
            yield Outcome.failed(
                work,
                f"{work.name}: what worked on it was lost {MOST_TRIES[what]} times "
                f"({_short(error)}); there may be too little memory: leave this file out",
            )
            return
        self.again.append(again(work))

    def close(self) -> None:
        """Stop what runs, and wait until it has ended."""
        running, self.running = list(self.running), {}
        for line in running:
            with suppress(Exception):
                self.ray.cancel(line, force=True)
        if running:
            with suppress(Exception):
                self.ray.wait(running, num_returns=len(running), timeout=STOP_SECONDS)


@contextmanager
def _joined(address: str) -> Iterator[Any]:
    """Connect to a cluster, unless this process is connected already."""
    try:
        import ray
    except ImportError:
        raise SettingsError(
            "--ray needs the extra: pip install 'diffconsole[ray]', on each node"
        ) from None
    if ray.is_initialized():
        yield ray
        return
    try:
        _check_reached(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OverflowError, OSError) as error:
        raise SettingsError(
            f"--ray {address}: no cluster there ({_short(error)}); start one by: ray start --head"
        ) from None
    # Of a node that dies Ray prints pages, on standard output, where the result of --json goes.
    # It has no switch for that; an outcome says what is lost.
    worker = ray._private.worker
    printed = getattr(worker, "print_to_stdstream", None)
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield ray
    finally:
        ray.shutdown()
        if printed is not None:
            worker.print_to_stdstream = printed


def _check_reached(address: str) -> None:
    """Raise where nobody answers at ``HOST:PORT``: Ray itself tries for a quarter of an hour."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS):
            pass


def _files_of(task: Task) -> Mapping[str, Mapping[str, bytes]]:
    """The contents of what all works read, by the option that names it and the file's name.

    Raises
    ------
    SettingsError
        They are too large to be sent.
    """
    found: dict[str, dict[str, bytes]] = {}
    folder = task.options.get("model")
    if folder is not None:
        paths = [Path(folder) / name for name in MODEL_FILES]
        found["model"] = {path.name: path.read_bytes() for path in paths if path.is_file()}
    wanted = task.options.get("references")
    if wanted:
        # Numbered: two references may have one name.
        found["references"] = {
            f"{number}_{Path(path).name}": Path(path).read_bytes()
            for number, path in enumerate(wanted["paths"])
        }
    if sum(len(data) for files in found.values() for data in files.values()) > LARGEST_MODEL_BYTES:
        raise SettingsError(f"{folder}: model and references are too large to be sent to nodes")
    return found


def _unable(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    return (
        f"a node of the Ray cluster cannot do this ({_short(cause)}); install diffconsole "
        f"{__version__} on each node"
    )


def _short(error: object) -> str:
    text = " ".join(str(error).split())
    return (text or type(error).__name__)[:300]
