"""What the commands share that predict towards the style of other vocals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cli_common import PATH, Report, add_options

if TYPE_CHECKING:
    from .reference import Reference

__all__ = ["load_references", "reference_options"]


def reference_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --reference and --reference-weights."""
    return add_options(
        function,
        click.option(
            "--reference", type=PATH, multiple=True, metavar="MIXED",
            help="A finished vocal of any song and singer whose style is wanted; may be repeated.",
        ),
        click.option(
            "--reference-weights", default="", metavar="W,W,…",
            help="How much each reference counts, in order.  [default: all the same]",
        ),
    )  # fmt: skip


def load_references(paths: tuple[Path, ...], weights: str, report: Report) -> list[Reference]:
    """Read what the options name; a line for each thing that is wrong with a file."""
    from .reference import read_references

    if weights and not paths:
        raise click.UsageError("--reference-weights goes with --reference")
    if not paths:
        return []
    try:
        numbers = [float(text) for text in weights.split(",")] if weights else []
    except ValueError:
        raise click.UsageError(
            f"--reference-weights is {weights!r}; give numbers with commas between, as 2,1"
        ) from None
    found = read_references(paths, numbers)
    for reference in found:
        for line in reference.messages:
            report.say(f"Note: {line}")
    return found
