"""Progress bars on stderr, by rich; only where stderr is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

__all__ = ["Progress", "bar", "bars", "steps"]

Item = TypeVar("Item")

Progress = Callable[[str, float, str], None]
"""Called by long work with the label of what is going on, the share of it that is done, 0…1, and a
note."""


@contextlib.contextmanager
def bar(label: str, *, silent: bool) -> Iterator[Callable[[float, str], None]]:
    """Show a bar with the time left; the function that it gives takes the share done and a note.

    Parameters
    ----------
    label : str
        What is going on.
    silent : bool
        Show nothing.
    """
    if silent or not sys.stderr.isatty():
        yield lambda done, note: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    # stdout stays as it is: what goes there may be a file.
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False
    ) as progress:
        task = progress.add_task(label, total=1.0, note="")
        yield lambda done, note: progress.update(task, completed=min(done, 1.0), note=note)


@contextlib.contextmanager
def bars(*, silent: bool) -> Iterator[Progress]:
    """Show one bar after the other: the function that it gives begins a new one for each label.

    Parameters
    ----------
    silent : bool
        Show nothing.
    """
    label = ""
    with contextlib.ExitStack() as shown:

        def no_bar(done: float, note: str) -> None:
            pass

        update: Callable[[float, str], None] = no_bar

        def show(current: str, done: float, note: str) -> None:
            nonlocal label, update
            if current != label:
                shown.close()
                label, update = current, shown.enter_context(bar(current, silent=silent))
            update(done, note)

        yield show


def steps(items: Sequence[Item], label: str, *, silent: bool) -> Iterator[Item]:
    """Go through items with a bar."""
    with bar(label, silent=silent) as update:
        for i, item in enumerate(items):
            update(i / max(len(items), 1), f"{i + 1} of {len(items)}")
            yield item
