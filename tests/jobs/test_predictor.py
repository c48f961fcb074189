"""Fine-tuning as Python users call it: what the command does, in a few lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch

from diffconsole import Predictor, VocalPairDataset
from diffconsole.errors import ModelError, OutputError, PairError
from diffconsole.jobs.finetune import FinetunedModel
from diffconsole.strip.preset import find_preset

from ..commands import done
from ..synthetic import RATE, STUDIO, mixed, pair, voice
from ..training.finetuning.helpers import base_model, quick_runs


@pytest.fixture(autouse=True)
def short_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short windows, labels that are known, one factory preset to choose from."""
    quick_runs(monkeypatch.setattr)
    choice = {"rap": find_preset("rap")}
    monkeypatch.setattr("diffconsole.jobs.evaluate.factory_presets", lambda: choice)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three pairs of a studio, and one of two performances."""
    root = tmp_path_factory.mktemp("studio")
    for name in ("raw", "mixed"):
        (root / name).mkdir()
    for seed in range(4):
        sung = voice(1.2, seed)
        mix = mixed(sung if seed < 3 else voice(1.2, 77), STUDIO)
        soundfile.write(root / "raw" / f"song_{seed}_raw.wav", sung, RATE, subtype="FLOAT")
        soundfile.write(root / "mixed" / f"song_{seed}_mix.wav", mix.T, RATE, subtype="FLOAT")
    return root / "raw", root / "mixed"


@pytest.fixture
def start(tmp_path: Path) -> Path:
    base_model().save(tmp_path / "tiny", {})
    return tmp_path / "tiny"


def without_time(folder: Path) -> dict:
    info = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    del info["info"]["seconds"]
    return info


@pytest.mark.slow
def test_it_does_what_the_command_does(tmp_path: Path, folders, start):
    raw, mix = folders
    by_command, by_call, later = (tmp_path / name for name in ("command", "call", "later"))
    done(
        "finetune", "--raw", raw, "--mixed", mix, "--model", start, "--steps", 1, "--seed", 5,
        "--held-out", 0.3, "-o", by_command,
    )  # fmt: skip
    model = Predictor.from_pretrained(start)
    lines: list[str] = []
    with pytest.warns(UserWarning, match=r"left out: .*song_3.*not the same performance"):
        made = model.fine_tune(
            VocalPairDataset(raw, mix), steps=1, seed=5, held_out=0.3, folder=by_call,
            messages=lines.append,
        )  # fmt: skip
    assert lines == ["2 pairs to train on, 1 held out"]
    assert made.model is model
    assert {p.name for p in by_call.iterdir()} == {p.name for p in by_command.iterdir()}
    for name in ("model.safetensors", "finetune.jsonl"):
        assert (by_call / name).read_bytes() == (by_command / name).read_bytes(), name
    assert without_time(by_call) == without_time(by_command)
    assert made.distances["after"] != made.distances["before"], "something was learnt"

    assert repr(made) == (
        f"FinetunedModel(folder={str(by_call)!r}, trained=2, mean distance of 1 held-out pair: "
        f"{made.table()['before'][0]:.3f} before, {made.table()['after'][0]:.3f} after)"
    )
    with pytest.raises(OutputError, match=r"holds a model already; pass force=True to replace it"):
        model.save_pretrained(by_call)
    model.save_pretrained(later)
    for name in ("model.safetensors", "model.json"):
        assert (later / name).read_bytes() == (by_call / name).read_bytes(), name
    card, report = ((f / "README.md").read_text("utf-8") for f in (later, by_call))
    assert "![" in report and "![" not in card
    assert card.splitlines()[:6] == report.splitlines()[:6]


def test_a_model_that_lies_there_is_replaced_by_an_argument(start):
    model = Predictor.from_pretrained(start)
    with pytest.raises(OutputError, match=r"tiny: holds a model already; pass force=True to rep"):
        model.save_pretrained(start)
    pairs = [pair(seed, seconds=1.0) for seed in range(2)]
    with pytest.raises(OutputError, match=r"tiny: holds a model already; pass force=True to rep"):
        model.fine_tune(pairs, steps=1, folder=start)
    model.save_pretrained(start, force=True)


@pytest.mark.parametrize("crossed", [False, True])
def test_what_a_training_found_is_shown_in_a_line(crossed):
    distances = {"level only": [9.0, 7.0], "before": [4.0, 5.0], "after": [2.0, 2.5]}
    made = FinetunedModel(None, base_model(), 7, ["a", "b"], crossed, distances, {})
    kind = "" if crossed else "held-out "
    assert repr(made) == (
        f"FinetunedModel(folder=None, trained=7, mean distance of 2 {kind}pairs: 4.500 before, "
        "2.250 after)"
    )


def test_a_frozen_encoder_stays_as_it_is(start):
    sung = [pair(seed, seconds=1.0) for seed in range(3)]
    options = {"steps": 3, "held_out": 0.3, "learning_rate": 0.05}
    free, frozen = Predictor.from_pretrained(start), Predictor.from_pretrained(start)
    assert frozen.freeze_encoder() is frozen and frozen.encoder_is_frozen
    assert not frozen.train().encoder.training and frozen.head.training
    before = {name: each.clone() for name, each in frozen.encoder.state_dict().items()}
    head = frozen.head.mean.bias.clone()
    made = frozen.fine_tune(sung, **options)
    assert made.folder is None
    after = frozen.encoder.state_dict()
    assert all(torch.equal(each, before[name]) for name, each in after.items())
    assert not torch.equal(frozen.head.mean.bias, head)
    assert frozen.encoder_is_frozen and frozen.head.mean.bias.requires_grad
    assert made.info["options"] == {
        "studio_rate": 0.05, "head_rate": 0.05, "top_epochs": 0, "top_rate": 2.5e-5,
    }  # fmt: skip
    stages = {entry["stage"] for entry in made.info["history"] if entry.get("epoch", 0) > 0}
    assert "top" not in stages
    other = free.fine_tune(sung, **options)
    stages = {entry["stage"] for entry in other.info["history"] if entry.get("epoch", 0) > 0}
    assert "top" in stages, "which the frozen one left out"
    assert not frozen.freeze_encoder(False).encoder_is_frozen


def test_numbers_and_datasets_that_will_not_do(start, folders):
    model = Predictor.from_pretrained(start)
    data = VocalPairDataset(*folders)
    for wrong in ({"minutes": 0.0}, {"learning_rate": float("nan")}, {"steps": -1}):
        with pytest.raises(ModelError, match="give a number above 0"):
            model.fine_tune(data, **wrong)
    with pytest.raises(PairError, match="has no length"):
        model.fine_tune(iter(data))
    with pytest.raises(PairError, match="no pair to fine-tune on"):
        model.fine_tune([])


def test_the_package_loads_no_torch_before_a_name_is_used():
    import subprocess
    import sys

    code = (
        "import sys, diffconsole\n"
        "assert 'VocalPairDataset' in diffconsole.__all__\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
