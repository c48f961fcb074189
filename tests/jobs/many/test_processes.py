"""Several processes: one that dies costs a file at most, and none is left over."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffconsole.errors import DiffconsoleError
from diffconsole.jobs.many import InThisProcess, Task, Work
from diffconsole.jobs.many.processes import Processes, cores, kept_memory, thread_limits

from ...commands import QUIETER, contents, write_model, write_preset, write_take

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")

KILLER = """
import os, shutil, signal, sys
source, target, once = sys.argv[1:]
size = os.path.getsize(source)
if size > 500_000 or (size > 200_000 and not os.path.exists(once)):
    open(once, "w").close()
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit()
shutil.copy(source, target)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def apply_works(tmp_path: Path, count: int) -> tuple[Task, list[Work]]:
    preset = write_preset(tmp_path / "p.json", QUIETER).read_text()
    takes = [write_take(tmp_path / f"{i}.wav", 0.2, seed=i) for i in range(count)]
    works = [
        Work(i, str(take), {"raw": str(take)}, {"audio": str(tmp_path / "out" / take.name)})
        for i, take in enumerate(takes)
    ]
    return Task("apply", {"preset": preset, "audio": {}}), works


def children() -> set[int]:
    found = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat=,comm="], capture_output=True, text=True, check=True
    )
    rows = (line.split(None, 3) for line in found.stdout.splitlines())
    return {
        int(pid)
        for pid, parent, state, name in rows
        if int(parent) == os.getpid() and not state.startswith("Z") and name != "ps"
    }


def test_the_same_as_in_this_process(tmp_path):
    task, works = apply_works(tmp_path, 4)
    (tmp_path / "2.wav").write_bytes(b"")
    alone = list(InThisProcess().run(task, works))
    written = contents(tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    both = list(Processes(2).run(task, works))
    assert contents(tmp_path / "out") == written and len(written) == 3
    both.sort(key=lambda outcome: outcome.number)
    assert [o.state for o in both] == ["done", "done", "failed", "done"]
    assert [(o.failure, o.outputs, o.inputs) for o in both] == [
        (o.failure, o.outputs, o.inputs) for o in alone
    ]
    assert "is empty" in both[2].failure


def predict_works(tmp_path: Path, model: Path) -> tuple[Task, list[Work]]:
    """The second take kills the process that works on it once, the third one always."""
    (tmp_path / "killer.py").write_text(KILLER)
    command = f"{sys.executable} {tmp_path / 'killer.py'} {{in}} {{out}} {tmp_path / 'once'}"
    takes = [
        write_take(tmp_path / f"{i}.wav", seconds, seed=i)
        for i, seconds in enumerate((0.3, 1.5, 4.0, 0.3))
    ]
    works = [
        Work(i, str(take), {"raw": str(take)}, {"preset": str(tmp_path / "out" / f"{i}.json")})
        for i, take in enumerate(takes)
    ]
    options = {
        "model": str(model), "model_name": "small", "full": True,
        "enhancer": {"command": command, "timeout_seconds": None},
    }  # fmt: skip
    return Task("predict", options), works


@POSIX
def test_a_process_that_is_killed_costs_nothing_or_its_file(tmp_path, model):
    task, works = predict_works(tmp_path, model)
    outcomes = {outcome.number: outcome for outcome in Processes(2).run(task, works)}
    assert [outcomes[i].state for i in range(4)] == ["done", "done", "failed", "done"]
    assert outcomes[2].failure.startswith(f"{works[2].name}: the process that worked on it was")
    assert "signal 9, twice" in outcomes[2].failure
    assert set(contents(tmp_path / "out")) == {"0.json", "1.json", "3.json"}


def test_a_model_that_cannot_be_loaded_is_one_error(tmp_path):
    task, works = predict_works(tmp_path, tmp_path / "no model")
    with pytest.raises(DiffconsoleError, match="no model"):
        list(Processes(2).run(task, works))


@POSIX
def test_no_process_is_left_when_it_is_closed(tmp_path):
    task, works = apply_works(tmp_path, 6)
    before = children()
    outcomes = Processes(2).run(task, works)
    assert next(outcomes).state == "done"
    assert len(children() - before) >= 2
    outcomes.close()
    assert not children() - before


def _is_zombie(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", str(pid)], capture_output=True, text=True)
    return found.stdout.strip().startswith("Z") or not found.stdout.strip()


@POSIX
def test_workers_end_with_who_started_them(tmp_path):
    task, works = apply_works(tmp_path, 2)
    code = (
        "import sys, os, time\n"
        "from diffconsole.jobs.many import Task, Work\n"
        "from diffconsole.jobs.many.processes import Processes\n"
        "task, *works = open(sys.argv[1]).read().splitlines()\n"
        "run = Processes(2).run(Task.from_json(task), map(Work.from_json, works))\n"
        "next(run)\n"
        "print('one', flush=True)\n"
        "time.sleep(60)\n"
    )
    (tmp_path / "works").write_text("\n".join([task.to_json(), *(w.to_json() for w in works)]))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "works")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "one\n"
    mine = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True)
    workers = [int(pid) for pid in mine.stdout.split()]
    assert workers
    process.kill()
    process.wait()
    process.stdout.close()
    start = time.monotonic()
    while not all(_is_zombie(pid) for pid in workers):
        assert time.monotonic() - start < 20.0
        time.sleep(0.05)


FFMPEG = """#!/bin/sh
sleep 300 >/dev/null 2>&1 &
echo $! >> "$PIDS"
%s
"""
"""A decoder that leaves a program of its own behind, and waits or ends what started it."""


@POSIX
@pytest.mark.parametrize("then", ["wait", "kill -9 $PPID"], ids=["stopped", "killed"])
def test_programs_of_programs_end_too(tmp_path, monkeypatch, then):
    task, works = apply_works(tmp_path, 2)
    (tmp_path / "1.wav").write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(200))
    program, pids = tmp_path / "bin" / "ffmpeg", tmp_path / "pids"
    program.parent.mkdir()
    program.write_text(FFMPEG % then)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("PIDS", str(pids))
    outcomes = Processes(2).run(task, works)
    if then == "wait":
        assert next(outcomes).number == 0
        start = time.monotonic()
        while not pids.exists():
            assert time.monotonic() - start < 60.0
            time.sleep(0.05)
        outcomes.close()
    else:
        done, killed = sorted(outcomes, key=lambda outcome: outcome.number)
        assert done.state == "done" and "signal 9, twice" in killed.failure
    found = [int(pid) for pid in pids.read_text().split()]
    assert len(found) == (1 if then == "wait" else 2)
    start = time.monotonic()
    while not all(_is_zombie(pid) for pid in found):
        assert time.monotonic() - start < 5.0
        time.sleep(0.05)


def test_threads_are_divided(monkeypatch):
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    one, many = thread_limits(1), thread_limits(10 * cores())
    assert int(one["OMP_NUM_THREADS"]) == cores()
    assert set(many.values()) == {"1"} and "NUMBA_NUM_THREADS" in many
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert thread_limits(1)["OMP_NUM_THREADS"] == "1"


def test_memory_is_kept_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("MALLOC_TOP_PAD_", raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    found = kept_memory()
    assert found["MALLOC_TRIM_THRESHOLD_"] == "131072"
    # More than this glibc takes for none.
    assert 0 < int(found["MALLOC_MMAP_THRESHOLD_"]) <= 1 << 25
    assert int(found["MALLOC_TOP_PAD_"]) > 0
