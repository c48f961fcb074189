"""The README's commands and its Python work as printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffconsole.audio import read_audio, write_audio
from diffconsole.console.render import render
from diffconsole.strip.preset import find_preset

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("sh")[2:] for line in block.splitlines()]
    return [line for line in lines if line.startswith("diffconsole ")]


@pytest.fixture
def folder(tmp_path):
    """A folder as the README's reader has it: the examples, a take, pairs of one's own."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    samples, rate = read_audio(ROOT / "examples" / "vocal.wav")
    write_audio(tmp_path / "take.wav", samples, rate)
    take_mix = render(samples, rate, find_preset("rap"), tail_seconds=0.0).samples
    write_audio(tmp_path / "take_mix.wav", take_mix, rate)
    write_audio(tmp_path / "finished.wav", take_mix, rate)
    (tmp_path / "raw").mkdir()
    (tmp_path / "mixed").mkdir()
    preset = find_preset("warm_intimate")
    for i in range(3):
        part = samples[:, i * rate * 3 : (i + 1) * rate * 3]
        mix = render(part, rate, preset, tail_seconds=0.0).samples
        write_audio(tmp_path / "raw" / f"song {i}_raw.wav", part, rate)
        write_audio(tmp_path / "mixed" / f"Song {i} (mixed).wav", mix, rate)
    return tmp_path


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(line)
    if words[0] == "diffconsole":
        words[:1] = [sys.executable, "-m", "diffconsole"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_set_up_is_two_commands_that_this_project_has():
    first, second = (block.strip() for block in blocks("sh")[:2])
    assert first.endswith("diffconsole process examples/vocal.wav -o out")
    assert 'pip install -e ".[test]" && pytest' in second
    assert "\n" not in first
    assert "\n" not in second


@pytest.mark.slow
def test_the_main_job_works_as_printed(folder):
    done = run(blocks("sh")[0].strip().rpartition("&& ")[2], folder)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (folder / "out").iterdir()}
    assert made == {"vocal.preset.json", "vocal.processed.wav", "vocal.png", "vocal.html"}
    samples, rate = read_audio(folder / "out" / "vocal.processed.wav")
    assert rate == 44100
    assert samples.shape[0] == 2
    assert 0.01 < np.max(np.abs(samples)) < 4.0


@pytest.mark.slow
def test_the_commands_of_the_four_jobs_work_as_printed(folder):
    for line in commands():
        done = run(line, folder)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    for made in (
        "studio/model.json",
        "vocal.preset.json",
        "vocal.mixed.wav",
        "compared.svg",
        "matched/match.csv",
    ):
        assert (folder / made).stat().st_size > 0
    processed = read_audio(folder / "out" / "take.processed.wav")[0]
    assert np.isfinite(processed).all()


@pytest.mark.slow
def test_the_python_works_as_printed(folder):
    for block in blocks("python"):
        done = run(shlex.join([sys.executable, "-c", block]), folder)
        assert done.returncode == 0, done.stderr
        assert re.search(r"tensor\(\[-?\d", done.stdout)


def test_every_benchmark_that_the_readme_names_exists():
    named = re.findall(r"python -m (tests\.benchmarks\.\w+)", README)
    assert named
    for module in named:
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
