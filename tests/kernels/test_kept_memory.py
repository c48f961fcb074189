"""Memory that stays with the process while many large arrays come and go."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from diffconsole.kernels.kept_memory import kept_memory

resource = pytest.importorskip("resource")
SIZE = 48 << 20


def faults(count: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        np.ones(SIZE, np.uint8)
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_a_block_that_was_freed_is_used_again() -> None:
    fresh = faults(4)
    with kept_memory():
        faults(1)
        kept = faults(4)
    assert kept < 0.1 * fresh
    assert faults(4) > 0.5 * fresh, "afterwards large blocks go back to the system again"
