"""The console of this checkout against that of another one, in turn in one run.

``python -m tests.benchmarks.two_versions OTHER_CHECKOUT [--runs N] [--json FILE]``

Each version runs in a process of its own; the two take turns, so that what else the machine does
meets both. Processor time counts, which waiting does not lengthen, and of all runs the smallest and
the median: forward and backward of the whole chain on eight vocals of 5 s, and forward on one of
three minutes. Outputs are compared bit by bit. Exits with 1 where this version is slower by more
than 3 % in the smaller of both ratios, or sounds different.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[2]
MOST_SLOWER = 1.03

WORKER = r"""
import hashlib, json, sys, time
import numpy as np, torch
torch.set_num_threads(1)
from diffconsole.console import Console
rng = np.random.default_rng(0)
console = Console(44100, reverb_seconds=2.0)
batch = torch.from_numpy(rng.normal(0.0, 0.1, (8, 1, 5 * 44100)).astype(np.float32))
long = torch.from_numpy(rng.normal(0.0, 0.1, (1, 1, 180 * 44100)).astype(np.float32))

def train():
    settings = {k: v.clone().requires_grad_() for k, v in console.defaults(8).items()}
    y = console(batch.clone().requires_grad_(), settings)
    y.square().mean().backward()
    return y.detach()

def render():
    with torch.inference_mode():
        return console(long, console.defaults(1))

for line in sys.stdin:
    run = {"train": train, "render": render}[line.strip()]
    began = time.process_time()
    y = run()
    seconds = time.process_time() - began
    print(json.dumps([seconds, hashlib.sha256(y.numpy().tobytes()).hexdigest()]), flush=True)
"""


class Version:
    """One checkout, with a process that runs its console when asked."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, what: str) -> tuple[float, str]:
        """Return the processor time in seconds and a hash of the output."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        seconds, digest = json.loads(self.process.stdout.readline())
        return seconds, digest


def measure(other: Path, runs: int) -> dict[str, Any]:
    """Return the figures of both cases."""
    versions = {"before": Version(other), "now": Version(HERE)}
    found: dict[str, Any] = {}
    for what in ("train", "render"):
        seconds: dict[str, list[float]] = {name: [] for name in versions}
        digests = {name: version.run(what)[1] for name, version in versions.items()}
        for turn in range(runs):
            names = list(versions)
            for name in names if turn % 2 else names[::-1]:
                seconds[name].append(versions[name].run(what)[0])
        smallest = {name: min(values) for name, values in seconds.items()}
        middle = {name: statistics.median(values) for name, values in seconds.items()}
        found[what] = {
            "before_s": [smallest["before"], middle["before"]],
            "now_s": [smallest["now"], middle["now"]],
            "ratio_of_smallest": smallest["now"] / smallest["before"],
            "ratio_of_medians": middle["now"] / middle["before"],
            "same_samples": digests["now"] == digests["before"],
        }
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("other", type=Path, help="a checkout of the version before")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    found = measure(options.other.resolve(), options.runs)
    fine = True
    for what, case in found.items():
        ratio = min(case["ratio_of_smallest"], case["ratio_of_medians"])
        fine = fine and ratio <= MOST_SLOWER and case["same_samples"]
        print(
            f"{what:<7} before {case['before_s'][0]:.3f} s, now {case['now_s'][0]:.3f} s: "
            f"{case['ratio_of_smallest']:.3f} of the smallest, {case['ratio_of_medians']:.3f} of "
            f"the medians; {'same samples' if case['same_samples'] else 'OTHER SAMPLES'}"
        )
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
