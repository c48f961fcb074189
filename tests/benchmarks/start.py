"""How long whole commands take, from the start of Python to its end.

``python -m tests.benchmarks.start [OTHER_CHECKOUT] [--runs N] [--threads N] [--json FILE]``

Each command runs in a process of its own on ten seconds of a synthetic voice, with warm caches: the
first run of each does not count. With another checkout the two take turns, command by command, so
that what else the machine does meets both. Printed are the smallest and the median of the wall
time, of the processor's time, and whether PyTorch was loaded. Exits with 1 where the smallest wall
time of this checkout misses its bar.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.commands import write_take

HERE = Path(__file__).parents[2]
SECONDS = 10.0
COMMANDS = {
    "help": ("--help",),
    "presets list": ("presets", "list"),
    "apply": ("apply", "{take}", "lead_vocal_pop", "-o", "{out}.wav", "--force", "-q"),
    "apply, no reverb": ("apply", "{take}", "dry_controlled", "-o", "{out}.wav", "--force", "-q"),
    "export": ("export", "lead_vocal_pop", "--to", "reaper", "-o", "{out}", "--force", "-q"),
    "plot": ("plot", "lead_vocal_pop", "-o", "{out}.png", "--force", "-q"),
    "process": ("process", "{take}", "-o", "{out}_all", "--force", "-q"),
}
BARS = {"help": 0.1, "apply": 1.2, "apply, no reverb": 1.2, "process": 3.0}
"""Seconds on two cores."""


def run(folder: Path, words: Sequence[str], threads: int) -> tuple[float, float]:
    """Run a command of a checkout; wall time and processor time in seconds."""
    environment = {
        **os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": str(threads),
        "NUMBA_NUM_THREADS": str(threads),
    }  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "diffconsole", *words],
        env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def loads_pytorch(folder: Path, words: Sequence[str]) -> bool:
    """Return whether a command imports PyTorch."""
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "diffconsole", *words],
        env={**os.environ, "PYTHONPATH": str(folder)}, cwd=folder, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return any(line.rpartition("|")[2].strip() == "torch" for line in shown.stderr.splitlines())


def main() -> None:
    """Time every command and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folders = {"here": HERE, **({"other": options.other.resolve()} if options.other else {})}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        take = write_take(Path(scratch) / "take.wav", SECONDS)
        for name in options.only:
            words = {
                version: [w.format(take=take, out=Path(scratch) / version) for w in COMMANDS[name]]
                for version in folders
            }
            found: dict[str, list[tuple[float, float]]] = {version: [] for version in folders}
            for turn in range(options.runs + 1):
                for version, folder in folders.items():
                    times = run(folder, words[version], options.threads)
                    if turn:
                        found[version].append(times)
            for version, times in found.items():
                walls, processor = zip(*times, strict=True)
                rows.append(
                    {
                        "command": name,
                        "version": version,
                        "least_s": min(walls),
                        "median_s": statistics.median(walls),
                        "least_processor_s": min(processor),
                        "median_processor_s": statistics.median(processor),
                        "pytorch": loads_pytorch(folders[version], words[version]),
                    }
                )
                print(_line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    own = [row for row in rows if row["version"] == "here"]
    missed = [r["command"] for r in own if r["least_s"] > BARS.get(r["command"], float("inf"))]
    if missed:
        print(f"above its bar: {', '.join(missed)}")
        sys.exit(1)


def _line(row: dict[str, Any]) -> str:
    times = " ".join(
        f"{row[f'least_{kind}']:7.2f} {row[f'median_{kind}']:7.2f}" for kind in ("s", "processor_s")
    )
    loaded = "PyTorch" if row["pytorch"] else ""
    return f"{row['command']:<18}{row['version']:<7}{times}  {loaded}"


if __name__ == "__main__":
    main()
