"""A model's folder from somebody else: compared before memory is taken, trusted if asked."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffconsole import Predictor
from diffconsole.errors import ModelError

from ..commands import refused, write_take
from ..encoders.tiny import RATE as ENCODER_RATE
from ..encoders.tiny import Convolutions, scripted
from ..synthetic import small_model, voice

MEBIBYTE = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_model().save(tmp_path / "model", {})
    return tmp_path / "model"


def change(folder: Path, **changes: object) -> None:
    file = folder / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def encoder_of(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text())["encoder"]


def refusal(folder: Path) -> str:
    """What is said, soon and without memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    with pytest.raises(ModelError) as caught:
        Predictor.load(folder)
    assert time.monotonic() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


@pytest.mark.parametrize("hidden", [0, -1, 2**17, 10**30, 16.0, True, "16", None, float("nan")])
def test_a_width_out_of_bounds(folder, hidden):
    change(folder, hidden=hidden)
    assert "damaged model (" in refusal(folder)


def test_a_head_far_wider_than_its_weights_takes_no_memory(folder):
    change(folder, hidden=60_000)
    assert "damaged model (" in refusal(folder)


@pytest.mark.parametrize(
    "config",
    [
        {"widths": [8192] * 16},
        {"widths": [16] * 100_000},
        {"features": 8192, "widths": [4096]},
        {"hop": 0},
        {"hop": 1, "n_fft": 65536},
        {"hop": 10**30},
        {"n_fft": 10**9},
        {"mels": -1},
        {"mels": 1e308},
        {"window": 10**9},
        {"widths": 7},
        {"widths": None},
    ],
    ids=lambda config: str(config)[:30],
)
def test_numbers_of_an_encoder_out_of_bounds(folder, config):
    encoder = encoder_of(folder)
    change(folder, encoder={**encoder, "config": {**encoder["config"], **config}})
    assert str(folder) in refusal(folder) or "encoder 'logmel'" in refusal(folder)


@pytest.mark.parametrize(
    "config", [{"depth": 10**9}, {"layers": 2**31}, {"architecture": {"layers": 10**6}}], ids=str
)
@pytest.mark.parametrize("name", ["wav2vec2", "anyenhance", "speechflow", "hf", "encodec"])
def test_other_families_are_bounded_too(folder, name, config):
    change(folder, encoder={"name": name, "config": config})
    refusal(folder)


def test_a_long_or_strange_sidecar(folder):
    file = folder / "model.json"
    text = file.read_text()
    for content in (
        text + " " * 2 * MEBIBYTE,
        "[" * 300_000,
        '{"a":' * 100_000,
        "[]",
        "7" * 6000,
        text.replace('"info": {', '"info": {"x": NaN, '),
    ):
        file.write_text(content)
        assert "damaged model (" in refusal(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_pipe_does_not_block(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "is not an ordinary file" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_damage(folder, value):
    weights = load_file(folder / "model.safetensors")
    weights["head.mean.weight"].view(-1)[5] = value
    save_file(weights, folder / "model.safetensors")
    assert "head.mean.weight holds values that are no numbers" in refusal(folder)


def test_finite_weights_that_predict_no_numbers(folder):
    """A variance below zero is a number; what is predicted with it is none."""
    weights = load_file(folder / "model.safetensors")
    for name, value in weights.items():
        if name.endswith("running_var"):
            value.fill_(-1.0)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="no numbers: its weights are damaged"):
        Predictor.load(folder).predict(voice(1.0)[None], 44100)


@pytest.mark.parametrize("how", ["shape", "missing", "more"])
def test_weights_of_other_shapes_are_named(folder, how):
    weights = load_file(folder / "model.safetensors")
    if how == "shape":
        weights["head.mean.weight"] = torch.zeros(3, 4)
    elif how == "missing":
        del weights["head.mean.weight"]
    else:
        weights["head.more"] = torch.zeros(3)
    save_file(weights, folder / "model.safetensors")
    wanted = {
        "shape": "head.mean.weight is (3, 4), not",
        "missing": "lacks head.mean.weight",
        "more": "holds head.more, which is no part",
    }
    assert wanted[how] in refusal(folder)


# Code in a model's folder


@pytest.fixture
def scripted_folder(tmp_path: Path) -> Path:
    from diffconsole.encoders import open_encoder

    (tmp_path / "theirs.pt").write_bytes(scripted(Convolutions()))
    encoder = open_encoder("script", str(tmp_path / "theirs.pt"), ENCODER_RATE)
    Predictor(encoder, hidden=16).save(tmp_path / "model", {})
    return tmp_path / "model"


def test_torchscript_in_a_model_is_opened_only_where_it_is_trusted(scripted_folder, monkeypatch):
    opened = []
    load = torch.jit.load
    monkeypatch.setattr(torch.jit, "load", lambda *a, **k: opened.append(1) or load(*a, **k))
    with pytest.raises(ModelError, match=r"encoder\.pt: is TorchScript.*add --trust-checkpoint"):
        Predictor.load(scripted_folder)
    assert not opened
    Predictor.load(scripted_folder, trust_checkpoint=True)
    assert opened


def test_every_command_with_a_model_asks(scripted_folder, tmp_path):
    take = write_take(tmp_path / "take.wav", seconds=1.0)
    model = ("--model", scripted_folder)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("raw,mixed\ntake.wav,take.wav\n")
    for command in (
        ("process", take, "-o", tmp_path / "out"),
        ("predict", take, "-o", tmp_path / "p.json"),
        ("evaluate", "--pairs", pairs),
        ("finetune", "--pairs", pairs, "-o", tmp_path / "studio"),
        ("plot", "--over-time", "--raw", take, "-o", tmp_path / "p.png"),
        ("models", "info"),
    ):
        assert "add --trust-checkpoint" in refused(*command, *model), command


def test_a_trusted_model_predicts(scripted_folder, tmp_path):
    from ..commands import done

    take = write_take(tmp_path / "take.wav", seconds=1.0)
    out = tmp_path / "p.json"
    done("predict", take, "-o", out, "--model", scripted_folder, "--trust-checkpoint")
    assert out.is_file()


def test_a_new_model_on_a_torchscript_model_passes_trust_on(scripted_folder):
    from diffconsole.training.pretraining.new_model import new_model

    spec = f"script:{scripted_folder}"
    with pytest.raises(ModelError, match="add --trust-checkpoint"):
        new_model(spec)
    assert new_model(spec, trust=True).encoder.name == "script"


def test_pretraining_from_a_torchscript_model_passes_trust_on(scripted_folder, tmp_path):
    """It is no model of ours to start from; without trust not even that is looked at."""
    command = ("pretrain", tmp_path, "-o", tmp_path / "new", "--start-from", scripted_folder)
    assert "add --trust-checkpoint" in refused(*command)
    assert "not a model that pretrain wrote" in refused(*command, "--trust-checkpoint")
