"""Files that belong together take their names together; leftovers of killed runs go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffconsole.errors import OutputError
from diffconsole.files import atomic_path, atomic_set, clear_unfinished, remove_output

from ..commands import contents

ROOT = Path(__file__).parents[2]


def _write(path: Path, text: str, force: bool = False) -> None:
    with atomic_path(path, force=force) as temporary:
        temporary.write_text(text)


def test_together(tmp_path):
    (tmp_path / "old").write_text("old")
    (tmp_path / "gone").write_text("gone")
    with atomic_set():
        _write(tmp_path / "a", "a")
        with atomic_set():
            _write(tmp_path / "old", "first", force=True)
        _write(tmp_path / "old", "new", force=True)
        remove_output(tmp_path / "gone")
        assert not (tmp_path / "a").exists()
        assert (tmp_path / "old").read_text() == "old"
        assert (tmp_path / "gone").exists()
    assert contents(tmp_path) == {"a": b"a", "old": b"new"}
    remove_output(tmp_path / "a")  # outside a set: at once
    remove_output(tmp_path / "a")
    assert contents(tmp_path) == {"old": b"new"}


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_everything_as_it_was(tmp_path, error):
    (tmp_path / "old").write_text("old")
    with pytest.raises(type(error)), atomic_set():
        _write(tmp_path / "a", "a")
        _write(tmp_path / "old", "new", force=True)
        remove_output(tmp_path / "old2")
        raise error
    assert contents(tmp_path) == {"old": b"old"}


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_rename_that_fails_puts_the_others_back(tmp_path, monkeypatch, number, links):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        (folder / "old").write_text("old")
    before = contents(tmp_path)
    plain = os.replace
    count = []

    def fail(source, target):
        count.append(target)
        if len(count) == number:
            raise OSError(5, "Input/output error", str(source), None, str(target))
        plain(source, target)

    def refuse(source, target):
        raise OSError(95, "Operation not supported", source, None, target)

    monkeypatch.setattr(os, "replace", fail)
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OutputError, match="cannot be written"), atomic_set():
        for folder in (*folders, folders[0]):
            _write(folder / "old", "new", force=True)
            _write(folder / f"new {len(count)}", "new", force=True)
    assert len(count) >= number
    assert contents(tmp_path) == before


def test_a_file_that_appears_meanwhile_keeps_the_whole_set_away(tmp_path):
    with pytest.raises(OutputError, match="b: exists already"), atomic_set():
        _write(tmp_path / "a", "mine")
        _write(tmp_path / "b", "mine")
        (tmp_path / "b").write_text("theirs")
    assert contents(tmp_path) == {"b": b"theirs"}


KILLED = """
import os, signal, sys
from pathlib import Path
from diffconsole.files import atomic_path, atomic_set
folder, at = Path(sys.argv[1]), int(sys.argv[2])
steps = []
def counted(function):
    def call(*args, **others):
        steps.append(args)
        if len(steps) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **others)
    return call
def write(path, force):
    with atomic_path(path, force=force) as temporary:
        temporary.write_text("new")
for name in ("link", "replace", "unlink", "rename"):
    setattr(os, name, counted(getattr(os, name)))
with atomic_set():
    write(folder / "one" / "old", True)
    write(folder / "one" / "a", False)
    write(folder / "two" / "old", True)
    write(folder / "two" / "b", False)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
@pytest.mark.parametrize("first", ["one", "two"])
def test_a_set_in_two_folders_is_undone_from_either(tmp_path, first):
    done = 0
    for at in range(1, 40):
        root = tmp_path / str(at)
        for name in ("one", "two"):
            (root / name).mkdir(parents=True)
            (root / name / "old").write_text("old")
        before = contents(root)
        finished = subprocess.run(
            [sys.executable, "-c", KILLED, str(root), str(at)], cwd=ROOT, check=False
        )
        clear_unfinished([root / first, root / "one", root / "two"])
        after = contents(root)
        if after != before:
            done += 1
            assert set(after) == {"one", "two", "one/old", "one/a", "two/old", "two/b"}, at
            assert {data for data in after.values() if data is not None} == {b"new"}, at
        if finished.returncode == 0:
            break
    assert at - done >= 7
    assert done >= 2


def _leave_journal(folder: Path) -> Path:
    """What a run leaves that was killed behind its first rename."""
    code = KILLED.replace('folder / "two"', 'folder / "one"')
    (folder / "one").mkdir()
    (folder / "one" / "old").write_text("old")
    for at in range(1, 20):
        subprocess.run([sys.executable, "-c", code, str(folder), str(at)], cwd=ROOT, check=False)
        if (folder / "one" / "a").exists():
            (journal,) = (folder / "one").glob(".diffconsole-set-*")
            return journal
        clear_unfinished([folder / "one"])
    raise AssertionError("no kill between two renames")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
def test_what_somebody_wrote_since_stays(tmp_path):
    _leave_journal(tmp_path)
    (tmp_path / "one" / "a").write_text("edited by hand")
    clear_unfinished([tmp_path / "one"])
    assert contents(tmp_path / "one") == {"a": b"edited by hand", "old": b"old"}


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: "{",
        lambda data: "[" * 100_000,
        lambda data: json.dumps({"files": [{**data["files"][0], "target": "../../victim"}]}),
        lambda data: json.dumps({"files": [{**data["files"][0], "old": ".."}]}),
        lambda data: json.dumps({"files": 5, "home": 7}),
        lambda data: json.dumps({**data, "home": "/"}),
    ],
)
def test_a_journal_that_is_damaged_or_planted_harms_nothing(tmp_path, damage):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "set").mkdir()
    journal = _leave_journal(tmp_path / "set")
    data = json.loads(journal.read_text())
    journal.write_text(damage(data))
    clear_unfinished([journal.parent])
    assert victim.read_text() == "mine"
    assert (journal.parent / "old").exists()
    assert not journal.exists()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
def test_leftovers_are_swept_when_nobody_works_on_them(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from diffconsole.files import atomic_path
with atomic_path(Path(sys.argv[1]) / "x.wav") as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".diffconsole-")
    old = tmp_path / ".diffconsole-0123456789ab.wav"  # as earlier versions named them
    fresh = tmp_path / ".diffconsole-0123456789ac.wav"
    elsewhere = tmp_path / ".diffconsole-00000000-0123456789ab.wav"  # of another computer
    mine = tmp_path / ".diffconsole-notes.txt"
    for path in (old, fresh, elsewhere, mine):
        path.write_text("x")
    os.utime(old, (time.time() - 3e5,) * 2)
    os.utime(mine, (time.time() - 3e5,) * 2)
    with atomic_path(tmp_path / "y.wav") as working:
        clear_unfinished([tmp_path])
        assert working.exists()
        assert {*os.listdir(tmp_path)} == {p.name for p in (fresh, elsewhere, mine, working)}
        working.write_text("y")
    assert (tmp_path / "y.wav").read_text() == "y"
