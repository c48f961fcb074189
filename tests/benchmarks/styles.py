"""Towards a reference: how much of the way from one fixed preset to the truth the model goes.

People that no training heard, strips from the statistics of real mixes through our console. One
voice is the raw vocal; another person, through the same strip, is the reference; the first
through the strip is what is right, and the distance to it at the truth is 0. The fixed preset is
the nearest to these very results among the factory presets and the middle of the statistics, on
raw levelled to −18 LUFS, with one output gain for all. Beside them the model without a reference,
each at the loudness of the result: level is not what a reference is for. Then the model with the
reference, before and after the descent through the console.

Four distances of a result to the right one, on the same vocal:

- mix: :func:`diffconsole.losses.mix_distance`;
- spectrum: long-term spectrum in third octaves from 50 Hz to 16 kHz, dB rms;
- voice: the same from the band of the voice's lowest partial on; below it predictions lift nothing
  (:mod:`diffconsole.simplify.low_end`), and strips of real mixes sometimes do;
- dynamics: crest factor, and spread of the level in 0.2 s from its 10th to its 90th percentile, dB
  rms of the two (:mod:`.voice_measures`).

Gap closed = (fixed − model) / fixed, of the means. A published blind search with a prior closed
27 % of the spectrum and 46 % of the dynamics, a regression 4 %, each on its own task (ST-ITO).

A single reference by another singer says little of a strip's tone, since singers differ in tone
more than strips do; with ``--references 3`` three singers' mixes are the references.

Run: ``python -m tests.benchmarks.styles [--model FOLDER] [--examples 60] [--seconds 20]
[--seed 31] [--references 1] [--singers NAME ...] [--json]``. With other singers than those that
the model was held out from, and another seed, it validates. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from diffconsole import Predictor, Preset
from diffconsole.audio import loudness_lufs
from diffconsole.console.render import render
from diffconsole.model.reference.prediction import Reference, predict_towards
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.pairs.evaluation import (
    choose_fixed,
    fixed_distance,
    level_distance,
    preset_distance,
)
from diffconsole.simplify.low_end import low_end_of
from diffconsole.strip import statistics
from diffconsole.strip.preset import factory_presets
from diffconsole.training.pretraining.processed import process_several
from diffconsole.training.pretraining.simulate import load_rooms, load_voices
from tests.benchmarks.first_model import DATA, middle_of_statistics
from tests.benchmarks.voice_measures import BANDS_HZ, measure

BAR, BAR_SECONDS = 0.5, 10.0
SEED = 31
WITHOUT, BEFORE, AFTER = "no reference", "reference, before the descent", "reference, after it"


def cases(
    held_out: list[str],
    reference: list[str],
    count: int,
    seconds: float,
    seed: int = SEED,
    references: int = 1,
) -> list[tuple[Pair, list[Reference]]]:
    """Raw vocals with what is right, and references in the same style for each."""
    voices = load_voices(DATA / "voices", reference).of(held_out)
    rooms, table = load_rooms(DATA / "ir"), statistics.load()
    found = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        two = process_several(
            voices, rooms, table, rng, count=1 + references, wide_share=0.0, seconds=seconds
        )
        raw = two.raw[:1]
        mixes = [
            render(part[None], PAIR_RATE, Preset.from_settings(two.settings), tail_seconds=0.0)
            for part in two.raw
        ]
        sides = [np.broadcast_to(m.samples, (2, raw.shape[1])) for m in mixes]
        # All mixes were levelled by their engineers: the references have no level but their own.
        levels = [loudness_lufs(s, PAIR_RATE) for s in sides]
        mixed = np.ascontiguousarray(sides[0]) * np.float32(10.0 ** ((levels[1] - levels[0]) / 20))
        pair = Pair(str(number), raw, mixed.astype(np.float32), 0.0, 1, 1.0)
        like = [
            np.ascontiguousarray(s * np.float32(10.0 ** ((levels[1] - level) / 20.0)))
            for s, level in zip(sides[1:], levels[1:], strict=True)
        ]
        found.append((pair, [Reference(str(number), s, PAIR_RATE) for s in like]))
    return found


def as_loud(pair: Pair, settings: dict[str, float]) -> Preset:
    """The settings with the output gain that makes their result as loud as the mix."""
    made = render(pair.raw, PAIR_RATE, Preset.from_settings(settings), tail_seconds=0.0).samples
    both = np.broadcast_to(made, (2, made.shape[1]))
    gain_db = loudness_lufs(pair.mixed, PAIR_RATE) - loudness_lufs(both, PAIR_RATE)
    key = "output_gain.gain_db"
    return Preset.from_settings({**settings, key: float(np.clip(settings[key] + gain_db, -48, 24))})


def differences(pair: Pair, settings: dict[str, float]) -> tuple[float, ...]:
    """How far the result of settings is from the mix: mix distance, spectrum and dynamics, dB."""
    preset = Preset.from_settings(settings)
    made = render(pair.raw, PAIR_RATE, preset, tail_seconds=0.0).samples
    ours, theirs = (measure(a.mean(axis=0, keepdims=True)) for a in (made, pair.mixed))
    spectrum = ours.spectrum_db - theirs.spectrum_db
    dynamics = np.array([ours.crest_db - theirs.crest_db, ours.spread_db - theirs.spread_db])
    spectrum_db, dynamics_db = (float(np.sqrt(np.mean(d**2))) for d in (spectrum, dynamics))
    low_end = low_end_of(pair.raw[0], PAIR_RATE)
    above = (0.0 if low_end is None else low_end.lowest_hz) <= BANDS_HZ * 10.0**0.05
    voice_db = float(np.sqrt(np.mean(spectrum[above] ** 2)))
    return preset_distance(pair, preset), spectrum_db, dynamics_db, voice_db


def settings_of(
    model: Predictor, made: list[tuple[Pair, list[Reference]]]
) -> tuple[dict[str, list[dict[str, float]]], list[float]]:
    """What the model predicts without a reference, with it, and after the descent; its seconds."""
    found: dict[str, list[dict[str, float]]] = {WITHOUT: [], BEFORE: [], AFTER: []}
    seconds = []
    for number, (pair, references) in enumerate(made):
        raw = pair.raw
        found[WITHOUT].append(as_loud(pair, model.predict(raw, PAIR_RATE).settings).settings())
        found[BEFORE].append(predict_towards(model, raw, PAIR_RATE, references, steps=0).settings)
        began = time.perf_counter()
        found[AFTER].append(predict_towards(model, raw, PAIR_RATE, references).settings)
        seconds.append(time.perf_counter() - began)
        print(f"\r{number + 1} of {len(made)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found, seconds


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="model folder; by default the shipped one")
    parser.add_argument("--examples", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each vocal")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--references", type=int, default=1, help="for each vocal, by singers each")
    parser.add_argument("--singers", nargs="+", help="by default those the model was held out from")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not (DATA / "voices").is_dir():
        print(f"no voices in {DATA / 'voices'}")
        return 2
    model = Predictor.load(arguments.model)
    options = model.info["options"]
    people = arguments.singers or options["held_out"]
    made = cases(
        people, options["reference"], arguments.examples, arguments.seconds, arguments.seed,
        arguments.references,
    )  # fmt: skip
    pairs = [pair for pair, _ in made]
    presets = {**factory_presets(), "middle of the statistics": middle_of_statistics()}
    fixed = choose_fixed(pairs, presets)
    one = f"one preset: {fixed.name}"
    found, seconds = settings_of(model, made)
    found[one] = [as_loud(p, fixed.preset.settings()).settings() for p in pairs]
    rows = {
        name: np.array([differences(p, s) for p, s in zip(pairs, each, strict=True)])
        for name, each in found.items()
    }
    as_chosen = np.array([fixed_distance(p, fixed) for p in pairs])
    if as_chosen.mean() < rows[one][:, 0].mean():
        rows[one][:, 0] = as_chosen
    print(f"{len(pairs)} vocals of {', '.join(people)}; differences to what is right, mean")
    print(f"  level only, mix distance {np.mean([level_distance(p) for p in pairs]):.3f}")
    print(f"  {'':<42}{'mix':>8}{'spectrum dB':>13}{'dynamics dB':>13}{'voice dB':>13}")
    closed = {}
    for name in (one, WITHOUT, BEFORE, AFTER):
        mean = rows[name].mean(axis=0)
        closed[name] = 1.0 - mean / rows[one].mean(axis=0)
        print(f"  {name:<42}{mean[0]:8.3f}{mean[1]:13.2f}{mean[2]:13.2f}{mean[3]:13.2f}")
    for name in (WITHOUT, BEFORE, AFTER):
        words = "".join(f"{100 * share:11.0f} %" for share in closed[name])
        print(f"  gap closed, {name:<30}{words}")
    missed = not (closed[AFTER][1:3] >= BAR).all() or np.mean(seconds) > BAR_SECONDS
    print(f"  {np.mean(seconds):.1f} s a vocal, {torch.get_num_threads()} threads")
    print(
        f"bars: spectrum and dynamics {100 * BAR:.0f} % each, {BAR_SECONDS:.0f} s: "
        f"{'MISSED' if missed else 'ok'}"
    )
    if arguments.json:
        names = ("mix", "spectrum_db", "dynamics_db", "voice_db")
        figures = {
            n: dict(zip(names, r.mean(axis=0).tolist(), strict=True)) for n, r in rows.items()
        }
        shares = {n: dict(zip(names, c.tolist(), strict=True)) for n, c in closed.items()}
        result = {"means": figures, "closed": shares, "seconds": float(np.mean(seconds))}
        print(json.dumps(result, indent=2))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
