"""Fit the prior over engineers that fine-tuning starts from, and measure what it brings.

Raw voices are described (:mod:`diffconsole.voice`); simulated engineers decide for them
(:mod:`diffconsole.training.engineers`); the mean and the covariance of their reactions are written.
The people of the virtual studios are left out, so that these measure what is new to the prior.

Run: ``python -m tests.benchmarks.engineers --voices FOLDER -o FILE.safetensors`` (two minutes).
The shipped file is ``diffconsole/data/engineers.safetensors``, of ``../shared/data/voices``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from diffconsole.audio import read_audio, resample
from diffconsole.audio_endings import has_audio_ending
from diffconsole.training.engineers import fit_prior, people_mean
from diffconsole.training.habits import SHIPPED, save_prior
from diffconsole.voice import describe
from tests.benchmarks.virtual_studios import PRETRAINING_PEOPLE_HELD_OUT, VOICES

RATE = 44100
PASSAGE_SECONDS, SHORTEST_SECONDS = 10.0, 2.0
MOST_PASSAGES = 24


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
    found = [describe(part, RATE).double().numpy() for part in long]
    return np.stack(found) if found else np.zeros((0, 0))


def main() -> int:
    """Fit and write."""
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
    arguments = parser.parse_args()
    if not arguments.voices.is_dir():
        print(f"no voices in {arguments.voices}")
        return 2
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
    for module, directions in prior.habits.items():
        sizes = np.sqrt(np.square(directions).sum(axis=(1, 2)))
        print(f"{module}: {len(sizes)} directions, sizes " + " ".join(f"{s:.2f}" for s in sizes))
    print(f"→ {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
