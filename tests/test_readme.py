"""The commands and the Python of the README and of the documentation work as printed."""

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
from diffconsole.model.reference import descent
from diffconsole.strip.preset import find_preset
from tests.commands import call
from tests.docs.documents import README, ROOT, blocks, commands, documents, named, pages
from tests.training.finetuning.helpers import coarse_searches, one_factory_preset, short_windows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as the README's reader has it: the examples, a take, pairs of one's own.

    They are short: what is learnt from them, or found, is not looked at.
    """
    tmp_path = tmp_path_factory.mktemp("reader")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    samples, rate = read_audio(ROOT / "examples" / "vocal.wav")
    samples = samples[:, : 5 * rate // 2]
    write_audio(tmp_path / "take.wav", samples, rate)
    take_mix = render(samples, rate, find_preset("rap"), tail_seconds=0.0).samples
    write_audio(tmp_path / "take_mix.wav", take_mix, rate)
    write_audio(tmp_path / "reference.wav", take_mix, rate)
    (tmp_path / "raw").mkdir()
    (tmp_path / "mixed").mkdir()
    preset = find_preset("warm_intimate")
    for i in range(2):
        part = samples[:, i * rate * 5 // 4 : (i + 1) * rate * 5 // 4]
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


def few_steps(patch):
    """What is learnt or found in few steps, on short windows, is made and written as ever."""
    coarse_searches(patch)
    short_windows(patch)
    one_factory_preset(patch)
    patch(descent, "STEPS", 4)


@pytest.fixture(scope="module")
def printed(folder):
    """Runs the commands of a document in that folder, those that another printed not again.

    The README's first is a process of its own; the others need not load everything again, and
    search in a few steps.
    """
    seen = set()

    def run_all(path):
        alone = path == README
        for line in commands(path, "sh"):
            if line in seen:
                continue
            seen.add(line)
            words = shlex.split(line)
            if words[0] == "diffconsole" and not alone:
                with pytest.MonkeyPatch.context() as patch:
                    patch.chdir(folder)
                    few_steps(patch.setattr)
                    result = call(*words[1:])
                code, stderr = result.exit_code, result.stderr
            else:
                finished = run(line, folder)
                code, stderr = finished.returncode, finished.stderr
            alone = False
            assert code == 0, f"{named(path)}: {line}\n{stderr}"

    return run_all


def test_the_set_up_is_two_commands_that_this_project_has():
    first, second = (block.strip() for block in blocks(README, "sh")[:2])
    assert first.endswith("diffconsole process examples/vocal.wav -o out")
    assert 'pip install -e ".[test]" && pytest' in second
    assert "\n" not in first
    assert "\n" not in second


@pytest.mark.slow
def test_the_main_job_works_as_printed(folder):
    done = run(blocks(README, "sh")[0].strip().rpartition("&& ")[2], folder)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (folder / "out").iterdir()}
    assert made == {"vocal.preset.json", "vocal.processed.wav", "vocal.png", "vocal.html"}
    samples, rate = read_audio(folder / "out" / "vocal.processed.wav")
    assert rate == 44100
    assert samples.shape[0] == 2
    assert 0.01 < np.max(np.abs(samples)) < 4.0


@pytest.mark.slow
def test_the_commands_of_the_four_jobs_work_as_printed(folder, printed):
    printed(README)
    for made in (
        "studio/model.json",
        "vocal.preset.json",
        "vocal.pop.wav",
        "compared.svg",
        "take.html",
        "vocal_ffmpeg/run.sh",
    ):
        assert (folder / made).stat().st_size > 0
    processed = read_audio(folder / "studio_out" / "take.processed.wav")[0]
    assert np.isfinite(processed).all()


@pytest.mark.slow
def test_the_commands_of_the_documentation_work_as_printed(folder, printed):
    for page in pages():
        printed(page)
    for made in (
        "studio/model.json",
        "vocal.mixed.wav",
        "take.match.png",
        "vocal.md",
        "vocal.again.json",
        "matched/match.csv",
        "over_time.png",
    ):
        assert (folder / made).stat().st_size > 0


@pytest.mark.slow
def test_the_python_works_as_printed(folder, monkeypatch, capsys):
    found = [block for path in (README, *pages()) for block in blocks(path, "python")]
    assert len(found) >= 3
    monkeypatch.chdir(folder)
    few_steps(monkeypatch.setattr)
    for block in found:
        exec(compile(block, "<printed>", "exec"), {"__name__": "__main__"})
        # Gradients, samples, mean and median of a distance, or what became of a file.
        wanted = r"tensor\(\[-?\d|^\(\d|^\S+\.wav done"
        assert re.search(wanted, capsys.readouterr().out, re.MULTILINE)


def test_every_benchmark_that_is_named_exists():
    text = "".join(path.read_text(encoding="utf-8") for path in documents())
    modules = set(re.findall(r"python -m ((?:tests|diffconsole)\.[\w.]+\w)", text))
    assert len([name for name in modules if name.startswith("tests.benchmarks.")]) > 20
    for module in modules:
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module


def test_every_benchmark_is_named():
    text = "".join(path.read_text(encoding="utf-8") for path in documents())
    for path in (ROOT / "tests" / "benchmarks").glob("*.py"):
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8"):
            assert path.stem in text, path.stem
