"""Rows of a model's heads are found by the keys that its file lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from diffconsole.model.predictor import Predictor
from diffconsole.model.rows import row_tensors
from diffconsole.strip.later import LATER, UNTRAINED
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.strip.preset import Preset

from ..commands import done
from ..synthetic import RATE, small_model, voice

KEYS = [p.key for p in PARAMETERS if p.key not in UNTRAINED]
"""What an untrained model's file lists: its rows stand in this order."""

LATER_OFF = set(LATER)
MIX = "does not know compressor.mix: at its default in what it predicts"
WEIGHTS, SIDECAR = "model.safetensors", "model.json"


@pytest.fixture(scope="module")
def take() -> np.ndarray:
    return voice(1.5, 1)[None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = small_model(3)
    with torch.no_grad():
        # Calibrated: switches are told, each by its own line.
        model.head.switch_line.copy_(torch.rand_like(model.head.switch_line) + 0.5)
    model.save(tmp_path / "model", {})
    return tmp_path / "model"


def rearrange(folder: Path, kind: str, places: list[int | None], names: list[str]) -> None:
    """Write a model again with other rows; None is one of noise."""
    tensors = load_file(folder / WEIGHTS)
    for name, (what, dim) in row_tensors(small_model()).items():
        if what != kind:
            continue
        rows = tensors[name].unbind(dim)
        new = [torch.rand_like(rows[0]) if place is None else rows[place] for place in places]
        tensors[name] = torch.stack(new, dim)
    save_file(tensors, folder / WEIGHTS)
    sidecar = json.loads((folder / SIDECAR).read_text())
    (folder / SIDECAR).write_text(json.dumps(sidecar | {kind: names}))


def predicted(folder: Path, take: np.ndarray) -> tuple[dict[str, Any], ...]:
    found = Predictor.load(folder).predict(take, RATE)
    return found.settings, found.uncertainty, found.switches


def test_in_another_order(folder: Path, take: np.ndarray) -> None:
    before = predicted(folder, take)
    places = list(np.random.default_rng(0).permutation(len(KEYS)))
    rearrange(folder, "parameters", places, [KEYS[place] for place in places])
    switches = json.loads((folder / SIDECAR).read_text())["switches"]
    places = list(range(len(switches)))[::-1]
    rearrange(folder, "switches", places, switches[::-1])
    assert predicted(folder, take) == before
    assert before[2], "switches are compared"


def test_a_model_of_before_lists_no_switches(folder: Path, take: np.ndarray) -> None:
    before = predicted(folder, take)
    sidecar = json.loads((folder / SIDECAR).read_text())
    del sidecar["switches"]
    (folder / SIDECAR).write_text(json.dumps(sidecar))
    assert predicted(folder, take) == before


def test_parameters_that_nobody_knows_are_left_out(folder: Path, take: np.ndarray) -> None:
    """As in a model of a later version; it is said, and by the commands too."""
    before = predicted(folder, take)
    rearrange(folder, "parameters", [None, *range(len(KEYS))], ["enhancer.freq_hz", *KEYS])
    assert predicted(folder, take) == before
    model = Predictor.load(folder)
    assert model.off == LATER_OFF
    later, mix, notice = model.known.notices()
    assert later == (
        "does not know Gate, Compressor 2, De-esser, Saturation, Delay: off in what it predicts"
    )
    assert mix == MIX
    assert "enhancer.freq_hz" in notice and "update" in notice
    said = done("models", "info", "--model", str(folder))
    assert f"model {notice}" in said.stdout.splitlines()
    assert f"Note: model {notice}" in said.stderr
    assert json.loads(done("models", "info", "--model", str(folder), "--json").stdout)[
        "notices"
    ] == [later, mix, notice]


def test_a_module_that_it_does_not_know_is_off(folder: Path, take: np.ndarray) -> None:
    before = predicted(folder, take)
    places = [place for place, key in enumerate(KEYS) if not key.startswith("reverb.")]
    rearrange(folder, "parameters", places, [KEYS[place] for place in places])
    model = Predictor.load(folder)
    assert model.off == {"reverb", *LATER_OFF}
    assert model.known.notices() == (
        "does not know Gate, Compressor 2, De-esser, Saturation, Delay, Reverb: off in what it "
        "predicts",
        MIX,
    )
    settings, uncertainty, switches = predicted(folder, take)
    assert settings == {k: v for k, v in before[0].items() if not k.startswith("reverb.")}
    assert settings.keys() == {*uncertainty, "compressor.mix"}
    assert "reverb" not in switches and "compressor" in switches
    preset = Preset.from_settings(settings)
    assert "reverb" in preset.bypass() and "reverb" not in preset.to_dict()
    model.save(folder.parent / "again", {})
    assert json.loads((folder.parent / "again" / SIDECAR).read_text())["parameters"] == [
        KEYS[place] for place in places
    ]
    assert predicted(folder.parent / "again", take) == (settings, uncertainty, switches)


def test_a_module_that_is_off_stays_where_it_is_in_training(folder: Path) -> None:
    places = [place for place, key in enumerate(KEYS) if not key.startswith("reverb.")]
    rearrange(folder, "parameters", places, [KEYS[place] for place in places])
    model = Predictor.load(folder)
    every = [p.key for p in PARAMETERS]
    mean = torch.full((2, len(every)), 0.3, requires_grad=True)
    chosen = model.point_estimate(mean, torch.full_like(mean, 0.1))
    chosen.sum().backward()
    assert mean.grad is not None
    moved = mean.grad.any(dim=0)
    assert [key for key, moves in zip(every, moved, strict=True) if not moves] == [
        key for key in every if key.partition(".")[0] in model.off or key in UNTRAINED
    ]
