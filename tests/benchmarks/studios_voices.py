"""Draw what a model, fine-tuned on one virtual studio, does to four voices that it never heard.

The model is fine-tuned on the studio's pairs as the studio benchmark does it, with the same
materials and labels; then it predicts the strip of one vocal each of four people whom neither the
pretraining nor the studio's pairs know. Their curves lie over each other.

Run: ``python -m tests.benchmarks.studios_voices --cache FOLDER -o IMAGE.png [--studio NAME]
[--pairs 50] [--keep FOLDER]``
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from diffconsole import Predictor
from diffconsole.model.predictor import default_model
from diffconsole.pairs import PAIR_RATE
from diffconsole.plots import StripView, plot_presets
from tests.benchmarks.studio_materials import Materials
from tests.benchmarks.studio_systems import fine_tuned
from tests.benchmarks.virtual_studios import STUDIOS, TEST_PEOPLE, VOICES, raw_passages

VOCALS = 4
SEED = 71


def main() -> int:
    """Fine-tune and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder for pairs and labels")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--studio", choices=list(STUDIOS), default=next(iter(STUDIOS)))
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--model", type=Path, default=default_model())
    parser.add_argument("--keep", type=Path, help="folder for the fine-tuned model")
    arguments = parser.parse_args()
    if not VOICES.is_dir():
        print(f"no voices in {VOICES}: nothing to draw")
        return 2
    materials = Materials(STUDIOS[arguments.studio], arguments.cache)
    numbers = materials.training_numbers(arguments.pairs, 0)
    pairs = [materials.pair("train", n) for n in numbers]
    labels = materials.labels("train", numbers, quick=True)
    model = Predictor.load(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        info = fine_tuned(model, pairs, Path(folder), 0, labels)
    if arguments.keep is not None:
        model.save(arguments.keep, {"studio": arguments.studio, "pairs": len(pairs), **info})
    views = []
    for person in TEST_PEOPLE[:VOCALS]:
        (passage,) = raw_passages(VOICES, [person], 1, SEED)
        views.append(StripView(person, model.predict(passage.samples, PAIR_RATE).settings, ()))
    title = f"{arguments.studio}, learnt from {len(pairs)} pairs: four voices it never heard"
    plot_presets(views, arguments.output, title=title, force=True)
    print(f"→ {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
