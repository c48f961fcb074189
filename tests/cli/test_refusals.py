"""What cannot be done is said in one line, and leaves nothing half-written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ..commands import (
    QUIETER,
    STRIP,
    as_ordinary_user,
    call_in_child,
    contents,
    done,
    one_error,
    refused,
    samples_of,
    write_model,
    write_preset,
    write_take,
)
from ..synthetic import RATE, voice


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def _missing(_path: Path) -> None:
    pass


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _truncated(path: Path) -> None:
    write_take(path)
    path.write_bytes(path.read_bytes()[:-5000])


def _no_samples(path: Path) -> None:
    soundfile.write(path, np.zeros((0, 1)), RATE)


def _spoilt(path: Path, value: float) -> None:
    samples = np.stack([voice(0.2), voice(0.2)], axis=1)
    samples[4410, 1] = samples[5000, 0] = value
    soundfile.write(path, samples, RATE, subtype="FLOAT")


def _three_channels(path: Path) -> None:
    soundfile.write(path, np.zeros((4000, 3)), RATE)


def _low_rate(path: Path) -> None:
    soundfile.write(path, voice(0.2), 11025)


def _high_rate(path: Path) -> None:
    soundfile.write(path, voice(0.2), 384000)


def _text(path: Path) -> None:
    path.write_text("These are words, no music.\n" * 20)


UNUSABLE = {
    "missing": (_missing, "no such file"),
    "empty": (_empty, "is empty (0 bytes)"),
    "truncated": (_truncated, "truncated"),
    "0 samples": (_no_samples, "0 samples"),
    "NaN": (lambda path: _spoilt(path, np.nan), "sample index 4410 (0.100000 s, channel 2 of 2)"),
    "Inf": (lambda path: _spoilt(path, -np.inf), "sample index 4410 (0.100000 s, channel 2 of 2)"),
    "three channels": (_three_channels, "3 channels"),
    "11 kHz": (_low_rate, "11025 Hz"),
    "384 kHz": (_high_rate, "384000 Hz"),
    "text": (_text, "audio"),
    "folder": (Path.mkdir, "is a folder; give "),
}


@pytest.mark.parametrize("command", ["process", "predict", "apply", "plot"])
@pytest.mark.parametrize("kind", UNUSABLE)
def test_unusable_audio(tmp_path, model, capfd, kind, command):
    make, words = UNUSABLE[kind]
    take = tmp_path / "take.wav"
    make(take)
    (tmp_path / "out").mkdir()
    before = contents(tmp_path)
    new = tmp_path / "new"
    arguments = {
        "process": (take, "-o", new, "--model", model),
        "predict": (take, "-o", tmp_path / "out" / "p.json", "--model", model),
        "apply": (take, "telephone", "-o", tmp_path / "out" / "x.wav"),
        "plot": ("telephone", "--raw", take, "-o", tmp_path / "out" / "x.png"),
    }[command]
    line = refused(command, *arguments)
    assert line.startswith(f"{take}: ")
    assert words in line
    if kind in ("NaN", "Inf"):
        assert f"is {kind}" in line
    assert contents(tmp_path) == before
    assert capfd.readouterr() == ("", "")  # no library speaks either


UNUSABLE_PRESETS = {
    "version": ({}, {"version": "2.0"}, ("$.version", '"2.0"', "1.0")),
    "format": ({}, {"format": "strip"}, ("$.format", '"strip"')),
    "range": ({"eq": {"peak_1": {"gain_db": 99.0}}}, {}, ("$.eq.peak_1.gain_db", "99", "15 dB")),
    "key": ({"eq": {"peak_9": {}}}, {}, ("$.eq.peak_9", "peak_")),
    "unit": ({"reverb": {"decay_s": "2 s"}}, {}, ("$.reverb.decay_s", '"2 s"')),
    "NaN": ({"pan": {"position": float("nan")}}, {}, ("$.pan.position", "NaN")),
}


@pytest.mark.parametrize("kind", UNUSABLE_PRESETS)
def test_unusable_preset(tmp_path, kind):
    strip, others, words = UNUSABLE_PRESETS[kind]
    take = write_take(tmp_path / "take.wav", seconds=0.1)
    preset = write_preset(tmp_path / "p.json", strip, **others)
    before = contents(tmp_path)
    for line in (
        refused("apply", take, preset, "-o", tmp_path / "x.wav"),
        refused("plot", preset, "-o", tmp_path / "x.png"),
        refused("presets", "show", preset),
    ):
        assert line.startswith(f"{preset}: ")
        assert all(word in line for word in words)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("kind", ["missing", "empty", "audio", "folder", "words"])
def test_something_else_than_a_preset(tmp_path, kind):
    take = write_take(tmp_path / "take.wav", seconds=0.1)
    preset = tmp_path / "p.json"
    if kind == "folder":
        preset.mkdir()
    elif kind == "audio":
        preset = take
    elif kind != "missing":
        preset.write_text("" if kind == "empty" else "hello")
    before = contents(tmp_path)
    assert refused("apply", take, preset, "-o", tmp_path / "x.wav").startswith(f"{preset}: ")
    assert contents(tmp_path) == before


def test_cuda_where_there_is_none(tmp_path, model):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    take = write_take(tmp_path / "take.wav", seconds=0.1)
    before = contents(tmp_path)
    for command in (
        ("process", take, "-o", tmp_path / "out", "--model", model),
        ("predict", take, "-o", tmp_path / "p.json", "--model", model),
        ("apply", take, "rap", "-o", tmp_path / "x.wav"),
        ("finetune", "--raw", tmp_path, "--mixed", tmp_path, "-o", tmp_path / "out"),
    ):
        line = refused(*command, "--device", "cuda")
        assert line == "--device cuda: no CUDA device here; use --device cpu"
    assert contents(tmp_path) == before


@pytest.mark.parametrize("place", ["file", "below a file", "folder"])
def test_output_that_cannot_be(tmp_path, model, place):
    take = write_take(tmp_path / "take.wav", seconds=0.2)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    output = {"below a file": tmp_path / "file" / "deep"}.get(place, tmp_path / place)
    before = contents(tmp_path)
    folder_commands = (
        ("process", take, "-o", output, "--model", model),
        ("predict", take, take, "-o", output, "--model", model),
        ("finetune", "--raw", tmp_path, "--mixed", tmp_path, "-o", output),
        ("pretrain", tmp_path, "-o", output),
    )
    file_commands = (
        ("apply", take, "rap", "-o", output),
        ("plot", "rap", "-o", output.with_suffix(".png") if place != "folder" else output),
    )
    for command in folder_commands if place != "folder" else file_commands:
        line = refused(*command, "--force")
        assert line.startswith(f"{output}: ")
        assert "folder" in line
    if place == "below a file":
        for command in file_commands:
            assert "is not a folder" in refused(*command)
    assert contents(tmp_path) == before


def test_missing_folder_of_a_single_output_is_not_made(tmp_path, model):
    take = write_take(tmp_path / "take.wav", seconds=0.2)
    before = contents(tmp_path)
    for command in (
        ("apply", take, "rap", "-o", tmp_path / "no" / "x.wav"),
        ("predict", take, "-o", tmp_path / "no" / "p.json", "--model", model),
        ("plot", "rap", "-o", tmp_path / "no" / "x.png"),
    ):
        assert "does not exist; create it first" in refused(*command)
    assert contents(tmp_path) == before


AWKWARD = [
    "two words.wav",
    'it\'s "quoted".wav',
    "Größe – 歌 🎤.wav",
    "-dash.wav",
    "x;rm -rf $HOME;`touch oops`.wav",
    "100%s {0} \\n [bold].wav",
    "line\nbreak.wav",
    b"not utf-8 \xff.wav",
]


@pytest.mark.parametrize("name", AWKWARD, ids=ascii)
def test_awkward_names(tmp_path, model, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(name)
    try:
        write_take(tmp_path / "plain.wav", seconds=0.2).rename(tmp_path / name)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    write_preset(tmp_path / "p.json", QUIETER)
    data = json.loads(done("apply", "--json", "-o", "out.wav", "--", name, "p.json").stdout)
    assert data["audio"] == "out.wav"
    assert np.allclose(samples_of(tmp_path / "out.wav"), samples_of(tmp_path / name) * 0.501187)
    data = json.loads(
        done("predict", "--model", model, "--json", "-o", "x.json", "--", name).stdout
    )
    assert data["files"] == [{"raw": name, "preset": "x.json"}]
    preset = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert preset["provenance"]["source"] == name
    done("predict", "--model", model, "-o", name + ".json", "--", name)
    assert (tmp_path / (name + ".json")).is_file()
    (tmp_path / name).write_bytes(b"")
    line = refused("apply", "-o", "out2.wav", "--", name, "p.json")
    assert "is empty" in line
    assert set(os.listdir(tmp_path)) == {name, name + ".json", "p.json", "x.json", "out.wav"}


def test_a_folder_without_takes_says_what_to_give(tmp_path):
    line = refused("process", tmp_path, "-o", tmp_path / "out")
    assert line.startswith(f"{tmp_path}: is a folder; give one that has audio files in it (.wav, ")
    assert line.endswith(", .flac …)")
    assert not (tmp_path / "out").exists()


def test_no_permission(tmp_path, model):
    become = as_ordinary_user()
    take = write_take(tmp_path / "take.wav", seconds=0.2)
    secret = write_take(tmp_path / "secret.wav", seconds=0.2)
    preset = tmp_path / "secret.preset.json"
    preset.write_text("{}", encoding="utf-8")
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "old.wav").write_bytes(b"old")
    before = contents(tmp_path)
    commands = (
        ("apply", take, "rap", "-o", closed / "x.wav"),
        ("apply", take, "rap", "-o", closed / "old.wav", "--force"),
        ("process", take, "-o", closed, "--model", model),
        ("process", take, "-o", closed / "new", "--model", model),
        ("plot", "rap", "-o", closed / "x.png"),
        ("apply", take, preset, "-o", tmp_path / "x.wav"),
        ("apply", secret, "rap", "-o", tmp_path / "x.wav"),
    )
    closed.chmod(0o555)
    secret.chmod(0o000)
    preset.chmod(0o000)
    try:
        results = call_in_child(commands, become)
    finally:
        closed.chmod(0o755)
        secret.chmod(0o644)
        preset.chmod(0o644)
    lines = [one_error(stderr) for _, stderr in results]
    assert [code for code, _ in results] == [1] * len(commands)
    for line in lines[:-2]:
        assert line.startswith(str(closed))
        assert "no permission to write there" in line
    assert lines[-2] == f"{preset}: cannot be read (Permission denied)"
    assert lines[-1].startswith(f"{secret}: no permission to read it")
    assert contents(tmp_path) == before


def test_files_may_not_grow(tmp_path, model):
    """As on a full disk: the system refuses more than 60 kB a file."""
    resource = pytest.importorskip("resource", reason="limits are a thing of POSIX systems")
    take = write_take(tmp_path / "take.wav", seconds=0.6)
    preset = write_preset(tmp_path / "p.json", STRIP)
    # Once without the limit: compiled kernels are kept in files too.
    done("process", take, "-o", tmp_path / "first", "--model", model)
    shutil.rmtree(tmp_path / "first")
    before = contents(tmp_path)
    commands = (
        ("apply", take, preset, "-o", tmp_path / "x.wav"),
        ("process", take, "-o", tmp_path / "out", "--model", model),
        ("plot", preset, "-o", tmp_path / "x.png"),
    )
    limit = (60_000, 60_000)
    results = call_in_child(commands, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    for code, stderr in results:
        assert code == 1
        assert "larger than the system allows" in one_error(stderr)
    assert contents(tmp_path) == before


@contextlib.contextmanager
def _tiny_disk(place: Path, kilobytes: int) -> Iterator[None]:
    """Mount a file system in memory; skips where that is not allowed."""
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root may mount a tiny disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no tiny disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(("kilobytes", "fits"), [(64, "nothing"), (700, "audio and preset")])
def test_full_disk(tmp_path, model, kilobytes, fits):
    take = write_take(tmp_path / "take.wav", seconds=0.6)
    disk = tmp_path / "disk"
    disk.mkdir()
    with _tiny_disk(disk, kilobytes):
        (disk / "mine.txt").write_text("mine")
        line = refused("process", take, "-o", disk / "out", "--model", model)
        assert "the disk is full" in line
        assert line.endswith("free some space or choose another folder")
        assert contents(disk) == {"mine.txt": b"mine"}
        if fits == "audio and preset":
            done("apply", take, write_preset(tmp_path / "p.json", QUIETER), "-o", disk / "x.wav")
            assert (disk / "x.wav").stat().st_size > 100_000
