"""How well fine-tuning learns a studio's sound, by the number of the studio's pairs.

Three virtual studios (:mod:`tests.benchmarks.virtual_studios`) mix vocals; the distance to their
mixes is measured on twelve vocals of people whom nobody has heard: neither the pretraining nor the
studio's pairs. Against each other:

- ``level``: the raw vocal at the mix's loudness;
- ``fixed``: the best fixed preset for the studio's pairs, on raw levelled to −18 LUFS;
- ``ridge``: a regression from log-mel statistics to the pairs' matched settings;
- ``random``: our network from random weights, every layer trained;
- ``pretrained``: our network as it is shipped, fine-tuned;
- ``optimum``: what `match` finds for each vocal from the mix itself.

Gap closed = (fixed − pretrained) / (fixed − optimum). Three seeds with 50 pairs, each with pairs
of its own, one seed elsewhere. The cheapest cells go first. Each result is a line of the results
file; cells that are there are not measured again, and a run that was stopped, even killed, goes
on where it was. With an encoder, ``--model aisfx:WHEEL``, ``pretrained`` starts from that one and a
head that knows nothing. A model given by ``--model`` must not know the people of the studios
(``virtual_studios.PRETRAINING_PEOPLE_HELD_OUT``).

Run: ``python -m tests.benchmarks.studios --results FILE --cache FOLDER [--minutes M]
[--only SYSTEMS] [--studios NAMES] [--sizes N,…] [--model FOLDER] [--json]``.
Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffconsole import Predictor
from diffconsole.encoders import FAMILIES
from diffconsole.model.predictor import default_model
from diffconsole.pairs import Pair
from diffconsole.pairs.evaluation import (
    choose_fixed,
    fixed_distance,
    level_distance,
    model_distance,
    preset_distance,
)
from diffconsole.strip.preset import factory_presets
from diffconsole.training.finetuning.finetune import FinetuneOptions
from diffconsole.training.pretraining.new_model import new_model
from diffconsole.training.pretraining.pretrain_options import with_present_names
from tests.benchmarks.first_model import middle_of_statistics
from tests.benchmarks.match import Talk
from tests.benchmarks.studio_materials import Materials, OutOfTime
from tests.benchmarks.studio_results import (
    SYSTEMS,
    WITHOUT_TRAINING,
    Cell,
    Result,
    Table,
    append,
    bars_of,
    read,
)
from tests.benchmarks.studio_systems import Ridge, fine_tuned, random_model
from tests.benchmarks.virtual_studios import (
    PRETRAINING_PEOPLE_HELD_OUT,
    STUDIOS,
    VOICES,
)

SIZES = (10, 25, 50, 100, 200, 500)
SEEDS = {50: 3}
VOCALS = 12
# Seconds on one core, for the order of the cells alone: of a cell, and of each pair in it.
COSTS = {
    "level": (2.0, 0.0),
    "fixed": (30.0, 0.0),
    "ridge": (15.0, 3.0),
    "pretrained": (60.0, 12.0),
    "random": (90.0, 15.0),
    "optimum": (700.0, 0.0),
}


def cells_of(studios: list[str], sizes: list[int], systems: list[str]) -> list[Cell]:
    """All cells, the cheapest first."""
    cells = []
    for studio in studios:
        for system in systems:
            if system in WITHOUT_TRAINING:
                cells.append(Cell(studio, 0, 0, system))
                continue
            for size in sizes:
                cells += [Cell(studio, size, s, system) for s in range(SEEDS.get(size, 1))]
    return sorted(cells, key=cost_seconds)


def cost_seconds(cell: Cell) -> float:
    """Roughly what a cell costs."""
    once, each = COSTS[cell.system]
    return once + each * cell.pairs


def model_digest(folder: Path) -> str:
    """Eight letters for the weights of a model."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:8]


@dataclass(frozen=True)
class Bench:
    """What all cells share.

    Attributes
    ----------
    cache, model : Path
        Folder of materials, and the pretrained model.
    vocals : int
        Of unheard people, that are measured.
    train_minutes : float
        Most for one fine-tuning.
    deadline : float
        By :func:`time.monotonic`.
    device : str
        To train and search on.
    say : callable
        Takes lines of progress.
    """

    cache: Path
    model: Path
    vocals: int
    train_minutes: float
    deadline: float
    device: str
    say: Callable[[object], None]

    def materials(self, studio: str) -> Materials:
        """Return those of a studio."""
        return Materials(STUDIOS[studio], self.cache, self.deadline, self.device)

    def key(self, cell: Cell) -> tuple[str, str]:
        """Digests of materials and weights that a result is of."""
        weights = model_digest(self.model) if cell.system == "pretrained" else ""
        return self.materials(cell.studio).key, weights

    def measure(self, cell: Cell) -> Result:
        """Measure a cell.

        Raises
        ------
        OutOfTime
            At the deadline; what was made until then is kept.
        """
        began, worked = time.monotonic(), time.process_time()
        materials = self.materials(cell.studio)
        info: dict[str, Any] = {}
        if cell.system == "optimum":
            labels = materials.labels("test", range(self.vocals), quick=False)
            distances = [label.distance for label in labels]
        else:
            process, info = self._distance_of(cell, materials)
            distances = [process(materials.pair("test", n)) for n in range(self.vocals)]
        # Measured: nobody needs the state of its training any more.
        shutil.rmtree(self._run_folder(cell, materials), ignore_errors=True)
        seconds = round(time.monotonic() - began, 1)
        # Of a cell that was stopped and goes on, both are those of the last run.
        info["cpu_seconds"] = round(time.process_time() - worked, 1)
        return Result(cell, *self.key(cell), distances, seconds, info)

    def _run_folder(self, cell: Cell, materials: Materials) -> Path:
        """Where a fine-tuning keeps its state."""
        weights = self.key(cell)[1] or cell.system
        name = f"run-{weights}-{cell.pairs}-{cell.seed}-{self.train_minutes:g}"
        return materials.folder / name

    def _distance_of(
        self, cell: Cell, materials: Materials
    ) -> tuple[Callable[[Pair], float], dict[str, Any]]:
        """The learnt system, as the distance of its result to a pair's mix."""
        if cell.system == "level":
            return level_distance, {}
        numbers = materials.training_numbers(cell.pairs, cell.seed)
        pairs = [materials.pair("train", n) for n in numbers]
        if cell.system == "fixed":
            presets = {**factory_presets(), "middle of the statistics": middle_of_statistics()}
            fixed = choose_fixed(pairs, presets)
            return lambda pair: fixed_distance(pair, fixed), {"preset": fixed.name}
        labels = materials.labels("train", numbers, quick=True)
        matched = sum(label.distance for label in labels) / len(labels)
        info: dict[str, Any] = {"matched": round(matched, 4)}
        if cell.system == "ridge":
            ridge = Ridge(pairs, labels)
            return lambda pair: preset_distance(pair, ridge.preset(pair)), info
        model = Predictor.load(self.model)
        random = cell.system == "random"
        if random:
            model = random_model(model, pairs, labels, cell.seed)
        folder = self._run_folder(cell, materials)
        info |= fine_tuned(
            model, pairs, folder, cell.seed, labels,
            all_layers=random, minutes=self.train_minutes, device=self.device,
            deadline=self.deadline, say=lambda line: self.say(f"  {line}"),
        )  # fmt: skip
        return lambda pair: model_distance(pair, model), info


def model_folder(text: str, cache: Path) -> Path:
    """A model's folder as it was given, or one that is built on an encoder."""
    if Path(text).is_dir() or text.partition(":")[0] not in FAMILIES:
        return Path(text)
    folder = cache / f"on-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    if not (folder / "model.json").is_file():
        new_model(text).save(folder, {"encoder": text})
    return folder


def listed(text: str) -> list[str]:
    """Words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def run(bench: Bench, cells: list[Cell], path: Path) -> list[Result]:
    """Measure what is not there yet, until the time is over; return all results of the cells."""
    found, left = [], []
    there = read(path)
    for cell in cells:
        key = bench.key(cell)
        results = [r for r in there if r.is_of(cell, *key, bench.vocals)]
        found += results[:1]
        left += [] if results else [cell]
    bench.say(f"{len(cells)} cells, {len(left)} to measure")
    for number, cell in enumerate(left, start=1):
        bench.say(f"{number}/{len(left)} {cell.studio}, {cell.pairs} pairs, {cell.system}")
        try:
            if time.monotonic() > bench.deadline:
                raise OutOfTime
            result = bench.measure(cell)
        except OutOfTime:
            bench.say(f"out of time with {len(left) - number + 1} cells to measure: run it again")
            break
        append(path, result)
        found.append(result)
        bench.say(f"  {result.distance:.3f} in {result.seconds:.0f} s {result.info}")
    return found


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, required=True, help="JSON lines, added to")
    parser.add_argument("--cache", type=Path, required=True, help="folder for pairs and labels")
    parser.add_argument("--minutes", type=float, default=math.inf, help="time budget")
    parser.add_argument("--only", default=",".join(SYSTEMS), help="systems, by commas")
    parser.add_argument("--studios", default=",".join(STUDIOS), help="by commas")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="by commas")
    parser.add_argument("--vocals", type=int, default=VOCALS, help="of unheard people")
    parser.add_argument(
        "--model",
        default=str(default_model()),
        help="pretrained: a folder, or an encoder NAME:PATH",
    )
    parser.add_argument(
        "--train-minutes", type=float, default=FinetuneOptions.minutes, help="of a fine-tuning"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", action="store_true", help="table and bars as JSON on stdout")
    arguments = parser.parse_args()
    arguments.only, arguments.studios = listed(arguments.only), listed(arguments.studios)
    for name, known in (("only", SYSTEMS), ("studios", STUDIOS)):
        unknown = sorted(set(getattr(arguments, name)) - set(known))
        if unknown:
            parser.error(f"--{name}: {unknown[0]!r} is not one of {', '.join(known)}")
    try:
        arguments.sizes = sorted({int(size) for size in listed(arguments.sizes)})
    except ValueError:
        parser.error(f"--sizes {arguments.sizes}: not numbers")
    if not arguments.sizes or arguments.sizes[0] < 2 or arguments.vocals < 1:
        parser.error("at least 2 pairs and 1 vocal are needed")
    return arguments


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    arguments = parse()
    if not VOICES.is_dir():
        print(f"no voices in {VOICES}: nothing to measure on")
        return 2
    say = Talk(arguments.json)
    arguments.model = model_folder(arguments.model, arguments.cache)
    model = Predictor.load(arguments.model)
    ours = model.encoder.name == "logmel"
    options = model.info.get("options", {})
    options = with_present_names(options)
    known = [*options.get("held_out", []), *options.get("validation", [])]
    trained_on = sorted(set(PRETRAINING_PEOPLE_HELD_OUT) - set(known))
    if ours and trained_on and "pretrained" in arguments.only:
        say(f"WARNING: {arguments.model} was pretrained on people measured here: {trained_on}")
    deadline = time.monotonic() + 60.0 * arguments.minutes
    bench = Bench(
        arguments.cache, arguments.model, arguments.vocals, arguments.train_minutes, deadline,
        arguments.device, say,
    )  # fmt: skip
    cells = cells_of(arguments.studios, arguments.sizes, arguments.only)
    table = Table(run(bench, cells, arguments.results), arguments.studios)
    bars = bars_of(table)
    say(f"\n{table}\n")
    for bar in bars:
        say(bar)
    if arguments.json:
        rows = [{k: None if v != v else v for k, v in row.items()} for row in table.rows()]
        verdicts = [
            {"name": b.name, "value": b.value, "bar": b.bar, "missed": b.missed}
            for b in bars
            if b.measured
        ]
        print(json.dumps({"trained_on": trained_on, "rows": rows, "bars": verdicts}, indent=2))
    return int(any(bar.missed for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
