"""Modules of one file each with their twins beside it, in the chain of a process of their own.

The table of parameters is read when the package is imported, so what has a toy in its chain runs
in another process: :func:`run_with`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["run_with"]

ROOT = Path(__file__).parents[2]
PRELUDE = """
import importlib, json, sys
from pathlib import Path
from diffconsole.strip.chain import insert
after, arguments = json.loads(sys.argv[1])
for name, other in after.items():
    insert(getattr(importlib.import_module(f"tests.toy.{name}"), name.upper()), after=other)
"""


def run_with(after: Mapping[str, str], script: str, *arguments: str | Path) -> Any:
    """Run Python code in a process whose chain has toys.

    Parameters
    ----------
    after : mapping of str to str
        For each toy, by the name of its file, the key of the module that it follows.
    script : str
        Finds `arguments`, a list of texts, `json` and `Path`; the last line that it prints is
        JSON.
    """
    given = json.dumps([dict(after), [str(argument) for argument in arguments]])
    result = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, given],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])
