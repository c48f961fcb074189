"""What is wrong with a file is reported by every command that reads it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ..commands import done, write_model, write_take
from ..faults import short_work
from .test_match import write_pair


def interrupted(path: Path) -> Path:
    """The same WAV file, whose header states half of what lies there."""
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    (size,) = struct.unpack_from("<I", content, at)
    frame = struct.unpack_from("<H", content, content.index(b"fmt ") + 20)[0]
    half = size // 2 // frame * frame
    struct.pack_into("<I", content, at, half)
    struct.pack_into("<I", content, 4, at + 4 + half - 8)
    path.write_bytes(content)
    return path


SAID = "interrupted recording"


@pytest.fixture
def take(tmp_path: Path) -> Path:
    return interrupted(write_take(tmp_path / "take.wav", seconds=2.0))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    for seed in range(2):
        write_pair(tmp_path, seed)
    mixed = tmp_path / "mixed" / "song 0 mix.wav"
    return tmp_path / "raw" / "song 0.wav", interrupted(mixed)


def test_plot(tmp_path, take):
    said = done("plot", "airy_female", "--raw", take, "-o", tmp_path / "p.png").stderr
    assert f"Note: {take}: " in said
    assert said.count(SAID) == 1


def test_plot_over_time(tmp_path, take):
    model = write_model(tmp_path / "model")
    command = ("plot", "--over-time", "--raw", take, "--model", model, "-o", tmp_path / "p.png")
    assert done(*command).stderr.count(SAID) == 1


def test_audition_of_a_take_and_of_a_mix(tmp_path, pair):
    raw, mixed = pair
    interrupted(raw)
    said = done("audition", raw, "airy_female", "--mixed", mixed, "-o", tmp_path / "p.html").stderr
    assert f"Note: {raw}: " in said
    assert f"Note: {mixed}: " in said
    assert said.count(SAID) == 2


def test_reference(tmp_path, take):
    other = write_take(tmp_path / "other.wav")
    said = done("predict", other, "--reference", take, "-o", tmp_path / "p.json").stderr
    assert f"Note: {take}: " in said


def test_match_and_fine_tuning(tmp_path, pair):
    raw, mixed = pair
    with short_work():
        said = done("match", raw, mixed, "-o", tmp_path / "p.json", "--quick").stderr
        assert f"notice: {mixed}: " in said
        folders = ("--raw", tmp_path / "raw", "--mixed", tmp_path / "mixed")
        model = write_model(tmp_path / "model")
        command = ("finetune", *folders, "--model", model, "-o", tmp_path / "studio")
        assert SAID in done(*command).stderr
        assert SAID in done("evaluate", *folders, "--model", model).stderr
