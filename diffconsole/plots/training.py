"""The picture of a fine-tuning: the distance to the mixes, epoch by epoch, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .page import (
    COLOURS,
    FAINT,
    GREY,
    MARGIN_INCHES,
    SMALL_PT,
    TEXT_LEFT_INCHES,
    TITLE_PT,
    WIDTH_INCHES,
    axes_at,
    heading,
    plain_style,
    text_at,
    write,
)

__all__ = ["draw_training", "plot_training"]

HEIGHT_INCHES, LEFT_INCHES, TOP_INCHES, BELOW_INCHES = 3.6, 0.62, 0.75, 0.5
HELD_OUT, TRAIN = COLOURS[0], COLOURS[1]


def plot_training(
    history: Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    levels: Mapping[str, float] | None = None,
    force: bool = False,
) -> None:
    """Draw the course of a run and write the picture, whole or not at all.

    Parameters
    ----------
    history : sequence of mapping
        As :class:`diffconsole.training.finetuning.finetune.FinetuneResult` has it.
    path : str or Path
        The picture; ``.png``, ``.svg`` or ``.pdf`` says which kind.
    levels : mapping of str to float, optional
        Distances to compare with, drawn as lines across.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        Another ending; the file exists and ``force`` is false; it cannot be written.
    """
    write(path, lambda: draw_training(history, levels=levels), force=force)


def draw_training(
    history: Sequence[Mapping[str, Any]], *, levels: Mapping[str, float] | None = None
) -> Figure:
    """Draw the course of a run and return the figure; its axes are labelled ``"training"``."""
    entries = [entry for entry in history if "held_out" in entry]
    with plain_style():
        figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES))
        text_at(
            figure, TEXT_LEFT_INCHES, MARGIN_INCHES + 0.1, "Fine-tuning", bold=True, size=TITLE_PT
        )
        axes = axes_at(
            figure, LEFT_INCHES, TOP_INCHES, WIDTH_INCHES - LEFT_INCHES - MARGIN_INCHES,
            HEIGHT_INCHES - TOP_INCHES - BELOW_INCHES,
        )  # fmt: skip
        axes.set_label("training")
        heading(axes, "Distance to the mixes (lower is better)", "", "")
        places = range(len(entries))
        axes.plot(
            places, [e["held_out"] for e in entries], color=HELD_OUT, lw=1.6, marker="o", ms=4,
            label="held out", gid="held_out",
        )  # fmt: skip
        trained = [(i, e["train"]) for i, e in enumerate(entries) if "train" in e]
        if trained:
            x, y = zip(*trained, strict=True)
            axes.plot(x, y, color=TRAIN, lw=0, marker="o", ms=4, label="trained on", gid="train")
        for name, value in (levels or {}).items():
            axes.axhline(value, color=GREY, lw=0.8, ls=":")
            axes.text(
                0.995, value, name, transform=axes.get_yaxis_transform(), ha="right", va="bottom",
                fontsize=SMALL_PT - 1, color=GREY,
            )  # fmt: skip
        for i, (before, entry) in enumerate(zip(entries, entries[1:], strict=False)):
            if before["stage"] != entry["stage"]:
                axes.axvline(i + 0.5, color=FAINT, lw=1.0, zorder=0)
        axes.set_xticks(list(places), [_name(entry) for entry in entries])
        axes.tick_params(labelsize=SMALL_PT - 1)
        axes.set_xlim(-0.5, max(len(entries) - 0.5, 0.5))
        axes.set_ylim(bottom=0.0)
        axes.legend(
            loc="lower right", ncols=2, fontsize=SMALL_PT - 1, frameon=False, borderaxespad=0.0,
            bbox_to_anchor=(1.0, 1.01),
        )  # fmt: skip
    return figure


def _name(entry: Mapping[str, Any]) -> str:
    if entry["stage"] == "ridge":
        return f"ridge\n{entry['strength']:g}"
    return f"{entry['stage']}\n{entry['epoch']}" if "epoch" in entry else str(entry["stage"])
