"""Pretraining: an encoder and a head from nothing, on simulated raw vocals.

Examples are made on the fly in a second process (:mod:`.simulate`) and heard a few times each from
a pool, since making one costs more than learning from it. The loss is the likelihood of the known
settings and the error of the EQ's curve (:mod:`.targets`). People that are held out are heard only
to choose the best state and to report.
"""

from __future__ import annotations

import copy
import datetime
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from .. import statistics
from ..encoders import create
from ..encoders.logmel import LogMelEncoder
from ..errors import ModelError
from ..parameters import PARAMETERS
from ..predictor import Predictor
from .card import pretrain_card
from .checkpoint import load_checkpoint, save_checkpoint
from .simulate import Example, Voices, load_rooms, load_voices, simulate
from .targets import settings_loss

__all__ = ["PretrainOptions", "held_out_examples", "pretrain"]

HELD_OUT_SEED = 2**31 - 1
POOL = 4000
TIMES_HEARD = 3
CHECKPOINT = "pretrain.safetensors"


@dataclass(frozen=True)
class PretrainOptions:
    """What a pretraining run is made of; recorded in the model.

    Attributes
    ----------
    voices : str
        Folder with one folder of clips a person.
    rooms : str, optional
        Folder of impulse responses.
    held_out : tuple of str
        People that are never trained on.
    reference : tuple of str
        People whose long-term spectrum is the finished one; empty for the mean of all.
    minutes : float
        Time budget.
    batch : int
        Examples a step.
    learning_rate : float
        At the start; it falls to nothing along a cosine of the time budget.
    seed : int
        Of weights and examples.
    """

    voices: str
    rooms: str | None = None
    held_out: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    minutes: float = 50.0
    batch: int = 24
    learning_rate: float = 1e-3
    seed: int = 0


class _Stream(IterableDataset):
    """Examples by their number, so that a run that goes on hears what it would have heard."""

    def __init__(
        self,
        voices: Voices,
        rooms: Sequence[np.ndarray],
        table: statistics.SettingsStatistics,
        mel: torch.nn.Module,
        seed: int,
        first: int,
    ) -> None:
        self.voices, self.rooms, self.table = voices, rooms, table
        self.mel, self.seed, self.first = mel, seed, first

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        number = self.first
        while True:
            rng = np.random.default_rng((self.seed, number))
            yield _heard(simulate(self.voices, self.rooms, self.table, rng), self.mel)
            number += 1


class _Pool:
    """The latest examples; each batch is the fresh ones and a draw of earlier ones."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng((seed, 2))
        self.kept: list[tuple[Tensor, Tensor]] = []
        self.oldest = 0

    def batch(self, mel: Tensor, settings: Tensor, size: int) -> list[Tensor]:
        fresh = list(zip(mel, settings, strict=True))
        drawn = self.rng.integers(0, max(len(self.kept), 1), size - len(fresh))
        again = [self.kept[i] for i in drawn] if self.kept else []
        for example in fresh:
            if len(self.kept) < POOL:
                self.kept.append(example)
            else:
                self.kept[self.oldest] = example
                self.oldest = (self.oldest + 1) % POOL
        return [torch.stack(part) for part in zip(*fresh, *again, strict=True)]


@torch.inference_mode()
def _heard(example: Example, mel: torch.nn.Module) -> tuple[Tensor, Tensor]:
    heard = mel(torch.from_numpy(example.raw)[None])[0]
    return heard.clone(), torch.from_numpy(example.normalised())


def held_out_examples(voices: Voices, rooms: Sequence[np.ndarray], count: int) -> Iterator[Example]:
    """Make the fixed examples that a run is judged by."""
    table = statistics.load()
    for i in range(count):
        yield simulate(voices, rooms, table, np.random.default_rng((HELD_OUT_SEED, i)))


def pretrain(
    options: PretrainOptions,
    folder: Path,
    *,
    resume: bool = True,
    report: Callable[[dict[str, Any]], None] = lambda _: None,
    validation: int = 96,
) -> dict[str, Any]:
    """Train a predictor and write it to `folder`.

    Parameters
    ----------
    options : PretrainOptions
        What to train on and for how long.
    folder : Path
        Gets the model, and a checkpoint each two minutes.
    resume : bool
        Go on from the folder's checkpoint if there is one.
    report : callable
        Called after each step with ``fraction`` of the time, ``step`` and ``loss``, and after each
        validation with the held-out figures.
    validation : int
        Held-out examples.

    Returns
    -------
    dict
        The figures of the best state on the people held out, beside those of the one fixed
        strip that is the middle of the statistics.

    Raises
    ------
    ModelError
        A person to hold out is not there, nobody is left to train on, or the folder holds the
        checkpoint of a run with other data or options.
    AudioError
        The voices or rooms cannot be read.
    """
    torch.manual_seed(options.seed)
    folder.mkdir(parents=True, exist_ok=True)
    voices = load_voices(options.voices, options.reference)
    unknown = sorted(set(options.held_out) - set(voices.clips))
    if unknown:
        raise ModelError(f"{options.voices}: no folder {unknown[0]!r} to hold out")
    rooms = load_rooms(options.rooms)
    people = [p for p in voices.clips if p not in options.held_out]
    if not people:
        raise ModelError(f"{options.voices}: everybody is held out; leave somebody to train on")
    table = statistics.load()
    model = Predictor(create("logmel"))
    assert isinstance(model.encoder, LogMelEncoder)
    frames_of, mel = model.encoder.frames_of, copy.deepcopy(model.encoder.mel)
    strangers = voices.of(options.held_out or people)
    judged = [_heard(e, mel) for e in held_out_examples(strangers, rooms, validation)]
    middle = _middle(table, options.seed)
    model.head.start_at(middle)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.01)
    progress: dict[str, Any] = {
        "step": 0,
        "seconds": 0.0,
        "best": None,
        "options": _identity(options),
    }
    best: dict[str, Tensor] = {}
    checkpoint = folder / CHECKPOINT
    if resume and checkpoint.exists():
        progress, best = load_checkpoint(checkpoint, model, optimizer)
        if progress.get("options", _identity(options)) != _identity(options):
            raise ModelError(
                f"{folder}: holds an unfinished run with other data or options; repeat that "
                "command to finish it, or add --force to start anew"
            )

    fresh = max(1, options.batch // TIMES_HEARD)
    stream = _Stream(voices.of(people), rooms, table, mel, options.seed, progress["step"] * fresh)
    loader = DataLoader(stream, fresh, num_workers=1, prefetch_factor=8, worker_init_fn=_one_thread)
    pool = _Pool(options.seed)
    budget = options.minutes * 60.0
    began = time.monotonic() - progress["seconds"]
    saved = judged_at = time.monotonic()
    model.train()

    def keep() -> None:
        progress["seconds"] = time.monotonic() - began
        save_checkpoint(checkpoint, model, optimizer, progress, best)

    try:
        for mel_made, settings_made in loader:
            elapsed = time.monotonic() - began
            if elapsed >= budget:
                break
            for group in optimizer.param_groups:
                warm = min(1.0, (progress["step"] + 1) / 100)
                group["lr"] = (
                    options.learning_rate * warm * 0.5 * (1 + np.cos(np.pi * elapsed / budget))
                )
            heard, target = pool.batch(mel_made, settings_made, options.batch)
            mean, log_variance = model.head(frames_of(heard))
            loss = settings_loss(mean, log_variance, target)["total"].mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            progress["step"] += 1
            report({"fraction": elapsed / budget, "step": progress["step"], "loss": loss.item()})
            now = time.monotonic()
            if now - judged_at > max(60.0, budget / 25):
                best = _keep_best(model, frames_of, judged, progress, best, report)
                judged_at = time.monotonic()
            if now - saved > 120.0:
                keep()
                saved = time.monotonic()
    except KeyboardInterrupt:
        keep()
        raise
    best = _keep_best(model, frames_of, judged, progress, best, report)
    model.load_state_dict(best)
    figures = dict(progress["best"])
    figures["fixed"] = _judge(lambda heard: (middle.expand(len(heard), -1), None), judged)
    info = {
        "trained": datetime.date.today().isoformat(),
        "options": _recorded(options),
        "steps": progress["step"],
        "held_out": figures,
    }
    model.save(folder, info, pretrain_card(info, options.voices, options.rooms))
    checkpoint.unlink(missing_ok=True)
    return figures


def _recorded(options: PretrainOptions) -> dict[str, Any]:
    """The options for the model's card: folders by their names, not by where they lie."""
    facts = asdict(options)
    for name in ("voices", "rooms"):
        if facts[name] is not None:
            facts[name] = Path(facts[name]).name
    return facts


def _identity(options: PretrainOptions) -> dict[str, Any]:
    """What a run shares with the one that it goes on from: all but the time, as JSON holds it."""
    facts = {k: v for k, v in asdict(options).items() if k != "minutes"}
    return dict(json.loads(json.dumps(facts)))


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def _middle(table: statistics.SettingsStatistics, seed: int) -> Tensor:
    """The median of the statistics, setting by setting, normalised."""
    middle = table.middle(seed)
    return torch.tensor([p.to_normalised(middle[p.key]) for p in PARAMETERS])


def _keep_best(
    model: Predictor,
    frames_of: Callable[[Tensor], Tensor],
    judged: list[tuple[Tensor, Tensor]],
    progress: dict[str, Any],
    best: dict[str, Tensor],
    report: Callable[[dict[str, Any]], None],
) -> dict[str, Tensor]:
    model.eval()
    figures = _judge(lambda heard: model.head(frames_of(heard)), judged)
    model.train()
    report({"held_out": figures, "step": progress["step"]})
    if progress["best"] is None or figures["total"] < progress["best"]["total"]:
        progress["best"] = figures
        return {k: v.detach().clone() for k, v in model.state_dict().items()}
    return best


@torch.inference_mode()
def _judge(
    predict: Callable[[Tensor], tuple[Tensor, Tensor | None]], judged: list[tuple[Tensor, Tensor]]
) -> dict[str, float]:
    sums: dict[str, float] = {}
    for first in range(0, len(judged), 16):
        heard, target = map(torch.stack, zip(*judged[first : first + 16], strict=True))
        mean, log_variance = predict(heard)
        if log_variance is None:
            log_variance = torch.full_like(mean, -3.0)
        for name, value in settings_loss(mean, log_variance, target).items():
            sums[name] = sums.get(name, 0.0) + float(value.sum()) / len(judged)
    return {name: round(value, 4) for name, value in sums.items()}
