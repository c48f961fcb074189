"""Whether a model's uncertainty can be believed, on people that no training heard.

Simulated raw vocals whose right settings are known, and pairs of a raw vocal and a reference
through one known strip: the share of right settings inside the middle 80 % of what the model
answers, for both of its heads, over all settings and by module. The uncertainty was scaled on
other people, those that judge the pretraining.

Run: ``python -m tests.benchmarks.calibration [--model FOLDER] [--examples 200] [--json]``. Exits
with 1 where the share over all settings leaves 75–85 %.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from diffconsole.encoders.logmel import LogMelEncoder
from diffconsole.head import CALIBRATED_DEVIATIONS, Head
from diffconsole.parameters import PARAMETERS
from diffconsole.predictor import Predictor
from diffconsole.training.engineers import Engineers
from diffconsole.training.examples import Stream
from diffconsole.training.simulate import load_rooms, load_voices
from tests.benchmarks.first_model import DATA

LOWEST, HIGHEST = 0.75, 0.85
SEED = 41
HELD = ("input_gain", "pan")
"""Modules that no strip of the examples sets."""


@torch.inference_mode()
def inside(model: Predictor, count: int) -> dict[str, np.ndarray]:
    """By head, ``(examples, parameters)``: whether each right setting lies in its interval."""
    options = model.info["options"]
    finished = DATA / "finished" if options.get("finished") else None
    voices = load_voices(DATA / "voices", options["reference"], finished).of(options["held_out"])
    encoder = model.encoder
    assert isinstance(encoder, LogMelEncoder)
    stream = Stream(voices, load_rooms(DATA / "ir"), Engineers.usual(), encoder.mel, SEED, 0)
    found: dict[str, list[np.ndarray]] = {"finish": [], "style": []}
    for number in range(count):
        heard, target = stream.example((SEED, number))
        pooled = Head.pool(encoder.frames_of(heard.float()))
        answers = {"finish": (model.head.answer(pooled[:1]), target[0])}
        if model.style is not None:
            answers["style"] = (model.style_answer(pooled[3:], pooled[2:3]), target[3])
        for name, ((mean, log_variance), right) in answers.items():
            off = (mean[0] - right).abs() * torch.exp(-0.5 * log_variance[0])
            found[name].append((off <= CALIBRATED_DEVIATIONS).numpy())
    return {name: np.stack(rows) for name, rows in found.items() if rows}


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
    for head, rows in inside(model, arguments.examples).items():
        data[head] = {"all": float(rows[:, counted].mean())}
        for module in dict.fromkeys(m for m in modules if m not in HELD):
            of = np.array([m == module for m in modules])
            data[head][module] = float(rows[:, of].mean())
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in data[head].items())
        print(f"{head}: in the middle 80 %: {shares}")
    missed = [head for head, found in data.items() if not LOWEST <= found["all"] <= HIGHEST]
    print(f"bar 75–85 %: {'MISSED by ' + ', '.join(missed) if missed else 'ok'}")
    if arguments.json:
        print(json.dumps(data, indent=2))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
