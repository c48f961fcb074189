"""Memory and speed of ``process``, ``predict`` and ``apply`` on long recordings.

30 minutes of stereo and 24 minutes of mono at 48 kHz, made from a real voice where one is found.
Memory is the largest resident size of the whole process, time is the whole command's; the time on
processors is shown beside it, since other programs on the machine lengthen only the former. Exits
with 1 where a bar is missed.

Run: ``python -m tests.benchmarks.long_takes [--minutes 30] [--commands process,predict,apply]``
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile

from tests.benchmarks.speed import RATE

MOST_MEGABYTES, LEAST_SPEED, MOST_PAGE_MEGABYTES = 1500.0, 10.0, 100.0
COMMANDS = ("process", "predict", "apply")
MONO_SHARE = 0.8


def mono_of(stereo: Path, mono: Path, frames: int) -> None:
    """Write the left channel of the beginning of a file, block by block."""
    with (
        soundfile.SoundFile(stereo) as source,
        soundfile.SoundFile(mono, "w", RATE, 1, subtype="FLOAT") as target,
    ):
        for block in source.blocks(1 << 20, frames=frames, dtype="float32", always_2d=True):
            target.write(block[:, :1])


def measured(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, seconds on processors, and peak megabytes of a command."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {status}")
    scale = 1024.0 if sys.platform != "darwin" else 1024.0**2
    wall = time.perf_counter() - began
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / scale


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="of stereo; mono is 0.8 of it")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    arguments = parser.parse_args()
    met = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A process of its own: what this one holds would count as its children's memory.
        seconds = {"stereo": round(60 * arguments.minutes)}
        seconds["mono"] = round(MONO_SHARE * seconds["stereo"])
        maker = (
            "import sys; from pathlib import Path; from tests.benchmarks.speed import make_file; "
            "make_file(Path(sys.argv[1]), int(sys.argv[2]))"
        )
        stereo = folder / "stereo.wav"
        making = [sys.executable, "-c", maker, str(stereo), str(seconds["stereo"])]
        subprocess.run(making, check=True)
        mono_of(stereo, folder / "mono.wav", RATE * seconds["mono"])
        for take, length in seconds.items():
            for command in arguments.commands.split(","):
                out = folder / "out"
                raw = str(folder / f"{take}.wav")
                parts = {
                    "process": [raw, "-o", str(out)],
                    "predict": [raw, "-o", str(folder / "out.json")],
                    "apply": [raw, "lead_vocal_pop", "-o", str(folder / "out.wav")],
                }[command]
                program = [sys.executable, "-m", "diffconsole", command, *parts, "--force", "-q"]
                wall, busy, megabytes = measured(program)
                speed = length / wall
                page = out / f"{take}.html"
                page_megabytes = page.stat().st_size / 1e6 if command == "process" else 0.0
                met &= megabytes <= MOST_MEGABYTES and speed >= LEAST_SPEED
                met &= page_megabytes <= MOST_PAGE_MEGABYTES
                print(
                    f"{command}, {length / 60:.0f} min {take} 48 kHz: {wall:.1f} s = {speed:.0f} x "
                    f"real time (bar {LEAST_SPEED:.0f}), {busy:.1f} s on processors, "
                    f"{megabytes:.0f} MB (bar {MOST_MEGABYTES:.0f})"
                    + (f", page {page_megabytes:.0f} MB" if page_megabytes else ""),
                    flush=True,
                )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
