"""Fit the prior over engineers that fine-tuning starts from, or measure what it brings.

Raw voices are described (:mod:`diffconsole.model.voice_features`); simulated engineers decide for
them (:mod:`diffconsole.training.finetuning.engineers`); the mean and the covariance of their
reactions are written. The people of the virtual studios are left out, so that these measure what is
new to the prior.

With ``--check`` nothing is written. Engineers that the prior was not fitted to decide, with some
taste and the error of a search, for voices of the people who were left out: by the number of pairs,
the share of the settings' squared offsets on other people's voices that a regression leaves,
with the shipped prior and without one.

Run: ``python -m tests.benchmarks.engineers --voices FOLDER -o FILE.safetensors`` (two minutes), or
``python -m tests.benchmarks.engineers --check``. The shipped file is
``diffconsole/training/finetuning/data/engineers.safetensors``, of ``../shared/data/voices``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from diffconsole.audio import read_audio, resample
from diffconsole.audio.endings import has_audio_ending
from diffconsole.model.voice_features import extract_voice_features
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.strip.statistics import load as load_statistics
from diffconsole.training.finetuning.engineer_prior import (
    SHIPPED,
    load_prior,
    prior_at_strip,
    save_prior,
    settings_of_reactions,
)
from diffconsole.training.finetuning.engineers import draw_engineer, fit_prior, people_mean
from diffconsole.training.finetuning.ridge import ALPHAS, fit
from tests.benchmarks.virtual_studios import (
    PRETRAINING_PEOPLE_HELD_OUT,
    TEST_PEOPLE,
    TRAIN_PEOPLE,
    VOICES,
)

RATE = 44100
PASSAGE_SECONDS, SHORTEST_SECONDS = 10.0, 2.0
MOST_PASSAGES = 24
CHECKED_PAIRS, CHECKED_ENGINEERS = (5, 10, 25, 50, 100), 24
TASTE = 0.02
"""Deviation of a label, in shares of the range: the engineer's taste and the search's error."""

MOST_LEFT = 9.0


def descriptions_of(folder: Path) -> np.ndarray:
    """Describe passages spread over all clips of a person, ``(passages, features)``."""
    clips = []
    for path in sorted(folder.iterdir()):
        if has_audio_ending(path):
            samples, rate = read_audio(path)
            clips.append(resample(samples[:1], rate, RATE))
    whole = np.concatenate(clips, axis=1) if clips else np.zeros((1, 0), np.float32)
    length = int(PASSAGE_SECONDS * RATE)
    spare = max(whole.shape[1] - length, 0)
    count = min(MOST_PASSAGES, max(2, whole.shape[1] // length)) if spare else 1
    parts = [whole[:, s : s + length] for s in np.linspace(0, spare, count).astype(int)]
    long = [part for part in parts if part.shape[1] >= SHORTEST_SECONDS * RATE]
    found = [extract_voice_features(part, RATE).double().numpy() for part in long]
    return np.stack(found) if found else np.zeros((0, 0))


def check(voices: Path, engineers: int, seed: int) -> None:
    """Print what is left of the offsets, by the number of pairs."""
    learn, test = (
        [descriptions_of(voices / person) for person in some]
        for some in (TRAIN_PEOPLE, TEST_PEOPLE)
    )
    prior, statistics = load_prior(SHIPPED), load_statistics()
    spread = torch.from_numpy(prior.voice_std)
    print("pairs  " + "".join(f"{s:>16}" for s in ALPHAS) + "   (with the prior / without)")
    for pairs in CHECKED_PAIRS:
        left: dict[tuple[float, bool], list[float]] = {}
        for number in range(engineers):
            rng = np.random.default_rng((seed, 1, pairs, number))
            settings, _ = statistics.sample(rng)
            point = [p.to_normalised(p.clip(settings[p.key])) for p in PARAMETERS]
            strip = torch.tensor(point).clamp(0.02, 0.98)
            of_reactions = settings_of_reactions(strip)
            engineer = draw_engineer(rng)
            some = [learn[n % len(learn)] for n in range(pairs)]
            taken = np.stack([each[rng.integers(len(each))] for each in some])
            others = np.concatenate(test)
            decided = engineer.decide(np.concatenate((taken, others)), prior.voice_mean)
            moves = torch.from_numpy(decided - decided[:pairs].mean(axis=0)) @ of_reactions.T
            taste = torch.from_numpy(rng.normal(0.0, TASTE, tuple(moves[:pairs].shape)))
            known, new = (
                torch.from_numpy(x - taken.mean(axis=0)) / spread for x in (taken, others)
            )
            nothing = torch.zeros(pairs, 1)
            for alpha in ALPHAS:
                for with_prior in (True, False):
                    at_strip = prior_at_strip(prior, strip, spread) if with_prior else None
                    found = fit(nothing, known, moves[:pairs] + taste, alpha, at_strip)
                    wrong = new.float() @ found.voice_weight.T - moves[pairs:].float()
                    whole = float(moves[pairs:].square().sum()) + 1e-6
                    share = float(wrong.square().sum()) / whole
                    left.setdefault((alpha, with_prior), []).append(min(share, MOST_LEFT))
        cells = [
            f"{np.median(left[s, True]):7.2f} /{np.median(left[s, False]):5.2f}" for s in ALPHAS
        ]
        print(f"{pairs:5}  " + "".join(f"{cell:>16}" for cell in cells))


def main() -> int:
    """Fit and write, or measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voices", type=Path, default=VOICES, help="a folder of clips a person")
    parser.add_argument("-o", "--output", type=Path, default=SHIPPED)
    parser.add_argument("--engineers", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--without", default=",".join(PRETRAINING_PEOPLE_HELD_OUT), help="people, by commas"
    )
    parser.add_argument("--check", action="store_true", help="measure the shipped prior instead")
    arguments = parser.parse_args()
    if not arguments.voices.is_dir():
        print(f"no voices in {arguments.voices}")
        return 2
    if arguments.check:
        check(arguments.voices, CHECKED_ENGINEERS, arguments.seed)
        return 0
    without = set(arguments.without.split(","))
    people = sorted(p for p in arguments.voices.iterdir() if p.is_dir() and p.name not in without)
    described = {person.name: descriptions_of(person) for person in people}
    described = {name: some for name, some in described.items() if len(some)}
    print(f"{sum(map(len, described.values()))} passages of {len(described)} people")
    prior = fit_prior(
        people_mean(list(described.values())), arguments.engineers, seed=arguments.seed
    )
    facts = {
        "command": "python -m tests.benchmarks.engineers",
        "voices": arguments.voices.name,
        "people": sorted(described),
        "engineers": arguments.engineers,
        "seed": arguments.seed,
    }
    save_prior(prior, arguments.output, facts)
    for module, directions in prior.directions.items():
        sizes = np.sqrt(np.square(directions).sum(axis=(1, 2)))
        print(f"{module}: {len(sizes)} directions, sizes " + " ".join(f"{s:.2f}" for s in sizes))
    print(f"→ {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
