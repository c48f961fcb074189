"""The scripts in examples/ run from the checkout as they stand, and do what they say."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole import Predictor, Preset
from diffconsole.audio import loudness_lufs

from .commands import contents, samples_of
from .training.finetuning.helpers import coarse_searches, one_factory_preset, short_windows

ROOT = Path(__file__).parents[1]


Run = Callable[..., list[str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a script from the checkout's root in this process, which has everything loaded."""

    def run_script(script: str, *args: object) -> list[str]:
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [f"examples/{script}", *(str(a) for a in args)])
        monkeypatch.setattr(sys, "path", [str(ROOT / "examples"), *sys.path])
        capfd.readouterr()
        runpy.run_path(f"examples/{script}", run_name="__main__")
        printed = capfd.readouterr()
        assert printed.err == ""
        return printed.out.splitlines()

    return run_script


def _run_alone(script: str, *args: object) -> list[str]:
    """Run a script from the checkout's root, as its first lines say; the lines it prints."""
    finished = subprocess.run(
        [sys.executable, f"examples/{script}", *(str(a) for a in args)],
        cwd=ROOT, capture_output=True, encoding="utf-8", check=False, timeout=600,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout.splitlines()


def test_there_is_a_test_for_every_script():
    scripts = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert scripts == {
        "audition.py", "export_preset.py", "finetune_on_pairs.py", "make_vocal.py",
        "plot_curves.py",
    }  # fmt: skip


@pytest.mark.slow
def test_make_vocal_makes_the_shipped_vocal_again(tmp_path, run):
    run("make_vocal.py", "-o", tmp_path / "vocal.wav")
    shipped, rate = soundfile.read(ROOT / "examples" / "vocal.wav", dtype="int16")
    made, made_rate = soundfile.read(tmp_path / "vocal.wav", dtype="int16")
    assert made_rate == rate == 44100
    assert made.shape == shipped.shape
    # Other systems may round the last bit otherwise.
    assert np.max(np.abs(made.astype(int) - shipped.astype(int))) <= 1


def test_export_preset(tmp_path, run):
    lines = run("export_preset.py", "-o", tmp_path / "out")
    assert set(contents(tmp_path / "out")) == {
        "vocal.preset.json",
        "vocal_drier.preset.json",
    }
    predicted = Preset.read(tmp_path / "out" / "vocal.preset.json").settings()
    drier = Preset.read(tmp_path / "out" / "vocal_drier.preset.json").settings()
    assert {key for key in predicted if predicted[key] != drier[key]} == {"reverb.wet_db"}
    change_db = drier["reverb.wet_db"] - predicted["reverb.wet_db"]
    assert change_db == pytest.approx(-6.0) or drier["reverb.wet_db"] == -60.0
    assert f"reverb at {predicted['reverb.wet_db']:.1f} dB" in lines[0]


def test_audition(tmp_path, run):
    run("audition.py", "rap", "telephone", "-o", tmp_path)
    names = {f"vocal.{name}.wav" for name in ("raw", "rap", "telephone")}
    assert set(contents(tmp_path)) == names
    loudness, peaks = [], []
    for name in names:
        assert soundfile.info(tmp_path / name).subtype == "PCM_24"
        samples = samples_of(tmp_path / name)
        assert len(samples) == 2
        loudness.append(loudness_lufs(samples, 44100))
        peaks.append(np.max(np.abs(samples)))
    assert max(loudness) - min(loudness) < 0.05
    assert max(peaks) == pytest.approx(10 ** (-1 / 20), rel=1e-3)


def test_plot_curves(tmp_path):
    (line,) = _run_alone("plot_curves.py", "rap", "-o", tmp_path / "curves.svg")
    assert line.startswith(f"{tmp_path / 'curves.svg'}: ")
    assert "<svg" in (tmp_path / "curves.svg").read_text(encoding="utf-8")


@pytest.mark.slow
def test_finetune_on_pairs_without_pairs_of_ones_own(tmp_path, run, monkeypatch):
    coarse_searches(monkeypatch.setattr)
    short_windows(monkeypatch.setattr)
    one_factory_preset(monkeypatch.setattr)
    lines = run("finetune_on_pairs.py", "--minutes", "0.02", "-o", tmp_path / "studio")
    assert "5 pairs trained on, 1 held out" in lines[0]
    figures = {line.split("  ")[1].strip(): float(line.split()[-1]) for line in lines[2:]}
    before, after = (
        next(value for name, value in figures.items() if name.startswith(word))
        for word in ("before", "after")
    )
    assert after <= before + 0.001  # the best state counts, the first one included
    sidecar = json.loads((tmp_path / "studio" / "model.json").read_text(encoding="utf-8"))
    assert sidecar["info"]["pairs"] == 6
    Predictor.load(tmp_path / "studio")
