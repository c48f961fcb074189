"""Real pairs in turn: each is predicted by a model that was fine-tuned on all others.

Printed for each are the distances to the engineer's mix, over the whole file and as
``shared/tools/mixscore.py`` has them: of the raw vocal at the mix's loudness, of the model before
and of the model after fine-tuning; then their means and medians. The time budget is not what ends
the fine-tuning, so that the figures do not depend on the machine.

Run: ``python -m tests.benchmarks.real_pairs_in_turn [--folder FOLDER] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from diffconsole.audio import loudness_lufs
from diffconsole.console.render import render
from diffconsole.losses import mix_distance
from diffconsole.model.predictor import Predictor
from diffconsole.pairs import PAIR_RATE, Pair, PairFiles, load_pair
from diffconsole.pairs.evaluation import shortened
from diffconsole.strip.preset import Preset
from diffconsole.training.finetuning.finetune import FinetuneOptions, finetune, split_pairs
from diffconsole.training.finetuning.labels import LABELS

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
COLUMNS = ("level", "before", "after")


def whole_distance(result: np.ndarray, mixed: np.ndarray) -> float:
    """Return the distance over the whole file."""
    ours, theirs = (torch.from_numpy(np.require(a, np.float32, ["C", "W"]))[None]
                    for a in (result, mixed))  # fmt: skip
    with torch.inference_mode():
        return float(mix_distance(ours, theirs, PAIR_RATE))


def model_distance(pair: Pair, model: Predictor) -> float:
    """Return the distance of what the model's settings make of the raw vocal."""
    preset = Preset.from_settings(model.predict(pair.raw, PAIR_RATE).settings)
    return whole_distance(render(pair.raw, PAIR_RATE, preset, tail_seconds=0.0).samples, pair.mixed)


def level_distance(pair: Pair) -> float:
    """Return the distance of the raw vocal at the mix's loudness."""
    both = np.broadcast_to(pair.raw, (2, pair.raw.shape[1]))
    gain_db = loudness_lufs(pair.mixed, PAIR_RATE) - loudness_lufs(both, PAIR_RATE)
    return whole_distance(both * np.float32(10.0 ** (gain_db / 20.0)), pair.mixed)


def main() -> int:
    """Measure and print; 1 where fine-tuning does not lower the median."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=DATA / "real_pairs")
    parser.add_argument("--songs", default="", help="only these, by a part of the name: Disco,Punk")
    parser.add_argument("--labels", type=Path, help="labels of an earlier run, to begin with")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    songs = sorted(p for p in arguments.folder.glob("*") if (p / "raw.mp3").exists())
    if len(songs) < 3:
        print(f"fewer than three pairs in {arguments.folder}")
        return 2
    pairs = [load_pair(PairFiles(p.name, p / "raw.mp3", p / "mixed.mp3")) for p in songs]
    options = FinetuneOptions(minutes=1e6)
    rows: dict[str, dict[str, float]] = {}
    print(f"{'song':<24}" + "".join(f"{c:>9}" for c in COLUMNS) + f"{'seconds':>9}  best")
    with tempfile.TemporaryDirectory() as scratch:
        known = Path(scratch) / LABELS
        if arguments.labels:
            shutil.copy(arguments.labels, known)
        for number, pair in enumerate(pairs):
            if not any(song in pair.name for song in arguments.songs.split(",")):
                continue
            began, folder = time.monotonic(), Path(scratch) / str(number)
            folder.mkdir()
            # A pair's label does not depend on which pair is left out.
            if known.exists():
                shutil.copy(known, folder / LABELS)
            others = [shortened(p) for i, p in enumerate(pairs) if i != number]
            train, held = split_pairs(others, options)
            model = Predictor.load()
            row = {"level": level_distance(pair), "before": model_distance(pair, model)}
            result = finetune(model, train, held, folder, options)
            row["after"] = model_distance(pair, model)
            shutil.copy(folder / LABELS, known)
            rows[pair.name] = row
            figures = "".join(f"{row[c]:9.3f}" for c in COLUMNS)
            print(f"{pair.name:<24}{figures}{time.monotonic() - began:9.0f}  {result.best}",
                  flush=True)  # fmt: skip
    for name, of in (("mean", np.mean), ("median", np.median)):
        figures = {c: float(of([row[c] for row in rows.values()])) for c in COLUMNS}
        print(f"{name:<24}" + "".join(f"{figures[c]:9.3f}" for c in COLUMNS))
        rows[name] = figures
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(rows["median"]["after"] >= rows["median"]["before"])


if __name__ == "__main__":
    sys.exit(main())
