"""A strip that grew by modules and a parameter of later versions, in a process of its own.

``python -m tests.training.grown_strip FOLDER`` writes what it makes of files and seeds into
``FOLDER/found.json``. The module ``shade`` states no range to draw from and fails where it is run;
``shine`` takes part in training examples; the pan has a new parameter.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffconsole.strip import chain
from diffconsole.strip.module import Module
from diffconsole.strip.parameter import Parameter

if TYPE_CHECKING:
    from torch import Tensor

    from diffconsole.model.predictor import Predictor
    from diffconsole.pairs import Pair

HERE = "tests.training.grown_strip"
ADDED = ("shade", "shine")

SHADE = Module(
    "shade", "Shade", "insert",
    (
        Parameter("shade", "freq_hz", "Hz", 100.0, 5000.0, "log", 800.0, "Pivot"),
        Parameter("shade", "gain_db", "dB", -12.0, 12.0, "linear", 3.0, "Gain", 0.0, 0.02),
    ),
    HERE, since=1,
)  # fmt: skip
SHINE = Module(
    "shine", "Shine", "insert",
    (
        Parameter("shine", "gain_db", "dB", -12.0, 12.0, "linear", 2.0, "Gain", 0.0, 0.02,
                  drawn=(-6.0, -3.0), silent=(-1.0, 1.0)),
    ),
    "tests.training.grown_shine", since=2,
)  # fmt: skip
SPREAD = Parameter("pan", "spread", "", 0.0, 1.0, "linear", 0.25, "No matter what", since=2)


def process(audio: Tensor, sample_rate: float, **settings: Tensor) -> Tensor:
    """Fail: nothing of before knows the module, so it is off everywhere."""
    raise AssertionError("a module that nothing knows was run")


def grow() -> None:
    """Insert them, before the table of parameters is read."""
    chain.insert(SHADE, after="eq")
    chain.insert(SHINE, after="compressor")
    chain.CHAIN = tuple(
        replace(
            each, parameters=(*each.parameters, SPREAD), implementation="tests.training.grown_pan"
        )
        if each.key == "pan"
        else each
        for each in chain.CHAIN
    )


# What follows is run in both processes; imports wait until the strip has grown.


def examples() -> dict[str, Any]:
    """Seeded draws, and what a simulated raw vocal is."""
    from diffconsole.strip import statistics
    from diffconsole.training.pretraining.processed import wide_strip
    from diffconsole.training.pretraining.simulate import Voices, simulate
    from diffconsole.training.pretraining.strips import Strips

    from ..synthetic import voice

    rng = np.random.default_rng(3)
    wide = [wide_strip(rng) for _ in range(3)]
    clips = {name: [voice(6.0, seed)] for seed, name in enumerate("ab")}
    flat = {name: np.eye(1, 9, 4, dtype=np.float32)[0] for name in clips}
    voices = Voices(clips, flat)
    table = statistics.load()
    strips = Strips(table, {**wide[0]}, table.middle())
    example = simulate(voices, [], strips, np.random.default_rng(7), seconds=3.0)
    return {
        "wide": wide, "then": rng.random(), "drawn": table.sample(np.random.default_rng(5))[0],
        "raw": np.abs(example.raw).sum().item(), "settings": example.settings,
        "mix": np.abs(example.mix()).sum().item(),
    }  # fmt: skip


def predicted(model: Predictor) -> dict[str, Any]:
    """What a model says of a vocal."""
    from diffconsole.simplify.strip import simplify
    from diffconsole.strip.preset import Preset

    from ..synthetic import RATE, voice

    take = voice(2.0, 1)[None]
    found = model.predict(take, RATE)
    simple = simplify(found.settings, take, RATE)
    preset = Preset.from_settings(simple.settings, bypass=simple.bypass)
    return {
        "settings": found.settings, "uncertainty": found.uncertainty, "switches": found.switches,
        "simple": simple.settings, "off": sorted(simple.bypass), "strip": preset.strip,
        "notices": model.known.notices(),
    }  # fmt: skip


def searched(pair: Pair) -> dict[str, Any]:
    """A short search, its label, and the label as a file keeps it."""
    from diffconsole.training.by_key import by_key
    from diffconsole.training.finetuning.labels import label_of
    from diffconsole.training.matching.search import Plan, Round, search

    rounds = (Round(1.0, 3, 0.05, 8, 2), Round(1.0, 2, 0.03, 6, 1))
    found = search([pair], Plan(rounds), seed=1)[0][0]
    label = label_of(found.settings(), found.off)
    return {
        "settings": found.settings(), "off": sorted(found.off),
        "uncertainty": found.uncertainty(), "label": by_key(label.tolist()),
    }  # fmt: skip


def kept(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Labels that a file has, by key; none are searched."""
    from diffconsole.training.by_key import by_key
    from diffconsole.training.distributed import ALONE
    from diffconsole.training.finetuning.labels import kept_or_found

    rows = kept_or_found(
        keys, [[n] for n in range(len(keys))], path, lambda *_: [],
        on_gpu=False, workers=ALONE, over=lambda: True, report=lambda *_: None,
    )  # fmt: skip
    return {key: by_key(row.tolist()) for key, row in zip(keys, rows, strict=True)}


def trained(model: Predictor) -> Any:
    """An optimizer of all of a head that did a step of equal gradients."""
    import torch

    for weights in model.head.parameters():
        weights.requires_grad_(True)
        weights.grad = torch.ones_like(weights)
    optimizer = torch.optim.AdamW(model.head.parameters(), lr=0.01)
    optimizer.step()
    return optimizer


def _main(folder: Path) -> None:
    from diffconsole.model.predictor import Predictor
    from diffconsole.pairs import Pair
    from diffconsole.simplify.strip import simplify
    from diffconsole.strip.parameters import PARAMETERS
    from diffconsole.strip.preset import Preset
    from diffconsole.training.checkpoint import load_checkpoint, save_checkpoint
    from diffconsole.training.finetuning.finetune_options import FinetuneOptions
    from diffconsole.training.finetuning.finetune_state import run_fingerprint
    from diffconsole.training.pretraining.new_model import new_model
    from diffconsole.training.pretraining.processed import through_strip

    from ..synthetic import RATE, voice
    from . import grown_shine

    model = Predictor.load()
    mixed = np.load(folder / "mixed.npy")
    pair = Pair("pair", voice(2.0, 1)[None], mixed, 0.0, 1, 1.0)
    found: dict[str, Any] = {
        "parameters": [p.key for p in PARAMETERS],
        "predicted": predicted(model),
        "searched": searched(pair),
        "examples": examples(),
        "kept": kept(folder / "labels.jsonl", ["by position", "by key", "missing", "unknown"]),
        "fingerprint": run_fingerprint(model, ["a"], ["b"], FinetuneOptions()),
        "new": new_model("logmel").known.names,
    }
    model.save(folder / "again", {})
    for name in ("before", "by position"):
        fresh = Predictor.load()
        optimizer = trained(fresh)
        load_checkpoint(folder / f"{name}.safetensors", fresh, optimizer)
        save_checkpoint(folder / f"{name}, grown.safetensors", fresh, optimizer, {})
    strip = {**found["predicted"]["settings"], "shine.gain_db": 0.01}
    found["idle"] = "shine" in simplify(strip, pair.raw, RATE).bypass
    raw, wide = voice(1.0, 1)[None], found["examples"]["wide"][0]
    grown_shine.runs.clear()
    through_strip(raw, wide)
    found["ran"] = len(grown_shine.runs)
    found["version"] = Preset.from_settings(found["searched"]["settings"]).to_dict()["version"]
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    grow()
    _main(Path(sys.argv[1]))
