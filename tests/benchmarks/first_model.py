"""The shipped model on people that it did not train on, against one fixed preset.

Two measurements, both without any training on what is measured:

- simulated raw vocals of the people held out, whose right settings are known: error of the
  settings, and distance of the processed vocal to the mix. Twice: as pretraining makes them, with
  finished voices as mixed vocals are and strips about the anchor; and as it did before, with one
  long-term spectrum for every finished voice and strips as they were fitted;
- real raw/mixed pairs, where a folder of them is found: distance to the engineer's mix.

The fixed preset is the nearest to the mixes among the factory presets and the middle of the
statistics of real mixes, on raw levelled to −18 LUFS, with one output gain for all vocals.

Run: ``python -m tests.benchmarks.first_model [--examples 48] [--model FOLDER]``
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from diffconsole import Predictor, Preset
from diffconsole.pairs import PAIR_RATE, Pair, PairFiles, load_pair
from diffconsole.pairs.evaluation import (
    choose_fixed,
    fixed_distance,
    level_distance,
    model_distance,
)
from diffconsole.strip import statistics
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.strip.preset import factory_presets
from diffconsole.training.pretraining.pretrain import held_out_examples
from diffconsole.training.pretraining.simulate import load_rooms, load_voices
from diffconsole.training.pretraining.strips import Strips
from diffconsole.training.pretraining.targets import settings_loss

DATA = Path(__file__).parents[2].parent / "shared" / "data"
REFERENCE = ("makam_goekhan", "kathleen")
"""Whose mean long-term spectrum all finished voices had before they were drawn from mixed ones."""

SHOWN = (
    "eq.high_pass.freq_hz",
    "eq.low_shelf.gain_db",
    "eq.peak_2.gain_db",
    "eq.high_shelf.gain_db",
    "compressor.threshold_db",
    "compressor.ratio",
    "compressor.makeup_db",
    "reverb.decay_s",
    "reverb.wet_db",
    "output_gain.gain_db",
)


def middle_of_statistics() -> Preset:
    """The median of the settings of real mixes."""
    rng, table = np.random.default_rng(0), statistics.load()
    drawn = [table.sample(rng)[0] for _ in range(400)]
    middle = {p.key: float(np.median([d[p.key] for d in drawn])) for p in PARAMETERS}
    return Preset.from_settings(middle, name="middle of the statistics")


def normalised(settings: dict[str, float]) -> torch.Tensor:
    """Settings in 0…1 in the order of the table."""
    return torch.tensor([p.to_normalised(settings[p.key]) for p in PARAMETERS])


def compare(pairs: list[Pair], model: Predictor, presets: dict[str, Preset]) -> bool:
    """Print mean distances to the mixes; whether the model is nearer than the fixed preset."""
    fixed = choose_fixed(pairs, presets)
    rows = {
        "level only": [level_distance(p) for p in pairs],
        f"one preset: {fixed.name}": [fixed_distance(p, fixed) for p in pairs],
        "model": [model_distance(p, model) for p in pairs],
    }
    print(f"  {'':<45}{'mean':>8}{'sd':>8}{'median':>8}{'lowest':>8}{'highest':>8}")
    for name, values in rows.items():
        figures = (np.mean(values), np.std(values), np.median(values), min(values), max(values))
        print(f"  {name:<45}" + "".join(f"{figure:8.3f}" for figure in figures))
    preset, ours = list(rows.values())[1:]
    wins = float(np.mean(np.array(ours) < np.array(preset)))
    print(f"  the model is nearer than the preset on {100 * wins:.0f} % of {len(pairs)}")
    worse = np.array(ours) - np.array(rows["level only"])
    print(
        f"  farther than level only by more than 0.1: {int((worse > 0.1).sum())} of {len(pairs)}, "
        f"at most by {worse.max():+.3f}"
    )
    return float(np.mean(ours)) < float(np.mean(preset))


def simulated(
    model: Predictor, presets: dict[str, Preset], count: int, *, as_fitted: bool = False
) -> list[bool]:
    """Held-out people: settings and distances."""
    options = model.info["options"]
    how = "strips as fitted, one finished tone" if as_fitted else "strips about the anchor"
    print(f"\nPeople held out: {', '.join(options['held_out'])}; {count} simulated raws, {how}")
    if as_fitted:
        voices, strips = load_voices(DATA / "voices", REFERENCE), Strips.as_fitted()
    else:
        voices = load_voices(DATA / "voices", finished=DATA / "finished")
        strips = Strips.around_anchor()
    voices = voices.of(options["held_out"])
    examples = list(held_out_examples(voices, load_rooms(DATA / "ir"), count, strips))
    known = torch.stack([torch.from_numpy(e.normalised()) for e in examples])
    predicted = [model.predict(e.raw[None], PAIR_RATE).settings for e in examples]
    guesses = {
        "model": torch.stack([normalised(s) for s in predicted]),
        "middle": normalised(presets["middle of the statistics"].settings()).expand(len(known), -1),
    }
    # The input gain that levels the raw is the levelling's, not the model's: count what is on top.
    gain = [p.key for p in PARAMETERS].index("input_gain.gain_db")
    guesses["model"][:, gain] = known[:, gain]
    figures = {
        name: settings_loss(guess.float(), torch.full_like(guess, -3.0).float(), known)
        for name, guess in guesses.items()
    }
    print(f"\n  {'error of the settings':<40}{'model':>9}{'middle':>9}")
    better = []
    for key, label in (("error", "normalised, as heard"), ("curve_db", "EQ curve, dB")):
        ours, theirs = (float(figures[name][key].mean()) for name in ("model", "middle"))
        better.append(ours < theirs)
        print(f"  {label:<40}{ours:9.4f}{theirs:9.4f}")
    for key in SHOWN:
        i = [p.key for p in PARAMETERS].index(key)
        error = {n: float((g[:, i] - known[:, i]).abs().mean()) for n, g in guesses.items()}
        print(f"  {key + ' (share of range)':<40}{error['model']:9.4f}{error['middle']:9.4f}")
    print("\n  distance to the mix")
    pairs = [Pair(str(i), e.raw[None], e.mix(), 0.0, 1, 1.0) for i, e in enumerate(examples)]
    return [*better, compare(pairs, model, presets)]


def real(model: Predictor, presets: dict[str, Preset]) -> list[bool]:
    """Real pairs, if they are there."""
    folder = DATA / "real_pairs"
    songs = sorted(p for p in folder.glob("*") if (p / "raw.mp3").exists())
    if not songs:
        print(f"\nNo real pairs in {folder}")
        return []
    print(f"\n{len(songs)} real raw/mixed pairs, never trained on: distance to the engineer's mix")
    pairs = [load_pair(PairFiles(p.name, p / "raw.mp3", p / "mixed.mp3")) for p in songs]
    return [compare(pairs, model, presets)]


def main() -> int:
    """Measure and print; 1 if the fixed preset is better anywhere."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=48)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--as-fitted", action="store_true", help="also the earlier simulation")
    arguments = parser.parse_args()
    if not (DATA / "voices").is_dir():
        print(f"no voices in {DATA / 'voices'}")
        return 2
    model = Predictor.load(arguments.model)
    presets = {**factory_presets(), "middle of the statistics": middle_of_statistics()}
    better = simulated(model, presets, arguments.examples)
    better += real(model, presets)
    if arguments.as_fitted:
        simulated(model, presets, arguments.examples, as_fitted=True)
    print("\nbetter than the fixed preset everywhere" if all(better) else "\nNOT better everywhere")
    return 0 if all(better) else 1


if __name__ == "__main__":
    sys.exit(main())
