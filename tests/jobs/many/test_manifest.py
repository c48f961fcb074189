"""The manifest: lines that are added, what a kill leaves of them, what counts later."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from diffconsole.errors import OutputError
from diffconsole.jobs.many import Outcome, Task, Work
from diffconsole.jobs.many.earlier import digest_of
from diffconsole.jobs.many.fingerprint import task_of
from diffconsole.jobs.many.manifest import NAME, Manifest, read_manifests, work_key

FILE = {"path": "a", "bytes": 3, "sha256": "ab"}


def outcome(state: str, **others) -> Outcome:
    return Outcome(0, "a", state, inputs={"raw": FILE}, outputs={"preset": FILE}, **others)


def test_the_last_line_counts_and_a_begun_work_keeps_what_it_wrote(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.begin("a", ["preset"])
        manifest.end("a", outcome("done"), "f1")
        manifest.begin("b", ["preset", "audio"])
        manifest.begin("c", [])
        manifest.end("c", Outcome(2, "c", "failed", "c: broken"), "f1")
    found = read_manifests(tmp_path)
    assert found["a"]["state"] == "done" and found["a"]["fingerprint"] == "f1"
    assert found["b"] == {
        "format": "diffconsole.manifest", "work": "b", "state": "begun",
        "roles": ["preset", "audio"],
    }  # fmt: skip
    assert found["c"]["failure"] == "c: broken"
    with Manifest(tmp_path) as manifest:
        manifest.begin("a", ["preset"])
    again = read_manifests(tmp_path)["a"]
    assert again["state"] == "begun" and again["outputs"] == found["a"]["outputs"]
    with Manifest(tmp_path) as manifest:
        manifest.end("a", outcome("kept"), "f1")
    assert read_manifests(tmp_path)["a"]["state"] == "done"


def test_a_torn_line_costs_itself_alone(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.end("a", outcome("done"), "f")
        manifest.end("b", outcome("done"), "f")
    path = tmp_path / f"{NAME}.jsonl"
    whole = path.read_bytes()
    for cut in range(len(whole) - 2, len(whole) // 2, -37):
        path.write_bytes(whole[:cut])
        assert set(read_manifests(tmp_path)) == {"a"}
        with Manifest(tmp_path) as manifest:
            manifest.end("c", outcome("done"), "f")
        assert set(read_manifests(tmp_path)) == {"a", "c"}


GOOD = {
    "format": "diffconsole.manifest", "work": "a", "state": "done", "fingerprint": "f1",
    "inputs": {"raw": {"bytes": 3, "sha256": "ab"}},
    "outputs": {"preset": {"bytes": 3, "sha256": "ab"}},
}  # fmt: skip


def test_what_is_no_line_of_ours_is_left_out(tmp_path):
    lines = [
        b"[" * 100_000, b"\xff\xfe", b"{}", b"null", b"x" * 3_000_000,
        json.dumps({**GOOD, "state": "odd"}).encode(), json.dumps({**GOOD, "work": 3}).encode(),
    ]  # fmt: skip
    path = tmp_path / f"{NAME}.2-of-3.jsonl"
    path.write_bytes(b"\n".join([*lines, b"", json.dumps(GOOD).encode()]))
    damaged: list[Path] = []
    assert read_manifests(tmp_path, damaged) == {"a": GOOD}
    assert damaged == [path] * len(lines)


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": None}, {"outputs": {}}, {"outputs": {"preset": 1}}, {"outputs": []},
        {"outputs": {"preset": {"bytes": 3}}}, {"inputs": None}, {"inputs": {"raw": "x"}},
        {"fingerprint": None}, {"fingerprint": 5}, {"data": 5}, {"roles": [1]}, {"roles": "raw"},
        {"state": "begun"}, {"state": "kept", "outputs": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_line_of_a_known_work_counts_as_begun(tmp_path, change):
    line = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    damaged: list[Path] = []
    (tmp_path / f"{NAME}.jsonl").write_text(json.dumps(line) + "\n")
    found = read_manifests(tmp_path, damaged)["a"]
    assert (found["state"], len(damaged)) == ("begun", 1)
    # What was done after it counts.
    with Manifest(tmp_path) as manifest:
        manifest.begin("a", ["preset"])
        manifest.end("a", outcome("done"), "f2")
    found = read_manifests(tmp_path)["a"]
    assert (found["state"], found["fingerprint"]) == ("done", "f2")


@pytest.mark.parametrize("kind", ["link", "lost link", "folder", "pipe"])
def test_what_is_no_file_is_refused_and_no_link_is_followed(tmp_path, kind):
    folder, outside = tmp_path / "results", tmp_path / "outside"
    folder.mkdir()
    path = folder / f"{NAME}.jsonl"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(outside)
    if kind == "link":
        outside.write_text("mine")
    with pytest.raises(OutputError, match="no ordinary file"):
        read_manifests(folder)
    with pytest.raises(OutputError, match="no ordinary file"), Manifest(folder):
        pass
    assert not outside.exists() or outside.read_text() == "mine"


def test_keys_are_places_in_the_folder_and_survive_its_move(tmp_path):
    keys = [
        work_key({"preset": str(root / "d" / "x.json")}, {}, root)
        for root in (tmp_path / "here", tmp_path / "there")
    ]
    assert keys[0] == keys[1]
    long = [work_key({"p": str(tmp_path / ("é" * 2000 + end))}, {}, tmp_path) for end in "ab"]
    assert long[0] != long[1] and max(map(len, long)) < 1200


def test_data_travels_as_json():
    work = Work(3, "na\udcffme\n", {"raw": "a\udcff"}, {"o": "b"}, True, {"x": 1}, {"y": [1.5]})
    assert Work.from_json(work.to_json()) == work
    assert b"\n" not in work.to_json().encode("ascii")
    task = Task("apply", {"preset": None}, "f")
    assert Task.from_json(task.to_json()) == task
    ended = outcome("done", notices=("one", "two"), row={"a": 1.0}, seconds=0.5)
    assert Outcome.from_json(ended.to_json()) == ended


def test_fingerprints_and_digests(tmp_path: Path):
    model = tmp_path / "model.json"
    model.write_text("one")
    first = task_of("process", {"audio": {"amount": 1.0}, "table": True, "model": "a"}, [model])
    same = task_of("process", {"audio": {"amount": 1.0}, "model": "b"}, [model])
    assert first.fingerprint == same.fingerprint
    other = task_of("process", {"audio": {"amount": 0.5}}, [model])
    model.write_text("two")
    retrained = task_of("process", {"audio": {"amount": 1.0}, "model": "a"}, [model])
    assert len({first.fingerprint, other.fingerprint, retrained.fingerprint}) == 3
    assert digest_of(tmp_path / "gone") is None
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("x")
    before = digest_of(folder)
    (folder / "a").rename(folder / "b")
    assert digest_of(folder) != before
