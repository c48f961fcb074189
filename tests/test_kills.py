"""Killed, stopped or out of room at every step: nothing is half-written, nothing is lost."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .commands import contents, one_error, samples_of, write_model, write_take
from .faults import Server, served
from .test_cli_match import write_pair

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and forks of POSIX systems")

MOST_STEPS = 80
FOUR = {"take.preset.json", "take.processed.wav", "take.png", "take.html"}
STUDIO = {"model.json", "model.safetensors", "README.md", "finetune.png", "finetune.jsonl"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def take(tmp_path: Path) -> Path:
    return write_take(tmp_path / "take.wav", seconds=0.5)


def _visible(folder: Path) -> set[str]:
    return {name for name in contents(folder) if not Path(name).name.startswith(".")}


def _assert_whole(folder: Path) -> None:
    """Every file that has its name is complete."""
    for name in _visible(folder):
        path = folder / name
        if name.endswith(".json"):
            json.loads(path.read_text(encoding="utf-8"))
        elif name.endswith(".jsonl"):
            assert all(json.loads(line) for line in path.read_text().splitlines())
        elif name.endswith(".wav"):
            assert samples_of(path).shape[1] > 10_000
        elif name.endswith(".html"):
            assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
        elif name.endswith(".png"):
            assert path.read_bytes().endswith(b"IEND")
        elif name.endswith(".safetensors"):
            import safetensors

            with safetensors.safe_open(path, "pt") as file:
                assert list(file.keys())
        elif name.endswith(".csv"):
            assert path.read_text().endswith("\n")


def test_process_killed_between_any_two_renames(server, tmp_path, take, model):
    """The same command, without --force, is not in the way of itself."""
    out = tmp_path / "out"
    command = ("process", take, "-o", out, "--model", model)
    partial = 0
    for at in range(1, MOST_STEPS):
        outcome = server.run(*command, fault="kill", at=at, below=out)
        if not outcome.reached:
            break
        assert outcome.code is None
        _assert_whole(out)
        partial += 0 < len(_visible(out)) < len(FOUR)
        was_complete = _visible(out) == FOUR
        again = server.run(*command)
        if again.code != 0:
            assert was_complete
            assert "exists already" in one_error(again.stderr)
        assert set(contents(out)) == FOUR, f"after a kill at step {at}"
        _assert_whole(out)
        shutil.rmtree(out)
    assert at > 8
    assert partial >= 3
    assert set(contents(out)) == FOUR


def test_process_killed_while_it_replaces_older_results(server, tmp_path, take, model):
    """What was there before is there again, or all of the new."""
    out = tmp_path / "out"
    command = ("process", take, "-o", out, "--model", model, "--force")
    assert server.run(*command, "--amount", "0.3").code == 0
    before = contents(out)
    undone = 0
    for at in range(1, MOST_STEPS):
        outcome = server.run(*command, fault="kill", at=at, below=out)
        if not outcome.reached:
            break
        _assert_whole(out)
        # A refused command looks at the folder, too.
        refused = server.run("process", take, "-o", out, "--model", model)
        assert "exists already" in one_error(refused.stderr)
        after = contents(out)
        assert set(after) == FOUR, f"after a kill at step {at}"
        if after == before:
            undone += 1
        else:
            assert not any(after[name] == before[name] for name in FOUR - {"take.png"})
            for name, data in before.items():
                (out / name).write_bytes(data)
    assert undone >= 8
    assert at > undone


@pytest.mark.parametrize("older", [True], ids=["over older"])
def test_process_stopped_by_sigterm(server, tmp_path, take, model, older):
    out = tmp_path / "out"
    command = ("process", take, "-o", out, "--model", model, *(["--force"] if older else []))
    if older:
        assert server.run(*command, "--amount", "0.3").code == 0
    before = contents(tmp_path)
    stopped = 0
    for at in range(1, MOST_STEPS):
        outcome = server.run(*command, fault="term", at=at, below=out)
        if not outcome.reached:
            break
        if contents(tmp_path) == before:
            stopped += 1
            assert outcome.code == 1
            assert outcome.stderr.endswith("Error: stopped\n")
        else:
            # It came when all was done.
            assert set(contents(out)) == FOUR
            _assert_whole(out)
            shutil.rmtree(out)
            for name, data in before.items():
                if data is not None:
                    (tmp_path / name).parent.mkdir(exist_ok=True)
                    (tmp_path / name).write_bytes(data)
    assert stopped >= 8


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at /proc")
@pytest.mark.parametrize("older", [False], ids=["new"])
def test_process_on_a_disk_that_is_full_from_any_write_on(server, tmp_path, take, model, older):
    out = tmp_path / "out"
    command = ("process", take, "-o", out, "--model", model, *(["--force"] if older else []))
    if older:
        assert server.run(*command, "--amount", "0.3").code == 0
    before = contents(tmp_path)
    for at in range(1, MOST_STEPS):
        outcome = server.run(*command, fault="full", at=at, below=out)
        if not outcome.reached:
            break
        assert outcome.code == 1
        assert "the disk is full; free some space" in one_error(outcome.stderr)
        assert contents(tmp_path) == before, f"full from write {at} on"
    assert at > 12
    assert outcome.code == 0


@pytest.mark.parametrize("fault", ["kill", "term"])
def test_match_of_folders(server, tmp_path, fault):
    for seed in range(2):
        write_pair(tmp_path, seed, seconds=1.0)
    out = tmp_path / "out"
    given = ("--raw", tmp_path / "raw", "--mixed", tmp_path / "mixed", "-o", out)
    command = ("match", *given, "--quick", "--report", tmp_path / "pictures")
    expected = {"match.csv", "song 0.preset.json", "song 1.preset.json"}
    pictures = {"song 0.match.png", "song 1.match.png"}
    inputs = {**contents(tmp_path / "raw"), **contents(tmp_path / "mixed")}
    for at in range(1, MOST_STEPS):
        outcome = server.run(*command, fault=fault, at=at, below=tmp_path)
        if not outcome.reached:
            break
        if fault == "term":
            assert outcome.code in (0, 1)
            assert "Traceback" not in outcome.stderr
        for folder in (out, tmp_path / "pictures"):
            _assert_whole(folder)
        kept = {path: path.read_bytes() for path in out.glob("song*.json")}
        again = server.run(*command)
        assert again.code == 0, again.stderr
        assert set(contents(out)) == expected
        assert set(contents(tmp_path / "pictures")) == pictures
        # What was found before is not searched again.
        assert all(path.read_bytes() == data for path, data in kept.items())
        assert {**contents(tmp_path / "raw"), **contents(tmp_path / "mixed")} == inputs
        shutil.rmtree(out)
        shutil.rmtree(tmp_path / "pictures")
    assert at > 5


def test_match_of_one_pair_with_a_picture(server, tmp_path):
    write_pair(tmp_path, seconds=1.0)
    out = tmp_path / "out"
    out.mkdir()
    pair = (tmp_path / "raw" / "song 0.wav", tmp_path / "mixed" / "song 0 mix.wav")
    command = ("match", *pair, "-o", out / "p.json", "--report", out / "p.png", "--quick")
    for at in range(1, MOST_STEPS):
        outcome = server.run(*command, fault="kill", at=at, below=out)
        if not outcome.reached:
            break
        _assert_whole(out)
        was_complete = _visible(out) == {"p.json", "p.png"}
        again = server.run(*command)
        assert again.code == 0 or was_complete
        assert set(contents(out)) == {"p.json", "p.png"}
        for name in ("p.json", "p.png"):
            (out / name).unlink()
    assert at > 4


@pytest.fixture
def studio(tmp_path: Path, model: Path) -> tuple[object, ...]:
    for seed in range(2):
        write_pair(tmp_path, seed, seconds=1.0)
    given = ("--raw", tmp_path / "raw", "--mixed", tmp_path / "mixed")
    return ("finetune", *given, "--model", model, "-o", tmp_path / "studio")


@pytest.mark.parametrize("fault", ["kill", "term"])
def test_finetune_into_a_new_folder(server, tmp_path, studio, fault):
    folder = tmp_path / "studio"
    for at in range(1, MOST_STEPS):
        outcome = server.run(*studio, fault=fault, at=at, below=folder)
        if not outcome.reached:
            break
        if fault == "term":
            assert outcome.code in (0, 1)
            assert "Traceback" not in outcome.stderr
        if folder.exists():
            _assert_whole(folder)
        was_complete = folder.exists() and _visible(folder) == STUDIO
        again = server.run(*studio)
        if again.code != 0:
            assert was_complete
            assert "holds a model already" in one_error(again.stderr)
        assert set(contents(folder)) == STUDIO, f"after step {at}"
        shutil.rmtree(folder)
    assert at > 12


@pytest.mark.parametrize("fault", ["kill", "full"])
def test_finetune_over_an_older_model_leaves_one_of_both(server, tmp_path, studio, model, fault):
    if fault == "full" and not Path("/proc/self/fd").is_dir():
        pytest.skip("looks at /proc")
    folder = tmp_path / "studio"
    assert server.run(*studio).code == 0
    names = ("model.json", "model.safetensors", "README.md")
    (folder / "README.md").write_text("older\n")
    with (folder / "model.json").open("a") as file:
        file.write("\n")
    before = contents(folder)
    undone = 0
    for at in itertools.count(1):
        outcome = server.run(*studio, "--force", fault=fault, at=at, below=folder)
        if not outcome.reached:
            break
        if fault == "full":
            assert outcome.code == 1
            assert one_error(outcome.stderr.splitlines(keepends=True)[-1])
        _assert_whole(folder)
        # Who reads the model finds one of both, never a mixture.
        shown = server.run("models", "info", "--model", folder)
        assert shown.code == 0
        after = contents(folder)
        assert not any(Path(name).name.startswith(".diffconsole-old") for name in after)
        same = {after[name] == before[name] for name in ("model.json", "README.md")}
        assert len(same) == 1, f"a mixture after step {at}"
        undone += same == {True}
        shutil.rmtree(folder)
        folder.mkdir()
        for name, data in before.items():
            (folder / name).write_bytes(data)
    assert undone >= 5
    assert all((folder / name).is_file() for name in names)


def test_a_kill_leaves_the_run_of_another_process_alone(server, tmp_path, take, model):
    """Temporary files of a process that still works are no leftovers."""
    from diffconsole.files import atomic_path, atomic_set, clear_unfinished

    out = tmp_path / "out"
    out.mkdir()
    with atomic_set():
        with atomic_path(out / "mine.txt") as temporary:
            temporary.write_text("mine")
        assert server.run("process", take, "-o", out, "--model", model).code == 0
        clear_unfinished([out])
        assert temporary.exists()
    assert (out / "mine.txt").read_text() == "mine"
    assert set(contents(out)) == {"mine.txt", *FOUR}
