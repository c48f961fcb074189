"""Towards a reference: how much of the way from one fixed preset to the truth the model goes.

People that no training heard, strips from the statistics of real mixes through our console. One
voice is the raw vocal; another person, through the same strip, is the reference; the first
through the strip is what is right, and the distance to it at the truth is 0. The fixed preset is
the nearest to these very results among the factory presets and the middle of the statistics, on
raw levelled to −18 LUFS, with one output gain for all. Beside them the model without a reference,
each at the loudness of the result: level is not what a reference is for.

Gap closed = (fixed − model) / fixed. A published blind search with a prior closed 27 %, a
regression 4 %, each on its own task (ST-ITO).

Run: ``python -m tests.benchmarks.styles [--model FOLDER] [--examples 60] [--seconds 20]
[--json]``. Exits with 1 where the bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from diffconsole import Predictor, Preset, statistics
from diffconsole.audio import loudness_lufs
from diffconsole.evaluation import choose_fixed, fixed_distance, level_distance, preset_distance
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.preset import factory_presets
from diffconsole.reference import Reference, predict_towards
from diffconsole.render import render
from diffconsole.training.processed import process_two
from diffconsole.training.simulate import load_rooms, load_voices
from tests.benchmarks.first_model import DATA, middle_of_statistics

BAR = 0.5
SEED = 31


def cases(
    held_out: list[str], reference: list[str], count: int, seconds: float
) -> list[tuple[Pair, Reference]]:
    """Raw vocals with what is right, and a reference in the same style for each."""
    voices = load_voices(DATA / "voices", reference).of(held_out)
    rooms, table = load_rooms(DATA / "ir"), statistics.load()
    found = []
    for number in range(count):
        rng = np.random.default_rng((SEED, number))
        two = process_two(voices, rooms, table, rng, wide_share=0.0, seconds=seconds)
        raw = two.raw[:1]
        mixes = [
            render(part[None], PAIR_RATE, Preset.from_settings(two.settings), tail_seconds=0.0)
            for part in two.raw
        ]
        sides = [np.broadcast_to(m.samples, (2, raw.shape[1])) for m in mixes]
        # Both mixes were levelled by their engineers: the reference tells no level but its own.
        gains_db = [loudness_lufs(sides[1], PAIR_RATE) - loudness_lufs(s, PAIR_RATE) for s in sides]
        mixed = np.ascontiguousarray(sides[0]) * np.float32(10.0 ** (gains_db[0] / 20.0))
        pair = Pair(str(number), raw, mixed.astype(np.float32), 0.0, 1, 1.0)
        found.append((pair, Reference(str(number), np.ascontiguousarray(sides[1]), PAIR_RATE)))
    return found


def as_loud(pair: Pair, settings: dict[str, float]) -> Preset:
    """The settings with the output gain that makes their result as loud as the mix."""
    made = render(pair.raw, PAIR_RATE, Preset.from_settings(settings), tail_seconds=0.0).samples
    both = np.broadcast_to(made, (2, made.shape[1]))
    gain_db = loudness_lufs(pair.mixed, PAIR_RATE) - loudness_lufs(both, PAIR_RATE)
    key = "output_gain.gain_db"
    return Preset.from_settings({**settings, key: float(np.clip(settings[key] + gain_db, -48, 24))})


def main() -> int:
    """Measure and print; 1 if the bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="model folder; by default the shipped one")
    parser.add_argument("--examples", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each vocal")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not (DATA / "voices").is_dir():
        print(f"no voices in {DATA / 'voices'}")
        return 2
    model = Predictor.load(arguments.model)
    options = model.info["options"]
    made = cases(options["held_out"], options["reference"], arguments.examples, arguments.seconds)
    pairs = [pair for pair, _ in made]
    presets = {**factory_presets(), "middle of the statistics": middle_of_statistics()}
    fixed = choose_fixed(pairs, presets)
    rows = {
        "level only": [level_distance(p) for p in pairs],
        f"one preset: {fixed.name}": [fixed_distance(p, fixed) for p in pairs],
        "the same, each at its loudness": [
            preset_distance(p, as_loud(p, fixed.preset.settings())) for p in pairs
        ],
        "model without a reference": [
            preset_distance(p, as_loud(p, model.predict(p.raw, PAIR_RATE).settings)) for p in pairs
        ],
        "model with the reference": [
            preset_distance(
                p, Preset.from_settings(predict_towards(model, p.raw, PAIR_RATE, [r]).settings)
            )
            for p, r in made
        ],
    }
    print(f"{len(pairs)} vocals of {', '.join(options['held_out'])}; distance to what is right")
    for name, values in rows.items():
        print(f"  {name:<45}{np.mean(values):8.3f}{np.median(values):8.3f}")
    means = {name: float(np.mean(values)) for name, values in rows.items()}
    best_fixed = min(list(means.values())[1:3])
    closed = (best_fixed - means["model with the reference"]) / best_fixed
    missed = not closed >= BAR
    print(
        f"gap closed: {100 * closed:.0f} % (bar {100 * BAR:.0f} %, {'MISSED' if missed else 'ok'})"
    )
    if arguments.json:
        print(json.dumps({**means, "closed": closed}, indent=2))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
