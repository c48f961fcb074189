"""How many takes a second on a Ray cluster of this machine, by plain tasks and by Ray Data.

``python -m tests.benchmarks.ray_archive`` starts two nodes with a core each, applies a preset to
short takes with two processes (no Ray), with ``--ray``'s executor and with a pipeline of Ray Data
that calls the same function, and prints a line of JSON for each, best and worst of three.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from diffconsole import __version__
from diffconsole.jobs.many import Task, Work
from diffconsole.jobs.many.on_ray import OnRay
from diffconsole.jobs.many.processes import Processes
from diffconsole.jobs.many.ray_node import work_on_node
from diffconsole.strip.preset import find_preset


def works_in(folder: Path, count: int, seconds: float) -> tuple[Task, list[Work]]:
    """Takes of noise bursts, and what is to be done with them."""
    rng = np.random.default_rng(0)
    works = []
    for number in range(count):
        take = folder / "in" / f"{number:04}.wav"
        take.parent.mkdir(exist_ok=True)
        samples = 0.1 * rng.standard_normal(int(44100 * seconds)).astype(np.float32)
        soundfile.write(take, samples, 44100)
        target = folder / "out" / take.name
        works.append(Work(number, take.name, {"raw": str(take)}, {"audio": str(target)}))
    return Task("apply", {"preset": find_preset("lead_vocal_pop").to_json(), "audio": {}}), works


@contextmanager
def cluster() -> Iterator[str]:
    """Two nodes with a core each, and a head that does no work; its address."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(2):
            made.add_node(num_cpus=1)
        made.wait_for_nodes()
        yield made.address
    finally:
        ray.shutdown()
        made.shutdown()


def by_ray_data(address: str, task: Task, works: list[Work]) -> int:
    """Do the works in a pipeline of Ray Data; how many were done."""
    import ray

    ray.init(address=address, log_to_driver=False, logging_level="error")
    try:
        files = ray.put({})
        line = task.to_json()

        def do(row: dict[str, Any]) -> dict[str, Any]:
            answer = work_on_node(__version__, None, line, [files], row["work"])
            return {"state": json.loads(answer)["state"]}

        rows = [{"work": work.to_json()} for work in works]
        data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(do)
        return sum(row["state"] == "done" for row in data.iter_rows())
    finally:
        ray.shutdown()


def main() -> None:
    """Measure, and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--takes", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, cluster() as address:
        folder = Path(place)
        task, works = works_in(folder, options.takes, options.seconds)

        def done(outcomes: Iterator[Any]) -> int:
            return sum(outcome.state == "done" for outcome in outcomes)

        ways: dict[str, Callable[[], int]] = {
            "two processes": lambda: done(Processes(2).run(task, works)),
            "ray tasks": lambda: done(OnRay(address).run(task, works)),
            "ray data": lambda: by_ray_data(address, task, works),
        }
        for name, way in ways.items():
            rates = []
            for _ in range(3):
                shutil.rmtree(folder / "out", ignore_errors=True)
                began = time.perf_counter()
                assert way() == len(works)
                rates.append(len(works) / (time.perf_counter() - began))
            line = {"way": name, "takes/s": round(max(rates), 2), "worst": round(min(rates), 2)}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
