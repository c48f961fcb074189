"""Killed, stopped or out of room at every step: nothing is half-written, nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..commands import contents, write_model, write_take
from ..fault_checks import CHECKS, FOUR
from ..faults import FAULTS, run, short_work, states

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and forks of POSIX systems")

LEAST_STATES = {"kill": 12, "term": 16, "full": 8}
"""Fewer, and the steps are not seen: a set of two files takes that many."""


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with short_work():
        yield


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", CHECKS)
def test_at_every_step(tmp_path, name, fault):
    count = CHECKS[name](tmp_path, fault, states)

    assert count >= LEAST_STATES[fault]


def test_processes_that_are_really_killed(tmp_path):
    """At some of the steps; the benchmark alone goes through all."""
    command = [sys.executable, "-m", "tests.benchmarks.faults", "--every", "9"]
    finished = subprocess.run(
        [*command, "--command", "process", "--fault", "kill"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "process, kill: " in finished.stdout


def test_a_kill_leaves_the_run_of_another_process_alone(tmp_path):
    """Temporary files of a process that still works are no leftovers."""
    from diffconsole.files import atomic_path, clear_unfinished

    take, model = write_take(tmp_path / "take.wav", seconds=0.5), write_model(tmp_path / "model")
    out = tmp_path / "out"
    out.mkdir()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with atomic_path(out / "mine.txt") as temporary:
                temporary.write_text("mine")
                os.write(writer, os.fsencode(temporary))
                signal_wait()
        finally:
            os._exit(0)
    temporary = Path(os.fsdecode(os.read(reader, 4096)))
    assert run("process", take, "-o", out, "--model", model).code == 0
    clear_unfinished([out])
    assert temporary.exists()
    os.kill(child, 9)
    os.waitpid(child, 0)
    clear_unfinished([out])
    assert set(contents(out)) == FOUR


def signal_wait() -> None:
    import signal

    signal.pause()
