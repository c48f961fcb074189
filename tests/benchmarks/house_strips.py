"""Fine-tuning on studios whose strip has modules that came later: do they come back?

Real voices, mixed by a house strip (:mod:`tests.benchmarks.finetune`) that has a delay, a gate, a
de-esser, a second compressor, a saturation, a dry share of the first compressor, or none of them,
at the same settings in every mix. The model is fine-tuned on the studio's pairs; then it predicts
the strips of voices of other singers, which are compared with the studio's mixes of them and with
the settings that made these. The audio of the voices is not part of the package.

Run: ``python -m tests.benchmarks.house_strips [--studios slap,none] [--pairs 16] [--seconds 8]
[--steps 90] [--without] [--labels FOLDER] [--json FILE]``; ``--without`` does not look for modules,
``--labels`` keeps the labels for another run, which then does not search them.
Exits with 1 where a studio has a module that the model does not predict, or one is predicted that
it has not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffconsole.console import Console
from diffconsole.model.predictor import Predictor, level_gain_db
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.pairs.evaluation import model_distance
from diffconsole.strip.later import LATER, rest_settings
from diffconsole.strip.parameters import BY_KEY, CHAIN
from diffconsole.strip.preset import Preset
from diffconsole.training.finetuning import finetune as finetune_module
from diffconsole.training.finetuning.finetune import FinetuneOptions, finetune, split_pairs
from diffconsole.training.finetuning.labels import LABELS
from diffconsole.training.finetuning.studio_modules import StudioModules
from tests.benchmarks.finetune import BANDS_HZ, DATA, Studio, takes, tone_db

Settings = Mapping[str, float]

SLAP = {"delay.time_ms": 120.0, "delay.feedback": 0.1, "delay.wet_db": -18.0,
        "delay.width": 0.3, "delay.low_cut_hz": 200.0, "delay.high_cut_hz": 6000.0}  # fmt: skip
DEESSER = {"deesser.freq_hz": 5500.0, "deesser.threshold_db": -14.0, "deesser.range_db": 8.0,
           "deesser.attack_ms": 0.5, "deesser.release_ms": 40.0}  # fmt: skip
GATE = {"gate.threshold_db": -42.0, "gate.ratio": 4.0, "gate.range_db": 20.0,
        "gate.attack_ms": 1.0, "gate.hold_ms": 40.0, "gate.release_ms": 120.0}  # fmt: skip
SECOND = {"compressor_2.threshold_db": -24.0, "compressor_2.ratio": 3.0,
          "compressor_2.attack_ms": 15.0, "compressor_2.release_ms": 400.0,
          "compressor_2.knee_db": 6.0, "compressor_2.makeup_db": 4.0}  # fmt: skip
SATURATION = {"saturation.drive_db": 12.0, "saturation.bias": 0.2, "saturation.mix": 100.0}
STUDIOS: dict[str, Settings] = {
    "none": {},
    "slap": SLAP,
    "deesser": DEESSER,
    "gate": GATE,
    "second": SECOND,
    "saturation": SATURATION,
    "parallel": {"compressor.mix": 50.0},
    "house": {**SLAP, **DEESSER, **SATURATION},
}
"""By name, what the house strip has beside the modules of version 1.0."""


def house_pairs(
    later: Settings, count: int, seconds: float, seed: int, whose: str = "studio"
) -> tuple[list[Pair], list[dict[str, float]]]:
    """Return pairs of a studio and the settings that made their mixes.

    Parameters
    ----------
    later : mapping of str to float
        Settings by key of modules that came later; the others of these are off.
    count, seconds, seed : int, float, int
        Of the voices.
    whose : str
        ``"studio"`` or ``"test"``: these have none in common.
    """
    studio = Studio(seed)
    share = takes(DATA / "voices", 4 * count, seconds, seed + 50)
    names, raws = zip(*share, strict=True)
    is_test = [sum(name.rpartition("_")[0].encode()) % 4 == 0 for name in names]
    chosen = [n for n, test in enumerate(is_test) if test == (whose == "test")][:count]
    rng = np.random.default_rng((seed, 3))
    levelled = [raws[n] * 10.0 ** (level_gain_db(raws[n], PAIR_RATE)[0] / 20.0) for n in chosen]
    tones = [tone_db(take) for take in levelled]
    middle = {name: float(np.median([t[name] for t in tones])) for name in BANDS_HZ}
    on = {BY_KEY[key].module for key in later}
    found, strips = [], []
    for number, take, tone in zip(chosen, levelled, tones, strict=True):
        first = studio.strip_for(tone, middle)
        first = {key: v for key, v in first.items() if BY_KEY[key].module not in LATER}
        strip = {**first, **rest_settings(LATER & on), **later}
        settings = {k: torch.tensor([v], dtype=torch.float64) for k, v in strip.items()}
        audio = torch.from_numpy(take.astype(np.float32))[None]
        with torch.inference_mode():
            mix = Console(PAIR_RATE)(audio, settings)[0].numpy()
        raw = (take * 10.0 ** (rng.uniform(-17.0, 3.0) / 20.0)).astype(np.float32)
        found.append(Pair(names[number], raw, mix.astype(np.float32), 0.0, 1, 1.0))
        strips.append(strip)
    return found, strips


def modules_of(settings: Settings) -> frozenset[str]:
    """Return which modules that came later do something in a strip, by its preset."""
    preset = Preset.from_settings(settings)
    whole, off = preset.settings(), preset.bypass()
    return frozenset(
        module.key
        for module in CHAIN
        if (
            module.key in LATER
            and module.key not in off
            and not (module.is_idle and module.is_idle(module.own(whole), frozenset()))
        )
        or (module.key == "compressor" and whole.get("compressor.mix", 100.0) < 99.0)
    )


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune on a studio's pairs and predict for other voices."""
    later, seed = STUDIOS[name], arguments.seed
    pairs, _ = house_pairs(later, arguments.pairs, arguments.seconds, seed)
    test, strips = house_pairs(later, arguments.test, arguments.seconds, seed, "test")
    options = FinetuneOptions(steps=arguments.steps, seed=seed)
    train, held = split_pairs(pairs, options)
    model, began, worked = Predictor.load(), time.monotonic(), time.process_time()
    before = [model_distance(pair, model) for pair in test]
    start, stage = time.process_time(), "labels"
    stages: dict[str, float] = {}
    last = start

    def report(event: dict[str, Any]) -> None:
        nonlocal stage, last
        now = time.process_time()
        stages[stage] = stages.get(stage, 0.0) + now - last
        stage, last = event["stage"], now

    if arguments.without:
        finetune_module.find_modules = lambda *_, **__: StudioModules()
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        if arguments.labels and (arguments.labels / LABELS).exists():
            shutil.copy(arguments.labels / LABELS, folder / LABELS)
        result = finetune(model, train, held, folder, options, report=report)
        if arguments.labels:
            arguments.labels.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / LABELS, arguments.labels / LABELS)
    cpu = time.process_time() - start
    after = [model_distance(pair, model) for pair in test]
    predictions = [model.predict(pair.raw, PAIR_RATE).settings for pair in test]
    found = [modules_of(settings) for settings in predictions]
    wanted = frozenset(BY_KEY[key].module for key in later)
    every = sorted(wanted.union(*found))
    row: dict[str, Any] = {
        "studio": name, "wanted": sorted(wanted), "seconds": round(time.monotonic() - began, 1),
        "cpu": round(cpu, 1),
        "without": arguments.without, "stages": {k: round(v, 1) for k, v in stages.items()},
        "best": result.best, "scores": {k: round(v, 4) for k, v in result.scores.items()},
        "before": float(np.mean(before)), "after": float(np.mean(after)),
        "each": [round(d, 4) for d in after],
        "modules": {m: sum(m in f for f in found) / len(found) for m in every},
        "history": result.history,
    }  # fmt: skip
    row["settings"] = {
        key: [round(float(p.get(key, np.nan)), 3) for p in predictions]
        for key in BY_KEY
        if BY_KEY[key].module in every and (key in later or BY_KEY[key].module in LATER)
    }  # fmt: skip
    row["truth"] = dict(later)
    row["cpu_all"] = round(time.process_time() - worked, 1)
    return row


def main() -> int:
    """Measure and print; 1 where modules are missing or false."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--studios", default="none,slap,house")
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--test", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--steps", type=int, default=90)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without", action="store_true")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not (DATA / "voices").is_dir():
        print(f"no voices in {DATA / 'voices'}")
        return 2
    wrong = False
    for name in arguments.studios.split(","):
        row = measure(name, arguments)
        right = all(
            (share > 0.5) == (module in row["wanted"]) for module, share in row["modules"].items()
        )
        wrong |= not right
        print(f"{name}: {row['before']:.3f} before, {row['after']:.3f} after ({row['best']}), "
              f"{row['cpu']:.0f} s of CPU {row['stages']}")  # fmt: skip
        for module, share in row["modules"].items():
            print(f"  {module}: in {100 * share:.0f} % of predictions")
        for key, values in row["settings"].items():
            truth = row["truth"].get(key, "default")
            middle = "none" if all(np.isnan(values)) else f"{np.nanmedian(values):.4g}"
            print(f"  {key}: {middle} ({truth})")
        sys.stdout.flush()
        if arguments.json:
            with open(arguments.json, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
