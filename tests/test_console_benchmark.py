"""What the console benchmark counts: no program's loading or compiling."""

from __future__ import annotations

import time

import pytest

from .benchmarks import console
from .benchmarks.peers import Contender


def slow_at_first(seconds: float, later: float = 0.0):
    calls = []

    def run() -> None:
        calls.append(1)
        time.sleep(seconds if len(calls) == 1 else later)

    return run


@pytest.mark.parametrize("first", [0.02, 0.12, 0.5])
def test_compiling_is_not_counted(monkeypatch, first):
    monkeypatch.setattr(console, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(console, "SLOWEST_SECONDS", 0.3)
    who = Contender("diffconsole", slow_at_first(first), slow_at_first(first))
    figures = console.interleaved([who], 3, "cpu")["diffconsole"]
    for kind in ("forward", "step"):
        assert len(figures.seconds[kind]) == 3
        assert max(figures.seconds[kind]) < 0.015


def test_a_slow_program_is_run_as_seldom_as_before(monkeypatch):
    monkeypatch.setattr(console, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr(console, "SLOWEST_SECONDS", 0.15)
    for seconds, count in ((0.06, 2), (0.2, 1)):
        who = Contender("peer", slow_at_first(seconds, seconds), slow=True)
        assert len(console.interleaved([who], 7, "cpu")["peer"].seconds["forward"]) == count
