"""presets, encoders, models: what is there."""

from __future__ import annotations

import json

import pytest

from diffconsole import Preset
from diffconsole.cli.listing import _non_commercial
from diffconsole.encoders import FAMILIES, create
from diffconsole.strip.preset import factory_presets

from ..commands import QUIETER, done, refused, write_model, write_preset
from ..encoders.tiny import Convolutions, scripted
from ..encoders.tiny_nemo import checkpoint, write
from ..programs import needs_module
from ..synthetic import small_model


def test_presets_list_says_what_each_is_for():
    lines = done("presets", "list").stdout.splitlines()
    known = factory_presets()
    assert [line.split()[0] for line in lines] == list(known)
    for line, preset in zip(lines, known.values(), strict=True):
        assert line.endswith(f"{preset.name}: {preset.provenance['description']}")
    rows = json.loads(done("presets", "list", "--json").stdout)["presets"]
    assert rows[0] == {
        "key": next(iter(known)),
        "name": known[rows[0]["key"]].name,
        "description": known[rows[0]["key"]].provenance["description"],
    }


def test_presets_show_prints_what_can_be_read_again(tmp_path):
    shown = done("presets", "show", "rap").stdout_bytes
    (tmp_path / "mine.json").write_bytes(shown)
    assert Preset.read(tmp_path / "mine.json") == factory_presets()["rap"]
    mine = write_preset(tmp_path / "own.json", QUIETER, name="Größe 歌")
    again = Preset.from_json(done("presets", "show", mine).stdout_bytes.decode("utf-8"))
    assert again == Preset.read(mine)


def test_presets_show_refuses():
    assert "did you mean 'rap'?" in refused("presets", "show", "rapp")


def test_encoders_list():
    shown = done("encoders", "list").stdout
    lines = [line for line in shown.splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in lines] == list(FAMILIES)
    rows = json.loads(done("encoders", "list", "--json").stdout)["encoders"]
    assert [row["name"] for row in rows] == list(FAMILIES)
    assert rows[0]["sample_rate"] == 44100
    assert rows[0]["dim"] == 384
    for row in rows:
        assert f"--encoder {row['usage']}; " in shown
        assert all(row[key] in shown for key in ("description", "licence", "needs"))


def test_encoders_info_of_one_without_a_file():
    data = json.loads(done("encoders", "info", "logmel", "--json").stdout)
    encoder = create("logmel")
    assert data["name"] == "logmel" and data["licence"] == "MIT"
    assert data["non_commercial"] is False
    assert (data["sample_rate"], data["dim"]) == (44100, 384)
    assert data["frames_per_second"] == encoder.frames_per_second
    assert [stage["name"] for stage in data["stages"]] == [name for name, _ in encoder.stages()]
    assert sum(stage["parameters"] for stage in data["stages"]) == data["parameters"] > 0
    lines = done("encoders", "info", "logmel").stdout.splitlines()
    assert lines[0] == f"logmel: {data['about']}"
    assert lines[1] == "licence of its weights: MIT"
    assert lines[2].startswith("44100 Hz, 384 features a frame, ")
    assert lines[3].startswith(f"{data['parameters']:,} parameters in ")
    assert [line.split()[0] for line in lines[4:]] == [stage["name"] for stage in data["stages"]]


def test_encoders_info_tells_plainly_what_is_non_commercial(tmp_path):
    needs_module("yaml")
    spec = f"speechflow:{write(tmp_path / 'flow.nemo')}"
    shown = done("encoders", "info", spec).stdout.splitlines()
    assert shown[2] == "these weights are for non-commercial use only"
    data = json.loads(done("encoders", "info", spec, "--json").stdout)
    assert data["non_commercial"] is True
    assert data["about"].endswith("flow.nemo, layer 2 of 4")
    assert [stage["name"] for stage in data["stages"]] == ["input", "layer_1", "layer_2"]


@pytest.mark.parametrize(
    ("licence", "told"),
    [("CC BY-NC 4.0", True), ("CC-BY-NC-SA-4.0", True), ("Non-Commercial", True), ("MIT", False),
     ("CC BY 4.0", False), ("not stated; ask who made the file", False)],
)  # fmt: skip
def test_licences_that_forbid_commerce_are_known(licence, told):
    assert _non_commercial(licence) is told


def test_encoders_info_of_a_script_needs_its_rate(tmp_path):
    (tmp_path / "net.pt").write_bytes(scripted(Convolutions().eval()))
    spec = f"script:{tmp_path / 'net.pt'}"
    assert "--encoder-rate" in refused("encoders", "info", spec)
    args = ("encoders", "info", spec, "--encoder-rate", 16000, "--json")
    data = json.loads(done(*args).stdout)
    assert (data["name"], data["sample_rate"]) == ("script", 16000)


def test_encoders_info_trusts_only_when_told(tmp_path):
    needs_module("yaml")
    spec = f"speechflow:{write(tmp_path / 'f.nemo', {**checkpoint(), 'path': tmp_path})}"
    assert "add --trust-checkpoint" in refused("encoders", "info", spec)
    assert done("encoders", "info", spec, "--trust-checkpoint").stdout.startswith("speechflow: ")


def test_encoders_info_refuses(tmp_path):
    (tmp_path / "text.pth").write_text("no")
    assert "unknown encoder 'nope'" in refused("encoders", "info", "nope")
    assert "nothing follows the colon" in refused("encoders", "info", "aisfx:")
    assert "damaged" in refused("encoders", "info", f"aisfx:{tmp_path / 'text.pth'}")
    assert "cannot be read" in refused("encoders", "info", f"aisfx:{tmp_path / 'none.pth'}")
    assert "takes 44100 Hz" in refused("encoders", "info", "logmel", "--encoder-rate", 16000)


def test_models_info(tmp_path):
    model = write_model(tmp_path / "studio")
    data = json.loads(done("models", "info", "--model", model, "--json").stdout)
    assert data.pop("notices") == [
        "does not know Gate, Compressor 2, De-esser, Saturation, Delay: off in what it predicts",
        "does not know compressor.mix: at its default in what it predicts",
    ]
    assert data == {
        "model": "studio",
        "encoder": "logmel",
        "about": FAMILIES["logmel"].about,
        "licence": "MIT",
        "sample_rate": 44100,
        "parameters": sum(p.numel() for p in small_model().parameters()),
        "info": {"note": "untrained"},
    }
    assert done("models", "info", "--model", model).stdout.startswith("studio: encoder logmel")
    assert "logmel" in done("models", "info").stdout  # the shipped one


@pytest.mark.parametrize("damage", ["missing", "empty folder", "no weights", "half the weights"])
def test_a_model_that_is_none_is_refused(tmp_path, damage):
    model = tmp_path / "studio"
    if damage == "empty folder":
        model.mkdir()
    elif damage != "missing":
        write_model(model)
        weights = model / "model.safetensors"
        if damage == "no weights":
            weights.unlink()
        else:
            weights.write_bytes(weights.read_bytes()[:2000])
    line = refused("models", "info", "--model", model)
    assert line.startswith(f"{model}: ")
