"""What learns a studio's sound: one fixed preset, a regression, our network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from diffconsole import Predictor, Preset
from diffconsole.audio import loudness_lufs
from diffconsole.encoders import create
from diffconsole.encoders.logmel import LogMelEncoder
from diffconsole.model.predictor import level_gain_db, windows_of
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.strip.parameters import BY_KEY, EQ_BANDS, PARAMETERS
from diffconsole.training.by_key import by_key
from diffconsole.training.finetuning.finetune import FinetuneOptions, finetune, split_pairs
from diffconsole.training.finetuning.labels import (
    LABELS,
    fingerprint_of,
    keep_labels,
    label_key,
    label_of,
)
from tests.benchmarks.match_cases import rendered
from tests.benchmarks.studio_materials import Label, OutOfTime

__all__ = ["Ridge", "effective", "fine_tuned", "random_model", "ridge_regression", "write_labels"]

ALPHAS = np.geomspace(1e-1, 1e5, 25)
MOST_FOR_LEVEL = 12
INPUT_GAIN = "input_gain.gain_db"

# Where a module or band that is off does nothing, in the settings that an average is taken of.
NEUTRAL = {
    "eq.high_pass": {"eq.high_pass.freq_hz": BY_KEY["eq.high_pass.freq_hz"].low},
    "eq.low_pass": {"eq.low_pass.freq_hz": BY_KEY["eq.low_pass.freq_hz"].high},
    "compressor": {"compressor.ratio": 1.0, "compressor.makeup_db": 0.0},
    "pan": {"pan.position": 0.0},
    "reverb": {"reverb.wet_db": BY_KEY["reverb.wet_db"].low},
    **{
        f"eq.{band}": {f"eq.{band}.gain_db": 0.0}
        for band in EQ_BANDS
        if f"eq.{band}.gain_db" in BY_KEY
    },
}


def effective(label: Label, pair: Pair) -> np.ndarray:
    """Return a label in 0…1 for the levelled vocal, what is off set to do nothing."""
    settings = dict(label.settings)
    for switch, neutral in NEUTRAL.items():
        if switch in label.bypass or switch.split(".")[0] in label.bypass:
            settings.update(neutral)
    settings[INPUT_GAIN] -= level_gain_db(pair.raw, PAIR_RATE)[0]
    return np.array([p.to_normalised(p.clip(settings[p.key])) for p in PARAMETERS])


def ridge_regression(
    features: np.ndarray, targets: np.ndarray, alphas: np.ndarray = ALPHAS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit each target with the penalty that is best when each row is left out in turn.

    Parameters
    ----------
    features : ndarray
        ``(rows, features)``, of like scale.
    targets : ndarray
        ``(rows, targets)``.

    Returns
    -------
    weights, offset, alphas : ndarray
        ``(features, targets)``, ``(targets,)`` and the penalty of each target.
    """
    centre, middle = features.mean(axis=0), targets.mean(axis=0)
    u, size, vt = np.linalg.svd(features - centre, full_matrices=False)
    projected = u.T @ (targets - middle)
    errors, weights = [], []
    for alpha in alphas:
        kept = size**2 / (size**2 + alpha)
        leverage = (u**2) @ kept + 1.0 / len(features)
        left_out = (targets - middle - u @ (kept[:, None] * projected)) / (1.0 - leverage)[:, None]
        errors.append(np.sum(left_out**2, axis=0))
        weights.append(vt.T @ ((size / (size**2 + alpha))[:, None] * projected))
    best = np.argmin(errors, axis=0)
    chosen = np.stack([weights[b][:, i] for i, b in enumerate(best)], axis=1)
    return chosen, middle - centre @ chosen, alphas[best]


class Ridge:
    """Mean and deviation of the log-mel bands → matched settings, and one gain for the level.

    Parameters
    ----------
    pairs : sequence of Pair
        To learn from.
    labels : sequence of Label
        What was matched for them.
    """

    def __init__(self, pairs: Sequence[Pair], labels: Sequence[Label]) -> None:
        self.mel = LogMelEncoder().mel
        found = np.stack([self._features(pair) for pair in pairs])
        self.centre, self.scale = found.mean(axis=0), found.std(axis=0) + 1e-3
        targets = [effective(label, pair) for label, pair in zip(labels, pairs, strict=True)]
        self.weights, self.offset, _ = ridge_regression(
            (found - self.centre) / self.scale, np.stack(targets)
        )
        self.output_gain_db = 0.0
        # The fixed preset has one gain for all pairs: a fair rival of it has, too.
        some = [pairs[i] for i in np.linspace(0, len(pairs) - 1, MOST_FOR_LEVEL).astype(int)]
        missing = [_loudness(pair.mixed) - _loudness(self._result(pair)) for pair in some]
        self.output_gain_db = float(np.median(missing))

    def _result(self, pair: Pair) -> np.ndarray:
        return rendered(pair.raw, self.preset(pair))

    def _features(self, pair: Pair) -> np.ndarray:
        gain_db, _ = level_gain_db(pair.raw, PAIR_RATE)
        levelled = pair.raw.mean(axis=0, keepdims=True) * np.float32(10.0 ** (gain_db / 20.0))
        with torch.inference_mode():
            mel = self.mel(torch.from_numpy(levelled))[0].numpy()
        return np.concatenate((mel.mean(axis=1), mel.std(axis=1)))

    def preset(self, pair: Pair) -> Preset:
        """Return the strip for a pair's raw vocal as it lies."""
        features = (self._features(pair) - self.centre) / self.scale
        chosen = np.clip(features @ self.weights + self.offset, 0.0, 1.0)
        settings = {
            p.key: p.clip(p.to_physical(float(value)))
            for p, value in zip(PARAMETERS, chosen, strict=True)
        }
        gain_db, _ = level_gain_db(pair.raw, PAIR_RATE)
        for key, more in ((INPUT_GAIN, gain_db), ("output_gain.gain_db", self.output_gain_db)):
            settings[key] = BY_KEY[key].clip(settings[key] + more)
        return Preset.from_settings(settings)


def _loudness(samples: np.ndarray) -> float:
    return max(loudness_lufs(samples, PAIR_RATE), -70.0)


def random_model(
    like: Predictor, pairs: Sequence[Pair], labels: Sequence[Label], seed: int
) -> Predictor:
    """Return a network built like another, from random weights.

    It starts where a careful hand would start it: its answer is the middle of the matched
    settings, and its normalisation layers know the statistics of the studio's raw vocals.
    """
    torch.manual_seed(seed)
    model = Predictor(create(like.encoder.name, like.encoder.config()), hidden=like.hidden)
    targets = [effective(label, pair) for label, pair in zip(labels, pairs, strict=True)]
    model.head.start_at(torch.from_numpy(np.mean(targets, axis=0)).float())
    norms = [m for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
    model.encoder.train()
    with torch.no_grad():
        for pair in pairs:
            gain_db, _ = level_gain_db(pair.raw, PAIR_RATE)
            levelled = pair.raw * np.float32(10.0 ** (gain_db / 20.0))
            model.encoder(windows_of(levelled, PAIR_RATE, model.encoder))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


def fine_tuned(
    model: Predictor,
    pairs: Sequence[Pair],
    folder: Path,
    seed: int,
    labels: Sequence[Label],
    *,
    all_layers: bool = False,
    minutes: float = FinetuneOptions.minutes,
    device: str = "cpu",
    deadline: float = float("inf"),
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Fine-tune a model in place on a studio's pairs: all that this benchmark knows of the API.

    Parameters
    ----------
    model : Predictor
        The model.
    pairs : sequence of Pair
        The studio's; a part is held out by the seed.
    folder : Path
        For the checkpoint, from which a run that was stopped goes on.
    seed : int
        Of the run.
    labels : sequence of Label
        What was matched for the pairs: nothing is matched twice for all the cells of a studio.
    all_layers : bool
        Train every stage of the encoder, not the top ones alone.
    minutes : float
        Most time for training.
    device : str
        To train on.
    deadline : float
        By :func:`time.monotonic`.
    say : callable
        Called with a line after each epoch.

    Returns
    -------
    dict
        What is worth keeping: epochs, seconds, and whether the time was up before the training.

    Raises
    ------
    OutOfTime
        At the deadline, after an epoch whose state is kept.
    """
    options = FinetuneOptions(seed=seed, minutes=minutes)
    if all_layers:
        options = replace(options, top_stages=len(model.encoder.stages()))
    train, held_out = split_pairs(pairs, options)

    def report(state: dict[str, Any]) -> None:
        # Only then the epoch is in the checkpoint.
        if "held_out" in state and "fraction" in state:
            say(f"{state['stage']} {state['fraction']:.0%}: held out {state['held_out']:.3f}")
            if time.monotonic() > deadline:
                raise OutOfTime

    write_labels(folder, pairs, labels, seed)
    result = finetune(model, train, held_out, folder, options, device=device, report=report)
    model.to("cpu").eval()
    return {
        "epochs": result.epochs,
        "train_seconds": round(result.seconds, 1),
        "time_was_up": result.seconds > 60.0 * minutes,
    }


def write_labels(folder: Path, pairs: Sequence[Pair], labels: Sequence[Label], seed: int) -> None:
    """Put labels where a fine-tuning looks for those of a run before; what is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / LABELS).exists():
        return
    known = {
        label_key(fingerprint_of(pair), seed): by_key(
            label_of(label.settings, label.bypass).tolist()
        )
        for pair, label in zip(pairs, labels, strict=True)
    }
    keep_labels(folder / LABELS, known)
