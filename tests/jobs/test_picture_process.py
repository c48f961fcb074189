"""The process that draws pictures: the same files, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diffconsole.audio import write_audio
from diffconsole.errors import AudioError
from diffconsole.jobs import picture_process
from diffconsole.jobs.options import AudioOptions
from diffconsole.jobs.picture_process import PictureProcess, pictures_beside
from diffconsole.jobs.plan import take_files
from diffconsole.jobs.process import process_take
from diffconsole.model.array_predictor import ArrayPredictor
from diffconsole.plots import StripView, image_of_presets
from diffconsole.strip.preset import Preset

from ..commands import run_program, write_model, write_take
from ..synthetic import RATE, voice

OPTIONS = AudioOptions(full=True)
STRIP = Preset({"eq": {"peak_2": {"gain_db": 6.0}}, "compressor": {}})


def drawn_here(title: str) -> bytes:
    raw, processed = sounds()
    view = StripView("strip", STRIP.settings(), STRIP.bypass())
    return image_of_presets([view], "png", raw=(raw, RATE), processed=processed, title=title)


def sounds() -> tuple[np.ndarray, np.ndarray]:
    raw = voice(0.5, 1)[None]
    return raw, np.repeat(0.5 * raw, 2, axis=0)


def begin(process: PictureProcess, title: str) -> None:
    raw, processed = sounds()
    process.begin("strip", STRIP, (raw, RATE), processed, title)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that has ended stays until who started it asks.
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def gone(pid: int, seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while is_there(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_there(pid)


@pytest.fixture(scope="module")
def process() -> Iterator[PictureProcess]:
    made = PictureProcess()
    yield made
    made.close()


def test_pictures_are_equal_to_those_that_are_drawn_here(process):
    begin(process, "take.wav")
    assert process.finished() == drawn_here("take.wav")


def test_a_picture_that_nobody_came_for_is_given_up(process):
    begin(process, "given up")
    begin(process, "wanted")
    assert process.finished() == drawn_here("wanted")


def test_what_cannot_be_drawn_is_no_picture(process):
    process.begin("strip", STRIP, (np.zeros((1, 10), np.float32), RATE), np.zeros((3, 2, 1)), "x")
    assert process.finished() is None
    begin(process, "next")
    assert process.finished()


@pytest.fixture
def model(tmp_path: Path) -> ArrayPredictor:
    return ArrayPredictor.load(write_model(tmp_path / "model"))


def test_a_take_has_the_same_files(tmp_path, model, process):
    raw = write_take(tmp_path / "take.wav", 0.6)
    pictures = []
    for name, beside in (("with", process), ("without", None)):
        (tmp_path / name).mkdir()
        files = take_files(raw, tmp_path / name / "take")
        process_take(model, "model", files, OPTIONS, pictures=beside)
        assert all(path.is_file() for path in files.results.values())
        assert files.plot is not None
        pictures.append((files.plot.read_bytes(), files.audio.read_bytes()))
    assert pictures[0] == pictures[1]


def test_where_it_ended_the_picture_is_drawn_here(tmp_path, model):
    raw = write_take(tmp_path / "take.wav", 0.6)
    ended = PictureProcess()
    ended.close()
    files = take_files(raw, tmp_path / "take")
    process_take(model, "model", files, OPTIONS, pictures=ended)
    assert files.plot is not None and files.plot.read_bytes().startswith(b"\x89PNG")


def test_nothing_is_left_after_an_error(tmp_path, model, monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.figure")
    monkeypatch.setattr(picture_process, "cores", lambda: 2)
    raw = tmp_path / "take.wav"
    write_audio(raw, np.zeros((1, RATE), np.float32), RATE)
    with pytest.raises(AudioError, match="silent"), pictures_beside(True) as beside:
        assert beside is not None
        pid = beside._process.pid
        files = take_files(raw, tmp_path / "take")
        process_take(model, "model", files, OPTIONS, pictures=beside)
    assert gone(pid, 1.0)
    assert [path.name for path in tmp_path.glob("take*")] == ["take.wav"]


def test_matplotlib_leaves_no_folder(tmp_path, monkeypatch):
    """Where no settings folder can be written it makes one, and removes it at the end."""
    expected = drawn_here("one")
    (tmp_path / "file").write_text("")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "file" / "no_folder"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    process = PictureProcess()
    begin(process, "one")
    assert process.finished() == expected
    assert any((tmp_path / "temporary").iterdir())
    process.close()
    assert not any((tmp_path / "temporary").iterdir())


def test_a_process_that_hangs_is_not_waited_for_without_end(monkeypatch):
    hanging = PictureProcess()
    os.kill(hanging._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(picture_process, "LONGEST_SECONDS", 0.2)
    begin(hanging, "one")
    assert hanging.finished() is None
    hanging.close()
    assert gone(hanging._process.pid, 1.0)


def test_it_is_started_where_it_saves_time(monkeypatch):
    with pictures_beside(True) as beside:
        assert beside is None, "matplotlib is loaded here"
    monkeypatch.delitem(sys.modules, "matplotlib.figure")
    with pictures_beside(False) as beside:
        assert beside is None
    monkeypatch.setattr(picture_process, "cores", lambda: 1)
    with pictures_beside(True) as beside:
        assert beside is None


CODE = """
import signal, sys, time
from diffconsole.files.signals import like_ctrl_c
from diffconsole.jobs import picture_process
picture_process.cores = lambda: 2
with like_ctrl_c(), picture_process.pictures_beside(True) as beside:
    print(beside._process.pid, flush=True)
    time.sleep(60.0)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_who_started_it(number):
    with subprocess.Popen(
        [sys.executable, "-c", CODE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert is_there(pid)
        run.send_signal(number)
        run.wait()
    assert gone(pid)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs processor affinity")
def test_the_command_draws_as_it_does_on_one_core(tmp_path):
    take, model = write_take(tmp_path / "take.wav", 0.5), write_model(tmp_path / "model")
    cores = os.sched_getaffinity(0)
    pictures = []
    for allowed in (cores, {min(cores)}):
        folder = tmp_path / f"{len(pictures)}"
        os.sched_setaffinity(0, allowed)
        try:
            run = run_program(
                "process", take, "-o", folder, "--model", model, "--full", "--no-page"
            )
        finally:
            os.sched_setaffinity(0, cores)
        assert run.returncode == 0, run.stderr
        pictures.append((folder / "take.png").read_bytes())
    assert pictures[0] == pictures[1]
