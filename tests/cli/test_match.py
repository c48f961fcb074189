"""match as a command: its files, what it refuses, going on, stopping; mostly without a search."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from diffconsole import Preset
from diffconsole.files import atomic_path
from diffconsole.jobs.match import figures
from diffconsole.pairs import Pair
from diffconsole.pairs.evaluation import level_distance
from diffconsole.strip.later import start_settings
from diffconsole.training.matching.match import TRIED, Match, MatchOptions

from ..benchmarks.disturbances import at_other_speed
from ..commands import PROGRAM, call, contents, done, one_error, refused, write_take
from ..synthetic import RATE, STUDIO, mixed, voice
from ..training.finetuning.helpers import few_candidates

LAG = 300
COLUMNS = [
    "name", "distance", "level_distance", "lag_seconds", "polarity", "correlation", "seconds",
    "preset",
]  # fmt: skip


def write_pair(folder: Path, seed: int = 0, stem: str = "song", seconds: float = 1.5) -> None:
    """A raw take, and a mix of it that is late and inverted."""
    for name in ("raw", "mixed"):
        (folder / name).mkdir(exist_ok=True)
    sung = voice(seconds, seed)
    mix = -np.pad(mixed(sung, STUDIO), ((0, 0), (LAG, 0)))
    soundfile.write(folder / "raw" / f"{stem} {seed}.wav", sung, RATE, subtype="FLOAT")
    soundfile.write(folder / "mixed" / f"{stem} {seed} mix.wav", mix.T, RATE, subtype="FLOAT")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs, for copies that a test may change."""
    folder = tmp_path_factory.mktemp("written")
    for seed in range(3):
        write_pair(folder, seed)
    return folder


@pytest.fixture
def folder(tmp_path: Path, written: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def one(tmp_path: Path, written: Path) -> tuple[Path, Path]:
    others = shutil.ignore_patterns("song [12]*")
    shutil.copytree(written, tmp_path, ignore=others, dirs_exist_ok=True)
    return tmp_path / "raw" / "song 0.wav", tmp_path / "mixed" / "song 0 mix.wav"


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A search that takes no time; the names of the pairs that it was asked for.

    A name that ends with "!" in the list stands for a pair at which Ctrl-C comes.
    """
    names: list[str] = []

    def stand_in(
        pairs: Sequence[Pair],
        options: MatchOptions,
        *,
        device: str,
        report: Callable[[dict[str, Any]], None],
    ) -> Iterator[Match]:
        for index, pair in enumerate(pairs):
            stopped = f"{pair.name}!" in names
            names.append(pair.name)
            report({"pair": index, "name": pair.name, "fraction": 1.0, "loss": 1.0})
            yield Match(
                name=pair.name,
                settings={**start_settings(), **STUDIO},
                bypass=frozenset({"pan"}),
                distance=0.25 * level_distance(pair),
                level_distance=level_distance(pair),
                uncertainty={"compressor.ratio": (2.0, 6.0)},
                seconds=0.1,
                steps=1,
                history=[1.0],
                lag_seconds=pair.lag_seconds,
                polarity=pair.polarity,
                correlation=pair.correlation,
                options=options,
                stopped=stopped,
            )
            if stopped:
                return

    monkeypatch.setattr("diffconsole.training.matching.match.match", stand_in)
    monkeypatch.setattr("diffconsole.jobs.evaluate.match", stand_in)
    return names


@pytest.fixture
def quick_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which has its own test."""

    def stand_in(_pair, _preset, path, *, title, force):
        with atomic_path(path, force=force) as temporary:
            temporary.write_text(title)

    monkeypatch.setattr("diffconsole.plots.match.plot_match", stand_in)


def in_folders(folder: Path, *more: object) -> tuple[object, ...]:
    """The command on a folder's pairs."""
    given = ("--raw", folder / "raw", "--mixed", folder / "mixed", "-o", folder / "out")
    return ("match", *given, *more)


def table_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "out" / "match.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# One pair


@pytest.mark.usefixtures("searched")
def test_modules_are_left_out_and_the_echo_is_a_note(tmp_path, one, monkeypatch):
    target = tmp_path / "take.json"
    # 306.1 ms is three quarters of a beat at 147 BPM.
    monkeypatch.setitem(STUDIO, "delay.time_ms", 306.1)
    result = done("match", *one, "-o", target, "--without", "gate, deesser", "--bpm", "147")
    assert "the delay: 306 ms = 1/8 dotted at 147 BPM" in result.stderr
    known = Preset.read(target).provenance["match"]
    assert known == {"seconds": None, "quick": False, "without": ["deesser", "gate"]}
    again = tmp_path / "again.json"
    assert "the delay:" not in done("match", *one, "-o", again, "--bpm", "110").stderr
    every = tmp_path / "first.json"
    done("match", *one, "-o", every, "--without", "all")
    assert Preset.read(every).provenance["match"]["without"] == sorted(TRIED)


def test_modules_that_are_always_searched_are_not_left_out(tmp_path, one):
    line = refused("match", *one, "-o", tmp_path / "take.json", "--without", "reverb")
    assert "cannot leave out 'reverb'" in line
    assert "delay" in line
    both = call("match", *one, "-o", tmp_path / "take.json", "--quick", "--without", "gate")
    assert both.exit_code == 2
    assert "--quick tries none" in both.stderr


@pytest.mark.usefixtures("searched", "quick_plot")
def test_one_pair(tmp_path, one):
    target, picture = tmp_path / "take.json", tmp_path / "take.svg"
    result = done("match", *one, "-o", target, "--report", picture, "--seed", "7")
    assert result.stdout == ""
    assert "75 % explained" in result.stderr
    assert "compressor 5.0:1 over -30 dBFS" in result.stderr
    assert "ms later, inverted; correlation" in result.stderr
    assert f"→ {target}" in result.stderr
    assert picture.read_text() == "song 0.wav → song 0 mix.wav"
    preset = Preset.read(target)
    known = preset.provenance
    assert (known["source"], known["mix"], known["seed"]) == ("song 0.wav", "song 0 mix.wav", 7)
    assert known["match"] == {"seconds": None, "quick": False}
    assert known["polarity"] == -1
    assert known["lag_seconds"] == pytest.approx(LAG / RATE, abs=1e-4)
    assert known["distance"] == pytest.approx(0.25 * known["level_distance"], abs=2e-4)
    assert known["uncertainty"] == {"compressor.ratio": [2.0, 6.0]}
    assert "pan" in preset.bypass()


@pytest.mark.usefixtures("searched")
def test_one_pair_as_json(tmp_path, one):
    result = done("match", *one, "-o", tmp_path / "p.json", "--json", "--quick")
    data = json.loads(result.stdout)
    assert result.stderr == ""
    assert data["preset"] == str(tmp_path / "p.json")
    assert data["explained"] == pytest.approx(0.75, abs=1e-3)
    assert data["stopped"] is False
    assert isinstance(data["unexplained"], list)
    assert set(COLUMNS) <= set(data)


@pytest.mark.usefixtures("searched")
def test_a_pair_of_a_file_with_itself_has_nothing_to_explain(tmp_path, one):
    raw, _ = one
    result = done("match", raw, raw, "-o", tmp_path / "p.json")
    assert "nothing to explain" in result.stderr
    data = json.loads(done("match", raw, raw, "-o", tmp_path / "q.json", "--json").stdout)
    assert data["explained"] is None
    assert data["messages"] == []


@pytest.mark.parametrize(
    ("before", "after", "explained"), [(0.0, 0.0027, None), (2.0, 0.5, 0.75), (2.0, 7175.0, 0.0)]
)
def test_explained_is_a_share_or_nothing(before, after, explained):
    known = dict.fromkeys(("lag_seconds", "polarity", "correlation", "seconds"), 0.0)
    preset = Preset({}, "a", {**known, "distance": after, "level_distance": before})
    assert figures("a", Path("a.preset.json"), preset)["explained"] == explained


def test_what_alignment_found_is_said(tmp_path, monkeypatch):
    """Not by the stand-in, which knows nothing of it."""
    few_candidates(monkeypatch.setattr)
    sung = voice(9.0, 3)
    mix = at_other_speed(mixed(sung, STUDIO), 300.0)
    raw, mixed_file = tmp_path / "a.wav", tmp_path / "a mix.wav"
    soundfile.write(raw, sung, RATE, subtype="FLOAT")
    soundfile.write(mixed_file, mix.T, RATE, subtype="FLOAT")
    target = tmp_path / "p.json"
    result = done("match", raw, mixed_file, "-o", target, "--seconds", "0.2")
    assert re.search(r"notice: the mix runs \d+ ppm slow; it was corrected", result.stderr)
    assert Preset.read(target).provenance["drift_ppm"] == pytest.approx(300.0, abs=10.0)


@pytest.mark.usefixtures("searched")
def test_a_single_result_needs_force_and_replaces_no_input(tmp_path, one):
    target = tmp_path / "p.json"
    target.write_text("mine")
    before = contents(tmp_path)
    assert "exists already; add --force" in refused("match", *one, "-o", target)
    raw, mix = one
    assert "is a raw take" in refused("match", *one, "-o", raw, "--force")
    assert "is a mix and would be replaced" in refused("match", *one, "-o", mix, "--force")
    line = refused("match", *one, "-o", tmp_path / "new.json", "--report", mix, "--force")
    assert "is no picture" in line
    old = tmp_path / "old.png"
    old.write_text("old")
    line = refused("match", *one, "-o", tmp_path / "new.json", "--report", old)
    assert "exists already; add --force" in line
    old.unlink()
    assert contents(tmp_path) == before
    done("match", *one, "-o", target, "--force", "--quiet")
    assert Preset.read(target).name == "song 0"


def test_other_performances_missing_files_and_folders(tmp_path, one, searched):
    raw, mix = one
    stranger = write_take(tmp_path / "stranger.wav", seconds=1.5, seed=60)
    line = refused("match", stranger, mix, "-o", tmp_path / "p.json")
    found = re.search(r"not the same performance \(correlation (-?\d\.\d\d)", line)
    assert found and float(found[1]) < 0.5
    assert str(stranger) in line and str(mix) in line
    missing = tmp_path / "nowhere.wav"
    assert "no such file" in refused("match", raw, missing, "-o", tmp_path / "p.json")
    assert "is a folder" in refused("match", tmp_path / "raw", mix, "-o", tmp_path / "p.json")
    assert searched == []


@pytest.mark.usefixtures("searched")
def test_a_mono_mix_and_a_stereo_take(tmp_path):
    sung = voice(1.5, 3)
    soundfile.write(tmp_path / "raw.wav", np.stack((sung, 0.5 * sung), axis=1), RATE)
    soundfile.write(tmp_path / "mix.wav", 0.5 * mixed(sung, STUDIO)[0], RATE)
    files = tmp_path / "raw.wav", tmp_path / "mix.wav"
    data = json.loads(done("match", *files, "-o", tmp_path / "p.json", "--json").stdout)
    assert data["correlation"] > 0.6
    assert np.isfinite(data["distance"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "give RAW MIXED"),
        (("a.wav",), "give RAW MIXED"),
        (("a.wav", "b.wav", "--raw", "r"), "give RAW MIXED"),
        (("--raw", "r"), "--mixed DIR"),
        (("a.wav", "b.wav", "--quick", "--seconds", "3"), "exclude each other"),
        (("a.wav", "b.wav", "--seconds", "nan"), "finite"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_use(tmp_path, words, told):
    assert told in refused("match", *words, "-o", tmp_path / "p.json", code=2)


def test_a_stopped_search_keeps_its_best(tmp_path, one, searched):
    searched.append("song 0!")
    result = call("match", *one, "-o", tmp_path / "p.json", "--quiet")
    assert result.exit_code == 1
    assert f"the best so far is in {tmp_path / 'p.json'}" in one_error(result.stderr)
    assert Preset.read(tmp_path / "p.json").provenance["stopped"] is True


# Folders


@pytest.mark.usefixtures("quick_plot")
def test_folders_of_pairs(folder, searched):
    result = done(*in_folders(folder, "--report", folder / "pictures"))
    names = [f"song {i}" for i in range(3)]
    assert searched == names
    assert set(contents(folder / "out")) == {"match.csv", *(f"{n}.preset.json" for n in names)}
    assert set(contents(folder / "pictures")) == {f"{n}.match.png" for n in names}
    rows = table_of(folder)
    assert list(rows[0]) == COLUMNS
    assert [row["name"] for row in rows] == names
    for row in rows:
        preset = Preset.read(folder / "out" / row["preset"])
        assert float(row["distance"]) == preset.provenance["distance"]
        assert row["polarity"] == "-1"
    last = result.stdout.splitlines()[-1].split()
    assert last[0] == "mean"
    mean = np.mean([float(row["distance"]) for row in rows])
    assert float(last[2]) == pytest.approx(mean, abs=1e-3)


@pytest.mark.usefixtures("quick_plot")
def test_the_same_command_goes_on(folder, searched):
    done(*in_folders(folder))
    whole = contents(folder / "out")
    (folder / "out" / "song 1.preset.json").unlink()
    (folder / "out" / "match.csv").unlink()
    searched.clear()
    result = done(*in_folders(folder))
    assert "2 of 3 pairs are done already" in result.stderr
    assert searched == ["song 1"]
    assert [row["name"] for row in table_of(folder)] == ["song 0", "song 1", "song 2"]
    kept = contents(folder / "out")
    assert kept["song 0.preset.json"] == whole["song 0.preset.json"]

    # pictures that are asked for later are drawn without a search
    searched.clear()
    data = json.loads(done(*in_folders(folder, "--report", folder / "p", "--json")).stdout)
    assert len(data["pairs"]) == 3
    assert searched == []
    assert len(contents(folder / "p")) == 3

    done(*in_folders(folder, "--force", "--quiet"))
    assert len(searched) == 3


def test_presets_of_others_are_refused(folder, searched):
    done(*in_folders(folder))
    before = contents(folder)
    searched.clear()
    for options in (("--seed", "1"), ("--quick",), ("--seconds", "5")):
        line = refused(*in_folders(folder, *options))
        assert "song 0.preset.json: exists already and is not of song 0.wav" in line
        assert "--force" in line
    assert contents(folder) == before
    (folder / "out" / "song 2.preset.json").write_text("no preset")
    assert "song 2.preset.json" in refused(*in_folders(folder))
    assert searched == []
    done(*in_folders(folder, "--force"))

    (folder / "out" / "match.csv").write_text("name,price\n")
    assert "is no table of matches" in refused(*in_folders(folder))


def test_a_take_of_the_same_name_is_not_the_same_take(folder, searched):
    done(*in_folders(folder))
    searched.clear()
    raw, rate = soundfile.read(folder / "raw" / "song 1.wav", dtype="float32")
    soundfile.write(folder / "raw" / "song 1.wav", 0.5 * raw, rate, subtype="FLOAT")
    assert "song 1.preset.json: exists already and is not of song 1.wav" in refused(
        *in_folders(folder)
    )
    assert searched == []


def test_refused_pairs_are_named_and_the_others_done(folder, searched):
    write_take(folder / "raw" / "song 1.wav", seconds=1.5, seed=70)
    result = done(*in_folders(folder, "--json"))
    data = json.loads(result.stdout)
    assert [row["name"] for row in data["pairs"]] == ["song 0", "song 2"]
    (line,) = data["refused"]
    assert "not the same performance (correlation" in line
    assert result.stderr == f"Refused: {line}\n"
    assert len(table_of(folder)) == 2

    for seed in (0, 2):
        write_take(folder / "raw" / f"song {seed}.wav", seconds=1.5, seed=71 + seed)
    result = call(*in_folders(folder, "--force", "-o", folder / "none"))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: no usable pair is left")
    assert not (folder / "none").exists()


def test_equal_stems_and_inputs_in_the_way(folder, searched):
    (folder / "other").mkdir()
    write_take(folder / "other" / "song 0.wav", seconds=1.5)
    pairs = folder / "pairs.csv"
    pairs.write_text("raw,mixed\nraw/song 0.wav,mixed/song 0 mix.wav\nother/song 0.wav,x.wav\n")
    line = refused("match", "--pairs", pairs, "-o", folder / "out")
    assert "would both write" in line
    assert str(folder / "other" / "song 0.wav") in line
    assert searched == []
    assert not (folder / "out").exists()
    pairs.write_text("raw,mixed\nraw/song 0.wav,mixed/song 0 mix.wav\n")
    done("match", "--pairs", pairs, "-o", folder / "out")
    assert len(table_of(folder)) == 1


def test_a_stopped_run_goes_on(folder, searched):
    searched.append("song 1!")
    result = call(*in_folders(folder, "--json"))
    assert result.exit_code == 1
    assert "stopped after 2 of 3 pairs" in one_error(result.stderr)
    data = json.loads(result.stdout)
    assert [row["stopped"] for row in data["pairs"]] == [False, True]
    assert len(table_of(folder)) == 2

    searched.clear()
    done(*in_folders(folder))
    assert searched == ["song 1", "song 2"]
    assert len(table_of(folder)) == 3
    assert "stopped" not in Preset.read(folder / "out" / "song 1.preset.json").provenance


def _heed_ctrl_c() -> None:
    """A shell's background jobs, and all that they start, ignore Ctrl-C unless told otherwise."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="only POSIX systems send Ctrl-C to a process")
def test_ctrl_c_in_a_child(folder):
    """With the real search: the pairs that are done stay, the one in work keeps its best."""
    command = in_folders(folder, "--seconds", "3")
    with subprocess.Popen(
        [*PROGRAM, *map(str, command)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_ctrl_c,
    ) as process:  # fmt: skip
        first = folder / "out" / "song 0.preset.json"
        patience = time.monotonic() + 200.0
        while not first.exists() and time.monotonic() < patience:
            assert process.poll() is None, "ended before its first preset"
            time.sleep(0.02)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    last = stderr.splitlines()[-1]
    assert last.startswith("Error: stopped after")
    assert "repeat the command" in last
    there = set(contents(folder / "out"))
    assert there in (
        {"match.csv", "song 0.preset.json"},
        {"match.csv", "song 0.preset.json", "song 1.preset.json"},
    )
    for name in there - {"match.csv"}:
        Preset.read(folder / "out" / name)


# evaluate


@pytest.mark.slow
@pytest.mark.usefixtures("searched")
def test_evaluate_with_the_optimum(folder, monkeypatch):
    from diffconsole.strip.preset import find_preset

    choice = {"telephone": find_preset("telephone")}
    monkeypatch.setattr("diffconsole.jobs.evaluate.factory_presets", lambda: choice)
    given = ("--raw", folder / "raw", "--mixed", folder / "mixed")
    data = json.loads(done("evaluate", *given, "--optimum", "quick", "--json").stdout)
    assert data["optimum"] == "quick"
    for row in data["pairs"]:
        assert row["match"] == pytest.approx(0.25 * row["level_only"])
    assert set(data["mean"]) == {"level_only", "fixed", "model", "match"}
    text = done("evaluate", *given, "--optimum", "full").stdout
    assert text.splitlines()[0].split()[-1] == "match"
    assert float(text.splitlines()[4].split()[-1]) == pytest.approx(data["mean"]["match"], abs=1e-3)
