"""Encoders and formats of other packages: installed, they are there as those built in are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffconsole import Predictor
from diffconsole.encoders import FAMILIES, added_families, create, families, open_encoder
from diffconsole.errors import ExportError, ModelError
from diffconsole.export import added_formats, export_preset, find_format, formats
from diffconsole.files.plugins import installed
from diffconsole.strip.preset import find_preset
from diffconsole.training.pretraining.new_model import new_model
from tests.plugin_package import ENCODER, FORMAT, install
from tests.synthetic import RATE, voice

GROUPS = {
    "diffconsole.encoders": {"tiny": "tiny_console_tools:FAMILY"},
    "diffconsole.formats": {"tinytext": "tiny_console_tools:FORMAT"},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("tiny"), GROUPS)


@pytest.fixture
def added(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(place))
    yield
    sys.modules.pop("tiny_console_tools", None)


def broken(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    monkeypatch.syspath_prepend(str(install(folder, **options)))
    monkeypatch.delitem(sys.modules, "tiny_console_tools", raising=False)


def run_python(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(place), *filter(None, [os.environ.get("PYTHONPATH")])))
    return subprocess.run(
        [sys.executable, *words], cwd=Path(__file__).parents[2],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python(place, "-m", "diffconsole", *arguments)


def said(place: Path, *commands: list[str]) -> list[str]:
    """What several commands say, in one process: to start it takes longer than they do."""
    code = (
        "import json, sys; from tests.commands import done; "
        "print(json.dumps([done(*words).stdout for words in json.loads(sys.argv[1])]))"
    )
    finished = run_python(place, "-c", code, json.dumps(commands))
    assert finished.returncode == 0, finished.stderr
    return list(json.loads(finished.stdout))


@pytest.mark.usefixtures("added")
def test_an_encoder_of_another_package_predicts_and_is_saved(tmp_path: Path) -> None:
    assert list(families()) == [*FAMILIES, "tiny"]
    assert open_encoder("tiny", None).dim == 4
    model = new_model("tiny", None, 3).eval()
    model.save(tmp_path / "model", {"trained": "2026-11-28"}, "a test")
    again = Predictor.load(tmp_path / "model")
    assert again.encoder.name == "tiny"
    samples = voice(2.0)[None]
    found, same = (m.predict(samples, RATE).settings for m in (model, again))
    # Weights are stored in half precision.
    assert found == pytest.approx(same, rel=0.01, abs=0.01)


@pytest.mark.usefixtures("added")
def test_its_gradients_reach_it() -> None:
    encoder = create("tiny", {"gain": 2.0})
    encoder(torch.rand(1, 1, 16000)).sum().backward()
    assert all(float(p.grad.abs().sum()) > 0.0 for p in encoder.parameters())


@pytest.mark.usefixtures("added")
def test_a_format_of_another_package_is_exported(tmp_path: Path) -> None:
    assert list(formats())[-1] == "tinytext"
    written, losses = export_preset(
        find_preset("lead_vocal_pop"), "tinytext", tmp_path / "strip.tiny"
    )
    ratio = find_preset("lead_vocal_pop").settings()["compressor.ratio"]
    assert written[0].read_text() == f"ratio {ratio:.3f}"
    assert "reverb: is left out by tiny console tools" in losses
    # Nothing of the EQ is mapped or mentioned: it says itself what is lost.
    (line,) = (line for line in losses if line.startswith("eq"))
    assert line.startswith("eq: is left out (high-pass at 90 Hz, ")
    # Of the compressor the ratio is mapped: the others are named one by one.
    assert "compressor.attack_ms: is left out" in losses
    assert not any(line.startswith("compressor.ratio") for line in losses)


def test_the_command_line_knows_both(place: Path, tmp_path: Path) -> None:
    listed = run(place, "encoders", "list", "--json")
    assert json.loads(listed.stdout)["encoders"][-1]["name"] == "tiny", listed.stderr
    out = tmp_path / "strip.tiny"
    listed, formats_, _ = said(
        place,
        ["encoders", "info", "tiny"],
        ["export", "--list"],
        ["export", "rap", "--to", "tinytext", "-o", str(out)],
    )
    assert "level and brightness" in listed
    assert "tinytext" in formats_
    assert out.read_text().startswith("ratio ")


def test_a_model_on_a_package_that_is_gone_says_what_is_missing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.syspath_prepend(str(place))
        new_model("tiny", None, 3).save(tmp_path / "model", {}, "a test")
    sys.modules.pop("tiny_console_tools", None)
    with pytest.raises(ModelError, match=r"unknown encoder 'tiny'.*is not installed"):
        Predictor.load(tmp_path / "model")
    assert "tiny" not in families()


def test_a_package_that_cannot_be_imported_disturbs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(tmp_path, monkeypatch, entry_points=GROUPS, source="import nothing_of_this_name\n")
    assert list(families()) == list(FAMILIES)
    assert np.isfinite(
        list(Predictor.load(None).predict(voice(1.0)[None], RATE).settings.values())
    ).all()
    with pytest.raises(ModelError, match=r"package tiny.console.tools.*nothing_of_this_name"):
        open_encoder("tiny", None)
    with pytest.raises(ExportError, match="nothing_of_this_name"):
        find_format("tinytext")
    said = run(tmp_path / "installed", "encoders", "list")
    assert said.returncode == 0
    assert "Note: encoder tiny is left out: package" in said.stderr


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("FAMILY = FORMAT = 3\n", "an object of type int, not a"),
        (ENCODER.replace('"Tiny", "level', '"Other", "level') + FORMAT, "cannot be loaded"),
        (ENCODER.replace("class Tiny(Encoder)", "class Tiny(dict)") + FORMAT, "no subclass"),
        (ENCODER.replace('licence = "tiny"', 'licence = "small"') + FORMAT, "calls itself 'small'"),
    ],
)
def test_an_encoder_that_does_not_keep_to_the_interface(
    source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(tmp_path, monkeypatch, entry_points=GROUPS, source=source)
    with pytest.raises(ModelError, match=reason):
        open_encoder("tiny", None)


def test_a_package_that_exits_or_prints_when_it_is_imported_disturbs_nothing(
    tmp_path: Path,
) -> None:
    source = "print('hello')\nimport sys\nsys.exit(3)\n"
    place = install(tmp_path, GROUPS, source=source)
    listed = run(place, "encoders", "list", "--json")
    assert listed.returncode == 0
    assert [row["name"] for row in json.loads(listed.stdout)["encoders"]] == list(FAMILIES)
    asked = run(place, "encoders", "info", "tiny")
    assert asked.returncode == 1
    assert "tiny_console_tools:FAMILY cannot be loaded (3)" in asked.stderr
    out = tmp_path / "strip.csv"
    assert run(place, "export", "rap", "--to", "csv", "-o", str(out)).returncode == 0
    assert out.is_file()


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        ('{"": "text"}', "is str, not bytes"),
        ('{"../../evil.txt": b""}', "is no name of a file in the folder"),
        ("strip.nothing", "cannot write this strip"),
    ],
)
def test_a_format_that_writes_something_else(
    write: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = FORMAT.index("lambda strip: ") + len("lambda strip: ")
    source = ENCODER + FORMAT[:start] + write + FORMAT[FORMAT.index(",\n    mapped") :]
    broken(tmp_path, monkeypatch, entry_points=GROUPS, source=source)
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(ExportError, match=reason):
        export_preset(find_preset("rap"), "tinytext", tmp_path / "a" / "b" / "strip.tiny")
    assert not (tmp_path / "evil.txt").exists()


def test_an_encoder_that_fails_in_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ENCODER.replace("super().__init__()", "self.nothing_of_this_name")
    broken(tmp_path, monkeypatch, entry_points=GROUPS, source=source + FORMAT)
    with pytest.raises(ModelError, match=r"'tiny' of tiny_console_tools: .*nothing_of_this_name"):
        open_encoder("tiny", None)
    with pytest.raises(ModelError, match=r"'tiny' of tiny_console_tools: .*nothing_of_this_name"):
        create("tiny")


def test_what_is_built_in_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = {
        "diffconsole.encoders": {"logmel": "tiny_console_tools:FAMILY"},
        "diffconsole.formats": {"ffmpeg": "tiny_console_tools:FORMAT"},
    }
    broken(tmp_path, monkeypatch, entry_points=taken)
    assert create("logmel").dim == FAMILIES["logmel"].dim
    assert find_format("ffmpeg").title != "tiny"
    for group in (added_families(), added_formats()):
        assert not group.found
        assert "is the name of one that is built in" in next(iter(group.broken.values()))


def test_a_format_has_the_key_of_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = {"diffconsole.formats": {"other": "tiny_console_tools:FORMAT"}}
    broken(tmp_path, monkeypatch, entry_points=groups)
    with pytest.raises(ExportError, match="has the key 'tinytext'"):
        find_format("other")


def test_without_packages_there_is_nothing() -> None:
    assert installed("diffconsole.nothing", str).found == {}
