"""A module that the chain does not have, put into the chain of a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

PAGE = ROOT / "diffconsole" / "docs" / "pages" / "extend.md"

START = """\
import json, sys
from tilt.row import TILT
from diffconsole.strip import chain
chain.insert(TILT, after="eq")
import torch
torch.set_num_threads(1)
"""


# Processes begin with everything imported, and none sees what another changed.
EACH = """
import os, traceback
results = []
for script in json.loads(sys.stdin.read()):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 1)
        status = 1
        try:
            exec(script, dict(globals()))
            sys.stdout.flush()
            status = 0
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        results.append(json.loads(file.read().splitlines()[-1]))
    assert os.waitpid(child, 0)[1] == 0
print(json.dumps(results))
"""


def write_tilt(folder: Path) -> None:
    """Write the example of the documentation, as it is printed there."""
    page = PAGE.read_text(encoding="utf-8")
    found = re.findall(r'^```\w+ title="(tilt/[\w.]+|try_tilt.py)"\n(.*?)^```', page, re.M | re.S)
    assert len(found) == 5
    (folder / "tilt").mkdir(exist_ok=True)
    (folder / "tilt" / "__init__.py").touch()
    for name, text in found:
        (folder / name).write_text(text, encoding="utf-8")


def run_with_tilt(folder: Path, script: str, *, given: str = "") -> Any:
    """Run Python in a process whose chain has a tilt after the EQ; return the JSON it prints.

    Parameters
    ----------
    folder : Path
        Where the module's file is written, and where the script runs.
    script : str
        Its last line of output is the result.
    given : str
        What the process finds on stdin.
    """
    write_tilt(folder)
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", START + script],
        cwd=folder, env={**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1"},
        input=given, capture_output=True, text=True, encoding="utf-8", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def run_each_with_tilt(folder: Path, setup: str, scripts: Mapping[str, str]) -> dict[str, Any]:
    """Run several scripts behind one setup, each apart from the others: what each prints, by name.

    Parameters
    ----------
    folder : Path
        Where the module's file is written, and where the scripts run.
    setup : str
        Runs once, before all of them.
    scripts : mapping of str to str
        By name.
    """
    if hasattr(os, "fork"):
        given = json.dumps(list(scripts.values()))
        found = run_with_tilt(folder, setup + EACH, given=given)
    else:
        found = [run_with_tilt(folder, setup + script) for script in scripts.values()]
    return dict(zip(scripts, found, strict=True))
