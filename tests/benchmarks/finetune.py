"""Fine-tuning on virtual studios: what each stage gains on voices that were held out.

Real voices, mixed by a strip that is each studio's own and heeds the voice. A studio has a mean
strip, drawn from the statistics of real mixes; it levels out the differences of the voices'
spectra by a half, gives dark voices less reverb and a lower threshold; and it has moods, small
changes that nothing tells. The audio of the voices is not part of the package.

Run: ``python -m tests.benchmarks.finetune [--studios 3] [--pairs 26] [--seconds 6]``; time and
memory of a hundred pairs: ``--studios 1 --pairs 100 --seconds 10``. Exits with 1 where no stage
that heeds the voice comes nearer than the studio's one strip, or from 100 pairs a bar is missed.
"""

from __future__ import annotations

import argparse
import csv
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.signal
import torch

from diffconsole.audio import read_audio, resample
from diffconsole.console import Console
from diffconsole.model.predictor import Predictor, level_gain_db
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.strip import statistics
from diffconsole.strip.parameters import BY_KEY
from diffconsole.training.finetuning.finetune import FinetuneOptions, finetune, split_pairs

DATA = Path(__file__).parents[2].parent / "shared" / "data"
BANDS_HZ = {"low": (100.0, 300.0), "mid": (300.0, 1200.0), "high": (3000.0, 7000.0),
            "air": (7000.0, 15000.0)}  # fmt: skip
MOOD_DB = 0.5
MOST_SECONDS, MOST_GIB, BARS_FROM_PAIRS = 600.0, 4.0, 100


def takes(folder: Path, count: int, seconds: float, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield takes of this length, ``(1, samples)`` at 44.1 kHz: clips of one person in a row."""
    rng = np.random.default_rng((seed, 1))
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    people = sorted({row["person"] for row in rows})
    length = int(seconds * PAIR_RATE)
    for number in range(count):
        person = people[number % len(people)]
        files = [row["file"] for row in rows if row["person"] == person]
        parts: list[np.ndarray] = []
        for name in rng.permutation(files):
            samples, rate = read_audio(folder / name)
            parts.append(resample(samples.mean(axis=0, keepdims=True), rate, PAIR_RATE))
            if sum(part.shape[1] for part in parts) >= length:
                break
        take = np.concatenate(parts, axis=1)
        take = np.tile(take, (1, -(-length // take.shape[1])))[:, :length]
        yield f"{person}_{number}", take.astype(np.float32)


def tone_db(levelled: np.ndarray) -> dict[str, float]:
    """Return the power in a few bands against that of all."""
    freq_hz, power = scipy.signal.welch(levelled[0], PAIR_RATE, nperseg=4096)
    total = power.sum()
    return {
        name: 10.0 * np.log10(power[(freq_hz >= low) & (freq_hz < high)].sum() / total + 1e-9)
        for name, (low, high) in BANDS_HZ.items()
    }


class Studio:
    """What a studio does to a voice."""

    def __init__(self, seed: int, reaction: float = 0.5) -> None:
        self.rng = np.random.default_rng((seed, 2))
        self.mean = statistics.load().sample(self.rng)[0]
        self.mean["input_gain.gain_db"] = 0.0
        self.mean["reverb.wet_db"] = float(np.clip(self.mean["reverb.wet_db"], -24.0, -12.0))
        self.reaction = reaction

    def strip_for(self, tone: dict[str, float], middle: dict[str, float]) -> dict[str, float]:
        """Return the settings for a voice of this tone, in a room of voices of that one."""
        away = {name: tone[name] - middle[name] for name in tone}
        moods = {key: self.rng.normal(0.0, MOOD_DB) for key in ("a", "b", "c", "d", "e")}
        r = self.reaction
        moves = {
            "eq.low_shelf.gain_db": -r * away["low"] + moods["a"],
            "eq.peak_1.gain_db": -0.5 * r * away["mid"] + moods["b"],
            "eq.peak_3.gain_db": -0.7 * r * away["high"] + moods["c"],
            "eq.high_shelf.gain_db": -0.7 * r * away["air"] + moods["d"],
            "reverb.wet_db": 0.5 * r * away["high"] + 2.0 * moods["e"],
            "compressor.threshold_db": 0.5 * r * away["high"],
        }
        strip = dict(self.mean)
        for key, move in moves.items():
            strip[key] = BY_KEY[key].clip(strip[key] + float(np.clip(move, -9.0, 9.0)))
        return strip


def pairs_of(studio: Studio, count: int, seconds: float, seed: int = 0) -> list[Pair]:
    """Return pairs of a studio; the raw vocals lie at levels between −35 and −15 LUFS."""
    rng = np.random.default_rng((seed, 3))
    raws = list(takes(DATA / "voices", count, seconds, seed))
    levelled = [raw * 10.0 ** (level_gain_db(raw, PAIR_RATE)[0] / 20.0) for _, raw in raws]
    tones = [tone_db(take) for take in levelled]
    middle = {name: float(np.median([t[name] for t in tones])) for name in BANDS_HZ}
    pairs = []
    for (name, _), take, tone in zip(raws, levelled, tones, strict=True):
        strip = studio.strip_for(tone, middle)
        settings = {k: torch.tensor([v], dtype=torch.float64) for k, v in strip.items()}
        audio = torch.from_numpy(take.astype(np.float32))[None]
        with torch.inference_mode():
            mix = Console(PAIR_RATE)(audio, settings)[0].numpy()
        raw = take * 10.0 ** (rng.uniform(-17.0, 3.0) / 20.0)
        pairs.append(Pair(name, raw.astype(np.float32), mix.astype(np.float32), 0.0, 1, 1.0))
    return pairs


def main() -> int:
    """Measure and print; 1 if heeding the voice gains nothing, or a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--studios", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=26)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    if not (DATA / "voices").is_dir():
        print(f"no voices in {DATA / 'voices'}")
        return 2
    stages = ("before", "studio", "ridge", "head", "top")
    print("studio  " + "".join(f"{stage:>8}" for stage in stages) + "   seconds    best")
    worse = False
    for number in range(1, arguments.studios + 1):
        pairs = pairs_of(Studio(number), arguments.pairs, arguments.seconds, number)
        options = FinetuneOptions(held_out=0.25, minutes=arguments.minutes)
        train, held = split_pairs(pairs, options)
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            result = finetune(Predictor.load(), train, held, Path(folder), options)
        scores = "".join(f"{result.scores.get(stage, np.nan):8.3f}" for stage in stages)
        seconds = time.monotonic() - began
        print(f"{number:6}  {scores}  {seconds:8.0f}    {result.best}", flush=True)
        worse |= len(pairs) >= BARS_FROM_PAIRS and seconds > MOST_SECONDS
        departs = min(result.scores.get(stage, np.inf) for stage in ("ridge", "head", "top"))
        worse |= departs > result.scores.get("studio", np.inf)
    # KiB on Linux
    memory_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"most memory: {memory_gib:.2f} GiB (bar {MOST_GIB:g})")
    return int(worse or (arguments.pairs >= BARS_FROM_PAIRS and memory_gib > MOST_GIB))


if __name__ == "__main__":
    sys.exit(main())
