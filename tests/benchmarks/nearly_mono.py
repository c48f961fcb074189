"""Fine-tuning with and without a nearly mono mix among those held out.

Pairs of a virtual studio (:mod:`tests.benchmarks.finetune`) are fine-tuned on twice: with a part of
them held out, and with one more held out whose mix has its side 65 dB below its mid. Printed are
the distances, as they are reported, to the mixes that both runs held out: before, after the run
without that pair, after the run with it; then those to that mix.

Run: ``python -m tests.benchmarks.nearly_mono [--pairs 12] [--seconds 6]``. Exits with 1 where the
model with it is worse on the others by more than 5 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffconsole.model.predictor import Predictor
from diffconsole.pairs import Pair
from diffconsole.pairs.evaluation import model_distance
from diffconsole.training.finetuning.finetune import FinetuneOptions, finetune
from tests.benchmarks.finetune import DATA, Studio, pairs_of
from tests.synthetic import nearly_mono

HELD_SHARE, MOST_WORSE = 0.25, 1.05


def trained(train: Sequence[Pair], held: Sequence[Pair], steps: int | None) -> Predictor:
    """A model fine-tuned on pairs, chosen by others; no time ends it."""
    model = Predictor.load()
    with tempfile.TemporaryDirectory() as folder:
        options = FinetuneOptions(minutes=1e6, steps=steps)
        result = finetune(model, train, held, Path(folder), options)
    scores = ", ".join(f"{name} {value:.3f}" for name, value in result.scores.items())
    print(f"  {len(held)} held out: {scores}; kept: {result.best}", flush=True)
    return model


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--steps", type=int, help="of the training; default: as many as usual")
    options = parser.parse_args()
    if not (DATA / "voices").is_dir():
        print(f"no voices in {DATA / 'voices'}")
        return 2
    pairs = pairs_of(Studio(1), options.pairs + 1, options.seconds, 1)
    mono, pairs = nearly_mono(pairs[-1]), pairs[:-1]
    count = max(2, round(HELD_SHARE * len(pairs)))
    held, train = pairs[:count], pairs[count:]
    models = {
        "before": Predictor.load(),
        "without it": trained(train, held, options.steps),
        "with it": trained(train, [*held, mono], options.steps),
    }
    print(f"{'pair':<28}" + "".join(f"{name:>12}" for name in models))
    rows = {p.name: [model_distance(p, model) for model in models.values()] for p in held}
    rows["mean"] = np.mean(list(rows.values()), axis=0).tolist()
    rows["the nearly mono one"] = [model_distance(mono, model) for model in models.values()]
    for name, row in rows.items():
        print(f"{name:<28}" + "".join(f"{value:12.3f}" for value in row))
    _, without, among = rows["mean"]
    return int(among > MOST_WORSE * without)


if __name__ == "__main__":
    sys.exit(main())
