"""The model of an archive: loaded where a take needs it, and what is to be said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffconsole.cli.model_notices import model_notices
from diffconsole.errors import ModelError
from diffconsole.jobs.many import Task, takes

from ..commands import call, done, refused, write_model, write_take
from ..model.test_rows import KEYS, rearrange
from .test_start import loaded

OPTIONS = ("--no-plot", "--no-page", "--full")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "takes").mkdir()
    for seed in range(2):
        write_take(tmp_path / "takes" / f"{seed}.wav", 0.3, seed=seed)
    return tmp_path / "takes"


@pytest.mark.parametrize("jobs", [1, 2])
def test_with_nothing_left_to_do_no_model_is_loaded(archive, tmp_path, monkeypatch, jobs):
    model, out = write_model(tmp_path / "model"), tmp_path / "out"
    command = ("process", archive, "-o", out, "--model", model, *OPTIONS, "--jobs", jobs)
    table = ("--results", out / "all.csv")
    done(*command, *table)
    names = loaded(*command, *table, "--resume")
    assert "diffconsole.jobs.many.manifest" in names and "torch" not in names

    def broken(task: Task) -> object:
        raise ModelError("the model is loaded")

    monkeypatch.setattr(takes, "predictor_of", broken)
    assert "kept    2" in done(*command, *table, "--resume").stdout
    if jobs == 1:
        write_take(archive / "1.wav", 0.3, seed=5)
        assert refused(*command, *table, "--resume") == "the model is loaded"


def test_what_is_to_be_said_of_a_model_is_said_once(archive, tmp_path):
    model = write_model(tmp_path / "model")
    assert model_notices(model) == []
    rearrange(model, "parameters", [None, *range(len(KEYS))], ["enhancer.freq_hz", *KEYS])
    result = call("predict", archive, "-o", tmp_path / "out", "--model", model, "--full")
    assert result.exit_code == 0, result.stderr
    notes = [line for line in result.stderr.splitlines() if line.startswith("Note: model ")]
    assert len(notes) == 3
    assert "predicts enhancer.freq_hz, which this version of diffconsole does not know" in notes[2]
    one = done("predict", archive / "0.wav", "-o", tmp_path / "0.json", "--model", model, "--full")
    assert [line for line in one.stderr.splitlines() if line.startswith("Note: model ")] == notes


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, '{"parameters": 3}', '{"parameters": [3]}']
)
def test_nothing_is_said_of_what_is_no_model(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    assert model_notices(tmp_path) == []
    assert model_notices(tmp_path / "nothing") == []
