"""Everything that only a GPU can show, in one command of six minutes at most.

First the tests that run on a CUDA device where there is one, then the console's benchmark, then a
training step of every job with its time: pretraining, fine-tuning (one strip, head, top stages),
the settings near a strip, matching, prediction. What failed is printed, and written as JSON.

Run: ``python -m tests.benchmarks.gpu [--json FILE]``. Without a GPU it says so and exits with 2;
``--rehearse`` goes through the same parts on the CPU, small. Exits with 1 where anything failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffconsole.model.predictor import Predictor
from diffconsole.pairs import Pair
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.training.distributed import SINGLE_PROCESS
from diffconsole.training.finetuning.finetune_options import FinetuneOptions
from diffconsole.training.finetuning.map_estimates import map_estimates_of
from diffconsole.training.finetuning.stages import SEEN, TRAINED, Work
from diffconsole.training.matching import search
from diffconsole.training.matching.plan import Plan, Round
from diffconsole.training.pretraining.examples import SOUNDS
from diffconsole.training.pretraining.pretrain_model import PretrainModel

from ..synthetic import RATE, pair, voice

TESTS = ("tests/modules/test_gpu_kernels.py", "tests/training/test_devices.py")
MOST_SECONDS, TESTS_SECONDS, CONSOLE_SECONDS = 345.0, 150.0, 120.0
ROOT = Path(__file__).parents[2]
JOBS = ("pretraining", *(f"fine-tuning, {stage}" for stage in TRAINED), "near labels", "matching",
        "prediction")  # fmt: skip


def seconds_of(job: Callable[[], Any], device: str, runs: int) -> float:
    """Return the median time of a job, after a first run."""
    job()
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        job()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return float(np.median(found))


def pretraining_step(device: str, batch: int) -> Callable[[], None]:
    """A step of pretraining on noise."""
    pretrain_model = PretrainModel(False).to(device).train()
    optimizer = torch.optim.AdamW(pretrain_model.parameters(), lr=1e-4)
    heard = torch.randn(batch, SOUNDS, 128, 216).half().to(device)
    target = torch.rand(batch, SOUNDS, len(PARAMETERS)).to(device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        pretrain_model(heard, target)["sum"].mean().backward()
        torch.nn.utils.clip_grad_norm_(pretrain_model.parameters(), 5.0)
        optimizer.step()

    return step


def finetuning(pairs: list[Pair], device: str, batch: int) -> Work:
    """The work of a fine-tuning whose labels are known."""
    model = Predictor.load().to(device)
    work = Work(model, pairs[1:], pairs[:1], FinetuneOptions(batch=batch), device, SINGLE_PROCESS)
    work.learn(torch.full((len(pairs) - 1, len(PARAMETERS)), 0.45))
    work.start_studio()
    work.standardise_inputs()
    work.set_anchor({f"head.{name}": value for name, value in model.head.state_dict().items()})
    return work


def finetuning_step(work: Work, stage: str, batch: int) -> Callable[[], float]:
    """A step of one of its stages."""
    optimizer = work.optimizer(stage)
    rows = torch.arange(batch) % len(work.places[0])
    return lambda: work.step(optimizer, stage, 0, rows)


def map_estimates(work: Work) -> None:
    """The settings near the strip, for all pairs."""
    prints = [each.name for each in work.train.pairs]
    with tempfile.TemporaryDirectory() as folder:
        found = map_estimates_of(
            work.train, work.places[0], prints, work.strip(), SEEN, work.console, work.lead,
            Path(folder), device=work.device,
        )  # fmt: skip
    assert bool(found.isfinite().all())


def matching(pairs: list[Pair], device: str, steps: int) -> None:
    """A search of few steps."""
    plan = Plan((Round(4.0, steps, 0.05, 8, 1),), thorough=False)
    found, _ = search.search(pairs, plan, device=device)
    assert all(np.isfinite(each.distance) for each in found)


def training_steps(device: str, rehearsal: bool, left: Callable[[], float]) -> dict[str, Any]:
    """Time a step of every job; a text where one fails or no time is left."""
    batch, count, seconds = (2, 2, 1.0) if rehearsal else (32, 8, 10.0)
    runs = 1 if rehearsal else 5
    torch.manual_seed(0)
    pairs = [pair(seed, seconds=seconds) for seed in range(count)]
    work: list[Work] = []

    def for_stage(stage: str) -> Callable[[], Any]:
        if not work:
            work.append(finetuning(pairs, device, batch))
        return finetuning_step(work[0], stage, batch)

    def prediction() -> Callable[[], Any]:
        model = Predictor.load(device=device)
        take = voice(seconds, 1)[None]
        return lambda: model.predict(take, RATE)

    makers: dict[str, Callable[[], Callable[[], Any]]] = {
        "pretraining": lambda: pretraining_step(device, batch),
        **{f"fine-tuning, {s}": lambda s=s: for_stage(s) for s in TRAINED},  # type: ignore[misc]
        "near labels": lambda: for_stage("studio") and (lambda: map_estimates(work[0])),
        "matching": lambda: lambda: matching(pairs[:2], device, 1 if rehearsal else 10),
        "prediction": prediction,
    }
    found: dict[str, Any] = {}
    for name in JOBS:
        if left() <= 0.0:
            found[name] = "no time was left"
            continue
        try:
            found[name] = round(seconds_of(makers[name](), device, runs), 5)
        except Exception as error:
            traceback.print_exc()
            found[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return found


def ran(command: list[str], seconds: float) -> dict[str, Any]:
    """Run a command from the project's root; its end, and what it said last."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, timeout=max(seconds, 1.0), check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        code, said = done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        text = error.stdout or b""
        code, said = None, text.decode(errors="replace") if isinstance(text, bytes) else text
    took = round(time.monotonic() - began, 1)
    lines = said.strip().splitlines()
    return {"exit": code, "seconds": took, "failed": code != 0, "output": lines[-40:]}


def main(arguments: list[str] | None = None) -> int:
    """Run all parts and print what failed; 1 if anything did, 2 without a GPU."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="write what was found there too")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, small")
    options = parser.parse_args(arguments)
    device = "cpu" if options.rehearse else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing to run; --rehearse goes through it on the CPU")
        return 2
    began = time.monotonic()

    def left() -> float:
        return MOST_SECONDS - (time.monotonic() - began)

    name = "rehearsal" if options.rehearse else torch.cuda.get_device_name()
    found: dict[str, Any] = {"device": name, "torch": torch.__version__}
    # A test at a time is enough to know that the command works.
    chosen = ["-k", "mixed_devices_are_noticed"] if options.rehearse else []
    found["tests"] = ran(["-m", "pytest", "-q", "-rf", *TESTS, *chosen], TESTS_SECONDS)
    what = ["--help"] if options.rehearse else ["--quick", "--only", "chain,training"]
    found["console"] = ran(
        ["-m", "tests.benchmarks.console", *what], min(CONSOLE_SECONDS, left() - 60.0)
    )
    found["steps"] = training_steps(device, options.rehearse, left)
    found["seconds"] = round(time.monotonic() - began, 1)
    failed = [part for part in ("tests", "console") if found[part]["failed"]]
    for part in failed:
        print(f"{part}: exit {found[part]['exit']} after {found[part]['seconds']} s")
        print("\n".join(f"  {line}" for line in found[part]["output"]))
    for job, value in found["steps"].items():
        print(f"{job:<22}{value if isinstance(value, str) else f'{1e3 * value:9.1f} ms'}")
        failed += [job] if isinstance(value, str) else []
    found["failed"] = failed
    print(f"failed: {', '.join(failed)}" if failed else f"all ran, on {name}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
