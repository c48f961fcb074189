"""The options of the commands that may clean a take first."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SettingsError
from .common import FiniteRange, add_options

if TYPE_CHECKING:
    from ..jobs.enhance import Enhancer

__all__ = ["enhance_options", "files_of_enhancer"]


def enhance_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name a program to run on each take, gathered as `enhancer`."""

    @functools.wraps(function)
    def run(*args: Any, enhance: str | None, enhance_timeout: float | None, **kwargs: Any) -> None:
        from ..jobs.enhance import Enhancer

        if enhance_timeout is not None and enhance is None:
            raise click.UsageError("--enhance-timeout goes with --enhance")
        try:
            enhancer = None if enhance is None else Enhancer(enhance, enhance_timeout)
        except SettingsError as error:
            raise click.UsageError(str(error)) from None
        function(*args, enhancer=enhancer, **kwargs)

    return add_options(
        run,
        click.option(
            "--enhance", metavar="COMMAND",
            help="Clean each RAW first by a program that reads {in} and writes {out}, as "
            "'denoise {in} -o {out}'. It is run without a shell.",
        ),
        click.option(
            "--enhance-timeout", type=FiniteRange(min=0.0, min_open=True), metavar="SECONDS",
            help="Stop the program after this time.  [default: never]",
        ),
    )  # fmt: skip


def files_of_enhancer(enhancer: Enhancer | None) -> list[Path]:
    """Return the files that its command names: the program, its script, its weights."""
    if enhancer is None:
        return []
    from ..jobs.enhance import split_command

    return [path for path in map(Path, split_command(enhancer.command)) if path.is_file()]
