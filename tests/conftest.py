"""Fixtures that all tests share: the real data beside the repository, and the kernels."""

from __future__ import annotations

import os

# Several processes share the cores (pytest-xdist); each library reads this when it is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    _processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    for _name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(_name, str(max(1, (os.cpu_count() or 1) // _processes)))

import contextlib
import importlib
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LONGEST_FIRST = (
    "modules/test_gpu_kernels.py",
    "training/test_devices.py",
    "training/finetuning/test_finetune.py",
    "audition/test_browser.py",
    "test_readme.py",
    "cli/test_training.py",
    "training/matching/test_match.py",
    "jobs/test_kills.py",
    "training/finetuning/test_processes.py",
    "console/test_console.py",
    "simplify/test_simplify.py",
    "training/pretraining/test_pretrain.py",
    "training/matching/test_tried.py",
    "pairs/test_pairs_disturbed.py",
    "console/test_compile.py",
    "cli/test_main.py",
    "plots/test_plots.py",
    "modules/test_reverb_decay.py",
    "cli/test_match.py",
    "cli/test_refusals.py",
    "training/finetuning/test_cross_validation.py",
    "cli/test_start.py",
    "test_gpu_benchmark.py",
    "jobs/test_long_takes.py",
    "cli/test_encoder_options.py",
)
"""Files of most processor time, so that no process is left alone with one at the end. The first
compiles no loops for the CPU, the third nearly all: both begin at once."""
MOST_PROCESSES = 16
"""With more of them the longest file decides, and each takes half a GiB of memory and imports."""
PEOPLE = ("makam_idil", "kathleen", "makam_goekhan", "tofugu_male", "msc_story")


def pytest_xdist_auto_num_workers() -> int | None:
    """``-n auto``: one process more than cores, since tests wait for processes that they start."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(cores + 1, MOST_PROCESSES)


def pytest_configure(config: pytest.Config) -> None:
    """Without a GPU its kernels run in Triton's interpreter; Ctrl-C arrives; files keep order."""
    import torch

    # pytest-xdist would begin with the files of the most tests, which are the shortest.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False

    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")
    if "PYTEST_XDIST_WORKER" in os.environ:
        from .compiled_once import compile_once

        compile_once()
    # A shell that starts the tests in the background makes them deaf to Ctrl-C, which some send.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Of all tests, each process imports a share first, whose assertions it rewrites for all."""
    tests = Path(__file__).parent
    asked = {Path(argument).resolve() for argument in session.config.args}
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker or not asked <= {tests, tests.parent}:
        return
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    for path in sorted(tests.rglob("test_*.py"))[int(worker.removeprefix("gw")) :: count]:
        name = ".".join(path.relative_to(tests.parent).with_suffix("").parts)
        # What cannot be imported, or is skipped here, says so when it is collected.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    folder = Path(__file__).parent
    order = {folder / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """``../shared/data`` from the project's root; the test is skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip("no ../shared/data beside the project: real recordings are not in the repo")
    return DATA


@pytest.fixture(scope="session")
def real_voices(data_folder: Path) -> list[tuple[str, np.ndarray, int]]:
    """First four seconds of one clip of five people: name, mono float32 samples, rate in Hz."""
    import soundfile

    clips = []
    for person in PEOPLE:
        path = sorted((data_folder / "voices" / person).glob("*.opus"))[0]
        rate = soundfile.info(path).samplerate
        samples, rate = soundfile.read(path, frames=4 * rate, dtype="float32")
        clips.append((f"{person}/{path.stem}", samples, rate))
    return clips


@pytest.fixture(params=["cpu", "generic"])
def kernel(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once with each implementation of the recursions."""
    from diffconsole.kernels import operators as kernels

    if request.param == "cpu":
        pytest.importorskip("numba", reason="the CPU kernels need numba")
    with kernels.use(request.param):
        yield request.param
