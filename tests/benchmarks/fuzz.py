"""Damaged and hostile files, seeded: what the readers make of them.

``python -m tests.benchmarks.fuzz --cases 2000 --seed 0`` makes that many files from small valid
ones (flipped bits, cuts, splices, extreme numbers, deep nesting, NaN) and reads each as the program
would. Whatever a file holds, a reader returns something usable or raises one of the package's own
errors in one line, within 20 seconds and 2 GB, and leaves nothing half-written.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .fuzz_seeds import KINDS, Kind, seeds_of

__all__ = ["Failure", "mutated", "run"]

LONGEST_SECONDS = 20
MOST_BYTES = 2 << 30
LONGEST_LINE = 2000
BATCH = 40
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 8,
            2**36 - 1, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
WORDS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e-999", b"null", b"true", b'""', b"[]",
         b"{}", b"9" * 400, b"-" + b"9" * 30, b"0", b"-0.0", b"1e400", b"\\u0000", b"\xff\xfe",
         b"[" * 5000, b'{"a":' * 3000, b"../../../etc/passwd", b"/dev/zero", b"%s%n", b"\x1b[2J",
         b"1_0", "\N{ARABIC-INDIC DIGIT ONE}".encode(), b"," * 2000, b"\n" * 2000)  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """A case that did what none may do.

    Attributes
    ----------
    kind, name : str
        Of the seed.
    case : int
        Its number in the run, which makes the same file again.
    what : str
        What happened.
    """

    kind: str
    name: str
    case: int
    what: str


def mutated(content: bytes, generator: np.random.Generator, others: Sequence[bytes]) -> bytes:
    """Damage a file in one to four ways; of twenty one is left as it is."""
    if generator.random() < 0.05:
        return content
    changed = bytearray(content)
    for _ in range(int(generator.integers(1, 5))):
        change = CHANGES[int(generator.integers(len(CHANGES)))]
        changed = change(changed, generator, others)
    return bytes(changed)


def _place(changed: bytearray, generator: np.random.Generator) -> int:
    """An offset, half of the time within the first bytes, where headers are."""
    reach = len(changed) if generator.random() < 0.5 else min(len(changed), 256)
    return int(generator.integers(0, max(reach, 1)))


def _flip(changed: bytearray, generator: np.random.Generator, _: Sequence[bytes]) -> bytearray:
    for _unused in range(int(generator.integers(1, 9))):
        if changed:
            changed[_place(changed, generator) % len(changed)] ^= 1 << int(generator.integers(8))
    return changed


def _cut(changed: bytearray, generator: np.random.Generator, _: Sequence[bytes]) -> bytearray:
    at = _place(changed, generator)
    return changed[:at] if generator.random() < 0.7 else changed[at:]


def _splice(
    changed: bytearray, generator: np.random.Generator, others: Sequence[bytes]
) -> bytearray:
    other = others[int(generator.integers(len(others)))]
    start = int(generator.integers(0, len(other) + 1))
    part = other[start : start + int(generator.integers(1, 4096))]
    at = _place(changed, generator)
    return changed[:at] + part + changed[at + len(part) * int(generator.integers(0, 2)) :]


def _extreme(changed: bytearray, generator: np.random.Generator, _: Sequence[bytes]) -> bytearray:
    width = int(generator.choice([1, 2, 4, 8]))
    number = EXTREMES[int(generator.integers(len(EXTREMES)))] % 256**width
    order = "little" if generator.random() < 0.5 else "big"
    at = _place(changed, generator)
    changed[at : at + width] = number.to_bytes(width, order)
    return changed


def _word(changed: bytearray, generator: np.random.Generator, _: Sequence[bytes]) -> bytearray:
    """Put a word where a number or a text stands, or anywhere."""
    word = WORDS[int(generator.integers(len(WORDS)))]
    digits = [i for i, byte in enumerate(changed[:20000]) if 48 <= byte <= 57]
    if digits and generator.random() < 0.7:
        first = last = digits[int(generator.integers(len(digits)))]
        while last < len(changed) and changed[last : last + 1] in b"0123456789.eE+-":
            last += 1
        return changed[:first] + word + changed[last:]
    at = _place(changed, generator)
    return changed[:at] + word + changed[at:]


def _repeat(changed: bytearray, generator: np.random.Generator, _: Sequence[bytes]) -> bytearray:
    at = _place(changed, generator)
    part = changed[at : at + int(generator.integers(1, 64))]
    return changed[:at] + part * int(generator.integers(2, 2000)) + changed[at:]


def _zeros(changed: bytearray, generator: np.random.Generator, _: Sequence[bytes]) -> bytearray:
    at, length = _place(changed, generator), int(generator.integers(1, 5000))
    fill = bytes(length) if generator.random() < 0.5 else generator.bytes(length)
    changed[at : at + length] = fill
    return changed


CHANGES: tuple[Callable[..., bytearray], ...] = (
    _flip, _flip, _cut, _splice, _extreme, _extreme, _word, _word, _repeat, _zeros,
)  # fmt: skip


def run(
    cases: int, seed: int, say: Callable[[str], None] = lambda _: None, jobs: int = 1
) -> list[Failure]:
    """Run cases in batches, each batch in a process of its own.

    Parameters
    ----------
    cases : int
        How many.
    seed : int
        Of every case, with its number.
    say : callable
        Called with a line after each batch.
    jobs : int
        Batches at a time.

    Returns
    -------
    list of Failure
        Empty where all is well.
    """
    failures: list[Failure] = []
    waiting = [(first, min(first + BATCH, cases)) for first in range(0, cases, BATCH)]
    running: list[_Batch] = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        seeds = seeds_of(Path(folder) / "seeds")
        while waiting or running:
            while waiting and len(running) < jobs:
                first, last = waiting.pop(0)
                running.append(_started(seeds, first, last, seed, Path(folder) / f"{first}"))
            for batch in running[:]:
                child, status = os.waitpid(batch.child, os.WNOHANG)
                if child == 0:
                    continue
                running.remove(batch)
                done, found = _result(batch, status)
                failures += found
                if done < batch.last:
                    waiting.insert(0, (done, batch.last))
                say(f"{done} of {cases}, {len(failures)} failures")
            time.sleep(0.02)
    return sorted(failures, key=lambda failure: failure.case)


class _Batch(NamedTuple):
    """Cases that a process reads."""

    child: int
    last: int
    log: Path


def _started(
    seeds: dict[str, list[Path]], first: int, last: int, seed: int, folder: Path
) -> _Batch:
    """Start a process that reads the cases from `first` to before `last`."""
    folder.mkdir()
    log = folder.with_suffix(".log")
    log.write_text("")
    child = os.fork()
    if child == 0:
        try:
            _work(seeds, first, last, seed, folder, log)
        finally:
            os._exit(0)
    return _Batch(child, last, log)


def _result(batch: _Batch, status: int) -> tuple[int, list[Failure]]:
    """Read what a process found; where it died, the cases behind that one are still to be read."""
    lines = [json.loads(line) for line in batch.log.read_text().splitlines()]
    found = [Failure(**line) for line in lines if line.get("what")]
    if not os.WIFSIGNALED(status):
        return batch.last, found
    case = lines[-1]
    number = os.WTERMSIG(status)
    what = f"ran longer than {LONGEST_SECONDS} s" if number == signal.SIGALRM else "was killed"
    found.append(Failure(case["kind"], case["name"], case["case"], f"{what} ({number})"))
    return case["case"] + 1, found


def _work(
    seeds: dict[str, list[Path]], first: int, last: int, seed: int, folder: Path, log: Path
) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    limit = _virtual_bytes() + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # A fork has none of the threads that its parent's loops would wait for.
    torch.set_num_threads(1)
    names = list(KINDS)
    shares = np.array([KINDS[name].share for name in names], float)
    with log.open("a", buffering=1) as said:
        for case in range(first, last):
            generator = np.random.default_rng((seed, case))
            kind = names[int(generator.choice(len(names), p=shares / shares.sum()))]
            source = seeds[kind][int(generator.integers(len(seeds[kind])))]
            about = {"kind": kind, "name": source.name, "case": case}
            said.write(json.dumps({**about, "what": ""}) + "\n")
            others = [path.read_bytes() for path in seeds[kind] if path.is_file()]
            path = _made(source, folder / str(case), generator, others)
            signal.alarm(LONGEST_SECONDS)
            what = _outcome(KINDS[kind], path)
            signal.alarm(0)
            if what:
                said.write(json.dumps({**about, "what": what}) + "\n")
            shutil.rmtree(folder / str(case), ignore_errors=True)


def _made(
    source: Path, folder: Path, generator: np.random.Generator, others: Sequence[bytes]
) -> Path:
    """Write a damaged copy of a file, or of a folder of which one file is damaged."""
    folder.mkdir()
    path = folder / source.name
    if source.is_file():
        path.write_bytes(mutated(source.read_bytes(), generator, others))
        return path
    shutil.copytree(source, path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    chosen = files[int(generator.integers(len(files)))]
    inside = [each.read_bytes() for each in files]
    chosen.write_bytes(mutated(chosen.read_bytes(), generator, inside))
    return path


def _outcome(kind: Kind, path: Path) -> str:
    """Read a file as the program does; what no reader may do, in words, or nothing."""
    from diffconsole.cli.common import describe
    from diffconsole.errors import DiffconsoleError

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    what = ""
    try:
        kind.read(path)
    except DiffconsoleError as error:
        line = describe(error) or ""
        longest = max(len(line), len(str(error)))
        if "\n" in line or not line or longest > LONGEST_LINE:
            what = f"said too much: {line[:300]!r} ({longest} characters)"
    except BaseException as error:  # noqa: BLE001 - that is what is looked for.
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        what = f"{type(error).__name__}: {str(error)[:200]} ({place})"
    if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 > MOST_BYTES:
        what += " took more than 2 GB"
    left = [each.name for each in path.parent.rglob(".diffconsole-*")]
    return what + (f" left {left}" if left else "")


def _virtual_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 64 << 30
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Run from the command line; exit code 1 where a case failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    began = time.monotonic()
    failures = run(
        arguments.cases, arguments.seed, lambda line: print(line, file=sys.stderr), arguments.jobs
    )
    for failure in failures:
        print(f"{failure.kind} {failure.name} (case {failure.case}): {failure.what}")
    count = collections.Counter(failure.kind for failure in failures)
    print(
        f"{arguments.cases} cases in {time.monotonic() - began:.0f} s, {len(failures)} failures "
        f"{dict(count)}"
    )
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
