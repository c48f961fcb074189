"""Whether a model's uncertainty can be believed, on people that no training heard.

Simulated raw vocals whose right settings are known, and pairs of a raw vocal and a reference
through one known strip: the share of right settings inside the middle 80 % of what the model
answers, for both of its heads, over all settings and by module; and the expected calibration error
of the switches, in ten bins: how far the share of bands that are on is from the probability. Both
were calibrated on other people, those that judge the pretraining.

Run: ``python -m tests.benchmarks.calibration [--model FOLDER] [--examples 200] [--json]``. Exits
with 1 where the share over all settings leaves 75–85 %, or the switches' error is above 0.05.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from diffconsole.encoders.logmel import LogMelEncoder
from diffconsole.model.head import CALIBRATED_DEVIATIONS, Head
from diffconsole.model.predictor import Predictor
from diffconsole.model.switches import is_on
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.training.pretraining.examples import Stream
from diffconsole.training.pretraining.simulate import load_rooms, load_voices
from diffconsole.training.pretraining.strips import Strips
from tests.benchmarks.first_model import DATA

LOWEST, HIGHEST, MOST_ECE = 0.75, 0.85, 0.05
SEED = 41
HELD = ("input_gain", "pan")
"""Modules that no strip of the examples sets."""


@torch.inference_mode()
def inside(
    model: Predictor, count: int
) -> tuple[dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """By head, whether each right setting lies in its interval; the switches as said and true."""
    options = model.info["options"]
    finished = DATA / "finished" if options.get("finished") else None
    voices = load_voices(DATA / "voices", options["reference"], finished).of(options["held_out"])
    encoder = model.encoder
    assert isinstance(encoder, LogMelEncoder)
    stream = Stream(voices, load_rooms(DATA / "ir"), Strips.around_anchor(), encoder.mel, SEED, 0)
    found: dict[str, list[np.ndarray]] = {"finish": [], "style": []}
    likely: dict[str, list[np.ndarray]] = {"finish": [], "style": []}
    on: dict[str, list[np.ndarray]] = {"finish": [], "style": []}
    heads = {"finish": model.head, "style": model.style}
    for number in range(count):
        heard, target = stream.example((SEED, number))
        pooled = Head.pool(encoder.frames_of(heard.float()))
        answers = {"finish": (model.head.predict_from_pooled(pooled[:1]), target[0])}
        if model.style is not None:
            answers["style"] = (model.predict_style_from_pooled(pooled[3:], pooled[2:3]), target[3])
        for name, ((mean, log_variance), right) in answers.items():
            off = (mean[0] - right).abs() * torch.exp(-0.5 * log_variance[0])
            found[name].append((off <= CALIBRATED_DEVIATIONS).numpy())
            head = heads[name]
            assert head is not None
            likely[name].append(head.switches(mean[0], (0.5 * log_variance[0]).exp()).numpy())
            on[name].append(is_on(right).numpy())
    names = [name for name, rows in found.items() if rows]
    return (
        {name: np.stack(found[name]) for name in names},
        {name: (np.stack(likely[name]), np.stack(on[name])) for name in names},
    )


def expected_calibration_error(likely: np.ndarray, on: np.ndarray, bins: int = 10) -> float:
    """Return the mean distance of the share that is on from the probability, by bins of it."""
    place = np.minimum((likely * bins).astype(int), bins - 1)
    gaps = [
        (place == i).mean() * abs(likely[place == i].mean() - on[place == i].mean())
        for i in range(bins)
        if (place == i).any()
    ]
    return float(sum(gaps))


def main() -> int:
    """Measure and print; 1 if a head's share is outside."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="model folder; by default the shipped one")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not (DATA / "voices").is_dir():
        print(f"no voices in {DATA / 'voices'}")
        return 2
    model = Predictor.load(arguments.model)
    modules = [p.key.split(".")[0] for p in PARAMETERS]
    counted = np.array([module not in HELD for module in modules])
    data: dict[str, dict[str, float]] = {}
    intervals, switches = inside(model, arguments.examples)
    for head, rows in intervals.items():
        data[head] = {"all": float(rows[:, counted].mean())}
        for module in dict.fromkeys(m for m in modules if m not in HELD):
            of = np.array([m == module for m in modules])
            data[head][module] = float(rows[:, of].mean())
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in data[head].items())
        print(f"{head}: in the middle 80 %: {shares}")
        data[head]["switches_ece"] = expected_calibration_error(*switches[head])
        print(f"{head}: switches' calibration error {data[head]['switches_ece']:.3f}, bar 0.05")
    missed = [head for head, found in data.items() if not LOWEST <= found["all"] <= HIGHEST]
    missed += [f"{h}'s switches" for h, found in data.items() if found["switches_ece"] > MOST_ECE]
    print(f"bar 75–85 %: {'MISSED by ' + ', '.join(missed) if missed else 'ok'}")
    if arguments.json:
        print(json.dumps(data, indent=2))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
