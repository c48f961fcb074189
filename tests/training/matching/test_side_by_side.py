"""Jobs beside each other: results in order, reported in the calling thread, stopped together."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import pytest
import torch

from diffconsole.training.matching.side_by_side import side_by_side

Progress = Callable[[float, float], None]


def counting(number: int, steps: int = 3, pause: float = 0.0) -> Callable[[Progress], str]:
    def job(report_progress: Progress) -> str:
        done = 0
        try:
            for done in range(1, steps + 1):
                time.sleep(pause)
                report_progress(done / steps, float(number))
        except KeyboardInterrupt:
            return f"{number} stopped after {done}"
        return f"{number} done"

    return job


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_order_and_progress_in_the_calling_thread(threads: int) -> None:
    reported: list[tuple[int, float, float]] = []
    places = set()

    def report_progress(number: int, share: float, loss: float) -> None:
        reported.append((number, share, loss))
        places.add(threading.get_ident())

    jobs = [counting(number, pause=0.01 * (3 - number)) for number in range(3)]
    assert list(side_by_side(jobs, threads, report_progress)) == [f"{n} done" for n in range(3)]
    assert places == {threading.get_ident()}
    for number in range(3):
        own = [(share, loss) for n, share, loss in reported if n == number]
        assert own == [(pytest.approx(k / 3), float(number)) for k in (1, 2, 3)]


def test_jobs_run_at_the_same_time_on_one_thread_each() -> None:
    before = torch.get_num_threads()
    both = threading.Barrier(2, timeout=20.0)
    seen = []

    def job(report_progress: Progress) -> None:
        both.wait()
        seen.append(torch.get_num_threads())

    assert list(side_by_side([job, job], 2, lambda *_: None)) == [None, None]
    assert seen == [1, 1]
    assert torch.get_num_threads() == before


def test_ctrl_c_stops_all_that_run_and_starts_no_other() -> None:
    def report_progress(number: int, share: float, loss: float) -> None:
        raise KeyboardInterrupt

    jobs = [counting(number, steps=1000, pause=0.01) for number in range(4)]
    found = list(side_by_side(jobs, 2, report_progress))
    assert [line.split()[:2] for line in found] == [["0", "stopped"], ["1", "stopped"]]


def test_a_second_ctrl_c_is_not_held_back() -> None:
    """Two signals, as from a keyboard, to a job that does not listen to the first."""

    def deaf(report_progress: Progress) -> None:
        for _ in range(2):
            time.sleep(0.5)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        list(side_by_side([deaf, counting(1)], 2, lambda *_: None))


def test_an_error_ends_it() -> None:
    def job(report_progress: Progress) -> None:
        raise ValueError("no such thing")

    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="no such thing"):
        list(side_by_side([job, counting(1)], 2, lambda *_: None))
    assert torch.get_num_threads() == before


def test_no_result_that_nobody_waits_for_keeps_running() -> None:
    results = side_by_side(
        [counting(n, steps=20 if n == 0 else 100000, pause=0.01) for n in range(2)],
        2,
        lambda *_: None,
    )
    assert next(results) == "0 done"
    began = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 5.0
