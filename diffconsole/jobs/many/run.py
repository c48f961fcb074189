"""Run the works of an archive: each into the manifest, the outcomes in the order of the inputs."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

from .executor import Executor
from .manifest import Manifest
from .plan import Planned
from .work import DONE, FAILED, KEPT, Outcome, Task, Work

__all__ = ["Summary", "run_archive"]


@dataclass
class Summary:
    """How many works ended how, while they do.

    Attributes
    ----------
    total : int
        All works.
    done, kept, failed : int
        Written now; whole from an earlier run; not written.
    notices : int
        Lines that users should know.
    started : float
        Seconds of a clock.
    """

    total: int
    done: int = 0
    kept: int = 0
    failed: int = 0
    notices: int = 0
    started: float = field(default_factory=perf_counter)

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.done += outcome.state == DONE
        self.kept += outcome.state == KEPT
        self.failed += outcome.state == FAILED
        self.notices += len(outcome.notices)

    @property
    def ended(self) -> int:
        """How many have ended."""
        return self.done + self.kept + self.failed

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return perf_counter() - self.started

    def rate(self) -> str:
        """Return how many works a second are done, or the seconds of one, in words."""
        count = self.done + self.failed
        # What fails at once says nothing of how long a file takes.
        if self.done == 0 or self.seconds <= 0:
            return ""
        speed = count / self.seconds
        return f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"

    def table(self) -> str:
        """Return the table for the end of a run."""
        rows = [("done", self.done), ("kept", self.kept), ("failed", self.failed)]
        left = self.total - self.ended
        if left:
            rows.append(("left", left))
        width = len(str(self.total))
        lines = [f"{name:<7} {count:>{width}}" for name, count in rows]
        rate = self.rate()
        minutes, seconds = divmod(round(self.seconds), 60)
        lines.append(f"{'time':<7} {minutes}:{seconds:02d}" + (f", {rate}" if rate else ""))
        return "\n".join(lines)


class Counter(Protocol):
    """What counts outcomes."""

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        ...


def run_archive(
    task: Task, planned: Planned, executor: Executor, part: str = "", count: Counter | None = None
) -> Generator[Outcome, None, None]:
    """Run all works and yield their outcomes in the order of the inputs.

    Parameters
    ----------
    task : Task
        What is done.
    planned : Planned
        The works; the manifest's folder must exist.
    executor : Executor
        Where it is done.
    part : str
        What distinguishes this run's manifest from those of others at the same time.
    count : Counter, optional
        Gets outcomes as soon as they come, before it is their turn.
    """
    waiting: dict[int, Outcome] = {}
    order = iter([work.number for work in planned.works])
    turn = next(order, None)
    with Manifest(planned.folder, part) as manifest:

        def begun() -> Iterator[Work]:
            for work in planned.works:
                manifest.begin(planned.keys[work.number], work.outputs)
                yield work

        outcomes = executor.run(task, begun())
        try:
            for outcome in outcomes:
                manifest.end(planned.keys[outcome.number], outcome, task.fingerprint)
                if count is not None:
                    count.add(outcome)
                waiting[outcome.number] = outcome
                while turn in waiting:
                    yield waiting.pop(turn)
                    turn = next(order, None)
        finally:
            # What it started ends now, not when it is collected.
            close = getattr(outcomes, "close", None)
            if close is not None:
                close()
