"""The summary of a run on an archive, in words."""

from __future__ import annotations

from time import perf_counter

from diffconsole.jobs.many.run import Summary


def summary(**counts: int) -> Summary:
    return Summary(10, started=perf_counter() - 2.0, **counts)


def test_the_rate_is_that_of_what_was_done():
    assert summary(done=8).rate() == "4.0/s"
    assert summary(done=1).rate() == "2.0 s each"
    assert summary(kept=10).rate() == "", "what was kept took no work"
    assert summary(failed=10).rate() == "", "what fails at once is no measure"


def test_the_table_counts_what_is_left():
    lines = summary(done=6, kept=1, failed=1).table().splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["done", "6"], ["kept", "1"], ["failed", "1"], ["left", "2"],
    ]  # fmt: skip
    assert lines[4].split(maxsplit=1) == ["time", "0:02, 3.5/s"]
    assert "left" not in summary(done=10).table()
