"""The picture of a fine-tuning: what was measured is drawn, stage by stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffconsole.errors import OutputError
from diffconsole.plots.training import draw_training, plot_training

HISTORY = [
    {"stage": "before", "held_out": 2.0},
    {"stage": "labels", "labelled": 8, "pairs": 8},
    {"stage": "studio", "epoch": 0, "held_out": 0.9},
    {"stage": "studio", "epoch": 1, "train": 0.8, "held_out": 0.85},
    {"stage": "ridge", "strength": 0.5, "held_out": 0.7, "explained": {"eq": 0.2}},
    {"stage": "head", "epoch": 1, "train": 0.6, "held_out": 0.65},
]


def test_what_is_drawn_was_measured() -> None:
    (axes,) = draw_training(HISTORY, levels={"one preset": 1.5}).axes
    assert axes.get_label() == "training"
    lines = {line.get_gid(): line for line in axes.lines}
    assert np.allclose(lines["held_out"].get_ydata(), [2.0, 0.9, 0.85, 0.7, 0.65])
    assert np.allclose(lines["train"].get_xdata(), [2, 4])
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["before", "studio\n0", "studio\n1", "ridge\n0.5", "head\n1"]
    assert [text.get_text() for text in axes.texts] == ["one preset"]


def test_it_is_written_whole(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png")]
    for path in paths:
        plot_training(HISTORY, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputError, match="exists already"):
        plot_training(HISTORY, paths[0])


def test_a_run_without_epochs(tmp_path: Path) -> None:
    plot_training(HISTORY[:2], tmp_path / "a.png")
