"""An archive of short takes: killed and resumed, its memory, and how fast it goes.

``python -m tests.benchmarks.archive VOICES`` cuts 2,000 takes from the recordings in a folder,
twenty of them broken, and processes them twice: undisturbed, with the memory of the workers
measured, and killed with signal 9 five times and resumed. Then both trees are compared byte by
byte. ``--throughput`` measures ``process`` and ``apply`` on 200 takes of ten seconds instead. POSIX
with /proc only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from diffconsole.audio.endings import has_audio_ending
from diffconsole.jobs.many.manifest import NAME

__all__ = ["break_some", "compare", "cut_takes", "disturbed", "undisturbed"]

COMMAND = [sys.executable, "-m", "diffconsole"]
ENVIRONMENT = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
QUIETEST = 1e-3


def cut_takes(voices: Path, folder: Path, count: int, seconds: float) -> list[Path]:
    """Cut takes out of all recordings in turn, into folders by the folder of the recording.

    Each begins a second after the one before; of long ones less, there is not so much voice.
    """
    takes: list[Path] = []
    sources = [path for path in sorted(voices.rglob("*")) if has_audio_ending(path)]
    hop = min(1.0, 4.0 / seconds)
    for turn in range(10_000):
        before = len(takes)
        for source in sources:
            with soundfile.SoundFile(source) as file:
                length = int(seconds * file.samplerate)
                start = int((1.0 + turn * hop) * file.samplerate)
                if start + length > len(file):
                    continue
                file.seek(start)
                samples, rate = file.read(length, dtype="float32"), file.samplerate
            if np.abs(samples).max() < QUIETEST:
                continue
            path = folder / source.parent.name / f"{source.stem}_{turn:04d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, rate)
            takes.append(path)
            if len(takes) == count:
                return takes
        if len(takes) == before:
            break
    raise SystemExit(f"{voices}: there is voice for {len(takes)} takes only")


def break_some(takes: list[Path], count: int) -> list[Path]:
    """Break takes, spread evenly: empty, cut off, text, not a number."""
    broken = [takes[i] for i in np.linspace(0, len(takes) - 1, count).astype(int)]
    for number, path in enumerate(broken):
        content = path.read_bytes()
        if number % 4 == 0:
            path.write_bytes(b"")
        elif number % 4 == 1:
            path.write_bytes(content[: len(content) // 2])
        elif number % 4 == 2:
            path.write_text("This is no sound.\n" * 20)
        else:
            samples, rate = soundfile.read(path, dtype="float32")
            samples[len(samples) // 2] = np.nan
            soundfile.write(path, samples, rate, subtype="FLOAT")
    return broken


def _states(output: Path) -> Counter[tuple[str, str]]:
    """How often each work of the manifest has come to each state."""
    found: Counter[tuple[str, str]] = Counter()
    for path in output.glob(f"{NAME}*.jsonl"):
        for line in path.read_bytes().split(b"\n"):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            found[record["work"], record["state"]] += 1
    return found


def _ended(output: Path) -> int:
    return sum(state in ("done", "failed") for _, state in _states(output))


def _children(pid: int) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "stat").read_text()
            except OSError:
                continue
            if int(status.rpartition(")")[2].split()[1]) == pid:
                yield int(folder.name)


def _resident(pid: int) -> float:
    """Megabytes of memory that a process has."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 1e6


def undisturbed(arguments: list[str], output: Path) -> tuple[int, str, list[tuple[int, float]]]:
    """Run once; exit code, stderr, and by how many takes had ended the memory of the workers."""
    memory = []
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--quiet"], env=ENVIRONMENT, stderr=errors,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        while process.poll() is None:
            time.sleep(1.0)
            workers = list(_children(process.pid)) or [process.pid]
            memory.append((_ended(output), sum(map(_resident, workers))))
        errors.seek(0)
        return process.returncode, errors.read(), memory


def disturbed(arguments: list[str], output: Path, count: int, kills: int) -> tuple[int, str]:
    """Run and resume, killed each time when another share of the takes has ended."""
    for kill in range(kills):
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--resume"], env=ENVIRONMENT, stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        share = count * (kill + 1) // (kills + 1)
        while process.poll() is None and _ended(output) < share:
            time.sleep(0.05)
        workers = list(_children(process.pid))
        process.send_signal(signal.SIGKILL)
        process.wait()
        start = time.perf_counter()
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            if time.perf_counter() - start > 30.0:
                raise SystemExit("a worker has outlived the program that started it")
            time.sleep(0.02)
        print(
            f"killed with {_ended(output)} of {count} ended; its {len(workers)} workers were gone "
            f"after {time.perf_counter() - start:.1f} s", flush=True,
        )  # fmt: skip
    end = subprocess.run(
        [*COMMAND, *arguments, "--resume"], env=ENVIRONMENT, capture_output=True, text=True
    )
    print(end.stdout)
    return end.returncode, end.stderr


def compare(first: Path, second: Path) -> tuple[int, list[str]]:
    """How many files two trees have, but for manifests, and which of them differ."""
    trees = [
        {
            path.relative_to(folder): path
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(NAME)
        }
        for folder in (first, second)
    ]
    differ = [str(name) for name in trees[0].keys() ^ trees[1].keys()]
    differ += [
        str(name)
        for name in trees[0].keys() & trees[1].keys()
        if trees[0][name].read_bytes() != trees[1][name].read_bytes()
    ]
    return len(trees[0]), sorted(differ)


def _robustness(options: argparse.Namespace, work: Path) -> None:
    takes = cut_takes(options.voices, work / "takes", options.takes, options.seconds)
    broken = break_some(takes, options.broken)
    print(f"{len(takes)} takes of {options.seconds:g} s, {len(broken)} of them broken", flush=True)
    outputs = work / "once", work / "killed"
    arguments = [
        ["process", str(work / "takes"), "--recursive", "-o", str(output), "--jobs",
         str(options.jobs), "--no-plot", "--no-page", *options.more]
        for output in outputs
    ]  # fmt: skip
    start = time.perf_counter()
    code, errors, memory = undisturbed(arguments[0], outputs[0])
    seconds = time.perf_counter() - start
    named = sum(any(str(path) in line for line in errors.splitlines()) for path in broken)
    print(
        f"undisturbed: exit code {code}, {named} of {len(broken)} broken takes named, "
        f"{seconds:.0f} s, {len(takes) / seconds:.2f} takes/s", flush=True,
    )  # fmt: skip
    for low, high in ((0.1, 0.2), (0.45, 0.55), (0.85, 0.95)):
        some = [m for ended, m in memory if low <= ended / len(takes) <= high and m > 0]
        if some:
            print(f"memory of the workers, {low:.0%} to {high:.0%}: {np.median(some):.0f} MB")
    code, errors = disturbed(arguments[1], outputs[1], len(takes), options.kills)
    named = sum(any(str(path) in line for line in errors.splitlines()) for path in broken)
    print(f"killed {options.kills} times: exit code {code}, {named} of {len(broken)} named")
    times = Counter(count for (_, state), count in _states(outputs[1]).items() if state == "done")
    print(f"takes by how often they were written: {dict(times)}")
    count, differ = compare(*outputs)
    print(f"{count} files, of which differ: {differ or 'none'}")


def _throughput(options: argparse.Namespace, work: Path) -> None:
    cut_takes(options.voices, work / "takes", options.takes, options.seconds)
    for name, arguments in {
        "process": ["process", str(work / "takes"), "--no-plot", "--no-page"],
        "process --full": ["process", str(work / "takes"), "--no-plot", "--no-page", "--full"],
        "apply": ["apply", str(work / "takes"), "lead_vocal_pop"],
    }.items():
        output = work / name.replace(" ", "_")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        end = subprocess.run(
            [*COMMAND, *arguments, "--recursive", "-o", str(output), "--jobs", str(options.jobs),
             "--json"], env=ENVIRONMENT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = sum(getattr(after, k) - getattr(before, k) for k in ("ru_utime", "ru_stime"))
        summary = json.loads(end.stdout)["summary"]
        print(
            f"{name}: {summary['done']} takes in {summary['seconds']:.1f} s, "
            f"{summary['done'] / summary['seconds']:.2f} takes/s; {used / summary['done']:.3f} s "
            "of a core each, start included", flush=True,
        )  # fmt: skip


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voices", type=Path, help="folder of recordings")
    parser.add_argument("--throughput", action="store_true")
    parser.add_argument("--takes", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--broken", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--more", nargs="*", default=[], help="further options of process")
    parser.add_argument("--folder", type=Path, help="for takes and results")
    options = parser.parse_args()
    takes, seconds = (200, 10.0) if options.throughput else (2000, 1.0)
    options.takes, options.seconds = options.takes or takes, options.seconds or seconds
    options.more = [f"--{option}" for option in options.more]
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        (_throughput if options.throughput else _robustness)(options, Path(work))


if __name__ == "__main__":
    main()
