"""Archives in a storage: names are planned with, contents go where the work runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fsspec", reason="needs the extra ray")

import fsspec

from diffconsole.errors import SettingsError
from diffconsole.jobs.many import InThisProcess, Task, Work, prepare
from diffconsole.jobs.many import storage as module
from diffconsole.jobs.many.fingerprint import task_of
from diffconsole.jobs.many.manifest import NAME
from diffconsole.jobs.many.paths import find_inputs
from diffconsole.jobs.many.plan import outputs_at, plan_works
from diffconsole.jobs.many.run import run_archive
from diffconsole.jobs.many.storage import Places, run_stored, url_in

from ...commands import QUIETER, call, refused, write_preset, write_take


class Here:
    """An executor that does stored works in this process."""

    def __init__(self, places: Places) -> None:
        self.places, self.done = places, 0

    def run(self, task: Task, works: Any) -> Iterator[Any]:
        runner = prepare(task)
        for work in works:
            yield run_stored(runner, task, self.places.stored(work))
            self.places.keep_manifest(now=True)


@pytest.fixture(params=["memory", "file"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a storage with two takes and what is no take; in two kinds of storage."""
    fs = fsspec.filesystem(request.param)
    root = "/bucket" if request.param == "memory" else (tmp_path / "bucket").as_posix()
    for name, seed in (("a", 1), ("below/b", 2)):
        take = write_take(tmp_path / "take.wav", 0.2, seed=seed)
        fs.makedirs(f"{root}/in/{name}".rpartition("/")[0], exist_ok=True)
        fs.put_file(str(take), f"{root}/in/{name}.wav")
    fs.pipe_file(f"{root}/in/notes.txt", b"no take")
    yield f"{request.param}://{root.lstrip('/')}" if request.param == "memory" else f"file://{root}"
    fs.rm(root, recursive=True)


def files_at(url: str) -> dict[str, bytes]:
    fs, root = fsspec.core.url_to_fs(url)
    if not fs.exists(root):
        return {}
    return {path[len(root) + 1 :]: fs.cat_file(path) for path in fs.find(root)}


def run_all(bucket: str, preset: Path, *, resume: bool = False, force: bool = False) -> list:
    with Places() as places:
        raw = places.lay_out(f"{bucket}/in", recursive=True)
        out = places.lay_out(f"{bucket}/out", recursive=True, is_output=True)
        found = find_inputs([raw], recursive=True, output=out)
        works = [
            Work(i, str(entry.path), {"raw": str(entry.path)},
                 outputs_at(out, entry.path, entry.place, {"audio": ".wav"}))
            for i, entry in enumerate(found.inputs)
        ]  # fmt: skip
        task = task_of("apply", {"audio": {}, "preset": preset.read_text()})
        planned = plan_works(works, out, out, force=force, resume=resume)
        out.mkdir(exist_ok=True)
        return list(run_archive(task, planned, Here(places)))


def test_an_archive_in_a_storage_is_done_resumed_and_replaced(bucket, tmp_path):
    preset = write_preset(tmp_path / "p.json", QUIETER)
    outcomes = run_all(bucket, preset)
    assert [(o.state, o.name) for o in outcomes] == [
        ("done", f"{bucket}/in/a.wav"), ("done", f"{bucket}/in/below/b.wav"),
    ]  # fmt: skip
    assert outcomes[1].outputs["audio"]["path"] == f"{bucket}/out/below/b.wav"
    written = files_at(f"{bucket}/out")
    assert set(written) == {"a.wav", "below/b.wav", f"{NAME}.jsonl"}

    # The same bytes as from local files.
    for name, seed in (("a.wav", 1), ("below/b.wav", 2)):
        take = write_take(tmp_path / "take.wav", 0.2, seed=seed)
        task = Task("apply", {"audio": {}, "preset": preset.read_text()})
        work = Work(0, "", {"raw": str(take)}, {"audio": str(tmp_path / "local.wav")}, replace=True)
        assert [o.state for o in InThisProcess().run(task, [work])] == ["done"]
        assert (tmp_path / "local.wav").read_bytes() == written[name]

    again = run_all(bucket, preset, resume=True)
    assert [o.state for o in again] == ["kept", "kept"]
    fs, root = fsspec.core.url_to_fs(f"{bucket}/out")
    fs.pipe_file(f"{root}/a.wav", b"cut off")
    assert [o.state for o in run_all(bucket, preset, resume=True)] == ["done", "kept"]
    assert {k: v for k, v in files_at(f"{bucket}/out").items() if k in written and k[0] != "d"} == {
        k: v for k, v in written.items() if k[0] != "d"
    }
    with pytest.raises(Exception, match="exists already"):
        run_all(bucket, preset)
    assert [o.state for o in run_all(bucket, preset, force=True)] == ["done", "done"]


def test_a_broken_file_fails_by_its_url_and_writes_nothing(bucket, tmp_path):
    fs, root = fsspec.core.url_to_fs(f"{bucket}/in")
    fs.pipe_file(f"{root}/a.wav", b"RIFF")
    outcomes = run_all(bucket, write_preset(tmp_path / "p.json", QUIETER))
    assert [o.state for o in outcomes] == ["failed", "done"]
    assert outcomes[0].failure.startswith(f"{bucket}/in/a.wav: ")
    assert "/diffconsole-" not in outcomes[0].failure
    assert set(files_at(f"{bucket}/out")) == {"below/b.wav", f"{NAME}.jsonl"}


def test_an_upload_that_breaks_off_leaves_nothing(bucket, tmp_path, monkeypatch):
    source = tmp_path / "x.wav"
    source.write_bytes(b"new")
    target = f"{bucket}/out/x.wav"
    module._upload(source, target, force=False)
    assert files_at(f"{bucket}/out") == {"x.wav": b"new"}
    if bucket.startswith("memory"):
        return
    fs = fsspec.filesystem("file")

    def broken(self, source, target, **_):
        Path(target).write_bytes(b"ne")
        raise OSError("the network is gone")

    monkeypatch.setattr(type(fs), "put_file", broken)
    source.write_bytes(b"newer")
    with pytest.raises(OSError, match="gone"):
        module._upload(source, target, force=True)
    assert files_at(f"{bucket}/out") == {"x.wav": b"new"}


def test_a_file_that_is_too_large_or_leads_out_is_refused(bucket, tmp_path, monkeypatch):
    preset = write_preset(tmp_path / "p.json", QUIETER)
    monkeypatch.setattr(module, "LARGEST_FILE_BYTES", 100)
    outcomes = run_all(bucket, preset)
    assert [o.state for o in outcomes] == ["failed", "failed"]
    assert "more than 100" in outcomes[0].failure
    monkeypatch.setattr(module, "MOST_FILES", 1)
    with Places() as places, pytest.raises(SettingsError, match="more than 1 files"):
        places.lay_out(f"{bucket}/in", recursive=True)
    for name in ("../x.wav", "/x.wav", "a/../../x", "a\\b", "", "n" * 300):
        with pytest.raises(SettingsError, match="no name for a file"):
            module._inside(tmp_path, name)


@pytest.mark.parametrize(
    "typed, url",
    [
        ("s3://bucket/a b", "s3://bucket/a b"),
        ("gs://bucket/x/", "gs://bucket/x"),
        ("file:///srv/x", "file:///srv/x"),
        ("s3:", None),
        ("voices/a:b.wav", None),
        ("C:/voices", None),
    ],
)
def test_urls_as_they_are_typed(typed, url):
    assert url_in(Path(typed)) == url
    assert url is None or url_in(url) == url


def test_what_is_wrong_with_a_url_is_one_line(bucket, tmp_path):
    preset = write_preset(tmp_path / "p.json", QUIETER)
    apply = ("apply", f"{bucket}/in", preset)
    assert "needs --ray" in call(*apply, "-o", tmp_path / "o").stderr
    assert "needs --ray" in call("apply", tmp_path, preset, "-o", f"{bucket}/out").stderr
    line = call("process", f"{bucket}/in", "--ray", "auto").stderr
    assert "give a folder for the results by -o" in line
    line = call(*apply, "-o", f"{bucket}/o", "--ray", "auto", "--results", "s3://b/r.csv").stderr
    assert "--results: give a file on this machine" in line
    line = call("process", f"{bucket}/in", "-o", "o", "--ray", "auto", "--model", "s3://b/m").stderr
    assert "s3://b/m: give a path of this machine" in line
    missing = refused("apply", f"{bucket}/none", preset, "-o", f"{bucket}/out", "--ray", "auto")
    assert missing.startswith(f"{bucket}/none: cannot be read (nothing is there)")
    pattern = refused("apply", f"{bucket}/*.wav", preset, "-o", f"{bucket}/out", "--ray", "auto")
    assert "patterns are for local paths" in pattern
    assert "known" in refused("apply", "nope://x/y", preset, "-o", "o", "--ray", "auto")


def test_a_work_without_urls_is_done_as_it_is(tmp_path):
    take = write_take(tmp_path / "a.wav", 0.2)
    work = Work(3, "a", {"raw": str(take)}, {"audio": str(tmp_path / "b.wav")})
    task = Task("apply", {"audio": {}, "preset": write_preset(tmp_path / "p", QUIETER).read_text()})
    outcome = run_stored(prepare(task), task, work)
    assert (outcome.number, outcome.state) == (3, "done")
    assert Places().stored(work) is work
    assert dataclasses.replace(work) == work
