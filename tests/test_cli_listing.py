"""presets, encoders, models: what is there."""

from __future__ import annotations

import json

import pytest

from diffconsole import Preset
from diffconsole.encoders import FAMILIES
from diffconsole.preset import factory_presets

from .commands import QUIETER, done, refused, write_model, write_preset
from .synthetic import small_model


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


def test_models_info(tmp_path):
    model = write_model(tmp_path / "studio")
    data = json.loads(done("models", "info", "--model", model, "--json").stdout)
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
