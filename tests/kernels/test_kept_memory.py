"""Memory that stays with the process while many large arrays come and go."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="page faults are counted by POSIX systems")

MEASURE = """
import json
import resource

import numpy as np

from diffconsole.kernels.kept_memory import kept_memory

def faults(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        np.ones(48 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

fresh = faults(4)
with kept_memory():
    faults(1)
    kept = faults(4)
print(json.dumps([fresh, kept, faults(4)]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_a_block_that_was_freed_is_used_again() -> None:
    # In a process of its own: here other threads may take memory, and other tests have set limits.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    run = subprocess.run(
        [sys.executable, "-c", MEASURE],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    fresh, kept, after = json.loads(run.stdout)
    assert kept < 0.1 * fresh
    assert after > 0.5 * fresh, "afterwards large blocks go back to the system again"
