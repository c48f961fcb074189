"""The examples of a format and of an encoder in the documentation work as they are printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from diffconsole import Predictor
from diffconsole.encoders import create, open_encoder
from diffconsole.export import export_preset, find_format, import_preset
from diffconsole.strip.preset import Preset, find_preset
from diffconsole.training.pretraining.new_model import new_model

from ..new_module import PAGE
from ..plugin_package import install
from ..synthetic import RATE, voice


def printed(package: str) -> dict[str, str]:
    """The files of a package as the page prints them, by name."""
    page = PAGE.read_text(encoding="utf-8")
    found = re.findall(rf'^```\w+ title="{package}/([\w.]+)"\n(.*?)^```', page, re.M | re.S)
    return dict(found)


def entry_points(project: str) -> dict[str, dict[str, str]]:
    (group, name, value), *others = re.findall(
        r'\[project\.entry-points\."([\w.]+)"\]\n(\w+) = "([\w:]+)"', project
    )
    assert not others
    return {group: {name: value}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages, installed."""
    folder = tmp_path_factory.mktemp("packages")
    groups: dict[str, dict[str, str]] = {}
    sources: dict[str, str] = {}
    for package in ("mydaw", "mynet"):
        files = printed(package)
        project = files.pop("pyproject.toml")
        listed = re.search(r"^py-modules = (\[.*\])$", project, re.M)
        assert listed is not None
        assert [f"{name}.py" for name in json.loads(listed[1])] == list(files)
        groups |= entry_points(project)
        sources |= files
    return install(folder, groups, modules=sources)


@pytest.fixture
def added(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(place))
    yield
    for name in ("mydaw", "mynet", "mynet_network"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("added")
def test_the_format_is_exported_and_read_back(tmp_path: Path) -> None:
    preset = find_preset("rap")
    settings = preset.settings()
    (written,), losses = export_preset(preset, "mydaw", tmp_path / "rap.mydaw")
    attack_s = settings["compressor.attack_ms"] / 1000.0
    assert f"Attack = {attack_s:g}" in written.read_text().splitlines()
    assert "compressor.knee_db: is fixed at 6 dB in My DAW" in losses
    assert any(line.startswith("reverb: is left out (") for line in losses)
    again, key = import_preset(written)
    assert key == "mydaw"
    for row in find_format("mydaw").mapped:
        assert again.settings()[row.key] == pytest.approx(settings[row.key], rel=1e-5), row.key
    quiet = Preset.from_settings(settings, bypass={"compressor"})
    (alone,), _ = export_preset(quiet, "mydaw", tmp_path / "quiet.mydaw")
    assert alone.read_text() == f"Level = {settings['output_gain.gain_db']:g}\n"


@pytest.mark.usefixtures("added")
def test_a_model_on_the_encoder_predicts_and_is_saved(tmp_path: Path) -> None:
    encoder = open_encoder("mynet", None)
    audio = torch.rand(2, 1, 16000, requires_grad=True)
    frames = encoder(audio)
    assert frames.shape == (2, int(encoder.frames_per_second), encoder.dim)
    frames.sum().backward()
    assert audio.grad is not None
    assert bool(audio.grad.abs().sum(dim=-1).all())
    louder, softer = encoder(audio), encoder(0.1 * audio)
    assert not torch.allclose(louder, softer, atol=0.01), "the level stays in the features"
    assert create("mynet", {"frame": 400}).config() == {"frame": 400}
    model = new_model("mynet", None, 3).eval()
    model.save(tmp_path, {}, "a test")
    samples = voice(2.0)[None]
    found, same = (m.predict(samples, RATE).settings for m in (model, Predictor.load(tmp_path)))
    # Weights are stored in half precision.
    assert found == pytest.approx(same, rel=0.01, abs=0.01)


def test_the_commands_on_the_page(place: Path, tmp_path: Path) -> None:
    path = os.pathsep.join((str(place), *filter(None, [os.environ.get("PYTHONPATH")])))

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "diffconsole", *words], cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    said = run("export", "rap", "--to", "mydaw", "-o", "rap.mydaw")
    assert "compressor.knee_db: is fixed at 6 dB in My DAW" in said
    run("import", "rap.mydaw", "-o", "rap.json")
    ratio = find_preset("rap").settings()["compressor.ratio"]
    assert Preset.read(tmp_path / "rap.json").settings()["compressor.ratio"] == ratio
    assert "level and brightness of frames of 50 ms" in run("encoders", "info", "mynet")
