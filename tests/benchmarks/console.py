"""How fast the console is: ours beside each peer that is installed, interleaved in one run.

Jobs are EQ (8 sections) + compressor + gains, each of the two alone, the reverb, and the whole
console's training step, on real voices at 44.1 kHz: 8 × 5 s, 32 × 5 s, and one of 3 minutes in mono
and stereo; on the CPU with 1 and 2 threads, and on CUDA where there is a GPU. In a round every
program runs once, so that what else the machine does meets all of them; figures are medians.
"forward+backward" goes from a given gradient of the output to the audio and to every setting.
Errors are against the float64 reference of our definition, for those that define the processor
alike. Exits with 1 where a bar is missed.

Run: ``python -m tests.benchmarks.console [--quick] [--only chain,reverb] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffconsole.strip.parameters import PARAMETERS
from tests.benchmarks import peers
from tests.benchmarks.peers import Contender
from tests.reference import compress, error_db, sections, strip

VOICES = Path(__file__).parents[2].parent / "shared" / "data" / "voices"
PEOPLE = ("makam_idil", "kathleen", "makam_goekhan", "tofugu_male", "makam_guelen")
RATE = 44100
LONG_SECONDS, SHORT_SECONDS = 180, 5
# A program that needs longer than the first for a run gets two runs, than the second only one.
SLOW_SECONDS, SLOWEST_SECONDS, SLOW_RUNS = 4.0, 60.0, 2
JOBS = ("chain", "eq", "compressor", "reverb", "training")


# --- material --------------------------------------------------------------------------------


def voices(batch: int, channels: int, seconds: int) -> Tensor:
    """Real voices one after the other, ``(batch, channels, samples)``; else noise."""
    samples = RATE * seconds
    clips = [p for person in PEOPLE for p in sorted((VOICES / person).glob("*.opus"))[:8]]
    if clips:
        import soundfile
        import soxr

        parts, have = [], 0
        for path in clips:
            mono, rate = soundfile.read(path, dtype="float32", always_2d=True)
            parts.append(soxr.resample(mono[:, 0], rate, RATE))
            have += len(parts[-1])
            if have >= batch * channels * samples:
                break
        flat = np.resize(np.concatenate(parts), batch * channels * samples)
    else:
        print("no ../shared/data/voices beside the project: noise is used", file=sys.stderr)
        flat = 0.1 * np.random.default_rng(0).standard_normal(batch * channels * samples)
    rows = torch.from_numpy(flat.astype(np.float32)).reshape(batch, channels, samples)
    if channels == 2:
        # A take is one voice on both sides, not two people.
        rows[:, 1] = 0.8 * rows[:, 0].roll(23, dims=-1)
    return rows.contiguous()


def settings_for(batch: int, device: str) -> dict[str, Tensor]:
    """A strip for each item, from the inner half of every range."""
    generator = torch.Generator().manual_seed(7)
    found = {}
    for parameter in PARAMETERS:
        unit = 0.25 + 0.5 * torch.rand(batch, generator=generator)
        if parameter.section in ("input_gain", "output_gain"):
            unit = 0.5 + 0.05 * (unit - 0.5)
        found[parameter.key] = parameter.to_physical(unit).to(device)
    return found


def expected(job: str, audio: Tensor, settings: dict[str, Tensor], who: Contender) -> np.ndarray:
    """The float64 reference of one program's job."""
    from scipy import signal

    rows = []
    for i, item in enumerate(audio.cpu().numpy().astype(np.float64)):
        own = {key: float(value[i]) for key, value in settings.items()}
        if who.hard_knee:
            own["compressor.knee_db"] = 0.0
        if job == "chain":
            rows.append(strip(item, RATE, own, who.off))
        elif job == "eq":
            rows.append(signal.sosfilt(sections(RATE, own, who.off), item))
        else:
            dynamics = {k.split(".")[1]: v for k, v in own.items() if k.startswith("compressor.")}
            rows.append(compress(item, RATE, dynamics))
    return np.stack(rows)


# --- timing ----------------------------------------------------------------------------------


@dataclass
class Figures:
    """What was measured of one program on one job."""

    name: str
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"forward": [], "step": []})
    error: float | None = None

    def median(self, kind: str) -> float:
        """Median seconds of ``forward`` or ``step``; NaN where it was not run."""
        found = self.seconds[kind]
        return float(np.median(found)) if found else math.nan


def timed(function: Callable[[], Any], device: str) -> float:
    """Seconds of one call, until the device has finished."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def interleaved(contenders: Iterable[Contender], runs: int, device: str) -> dict[str, Figures]:
    """Time all programs in rounds."""
    tasks = []
    figures: dict[str, Figures] = {}
    for who in contenders:
        figures[who.name] = Figures(who.name)
        for kind, function in (("forward", who.forward), ("step", who.step)):
            if function is None:
                continue
            # The first run loads and compiles, on a cold cache for many seconds.
            first = timed(function, device)
            left = runs
            if first > SLOW_SECONDS:
                # A slow program's first run is a fair one; what it loads is small beside it.
                took = first if who.slow else timed(function, device)
                figures[who.name].seconds[kind].append(took)
                left = (SLOW_RUNS if took > SLOW_SECONDS else runs) - 1
                left = 0 if took > SLOWEST_SECONDS else left
            tasks.append([who.name, kind, function, left])
    while any(task[3] > 0 for task in tasks):
        for task in tasks:
            name, kind, function, left = task
            if left > 0:
                figures[name].seconds[kind].append(timed(function, device))
                task[3] -= 1
    return figures


# --- what is run -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One job on one shape."""

    job: str
    batch: int
    channels: int
    seconds: int

    def __str__(self) -> str:
        width = "stereo" if self.channels == 2 else "mono"
        length = f"{self.seconds // 60} min" if self.seconds >= 60 else f"{self.seconds} s"
        return f"{self.job}, {self.batch} x {length} {width}"


def cases(jobs: list[str], quick: bool, device: str) -> Iterator[Case]:
    """Yield what is to be measured."""
    shapes = [(8, 1, SHORT_SECONDS), (1, 1, LONG_SECONDS)]
    if not quick:
        shapes += [(32, 1, SHORT_SECONDS), (1, 2, LONG_SECONDS)]
    if device == "cuda":
        shapes.append((64, 1, SHORT_SECONDS))
    for job in jobs:
        if job == "reverb":
            yield Case(job, 8, 1, SHORT_SECONDS)
        elif job == "training":
            yield Case(job, 8, 2, SHORT_SECONDS)
        else:
            for shape in shapes:
                yield Case(job, *shape)


def run_case(case: Case, device: str, runs: int, kernel: str, errors: bool) -> dict[str, Figures]:
    """Time everyone on a case, and measure errors."""
    audio = voices(case.batch, case.channels, case.seconds).to(device)
    settings = settings_for(case.batch, device)
    if case.job == "reverb":
        who = [peers.our_reverb(audio, settings, RATE)]
        if "dasp_pytorch" not in peers.missing():
            who.append(peers.dasp_reverb(audio, RATE))
    elif case.job == "training":
        who = list(peers.training_parts(audio, settings, RATE, kernel))
    else:
        who = list(peers.contenders(case.job, audio, settings, RATE, kernel))
    figures = interleaved(who, runs, device)
    if errors:
        references: dict[tuple[frozenset[str], bool], np.ndarray] = {}
        for one in who:
            if one.comparable and one.forward is not None:
                key = one.off, one.hard_knee
                if key not in references:
                    references[key] = expected(case.job, audio, settings, one)
                figures[one.name].error = error_db(one.forward().cpu().numpy(), references[key])
    return figures


def show(title: str, figures: dict[str, Figures]) -> None:
    """Print a case as a table: medians, and each against ours."""
    ours = figures["diffconsole"]
    print(f"\n{title}")
    print(f"  {'':<26} {'forward':>12} {'/ ours':>8} {'fwd+bwd':>12} {'/ ours':>8} {'error':>9}")
    for row in figures.values():
        cells = ""
        for kind in ("forward", "step"):
            median = row.median(kind)
            against = median / ours.median(kind)
            cells += f" {'-':>12} {'':>8}" if math.isnan(median) else f" {1e3 * median:>9.2f} ms"
            cells += "" if math.isnan(median) else f" {against:>8.2f}"
        error = "" if row.error is None else f"{row.error:.1f} dB"
        print(f"  {row.name:<26}{cells} {error:>9}")


@dataclass(frozen=True)
class Bar:
    """A ratio that must be reached in one case."""

    text: str
    case: Case
    device: str
    kind: str
    peer: str
    least: float = 0.0
    most: float = math.inf
    """Bound of ours over the peer's, where ours is the slower."""

    def verdict(self, figures: dict[str, Figures]) -> tuple[str, bool]:
        """Say the figure, and whether it reaches the bar."""
        if self.peer not in figures:
            return f"{self.text}: {self.peer} is not installed", True
        ours, theirs = (figures[n].median(self.kind) for n in ("diffconsole", self.peer))
        if self.most < math.inf:
            met = ours / theirs <= self.most
            return f"{self.text}: {ours / theirs:.1f} (at most {self.most:g})", met
        met = theirs / ours >= self.least
        return f"{self.text}: {theirs / ours:.1f} (at least {self.least:g})", met


DASP_6 = "dasp-pytorch (6 bands)"
BARS = (
    Bar("chain 8 x 5 s, fwd+bwd, times faster than dasp-pytorch",
        Case("chain", 8, 1, SHORT_SECONDS), "cpu", "step", DASP_6, least=30.0),
    Bar("chain 3 min mono, forward, times faster than pedalboard",
        Case("chain", 1, 1, LONG_SECONDS), "cpu", "forward", "pedalboard (6 bands)", least=3.0),
    Bar("chain 3 min mono, fwd+bwd, times faster than dasp-pytorch",
        Case("chain", 1, 1, LONG_SECONDS), "cpu", "step", DASP_6, least=30.0),
    Bar("compressor 3 min mono, forward, times a memory copy",
        Case("compressor", 1, 1, LONG_SECONDS), "cpu", "forward", "memory copy", most=6.0),
    Bar("reverb 8 x 5 s, 2 s tail, fwd+bwd, times faster than dasp-pytorch",
        Case("reverb", 8, 1, SHORT_SECONDS), "cpu", "step", "dasp-pytorch", least=300.0),
    Bar("GPU: chain 64 x 5 s, fwd+bwd, times faster than dasp-pytorch",
        Case("chain", 64, 1, SHORT_SECONDS), "cuda", "step", DASP_6, least=10.0),
    Bar("GPU: compressor 64 x 5 s, fwd+bwd, times faster than torchcomp",
        Case("compressor", 64, 1, SHORT_SECONDS), "cuda", "step", "torchcomp", least=10.0),
    Bar("GPU: chain 3 min mono, fwd+bwd, times faster than dasp-pytorch",
        Case("chain", 1, 1, LONG_SECONDS), "cuda", "step", DASP_6, least=10.0),
    Bar("GPU: compressor 3 min mono, fwd+bwd, times faster than torchcomp",
        Case("compressor", 1, 1, LONG_SECONDS), "cuda", "step", "torchcomp", least=10.0),
)  # fmt: skip
MOST_ERROR_DB = -90.0


def bandwidth_floor(case: Case) -> str:
    """Say how near the memory's speed a GPU's chain is: audio read and written once, or thrice."""
    audio = voices(case.batch, case.channels, case.seconds).to("cuda")
    target = torch.empty_like(audio)
    copy = float(np.median([timed(lambda: target.copy_(audio), "cuda") for _ in range(20)]))
    return f"a copy of the audio takes {1e3 * copy:.3f} ms"


def main() -> int:
    """Measure and print; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.console",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=7, help="of the fast programs")
    parser.add_argument("--only", default=",".join(JOBS), help="jobs, separated by commas")
    parser.add_argument("--quick", action="store_true", help="8 x 5 s and 3 min mono, 2 threads")
    parser.add_argument("--threads", help="CPU threads, separated by commas; default 1,2")
    parser.add_argument("--kernel", default="", help="force one of our kernels")
    parser.add_argument("--json", type=Path, help="write all figures there too")
    options = parser.parse_args()
    jobs = options.only.split(",")
    if not set(jobs) <= set(JOBS):
        parser.error(f"--only takes {', '.join(JOBS)}")
    for name, why in peers.missing().items():
        print(f"{name}: {why}")
    most = torch.get_num_threads()
    threads = [int(t) for t in (options.threads or ("2" if options.quick else "1,2")).split(",")]
    runs = [("cpu", count) for count in threads]
    if torch.cuda.is_available():
        print(f"GPU: {torch.cuda.get_device_name()}")
        runs.append(("cuda", most))
    else:
        print("no CUDA device: no GPU figures")

    found: dict[tuple[str, int, Case], dict[str, Figures]] = {}
    for device, count in runs:
        torch.set_num_threads(count)
        for case in cases(jobs, options.quick, device):
            errors = case.job in ("chain", "eq", "compressor") and count == threads[-1]
            figures = run_case(case, device, options.runs, options.kernel, errors)
            found[device, count, case] = figures
            where = "GPU" if device == "cuda" else f"CPU, {count} thread{'s'[: count > 1]}"
            show(f"{case}; {where}", figures)
            if device == "cuda":
                print(f"  {bandwidth_floor(case)}")
            sys.stdout.flush()

    print("\nbars")
    all_met = True
    for bar in BARS:
        count = most if bar.device == "cuda" else threads[-1]
        measured = found.get((bar.device, count, bar.case))
        if measured is not None:
            text, met = bar.verdict(measured)
            all_met &= met
            print(f"  {'ok    ' if met else 'MISSED'}  {text}")
    worst = max(
        (f["diffconsole"].error for f in found.values() if f["diffconsole"].error is not None),
        default=None,
    )
    if worst is not None:
        all_met &= worst <= MOST_ERROR_DB
        verdict = "ok    " if worst <= MOST_ERROR_DB else "MISSED"
        print(
            f"  {verdict}  worst error against float64: {worst:.1f} dB (at most {MOST_ERROR_DB:g})"
        )
    if options.json:
        rows = [
            {"case": str(case), "device": device, "threads": count, "program": f.name,
             "seconds": f.seconds, "error_db": f.error}
            for (device, count, case), figures in found.items()
            for f in figures.values()
        ]  # fmt: skip
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
