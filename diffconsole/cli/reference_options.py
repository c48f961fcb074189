"""What the commands share that predict towards the style of other vocals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SettingsError
from .common import PATH, Report, add_options

if TYPE_CHECKING:
    from ..model.reference.prediction import Reference

__all__ = ["load_references", "parse_weights", "reference_options"]

MOST_STEPS = 1000
ASPECTS = ("tone", "dynamics", "space")
"""As :data:`diffconsole.model.reference.style_features.ASPECTS`, whose module loads torch."""


def reference_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --reference, --reference-weights and --reference-steps."""
    return add_options(
        function,
        click.option(
            "--reference", type=PATH, multiple=True, metavar="MIXED",
            help="A mixed vocal of any song and singer whose style is wanted; may be repeated.",
        ),
        click.option(
            "--reference-weights", multiple=True, metavar="[ASPECT=]W,W,…",
            help="How much each reference counts, in order, as 2,1. ASPECT=… for its tone (EQ), "
            "dynamics (compressor) or space (reverb) alone; may be repeated: dynamics of the first "
            "and tone of the second are --reference-weights dynamics=1,0 --reference-weights "
            "tone=0,1. An aspect with only zeros follows no reference.  [default: all the same]",
        ),
        click.option(
            "--reference-steps", type=click.IntRange(0, MOST_STEPS),
            help="Steps of the search from the prediction to the style; 0 leaves the prediction.  "
            "[default: 32]",
        ),
    )  # fmt: skip


def parse_weights(texts: Sequence[str]) -> tuple[list[float], dict[str, list[float]]]:
    """Return the weights of the whole, and those of single aspects, as the option has them.

    Raises
    ------
    click.UsageError
        No numbers, an aspect that does not exist, or one that is given twice.
    """
    whole: list[float] = []
    aspects: dict[str, list[float]] = {}
    seen: set[str] = set()
    for text in texts:
        name, equals, values = text.rpartition("=")
        name = name.strip().lower()
        if equals and name not in ASPECTS:
            raise click.UsageError(
                f"--reference-weights is {text!r}, and {name!r} is no aspect; "
                f"give {', '.join(ASPECTS[:-1])} or {ASPECTS[-1]}, as tone=2,1"
            )
        if name in seen:
            raise click.UsageError(
                f"--reference-weights is given twice for {name or 'the whole'}; give one of them"
            )
        seen.add(name)
        try:
            numbers = [float(value) for value in values.split(",")]
        except ValueError:
            raise click.UsageError(
                f"--reference-weights is {text!r}; give numbers with commas between, as 2,1 or "
                "tone=2,1"
            ) from None
        if name:
            aspects[name] = numbers
        else:
            whole = numbers
    return whole, aspects


def load_references(
    paths: tuple[Path, ...],
    weights: tuple[str, ...],
    steps: int | None,
    report: Report,
    *,
    silent: bool,
) -> Sequence[Reference]:
    """Read what the options name; a line for each thing that is wrong with a file.

    Raises
    ------
    click.UsageError
        Options without references, or weights that do not fit them.
    """
    for given, option in ((bool(weights), "weights"), (steps is not None, "steps")):
        if given and not paths:
            raise click.UsageError(f"--reference-{option} goes with --reference")
    if not paths:
        return ()
    from ..model.reference.prediction import References, check_weights, read_references

    whole, aspects = parse_weights(weights)
    try:
        check_weights(len(paths), whole, aspects)
    except SettingsError as error:
        raise click.UsageError(f"--reference-weights: {error}") from None
    found = References(tuple(read_references(paths, whole, aspects)), silent=silent)
    if steps is not None:
        found = found.with_steps(steps)
    for reference in found:
        for line in reference.messages:
            report.say(f"Note: {line}")
    return found
