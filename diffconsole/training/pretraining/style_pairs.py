"""Simulated singers through one strip: how much of a style is the strip's, how much the singer's.

For each strip, drawn from the statistics of real mixes, some singers pass through it; each of them
in turn is the reference of each other one, whose right result is known. From the figures of all
(:mod:`diffconsole.model.reference.style_features`) comes what
:mod:`diffconsole.model.reference.style_statistics` holds.

Run: ``python -m diffconsole.training.pretraining.style_pairs --voices FOLDER [--rooms FOLDER]
[--without SINGER ...] [--strips 150] [--seconds 8] [--seed 0] -o style_statistics.json``. Singers
that the model was held out from are left out too.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from ...console import Console
from ...errors import DiffconsoleError
from ...model.head import Head
from ...model.predictor import REFERENCE_LUFS, Predictor, windows_of
from ...model.reference.style_features import STYLE_FEATURES, style_features
from ...model.reference.style_statistics import REACH, StyleStatistics
from ...progress import bar
from ...strip import statistics
from ...strip.parameters import BY_KEY, denormalize
from .processed import taken, wide_strip
from .simulate import SAMPLE_RATE, Voices, crop, levelled, load_rooms, load_voices

__all__ = ["StylePairs", "fit_statistics", "simulate_strip"]

SINGERS = 4
WIDE_SHARE = 0.15
FOLDS = 5
RIDGE, STACK_RIDGE = 0.1, 0.02
_Ridge = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
LEAST_DEVIATION_DB = 0.05
"""No figure is surer than this."""


@dataclass(frozen=True)
class StylePairs:
    """The figures of some singers after one strip.

    Attributes
    ----------
    raw, finished : ndarray
        ``(singers, features)``, before and after the strip.
    predicted : ndarray
        ``(singers, features)``: each after what the model predicts with the next one, after the
        strip, as the reference.
    """

    raw: np.ndarray
    finished: np.ndarray
    predicted: np.ndarray


@torch.inference_mode()
def simulate_strip(
    model: Predictor,
    voices: Voices,
    rooms: Sequence[np.ndarray],
    table: statistics.SettingsStatistics,
    rng: np.random.Generator,
    seconds: float,
) -> StylePairs:
    """Draw a strip and singers, and measure them before and after it."""
    settings = wide_strip(rng) if rng.uniform() < WIDE_SHARE else table.sample(rng)[0]
    singers = sorted(voices.clips)
    length = int(seconds * SAMPLE_RATE)
    drawn = [singers[i] for i in rng.choice(len(singers), SINGERS, replace=len(singers) < SINGERS)]
    raw = np.stack([
        levelled(
            taken(crop(voices.clips[p], length, rng), voices.corrections[p], rooms, rng, rng)
        )
        for p in drawn
    ])  # fmt: skip
    audio = torch.from_numpy(raw)[:, None]
    console = Console(SAMPLE_RATE, bypass=("input_gain", "pan"), reverb_seconds=min(seconds, 4.0))
    right = {key: torch.full((SINGERS,), BY_KEY[key].clip(v)) for key, v in settings.items()}
    finished = console(audio, right)
    means = _predicted(model, raw, finished.mean(dim=1).numpy())
    predicted = console(audio, denormalize(means))
    return StylePairs(*(_styles(each) for each in (audio, finished, predicted)))


def _styles(audio: Tensor) -> np.ndarray:
    return torch.stack([style_features(one[None]) for one in audio]).numpy()


def _predicted(model: Predictor, raw: np.ndarray, finished: np.ndarray) -> Tensor:
    """What the model predicts for each, with the next one as the reference, ``(singers, …)``."""
    from ...audio import loudness_lufs

    pooled = []
    for mono in (*raw, *finished):
        gain_db = REFERENCE_LUFS - max(loudness_lufs(mono[None], SAMPLE_RATE), -70.0)
        levelled_ = mono[None] * np.float32(10.0 ** (gain_db / 20.0))
        windows = windows_of(levelled_, SAMPLE_RATE, model.encoder)
        pooled.append(Head.pool(model.encoder(windows)).mean(dim=0))
    first, second = torch.stack(pooled).chunk(2)
    return model.style_answer(first, second.roll(-1, dims=0))[0]


def fit_statistics(pairs: Sequence[StylePairs], source: str = "") -> StyleStatistics:
    """Fit to simulated strips.

    Parameters
    ----------
    pairs : sequence of StylePairs
        One a strip; at least five.
    source : str
        How they were made.
    """
    count = len(pairs[0].raw)
    both = list(itertools.permutations(range(count), 2))
    raw = np.concatenate([[p.raw[i] for i, _ in both] for p in pairs]).astype(float)
    reference = np.concatenate([[p.finished[j] for _, j in both] for p in pairs]).astype(float)
    right = np.concatenate([[p.finished[i] for i, _ in both] for p in pairs]).astype(float)
    inputs, effect = np.concatenate((raw, reference), axis=1), right - raw
    fold = np.repeat(np.arange(len(pairs)) % FOLDS, len(both))
    # What the regression says of strips that it was not fitted to.
    unseen = np.zeros_like(effect)
    for number in range(FOLDS):
        mine = fold == number
        mean, deviation, weights, bias = _ridge(inputs[~mine], effect[~mine])
        unseen[mine] = _standardised(inputs[mine], mean, deviation) @ weights + bias
    place = [k * len(both) + both.index((i, (i + 1) % count))
             for k in range(len(pairs)) for i in range(count)]  # fmt: skip
    ours = np.concatenate([p.predicted for p in pairs]).astype(float) - raw[place]
    theirs, wanted = unseen[place], effect[place]
    stack, rest = _stacked(ours, theirs, wanted)
    off = np.sqrt(np.mean(rest**2, axis=0) + LEAST_DEVIATION_DB**2)
    mean, deviation, weights, bias = _ridge(inputs, effect)
    return StyleStatistics(mean, deviation, weights, bias, *stack, off, source)


def _standardised(inputs: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return np.clip((inputs - mean) / deviation, -REACH, REACH)


def _ridge(inputs: np.ndarray, effect: np.ndarray) -> _Ridge:
    mean, deviation = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3
    z = _standardised(inputs, mean, deviation)
    bias = effect.mean(axis=0)
    square = z.T @ z + RIDGE * len(z) * np.eye(z.shape[1])
    return mean, deviation, np.linalg.solve(square, z.T @ (effect - bias)), bias


def _stacked(
    ours: np.ndarray, theirs: np.ndarray, wanted: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Weights of two guesses and an offset, figure by figure; and what remains."""
    found = np.zeros((3, wanted.shape[1]))
    for k in range(wanted.shape[1]):
        guesses = np.stack((ours[:, k], theirs[:, k]), axis=1)
        mean, goal = guesses.mean(axis=0), wanted[:, k].mean()
        z = guesses - mean
        # Drawn towards the mean of the two where the pairs do not say.
        pull = STACK_RIDGE * len(z) * float(z.var(axis=0).mean() + 1e-9) * np.eye(2)
        half = np.full(2, 0.5)
        found[:2, k] = np.linalg.solve(z.T @ z + pull, z.T @ (wanted[:, k] - goal) + pull @ half)
        found[2, k] = goal - mean @ found[:2, k]
    rest = wanted - found[0] * ours - found[1] * theirs - found[2]
    return (found[0], found[1], found[2]), rest


def main() -> int:
    """Simulate, fit, write; 1 where the folders do not serve."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--voices", type=Path, required=True, help="holds one folder of clips per singer"
    )
    parser.add_argument("--rooms", type=Path, help="impulse responses")
    parser.add_argument("--without", nargs="*", default=[], help="singers to leave out")
    parser.add_argument("--model", type=Path, help="model folder; by default the shipped one")
    parser.add_argument("--strips", type=int, default=150)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        model = Predictor.load(arguments.model)
        options = model.info.get("options", {})
        voices = load_voices(arguments.voices, options.get("reference", ()))
        left_out = {*arguments.without, *options.get("held_out", ())}
        singers = [p for p in voices.clips if p not in left_out]
        voices, rooms = voices.of(singers), load_rooms(arguments.rooms)
    except DiffconsoleError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    table, pairs = statistics.load(), []
    with bar("style pairs", silent=False) as report_progress:
        for number in range(arguments.strips):
            rng = np.random.default_rng((arguments.seed, number))
            pairs.append(simulate_strip(model, voices, rooms, table, rng, arguments.seconds))
            report_progress((number + 1) / arguments.strips, f"{number + 1} strips")
    source = (
        f"{arguments.strips} strips, {SINGERS} singers of {len(singers)} each, "
        f"{arguments.seconds:g} s, seed {arguments.seed}; singers: {', '.join(sorted(singers))}"
    )
    found = fit_statistics(pairs, source)
    found.save(arguments.output)
    for name, value in zip(STYLE_FEATURES, found.deviation, strict=True):
        click.echo(f"{name:<22}{value:8.2f} dB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
