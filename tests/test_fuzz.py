"""A share of the fuzz run: whatever a file holds, one line or a usable result."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")

CASES = 400


def test_no_damaged_file_escapes_its_reader():
    from .benchmarks.fuzz import run

    failures = run(CASES, seed=18, jobs=2)
    assert not failures, "\n".join(map(str, failures[:10]))


def test_the_run_finds_what_it_looks_for(monkeypatch):
    """A reader that raises, one that hangs, one that fills the memory, one that leaves a file."""
    import numpy as np

    from .benchmarks import fuzz, fuzz_seeds
    from .benchmarks.fuzz_seeds import KINDS, Kind

    def raises(path):
        raise ZeroDivisionError("here")

    def hangs(path):
        while True:
            pass

    def fills(path):
        np.ones(3 << 28)

    def leaves(path):
        path.with_name(".diffconsole-left.json").touch()

    monkeypatch.setattr(fuzz, "LONGEST_SECONDS", 1)
    monkeypatch.setattr(fuzz, "seeds_of", lambda folder: {"pairs": fuzz_seeds.pairs(folder)})
    for read, said in (
        (raises, "ZeroDivisionError: here"),
        (hangs, "ran longer than 1 s"),
        (fills, "MemoryError"),
        (leaves, "left ['.diffconsole-left.json']"),
    ):
        for name in KINDS:
            monkeypatch.setitem(KINDS, name, Kind(float(name == "pairs"), read))
        failures = fuzz.run(2, seed=0)
        assert [failure.case for failure in failures] == [0, 1]
        assert all(said in failure.what for failure in failures)
