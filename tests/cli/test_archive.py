"""The commands on archives: mirrored trees, failures, resuming, tables, what is kept."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole import Preset
from diffconsole.jobs.many.manifest import NAME
from diffconsole.strip.preset import factory_presets

from ..commands import (
    PROGRAM,
    QUIETER,
    call,
    contents,
    done,
    one_error,
    refused,
    samples_of,
    write_model,
    write_preset,
    write_take,
)
from ..synthetic import RATE, STUDIO, mixed, voice


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three takes in two folders, and a broken one between them."""
    root = tmp_path / "archive"
    (root / "disc").mkdir(parents=True)
    for seed, name in enumerate(("a.wav", "c.wav", "disc/d.wav")):
        write_take(root / name, 0.3, seed=seed)
    (root / "b.wav").write_bytes(b"no sound")
    return root


@pytest.fixture(autouse=True)
def same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def without_manifest(folder: Path) -> dict[str, bytes | None]:
    return {k: v for k, v in contents(folder).items() if not k.startswith(NAME)}


def states(*args: object, code: int) -> dict[str, str]:
    """By the name of the take in JSON, how it ended."""
    result = call(*args, "--json")
    assert result.exit_code == code, result.stderr
    data = json.loads(result.stdout)
    found = {Path(file["raw"]).name: file["state"] for file in data["files"]}
    assert len(data["failed"]) == data["summary"]["failed"]
    return found


def test_process_a_tree(archive, model, tmp_path):
    out = tmp_path / "out"
    options = ("--recursive", "--model", model, "--no-plot", "--no-page", "--full")
    result = call("process", archive, "-o", out, *options, "--results", out / "all.csv")
    assert result.exit_code == 1
    failures = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(failures) == 1 and failures[0].startswith(f"Error: {archive / 'b.wav'}: ")
    assert {"done    3", "kept    0", "failed  1"} <= set(result.stdout.splitlines())
    names = {f"{stem}{end}" for stem in ("a", "c", "disc/d")
             for end in (".preset.json", ".processed.wav")}  # fmt: skip
    assert set(without_manifest(out)) == names | {"disc", "all.csv"}
    # The same as one after the other.
    done("process", archive / "a.wav", "-o", tmp_path / "one", *options[1:])
    for name in ("a.preset.json", "a.processed.wav"):
        assert (tmp_path / "one" / name).read_bytes() == (out / name).read_bytes()
    with open(out / "all.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["name"]).name for row in rows] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert [row["state"] for row in rows] == ["done", "failed", "done", "done"]
    preset = Preset.read(out / "a.preset.json")
    for key, value in preset.settings().items():
        assert float(rows[0][key]) == value
    low, high = preset.provenance["uncertainty"]["eq.peak_1.gain_db"]
    assert [float(rows[0][f"eq.peak_1.gain_db.{end}"]) for end in ("low", "high")] == [low, high]
    assert float(rows[0]["raw_loudness_lufs"]) == preset.provenance["raw_loudness_lufs"]
    assert rows[1]["failure"].startswith(str(archive / "b.wav")) and rows[1]["preset"] == ""


def test_resuming_keeps_what_is_whole_and_unchanged(archive, model, tmp_path):
    out = tmp_path / "out"
    command = ("predict", archive, "--recursive", "-o", out, "--model", model, "--full")
    assert "exists already" not in call(*command).stderr
    first = without_manifest(out)
    line = refused(*command)
    assert "there are results of 3 of 4 inputs; add --resume" in line
    kept = {"a.wav": "kept", "c.wav": "kept", "d.wav": "kept"}
    assert states(*command, "--resume", code=1) == kept
    assert without_manifest(out) == first
    # An input that changed, a result that is gone, one that was cut off.
    write_take(archive / "a.wav", 0.3, seed=9)
    (out / "c.preset.json").unlink()
    (out / "disc" / "d.preset.json").write_bytes(first["disc/d.preset.json"][:100])
    assert set(states(*command, "--resume", code=1).values()) == {"done"}
    second = without_manifest(out)
    assert second["a.preset.json"] != first["a.preset.json"]
    assert {k: v for k, v in second.items() if k[0] != "a"} == {
        k: v for k, v in first.items() if k[0] != "a"
    }
    # Once the broken one is mended, all is well.
    write_take(archive / "b.wav", 0.3, seed=5)
    assert states(*command, "--resume", code=0) == {**kept, "b.wav": "done"}
    # Other options or another model: nothing counts.
    assert "kept" not in states(*command[:-1], "--resume", code=0).values()
    other = write_model(tmp_path / "other", seed=1)
    command = (*command[:-3], "--model", other, "--full")
    assert "kept" not in states(*command, "--resume", code=0).values()


def test_a_preset_that_was_edited_is_not_replaced(archive, model, tmp_path):
    out = tmp_path / "out"
    (archive / "b.wav").unlink()
    command = ("predict", archive, "-o", out, "--model", model, "--full")
    done(*command)
    edited = write_preset(out / "a.preset.json", QUIETER).read_bytes()
    result = call(*command, "--resume")
    assert result.exit_code == 1
    assert "was edited since it was written, and is not replaced" in one_error(result.stderr)
    assert (out / "a.preset.json").read_bytes() == edited
    assert call(*command, "--resume").exit_code == 1
    assert states(*command, "--resume", "--force", code=0)["c.wav"] == "kept"
    assert (out / "a.preset.json").read_bytes() != edited


def test_damaged_lines_of_a_manifest_are_not_done_and_said_once(archive, tmp_path):
    out, quieter = tmp_path / "out", write_preset(tmp_path / "p.json", QUIETER)
    (archive / "b.wav").unlink()
    command = ("apply", archive, quieter, "--recursive", "-o", out)
    done(*command)
    first = without_manifest(out)
    path = out / f"{NAME}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    ended = {line["work"]: line for line in lines if line["state"] == "done"}
    damaged = ended["audio:a.processed.wav"]
    del damaged["outputs"]
    # The whole story of one is the damaged line; of another the line that it ended is torn.
    kept = [line for line in lines if line["work"] != damaged["work"]]
    text = "\n".join(json.dumps(line) for line in [damaged, *kept])
    path.write_text(text[:-40] + "\n")
    result = call(*command, "--resume")
    assert result.exit_code == 0, result.stderr
    notes = [line for line in result.stderr.splitlines() if line.startswith("Note: ")]
    assert notes == [f"Note: {path}: 2 lines are damaged, and counted as not done"]
    assert {"done    2", "kept    1", "failed  0"} <= set(result.stdout.splitlines())
    assert without_manifest(out) == first
    assert set(states(*command, "--resume", code=0).values()) == {"kept"}


def test_apply_one_preset_and_one_for_each(archive, tmp_path):
    out, presets = tmp_path / "out", tmp_path / "presets"
    quieter = write_preset(tmp_path / "p.json", QUIETER)
    assert states("apply", archive, quieter, "--recursive", "-o", out, code=1) == {
        "a.wav": "done", "c.wav": "done", "d.wav": "done",
    }  # fmt: skip
    for name in ("a", "disc/d"):
        ours = samples_of(out / f"{name}.processed.wav")
        assert np.allclose(ours, samples_of(archive / f"{name}.wav") * 0.501187, atol=1e-6)
    (presets / "disc").mkdir(parents=True)
    write_preset(presets / "a.preset.json", {"output_gain": {"gain_db": -12.0}})
    write_preset(presets / "disc" / "d.preset.json", QUIETER)
    command = ("apply", archive / "*.wav", archive / "disc", presets, "-o", tmp_path / "each")
    result = call(*command)
    assert result.exit_code == 1
    errors = result.stderr.splitlines()
    # c has no preset; d lies at the top here, because its folder was given by itself.
    assert sum(line.startswith("Error: ") for line in errors) == 3
    missing, take = presets / "c.preset.json", archive / "c.wav"
    line = f"Error: {missing}: there is no preset for {take}; make one by predict, or leave the "
    assert f"{line}take out" in errors
    ours = samples_of(tmp_path / "each" / "a.processed.wav")
    assert np.allclose(ours, samples_of(archive / "a.wav") * 10 ** (-12 / 20), atol=1e-6)
    # Its own preset is an input: once it changes, its take is rendered again, and no other.
    options = ("apply", archive, presets, "--recursive", "-o", out, "--force")
    assert states(*options, code=1)["a.wav"] == "done"
    write_preset(presets / "disc" / "d.preset.json", {"output_gain": {"gain_db": -3.0}})
    again = states(*options[:-1], "--resume", code=1)
    assert again == {"a.wav": "kept", "d.wav": "done"}


def test_results_inside_the_archive_are_not_read_again(archive, tmp_path):
    quieter = write_preset(tmp_path / "p.json", QUIETER)
    (archive / "b.wav").unlink()
    command = ("apply", archive, quieter, "--recursive", "-o", archive / "out")
    assert set(states(*command, code=0)) == {"a.wav", "c.wav", "d.wav"}
    before = contents(archive / "out")
    assert set(states(*command, "--resume", code=0).values()) == {"kept"}
    assert without_manifest(archive / "out") == {
        k: v for k, v in before.items() if not k.startswith(NAME)
    }
    # Beside the takes as well: what ends in .processed is a result.
    beside = ("apply", archive, quieter, "-o", archive)
    assert set(states(*beside, code=0)) == {"a.wav", "c.wav"}
    assert set(states(*beside, "--resume", code=0)) == {"a.wav", "c.wav"}


def test_shards_make_the_whole(archive, tmp_path):
    quieter = write_preset(tmp_path / "p.json", QUIETER)
    (archive / "b.wav").unlink()
    command = ("apply", archive, quieter, "--recursive", "-o")
    done(*command, tmp_path / "whole")
    for part in (1, 2):
        done(*command, tmp_path / "parts", "--shard", f"{part}/2")
    assert without_manifest(tmp_path / "parts") == without_manifest(tmp_path / "whole")
    # Their manifests are read together.
    assert set(states(*command, tmp_path / "parts", "--resume", code=0).values()) == {"kept"}
    empty = done(*command, tmp_path / "parts", "--shard", "4/5")
    assert empty.stderr == "Note: --shard 4/5: none of 3 files falls to this part\n"
    assert "give I/N" in call(*command, tmp_path / "x", "--shard", "3/2").stderr


def test_export_many(archive, tmp_path):
    presets = tmp_path / "presets"
    (presets / "deep").mkdir(parents=True)
    write_preset(presets / "a.preset.json", QUIETER)
    write_preset(presets / "deep" / "b.preset.json", QUIETER)
    (presets / "broken.preset.json").write_text("{")
    (presets / "other.json").write_text("{}")
    out = tmp_path / "sheets"
    result = call("export", presets, "--recursive", "--to", "markdown", "-o", out)
    assert result.exit_code == 1
    assert result.stderr.count("Error: ") == 1 and "broken.preset.json" in result.stderr
    assert set(without_manifest(out)) == {"a.md", "deep", "deep/b.md"}
    done("export", presets / "a.preset.json", "--to", "markdown", "-o", tmp_path / "one.md")
    assert (out / "a.md").read_bytes() == (tmp_path / "one.md").read_bytes()
    # A format that writes folders gets one for each.
    two = (presets / "a.preset.json", presets / "deep" / "b.preset.json")
    done("export", *two, "--to", "pedalboard", "-o", tmp_path / "boards")
    again = call("export", *two, "--to", "pedalboard", "-o", tmp_path / "boards", "--resume")
    assert again.exit_code == 0 and "kept    2" in again.stdout


def test_the_same_note_of_many_files_is_a_line(tmp_path):
    presets = [tmp_path / f"{name}.preset.json" for name in "abc"]
    for path in presets:
        factory_presets()["lead_vocal_pop"].write(path)
    result = done("export", *presets, "--to", "equalizerapo", "-o", tmp_path / "filters")
    notes = [line for line in result.stderr.splitlines() if line.startswith("Note: ")]
    first = [line for line in notes if line.startswith(f"Note: {presets[0]}: ")]
    assert first and not any(str(path) in line for line in notes for path in presets[1:])
    more = [line.replace(f"{presets[0]}", "2 more like this") for line in first]
    assert notes == first + more


def write_pairs(tmp_path: Path) -> tuple[Path, Path]:
    for seed, place in enumerate((".", "deep")):
        for name in ("raw", "mixed"):
            (tmp_path / name / place).mkdir(parents=True, exist_ok=True)
        sung = voice(1.0, seed)
        soundfile.write(tmp_path / "raw" / place / f"s{seed}.wav", sung, RATE, subtype="FLOAT")
        mix = mixed(sung, STUDIO).T
        soundfile.write(tmp_path / "mixed" / place / f"s{seed} mix.wav", mix, RATE, subtype="FLOAT")
    return tmp_path / "raw", tmp_path / "mixed"


def test_match_and_evaluate_trees_of_pairs(tmp_path, model, monkeypatch):
    two = dict(list(factory_presets().items())[:2])
    monkeypatch.setattr("diffconsole.jobs.evaluate.factory_presets", lambda: two)
    raw, mix = write_pairs(tmp_path)
    pairs = ("--raw", raw, "--mixed", mix, "--recursive")
    (tmp_path / "raw" / "broken.wav").write_bytes(b"")
    (tmp_path / "mixed" / "broken.wav").write_bytes(b"")
    out = tmp_path / "out"
    command = ("match", *pairs, "-o", out, "--seconds", "0.3")
    result = call(*command, "--results", tmp_path / "r.csv")
    assert result.exit_code == 1 and result.stderr.count("Error: ") == 1
    assert result.stdout.startswith("done    2\n"), "no empty line above"
    assert set(without_manifest(out)) == {
        "s0.preset.json", "deep", "deep/s1.preset.json", "match.csv",
    }  # fmt: skip
    again = json.loads(call(*command, "--resume", "--json").stdout)
    assert [file["state"] for file in again["files"]] == ["kept", "kept"]
    table = tmp_path / "e.csv"
    command = ("evaluate", *pairs, "--model", model, "--results", table)
    result = call(*command, "--json")
    rows = json.loads(result.stdout)["files"]
    assert result.exit_code == 1 and [row["pair"] for row in rows] == ["s0", "deep/s1"]
    assert result.stderr.count("broken.wav") == 1
    with open(table, newline="", encoding="utf-8") as file:
        found = {row["name"]: row for row in csv.DictReader(file)}
    for row in rows:
        assert float(found[row["pair"]]["model"]) == row["model"] > 0.0
    (tmp_path / "raw" / "broken.wav").unlink()
    # As evaluate without processes has it, whose folders have no folders in them.
    alone = done("evaluate", "--raw", raw, "--mixed", mix, "--model", model, "--json")
    (one,) = json.loads(alone.stdout)["pairs"]
    assert one["level_only"] == rows[0]["level_only"] and one["model"] == rows[0]["model"]


def test_what_is_no_folder_is_refused(archive, model, tmp_path):
    options = ("--model", model)
    line = refused("predict", archive, "-o", tmp_path / "p.json", *options)
    assert "p.json: the results of many files need a folder" in line
    line = refused("process", archive, "--results", tmp_path / "t.txt", *options)
    assert "ends in .csv or .parquet" in line
    write_take(archive / "a.flac.wav", 0.3).rename(archive / "a.flac")
    line = refused("process", archive, "-o", tmp_path / "out", *options)
    assert "a.flac and" in line and "a.wav would both write" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_stopped_and_resumed(tmp_path, number):
    takes = tmp_path / "takes"
    takes.mkdir()
    for i in range(24):
        write_take(takes / f"{i:02d}.wav", 1.0, seed=i)
    quieter, out = write_preset(tmp_path / "p.json", QUIETER), tmp_path / "out"
    command = ("apply", takes, quieter, "-o")
    process = subprocess.Popen(
        [*PROGRAM, *map(str, command), str(out), "--jobs", "2"], stderr=subprocess.PIPE, text=True
    )
    manifest = out / f"{NAME}.jsonl"
    start = time.monotonic()
    while not (manifest.exists() and manifest.read_bytes().count(b'"done"') >= 3):
        assert process.poll() is None and time.monotonic() - start < 120.0
        time.sleep(0.002)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    ended = manifest.read_bytes().count(b'"done"')
    if number == signal.SIGINT:
        assert process.returncode == 1
        assert "are left; repeat the command with --resume to go on" in one_error(stderr)
    else:
        assert process.returncode == -signal.SIGKILL
    again = json.loads(done(*command, out, "--resume", "--json").stdout)
    assert again["summary"]["kept"] >= min(ended, 3)
    assert again["summary"]["kept"] + again["summary"]["done"] == 24
    done(*command, tmp_path / "once")
    assert without_manifest(out) == without_manifest(tmp_path / "once")
