"""Simulated singers through one strip: how much of a style is the strip's, how much the singer's.

For each strip, drawn from the statistics of real mixes, some singers pass through it; each of them
in turn is the reference of each other one, whose right result is known, and so is the mean of all
others. From the figures of all (:mod:`diffconsole.model.reference.style_features`), and the
embeddings of the model's encoder, comes what :mod:`diffconsole.model.reference.style_statistics`
holds. How far the regression and the model's prediction are to be believed is measured on singers
that neither was fitted to.

``pretrain`` does this for the model that it trained.

Run: ``python -m diffconsole.training.pretraining.style_pairs --voices FOLDER [--rooms FOLDER]
[--without SINGER ...] [--strips 150] [--seconds 8] [--seed 0] -o style_statistics.json``. Singers
that the model was held out from are left out too.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from ...model.reference.style_statistics import SEVERAL, StyleStatistics, standardised
from ...progress import bar
from ...strip import statistics
from ...strip.later import NOT_DRAWN
from ...strip.parameters import BY_KEY, denormalize
from .processed import taken, wide_strip
from .simulate import SAMPLE_RATE, Voices, crop, levelled, load_rooms, load_voices

__all__ = ["StylePairs", "fit_model_statistics", "fit_statistics", "simulate_strip"]

SINGERS = SEVERAL + 1
WIDE_SHARE = 0.15
FOLDS = 5
FIGURES_RIDGE, EMBEDDING_RIDGE, STACK_RIDGE = 0.3, 3.0, 0.02
LEAST_DEVIATION_DB = 0.05
"""No figure is surer than this."""

VALIDATION_SHARE = 0.4
"""Strips for the singers that the model was not trained on, against those for the others."""

SEED_OF_VALIDATION, SECONDS = 1, 8.0


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
    predicted_several : ndarray
        ``(singers, features)``: each after what the model predicts with all others as references.
    raw_embedding, finished_embedding : ndarray
        ``(singers, dim)``: of the model's encoder; no columns where it shall not be used.
    """

    raw: np.ndarray
    finished: np.ndarray
    predicted: np.ndarray
    predicted_several: np.ndarray
    raw_embedding: np.ndarray
    finished_embedding: np.ndarray


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
    off = {"input_gain", "pan"} | NOT_DRAWN | model.off
    console = Console(SAMPLE_RATE, bypass=off, reverb_seconds=min(seconds, 4.0))
    right = {key: torch.full((SINGERS,), BY_KEY[key].clip(v)) for key, v in settings.items()}
    finished = console(audio, right)
    first = _embeddings(model, raw)
    second = _embeddings(model, finished.mean(dim=1).numpy())
    others = (second.sum(dim=0) - second) / (SINGERS - 1)
    one, several = (
        _styles(console(audio, denormalize(model.predict_style_from_pooled(first, reference)[0])))
        for reference in (second.roll(-1, dims=0), others)
    )
    return StylePairs(
        _styles(audio), _styles(finished), one, several, first.numpy(), second.numpy()
    )


def _styles(audio: Tensor) -> np.ndarray:
    return torch.stack([style_features(one[None]) for one in audio]).numpy()


def _embeddings(model: Predictor, vocals: np.ndarray) -> Tensor:
    """Mean and deviation of the encoder's frames, ``(vocals, 2·dim)``, each vocal levelled."""
    from ...audio import loudness_lufs

    pooled = []
    for mono in vocals:
        gain_db = REFERENCE_LUFS - max(loudness_lufs(mono[None], SAMPLE_RATE), -70.0)
        level = mono[None] * np.float32(10.0 ** (gain_db / 20.0))
        windows = windows_of(level, SAMPLE_RATE, model.encoder)
        pooled.append(Head.pool(model.encoder(windows)).mean(dim=0))
    return torch.stack(pooled)


@dataclass(frozen=True)
class _Cases:
    """Raw vocals with their references: what is known of each, and what is right.

    ``inputs`` are figures and embeddings, ``effect`` is what the strip did to the figures,
    ``guess`` what the model's prediction did, known at the places ``guessed`` only.
    """

    inputs: np.ndarray
    effect: np.ndarray
    guess: np.ndarray
    guessed: np.ndarray
    strip: np.ndarray


def _cases(pairs: Sequence[StylePairs], several: bool) -> _Cases:
    """Each singer with each other one as the reference, or with the mean of all others."""
    count = len(pairs[0].raw)
    if several:
        targets = list(range(count))
        references = [[j for j in range(count) if j != i] for i in targets]
    else:
        both = list(itertools.permutations(range(count), 2))
        targets, references = [i for i, _ in both], [[j] for _, j in both]
    inputs, effect = [], []
    for p in pairs:
        style = np.stack([p.finished[r].mean(axis=0) for r in references])
        embedding = np.stack([p.finished_embedding[r].mean(axis=0) for r in references])
        inputs.append(np.hstack((p.raw[targets], style, p.raw_embedding[targets], embedding)))
        effect.append((p.finished - p.raw)[targets])
    per = len(targets)
    if several:
        place = list(range(per))
        guess = np.concatenate([p.predicted_several - p.raw for p in pairs])
    else:
        place = [both.index((i, (i + 1) % count)) for i in range(count)]
        guess = np.concatenate([p.predicted - p.raw for p in pairs])
    guessed = (np.arange(len(pairs))[:, None] * per + np.array(place)).ravel()
    strip = np.repeat(np.arange(len(pairs)), per)
    return _Cases(
        np.concatenate(inputs).astype(float), np.concatenate(effect).astype(float),
        guess.astype(float), guessed, strip,
    )  # fmt: skip


def fit_statistics(
    pairs: Sequence[StylePairs], source: str = "", validation: Sequence[StylePairs] = ()
) -> StyleStatistics:
    """Fit to simulated strips.

    Parameters
    ----------
    pairs : sequence of StylePairs
        One per strip; at least five.
    source : str
        How they were made.
    validation : sequence of StylePairs
        Of other singers, by which the prediction and the regression are weighed against each
        other; without any, strips of `pairs` that the regression was not fitted to take turns.
    """
    single = _cases(pairs, several=False)
    mean, deviation = single.inputs.mean(axis=0), single.inputs.std(axis=0) + 1e-3
    rows = [_fit_row(pairs, validation, several, mean, deviation) for several in (False, True)]
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return StyleStatistics(mean, deviation, **stacked, source=source)


def _fit_row(
    pairs: Sequence[StylePairs],
    validation: Sequence[StylePairs],
    several: bool,
    mean: np.ndarray,
    deviation: np.ndarray,
) -> dict[str, np.ndarray]:
    """The statistics for one reference, or for the mean of several."""
    cases = _cases(pairs, several)
    weights, bias = _ridge(cases.inputs, cases.effect, mean, deviation)
    if validation:
        tested = _cases(validation, several)
        says = standardised(tested.inputs, mean, deviation) @ weights + bias
    else:
        tested, says = cases, np.zeros_like(cases.effect)
        for number in range(FOLDS):
            mine = cases.strip % FOLDS == number
            part = _ridge(cases.inputs[~mine], cases.effect[~mine], mean, deviation)
            says[mine] = standardised(cases.inputs[mine], mean, deviation) @ part[0] + part[1]
    places = tested.guessed
    (first, second, offset), rest = _stacked(tested.guess, says[places], tested.effect[places])
    return {
        "weights": weights,
        "bias": bias,
        "of_prediction": first,
        "of_reference": second,
        "offset": offset,
        "deviation": np.sqrt(np.mean(rest**2, axis=0) + LEAST_DEVIATION_DB**2),
    }


def _ridge(
    inputs: np.ndarray, effect: np.ndarray, mean: np.ndarray, deviation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias; the embeddings, many and alike, are held back more than the figures."""
    figures = 2 * effect.shape[1]
    alpha = np.full(inputs.shape[1], EMBEDDING_RIDGE)
    alpha[:figures] = FIGURES_RIDGE
    z = standardised(inputs, mean, deviation)
    middle = z.mean(axis=0)
    square = (z - middle).T @ (z - middle) + len(z) * np.diag(alpha)
    weights = np.linalg.solve(square, (z - middle).T @ (effect - effect.mean(axis=0)))
    return weights, effect.mean(axis=0) - middle @ weights


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
        ridge = STACK_RIDGE * len(z) * float(z.var(axis=0).mean() + 1e-9) * np.eye(2)
        half = np.full(2, 0.5)
        found[:2, k] = np.linalg.solve(z.T @ z + ridge, z.T @ (wanted[:, k] - goal) + ridge @ half)
        found[2, k] = goal - mean @ found[:2, k]
    rest = wanted - found[0] * ours - found[1] * theirs - found[2]
    return (found[0], found[1], found[2]), rest


def fit_model_statistics(
    model: Predictor,
    voices: Voices,
    validation: Voices,
    rooms: Sequence[np.ndarray],
    strips: int,
    seed: int,
    seconds: float = SECONDS,
    *,
    with_embeddings: bool = True,
    report_progress: Callable[[float], None] = lambda _: None,
) -> StyleStatistics:
    """Simulate strips, and fit the statistics of a model to them.

    Parameters
    ----------
    model : Predictor
        With the second head.
    voices, validation : Voices
        Singers that it was trained on, and others; the same where there are no others.
    rooms : sequence of ndarray
        Impulse responses.
    strips : int
        For the singers that it was trained on, at least 5; of the others 0.4 times as many.
    seed : int
        Seed of every random choice.
    seconds : float
        Length of each passage.
    with_embeddings : bool
        Whether the encoder's embeddings are used, too: the statistics then serve no other
        encoder.
    report_progress : callable
        Called after each strip with the share that is done.
    """
    table, model = statistics.load(), model.eval()
    strips = max(strips, FOLDS)
    is_apart = validation.clips.keys() != voices.clips.keys()
    others = max(5, round(VALIDATION_SHARE * strips)) if is_apart else 0
    pairs: list[StylePairs] = []
    for number in range(strips + others):
        mine = number < strips
        numbers = (seed, number) if mine else (seed, SEED_OF_VALIDATION, number)
        made = simulate_strip(
            model, voices if mine else validation, rooms, table,
            np.random.default_rng(numbers), seconds,
        )  # fmt: skip
        if not with_embeddings:
            none = np.empty((SINGERS, 0))
            made = replace(made, raw_embedding=none, finished_embedding=none)
        pairs.append(made)
        report_progress((number + 1) / (strips + others))
    source = (
        f"{strips} strips, {SINGERS} singers of {len(voices.clips)} each, {seconds:g} s, seed "
        f"{seed}; singers: {', '.join(sorted(voices.clips))}"
    )
    if is_apart:
        source += f"; {others} strips for validation by {', '.join(sorted(validation.clips))}"
    return fit_statistics(pairs[:strips], source, pairs[strips:])


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
    parser.add_argument("--seconds", type=float, default=SECONDS)
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
    with bar("style pairs", silent=False) as show:
        found = fit_model_statistics(
            model, voices, voices, rooms, arguments.strips, arguments.seed, arguments.seconds,
            with_embeddings=False, report_progress=lambda share: show(share, ""),
        )  # fmt: skip
    found.save(arguments.output)
    for name, value in zip(STYLE_FEATURES, found.deviation[0], strict=True):
        click.echo(f"{name:<22}{value:8.2f} dB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
