"""finetune, evaluate, pretrain: whole runs on a few synthetic voices."""

from __future__ import annotations

import csv
import functools
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import safetensors
import soundfile

from diffconsole import Predictor
from diffconsole.strip.preset import find_preset
from diffconsole.training.finetuning import labels
from diffconsole.training.finetuning.finetune import CHECKPOINT, STATE_FILES
from diffconsole.training.pretraining import pretrain as pretraining

from ..commands import PROGRAM, call, contents, done, one_error, refused, write_model, write_take
from ..synthetic import RATE, STUDIO, mixed, small_encoders, voice, write_people
from ..training.finetuning.helpers import coarse_searches, known_labels, short_windows
from ..training.pretraining.short_examples import short_examples

LEFT = {"model.json", "model.safetensors", "README.md", "finetune.jsonl", "finetune.png"}
"""What a run that has ended leaves in its folder."""

ROWS = ("level only", "one preset", "before", "after")


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """What is found is not looked at, only that the commands do and say it."""
    coarse_searches(monkeypatch.setattr)
    short_windows(monkeypatch.setattr)
    if "real_labels" not in request.fixturenames:
        monkeypatch.setattr(labels, "_search", known_labels)


@pytest.fixture
def real_labels() -> None:
    """The labels are searched for."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Four pairs of a studio: raw, and mixed in stereo."""
    root = tmp_path_factory.mktemp("studio")
    for name in ("raw", "mixed"):
        (root / name).mkdir()
    for seed in range(4):
        sung = voice(1.2, seed)
        soundfile.write(root / "raw" / f"Song {seed}_raw.wav", sung, RATE, subtype="FLOAT")
        mix = mixed(sung, STUDIO).T
        soundfile.write(root / "mixed" / f"song {seed} (mix).wav", mix, RATE, subtype="FLOAT")
    return root / "raw", root / "mixed"


def _rows(table: str) -> dict[str, float]:
    """The last column of a table's rows by their first words."""
    found = {}
    for line in table.splitlines():
        name = next((row for row in ROWS if line.strip().startswith(row)), None)
        if name:
            found[name] = float(line.split()[-1])
    return found


@pytest.fixture
def two_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer factory presets to choose from: hearing all of them takes longer than training."""
    choice = {key: find_preset(key) for key in ("rock_lead", "telephone")}
    monkeypatch.setattr("diffconsole.jobs.evaluate.factory_presets", lambda: choice)


@pytest.mark.slow
@pytest.mark.usefixtures("two_presets", "real_labels")
def test_finetune_ends_with_a_table_and_a_model(tmp_path, folders, model, monkeypatch):
    raw, mix = folders
    studio = tmp_path / "new" / "studio"
    options = ("--raw", raw, "--mixed", mix, "--model", model, "--minutes", "0.02")
    result = done("finetune", *options, "--held-out", "0.25", "-o", studio)
    rows = _rows(result.stdout)
    assert set(rows) == set(ROWS)
    assert rows["after"] <= rows["before"]  # the best state counts, the first one included
    assert "3 pairs to train on, 1 held out" in result.stderr
    assert str(studio) in result.stderr
    assert set(contents(studio)) == LEFT

    info = json.loads(done("models", "info", "--model", studio, "--json").stdout)["info"]
    assert info["base"] == model.name
    assert info["pairs"] == 4
    assert info["distance"]["after"] == pytest.approx(rows["after"], abs=6e-4)
    (name,) = info["held_out"]
    report = (studio / "README.md").read_text()
    assert f"| {name} | " in report
    assert f"**{info['distance']['after']:.3f}** |" in report
    log = [json.loads(line) for line in (studio / "finetune.jsonl").read_text().splitlines()]
    assert log == info["history"]
    assert (studio / "finetune.png").read_bytes().startswith(b"\x89PNG")
    take = write_take(tmp_path / "take.wav")
    done("predict", take, "-o", tmp_path / "p.json", "--model", studio)

    before = contents(studio)
    assert "holds a model already; add --force" in refused("finetune", *options, "-o", studio)
    assert contents(studio) == before
    # Searching once is enough.
    monkeypatch.setattr(labels, "_search", known_labels)
    again = done("finetune", *options, "-o", studio, "--force", "--json", "--seed", "3")
    data = json.loads(again.stdout)
    assert data["model"] == str(studio)
    assert data["crossed"], "by default, so few pairs are all learnt from"
    assert data["pairs"] == len(data["held_out"]) == 4
    assert data["distance"]["after"] <= data["distance"]["before"] + 1e-3
    assert "each predicted from the others" in (studio / "README.md").read_text()
    assert again.stderr == ""
    assert contents(studio) != before


def _heed_ctrl_c():
    """A shell's background jobs, and all that they start, ignore Ctrl-C unless told otherwise."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="only POSIX systems send Ctrl-C to a process")
@pytest.mark.usefixtures("two_presets")
def test_ctrl_c_and_the_same_command_go_on(tmp_path, folders, model):
    raw, mix = folders
    studio = tmp_path / "studio"
    options = ("--raw", raw, "--mixed", mix, "--model", model, "--minutes", "0.2",
               "--steps", "5", "-o", studio)  # fmt: skip
    with subprocess.Popen(
        [*PROGRAM, "finetune", *map(str, options)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_ctrl_c,
    ) as process:  # fmt: skip
        patience = time.monotonic() + 200.0
        while not (studio / CHECKPOINT).exists() and time.monotonic() < patience:
            assert process.poll() is None, "ended before its first state was kept"
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stdout == ""
    *_, last = stderr.splitlines(keepends=True)
    assert f"the state is in {studio}: repeat the command" in one_error(last)
    assert {CHECKPOINT} <= set(contents(studio)) <= {*STATE_FILES, "finetune.jsonl"}  # no model
    with safetensors.safe_open(studio / CHECKPOINT, "pt") as file:
        kept = json.loads(file.metadata()["progress"])["history"]

    other = refused("finetune", *options, "--seed", "5", "--quiet")
    assert "unfinished run of other pairs, options or model" in other
    data = json.loads(done("finetune", *options, "--json").stdout)
    assert data["history"][: len(kept)] == kept
    assert set(contents(studio)) == LEFT
    Predictor.load(studio)


def test_interrupt_before_the_first_state(tmp_path, folders, model, monkeypatch):
    def stop(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("diffconsole.jobs.finetune.finetune", stop)
    raw, mix = folders
    result = call(
        "finetune", "--raw", raw, "--mixed", mix, "--model", model, "-o", tmp_path / "m", "-q"
    )
    assert result.exit_code == 1
    assert "nothing is left of the run" in one_error(result.stderr)
    assert contents(tmp_path) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("two_presets")
def test_evaluate(tmp_path, folders, model):
    raw, mix = folders
    result = done("evaluate", "--raw", raw, "--mixed", mix, "--model", model, "--json")
    data = json.loads(result.stdout)
    assert result.stderr == ""
    assert [row["pair"] for row in data["pairs"]] == [f"Song {i}_raw" for i in range(4)]
    for row in data["pairs"]:
        assert abs(row["lag_seconds"]) < 1e-3
        assert row["polarity"] == 1
        assert all(row[key] > 0 for key in ("level_only", "fixed", "model"))
    for key, value in data["mean"].items():
        assert value == pytest.approx(sum(row[key] for row in data["pairs"]) / 4)
    assert data["mean"]["fixed"] < data["mean"]["level_only"]  # a bright strip with reverb helps
    assert data["fixed_preset"] == "rock_lead"

    # The same by a list, as text, with one pair that is none.
    table = tmp_path / "pairs.csv"
    strangers = write_take(tmp_path / "other.wav", seconds=2.0, seed=99)
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("raw", "mixed"))
        writer.writerow((raw / "Song 0_raw.wav", mix / "song 0 (mix).wav"))
        writer.writerow((strangers, mix / "song 1 (mix).wav"))
    text = done("evaluate", "--pairs", table, "--model", model)
    assert "not the same performance" in text.stderr
    assert text.stderr.count("\n") == 1
    lines = text.stdout.splitlines()
    assert lines[0].split() == ["level", "only", "one", "preset", "model"]
    first = data["pairs"][0]
    assert lines[1].split()[:2] == ["Song", "0_raw"]
    assert float(lines[1].split()[2]) == pytest.approx(first["level_only"], abs=6e-4)
    assert float(lines[1].split()[4]) == pytest.approx(first["model"], abs=6e-4)


@pytest.mark.usefixtures("two_presets")
def test_evaluate_measures_as_finetune_does(tmp_path, folders, model, monkeypatch):
    """The same part of a long pair, by the same function: equal figures for equal models."""
    monkeypatch.setattr("diffconsole.pairs.evaluation.WHOLE_SECONDS", 1.0)
    raw, mix = folders
    where = ("--raw", raw, "--mixed", mix)
    # One step of one stage: the run ends with the model as it was, or with another that is kept.
    studio = tmp_path / "studio"
    done("finetune", *where, "--model", model, "--steps", "1", "--minutes", "1", "-o", studio)
    info = json.loads((studio / "model.json").read_text())["info"]
    assert info["budget"] == {"steps": 1}
    assert info["steps"] <= 1
    evaluated = json.loads(done("evaluate", *where, "--model", model, "--json").stdout)
    rows = {row["pair"]: row for row in evaluated["pairs"]}
    for name, told in info["distances"].items():
        assert told["before"] == pytest.approx(rows[name]["model"], abs=1e-4)
        assert told["level only"] == pytest.approx(rows[name]["level_only"], abs=1e-4)
    for column, value in evaluated["median"].items():
        middle = sorted(row[column] for row in evaluated["pairs"])[1:3]
        assert value == pytest.approx(sum(middle) / 2)
    assert "at most 1 steps" in (studio / "README.md").read_text()
    assert "| **median** |" in (studio / "README.md").read_text()


@pytest.mark.parametrize("command", ["finetune", "evaluate"])
def test_pairs_that_are_none(tmp_path, folders, model, command):
    raw, mix = folders
    output = ("-o", tmp_path / "studio") if command == "finetune" else ()
    (tmp_path / "empty").mkdir()
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    for seed in range(2):
        write_take(strangers / f"song {seed}.wav", seconds=2.0, seed=50 + seed)
    before = contents(tmp_path)
    for mixes, word in (
        (tmp_path / "empty", "no file of"),
        (tmp_path / "nowhere", "not a folder"),
        (mix / "song 0 (mix).wav", "not a folder"),
    ):
        line = refused(command, "--raw", raw, "--mixed", mixes, "--model", model, *output)
        assert word in line
        assert str(mixes) in line

    result = call(command, "--raw", raw, "--mixed", strangers, "--model", model, *output, "-q")
    assert result.exit_code == 1
    *refusals, last = result.stderr.splitlines()
    assert [line.startswith("Refused: ") for line in refusals] == [True, True]
    assert all("not the same performance (correlation" in line for line in refusals)
    assert last.startswith("Error: no usable pair is left")
    for table, word in (("raw,wet\na,b\n", "'mixed'"), ("", "header"), (None, "no such file")):
        path = tmp_path / "pairs.csv"
        if table is not None:
            path.write_text(table)
        assert word in refused(command, "--pairs", path, "--model", model, *output)
        path.unlink(missing_ok=True)
    assert contents(tmp_path) == before


def test_left_over_files_are_named(tmp_path, folders, model):
    raw, mix = folders
    few = tmp_path / "few"
    few.mkdir()
    (few / "song 2.wav").symlink_to(mix / "song 2 (mix).wav")
    result = call("finetune", "--raw", raw, "--mixed", few, "--model", model, "-o", tmp_path / "m")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert [line.startswith("Left out: ") for line in lines] == [True, True, True, False]
    assert "1 usable pair(s); fine-tuning needs 2" in lines[-1]
    assert not (tmp_path / "m").exists()


@pytest.fixture
def short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two examples of whom is held out instead of 96, and short strips: they take minutes."""
    run = functools.partial(pretraining.pretrain, validation=2)
    monkeypatch.setattr(pretraining, "pretrain", run)
    statistics = functools.partial(pretraining.fit_model_statistics, seconds=2.0)
    monkeypatch.setattr(pretraining, "fit_model_statistics", statistics)
    small_encoders(monkeypatch.setattr)
    short_examples(monkeypatch.setattr)


@pytest.mark.slow
@pytest.mark.usefixtures("short_measurements")
def test_pretrain(tmp_path):
    voices = write_people(tmp_path / "voices", {"anna": 1, "ben": 2, "eva": 3})
    options = ("pretrain", voices, "--held-out", "ben", "--minutes", "0.01", "-o", tmp_path / "m",
               "--learning-rate", "0.002", "--style-strips", "5",
               "--module-examples", "8")  # fmt: skip
    result = done(*options, "--json")
    data = json.loads(result.stdout)
    assert result.stderr == ""
    assert set(data["held_out"]) >= set(data["fixed"]) >= {"error", "curve_db"}
    assert data["held_out"]["error"] > 0
    info = json.loads(done("models", "info", "--model", tmp_path / "m", "--json").stdout)["info"]
    assert info["options"]["held_out"] == ["ben"]
    assert info["options"]["learning_rate"] == 0.002
    assert set(contents(tmp_path / "m")) >= {"model.json", "model.safetensors"}
    assert not list((tmp_path / "m").glob("*pretrain*"))  # no state of the run is left
    assert "holds a model already" in refused(*options)


def test_former_names_of_options_are_hidden():
    shown = done("pretrain", "--help").stdout
    assert "--validation" in shown
    assert "--judges" not in shown


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("nowhere",), "nowhere: not a folder"),
        (("empty",), "no audio in the folders below it"),
        (("voices", "--held-out", "karl"), "'karl' to hold out"),
        (("voices", "--validation", "karl"), "'karl' to validate on"),
        (("voices", "--judges", "karl"), "'karl' to validate on"),
        (("voices", "--held-out", "anna"), "all speakers are held out"),
        (("voices", "--reference", "karl"), "'karl'"),
        (("voices", "--rooms", "nowhere"), "nowhere"),
        (("voices", "--start-from", "nowhere"), "nowhere: no model here"),
        (("voices", "--average"), "name the model to start from"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_pretrain_refuses(tmp_path, monkeypatch, options, word):
    monkeypatch.chdir(tmp_path)
    write_people(tmp_path / "voices", {"anna": 1}, seconds=1.5)
    (tmp_path / "empty").mkdir()
    before = contents(tmp_path)
    assert word in refused("pretrain", *options, "-o", "model")
    assert contents(tmp_path) == before
