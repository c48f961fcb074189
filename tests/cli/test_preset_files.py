"""What commands do with a preset's file: how often it is checked, what of a newer one is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from diffconsole import Preset
from diffconsole.strip import schema

from ..commands import QUIETER, done, refused, write_model, write_take

NEWER = {
    "format": schema.FORMAT,
    "version": "1.9",
    **QUIETER,
    "de_esser": {"threshold_db": -30.0},
    "compressor": {"enabled": False, "lookahead_ms": 5.0},
}
LEFT_OUT = "left out: de_esser, compressor.lookahead_ms"


@pytest.fixture
def take(tmp_path: Path) -> Path:
    return write_take(tmp_path / "take.wav")


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    path = tmp_path / "newer.json"
    path.write_text(json.dumps(NEWER))
    return path


class Counted:
    """A validator that counts how often it is asked."""

    def __init__(self, validator: Any) -> None:
        self.validator = validator
        self.count = 0

    def iter_errors(self, data: Any) -> Any:
        self.count += 1
        return self.validator.iter_errors(data)


@pytest.fixture
def checks(monkeypatch) -> Counted:
    counted = Counted(schema._validator())
    monkeypatch.setattr(schema, "_validator", lambda: counted)
    return counted


@pytest.mark.parametrize(
    "options", ["", "--amount 0.7 --bypass eq,reverb --full"], ids=["plain", "options"]
)
def test_process_checks_its_preset_once(tmp_path, take, checks, options):
    model = write_model(tmp_path / "model")
    done("process", take, "-o", tmp_path / "out", "--model", model, *options.split())
    assert checks.count == 1
    assert Preset.read(tmp_path / "out" / "take.preset.json").settings()


def test_apply_checks_its_preset_once(tmp_path, take, checks):
    done("apply", take, "rap", "-o", tmp_path / "a.wav", "--amount", "0.7", "--bypass", "reverb")
    assert checks.count == 1


def test_every_command_that_reads_a_newer_preset_names_what_it_leaves_out(tmp_path, take, newer):
    for command in (
        ("apply", take, newer, "-o", tmp_path / "a.wav"),
        ("plot", newer, "-o", tmp_path / "a.png"),
        ("audition", take, newer, "-o", tmp_path / "a.html"),
        ("export", newer, "--to", "csv", "-o", tmp_path / "a.csv"),
        ("presets", "show", newer),
    ):
        said = done(*command).stderr
        assert said.count("Note: ") == 1, command
        assert f"Note: {newer}: states version 1.9 of the format" in said, command
        assert said.split("Note: ")[1].split("\n")[0].endswith(LEFT_OUT), command


def test_scripts_get_it_too(tmp_path, take, newer):
    applied = done("apply", take, newer, "-o", tmp_path / "a.wav", "--json")
    assert [line.endswith(LEFT_OUT) for line in json.loads(applied.stdout)["notices"]] == [True]
    shown = done("audition", take, newer, "-o", tmp_path / "a.html", "--json")
    assert [line.endswith(LEFT_OUT) for line in json.loads(shown.stdout)["notices"]] == [True]
    exported = done("export", newer, "--to", "csv", "-o", tmp_path / "a.csv", "--json")
    assert [line.endswith(LEFT_OUT) for line in json.loads(exported.stdout)["losses"]] == [True]


def test_what_is_shown_of_a_newer_preset_is_a_preset(newer):
    shown = Preset.from_json(done("presets", "show", newer).stdout)
    assert shown == Preset({**QUIETER, "compressor": {"enabled": False}})


def test_of_a_known_version_the_same_is_refused(tmp_path, take, newer):
    newer.write_text(json.dumps({**NEWER, "version": "1.0"}))
    said = refused("apply", take, newer, "-o", tmp_path / "a.wav")
    assert said.startswith(f"{newer}: $.")
    assert "is not a key of the format" in said
