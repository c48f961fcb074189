"""Speed and memory of the commands: 3 minutes through ``apply`` and ``predict``, and ``--help``.

The file is made from a real voice where one is found, else from noise. Memory is the largest
resident size of the whole process, time is the whole command's; of ``predict`` also what it takes
beyond the same command on two seconds, which is the start.

Run: ``python -m tests.benchmarks.speed [--runs 3]``
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "voices"
RATE, SECONDS = 48000, 180
MOST_MEGABYTES, LEAST_SPEED, MOST_HELP_SECONDS = 1000.0, 20.0, 1.0
MOST_PREDICT_SECONDS, SHORT_SECONDS = 3.0, 2


def make_file(path: Path, seconds: int = SECONDS) -> None:
    """Stereo: the clips of one singer one after the other, three minutes if not told otherwise."""
    clips = sorted(DATA.glob("makam_idil/*"))
    if clips:
        parts = []
        for clip in clips:
            samples, rate = soundfile.read(clip, dtype="float32", always_2d=True)
            parts.append(soxr.resample(samples[:, 0], rate, RATE))
        mono = np.resize(np.concatenate(parts), RATE * seconds)
    else:
        mono = 0.1 * np.random.default_rng(0).standard_normal(RATE * seconds).astype(np.float32)
    stereo = np.stack((mono, np.roll(mono, 37)), axis=1)
    soundfile.write(path, stereo, RATE, subtype="FLOAT")


def timed(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak megabytes of a command."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {status}")
    scale = 1024.0 if sys.platform != "darwin" else 1024.0**2
    return time.perf_counter() - began, usage.ru_maxrss / scale


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--presets", default="lead_vocal_pop,ballad_plate")
    arguments = parser.parse_args()
    program = [sys.executable, "-m", "diffconsole"]
    met = True
    with tempfile.TemporaryDirectory() as folder:
        take, out = Path(folder) / "take.wav", Path(folder) / "out.wav"
        make_file(take)
        for preset in arguments.presets.split(","):
            command = [*program, "apply", str(take), preset, "-o", str(out), "--force", "-q"]
            runs = [timed(command) for _ in range(arguments.runs)]
            seconds, megabytes = (float(np.median(column)) for column in zip(*runs, strict=True))
            speed = SECONDS / seconds
            met &= speed >= LEAST_SPEED and megabytes < MOST_MEGABYTES
            print(
                f"apply {preset}, 3 min stereo 48 kHz: {seconds:.2f} s = {speed:.0f} x real time "
                f"(bar {LEAST_SPEED:.0f}), {megabytes:.0f} MB (bar {MOST_MEGABYTES:.0f})"
            )
        short = Path(folder) / "short.wav"
        make_file(short, SHORT_SECONDS)
        times = {}
        for name, file in (("start", short), ("whole", take)):
            command = [*program, "predict", str(file), "-o", str(out.with_suffix(".json"))]
            runs = [timed([*command, "--force", "-q"]) for _ in range(arguments.runs)]
            times[name] = float(np.median([seconds for seconds, _ in runs]))
        after = times["whole"] - times["start"]
        met &= after <= MOST_PREDICT_SECONDS
        print(
            f"predict, 3 min stereo 48 kHz: {times['whole']:.2f} s, {after:.2f} s after the start "
            f"(bar {MOST_PREDICT_SECONDS:.0f})"
        )
    runs = [timed([*program, "--help"]) for _ in range(arguments.runs + 2)]
    best, middle = min(r[0] for r in runs), float(np.median([r[0] for r in runs]))
    met &= middle < MOST_HELP_SECONDS
    print(f"--help: median {middle:.2f} s, best {best:.2f} s (bar {MOST_HELP_SECONDS:.0f})")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
