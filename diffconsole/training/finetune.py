"""Fine-tuning on a studio's pairs: first the head, then the encoder's top stages too.

The loss is the distance of the console's output to the mix, through the console, and a pull
towards the settings of the model that is fine-tuned, which keeps what the audio cannot tell at
ordinary values. A part of the pairs is held out: it decides when to stop, and the best state
counts. The state is kept after each epoch, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..console import Console
from ..errors import ModelError, PairError
from ..losses import mix_distance
from ..pairs import PAIR_RATE, Pair
from ..parameters import denormalize
from ..predictor import WINDOW_SECONDS, Predictor
from .checkpoint import load_checkpoint, save_checkpoint
from .segments import Segments, segments_of

__all__ = ["CHECKPOINT", "FinetuneOptions", "FinetuneResult", "finetune", "split_pairs"]

CHECKPOINT = "finetune.safetensors"
FEWEST_PAIRS = 2
LEAD_SECONDS = 1.0
LOSS_STRIDE = 32
PULL = 0.5


@dataclass(frozen=True)
class FinetuneOptions:
    """How to fine-tune; recorded in the model.

    Attributes
    ----------
    held_out : float
        Share of the pairs that is not trained on, one pair at least.
    minutes : float
        Most time for training.
    head_epochs, top_epochs : int
        Most epochs of the head alone, and of head and top stages.
    head_rate, top_rate : float
        Learning rates of the two.
    top_stages : int
        How many of the encoder's stages are trained, from the top.
    batch : int
        Segments a step.
    patience : int
        Epochs without a better held-out distance before a stage ends.
    seed : int
        Of the split, the order and the dropout.
    """

    held_out: float = 0.2
    minutes: float = 20.0
    head_epochs: int = 20
    top_epochs: int = 20
    head_rate: float = 5e-4
    top_rate: float = 1e-4
    top_stages: int = 2
    batch: int = 8
    patience: int = 4
    seed: int = 0


@dataclass
class FinetuneResult:
    """What came out of a run.

    Attributes
    ----------
    history : list of dict
        One entry an epoch: stage, train and held_out distance.
    epochs : int
        That were trained.
    seconds : float
        Of training.
    """

    history: list[dict[str, Any]]
    epochs: int
    seconds: float


def split_pairs(pairs: Sequence[Pair], options: FinetuneOptions) -> tuple[list[Pair], list[Pair]]:
    """Split into pairs to train on and pairs held out, by the seed.

    Raises
    ------
    PairError
        Fewer than two pairs.
    """
    if len(pairs) < FEWEST_PAIRS:
        raise PairError(f"{len(pairs)} usable pair(s); fine-tuning needs {FEWEST_PAIRS}, better 50")
    order = np.random.default_rng(options.seed).permutation(len(pairs))
    count = min(max(1, round(options.held_out * len(pairs))), len(pairs) - 1)
    chosen = {int(i) for i in order[:count]}
    kept = [p for i, p in enumerate(pairs) if i not in chosen]
    return kept, [p for i, p in enumerate(pairs) if i in chosen]


def finetune(
    model: Predictor,
    train: Sequence[Pair],
    held_out: Sequence[Pair],
    folder: Path,
    options: FinetuneOptions,
    *,
    device: str = "cpu",
    report: Callable[[dict[str, Any]], None] = lambda _: None,
) -> FinetuneResult:
    """Fine-tune `model` in place and leave it in its best state.

    Parameters
    ----------
    model : Predictor
        The model to start from.
    train, held_out : sequence of Pair
        Aligned pairs.
    folder : Path
        Gets the checkpoint; one of the same pairs and options there is gone on from.
    options : FinetuneOptions
        How.
    device : str
        ``"cpu"`` or ``"cuda"``.
    report : callable
        Called with ``stage``, ``fraction`` (of the stage's most epochs) and ``loss`` after each
        step, and with ``held_out`` after each epoch.

    Returns
    -------
    FinetuneResult
        The course of the run.

    Raises
    ------
    ModelError
        The folder holds the checkpoint of another run.
    """
    model.to(device)
    run = _Run(model, segments_of(train, model), segments_of(held_out, model), options, device)
    progress: dict[str, Any] = {
        "fingerprint": _fingerprint(model, train, held_out, options),
        "stage": "head",
        "epoch": 0,
        "seconds": 0.0,
        "worse": 0,
        "best": None,
        "history": [],
    }
    checkpoint = folder / CHECKPOINT
    best: dict[str, Tensor] = {}
    optimizer = run.optimizer("head")
    if checkpoint.exists():
        progress, best, optimizer = _go_on(checkpoint, run, progress["fingerprint"])
    else:
        progress["best"] = run.held_out_distance()
        best = _copy_of(model)
        progress["history"].append({"stage": "before", "held_out": progress["best"]})
        report({"stage": "head", "held_out": progress["best"]})

    began = time.monotonic() - progress["seconds"]
    while progress["stage"] != "done":
        stage = progress["stage"]
        most = options.head_epochs if stage == "head" else options.top_epochs
        over = time.monotonic() - began > options.minutes * 60.0 * (0.5 if stage == "head" else 1)
        if progress["epoch"] >= most or progress["worse"] >= options.patience or over:
            model.load_state_dict(best)
            progress.update(stage="top" if stage == "head" else "done", epoch=0, worse=0)
            if progress["stage"] == "top":
                optimizer = run.optimizer("top")
            continue
        mean_loss = run.epoch(optimizer, stage, progress["epoch"], most, report)
        held = run.held_out_distance()
        progress["epoch"] += 1
        progress["history"].append(
            {"stage": stage, "epoch": progress["epoch"], "train": mean_loss, "held_out": held}
        )
        if held < progress["best"] - 1e-4:
            progress.update(best=held, worse=0)
            best = _copy_of(model)
        else:
            progress["worse"] += 1
        progress["seconds"] = time.monotonic() - began
        save_checkpoint(checkpoint, model, optimizer, progress, best)
        report({"stage": stage, "held_out": held, "fraction": progress["epoch"] / most})
    model.load_state_dict(best)
    model.requires_grad_(True)
    model.eval()
    epochs = sum("epoch" in entry for entry in progress["history"])
    return FinetuneResult(progress["history"], epochs, progress["seconds"])


def _go_on(
    checkpoint: Path, run: _Run, fingerprint: str
) -> tuple[dict[str, Any], dict[str, Tensor], torch.optim.Optimizer]:
    progress, best = load_checkpoint(checkpoint, run.model)
    if progress["fingerprint"] != fingerprint:
        raise ModelError(
            f"{checkpoint.parent}: holds an unfinished run of other pairs, options or model; "
            "repeat that command to finish it, or add --force to start anew"
        )
    optimizer = run.optimizer(progress["stage"] if progress["stage"] != "done" else "top")
    load_checkpoint(checkpoint, run.model, optimizer)
    return progress, best, optimizer


def _copy_of(model: Predictor) -> dict[str, Tensor]:
    return {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}


def _fingerprint(
    model: Predictor, train: Sequence[Pair], held: Sequence[Pair], options: FinetuneOptions
) -> str:
    facts = [
        [(p.name, p.raw.shape[1], round(p.lag_seconds, 6)) for p in part] for part in (train, held)
    ]
    text = json.dumps([facts, asdict(options)], sort_keys=True)
    print_of = hashlib.sha256(text.encode())
    for name, weights in model.state_dict().items():
        print_of.update(name.encode())
        print_of.update(weights.detach().cpu().contiguous().numpy().tobytes())
    return print_of.hexdigest()


class _Run:
    """The tensors of a run, and its steps."""

    def __init__(
        self,
        model: Predictor,
        train: Segments,
        held: Segments,
        options: FinetuneOptions,
        device: str,
    ) -> None:
        self.model, self.train, self.held, self.options = model, train, held, options
        self.device = device
        self.console = Console(PAIR_RATE, reverb_seconds=WINDOW_SECONDS)
        self.lead = int(LEAD_SECONDS * PAIR_RATE)
        model.eval()
        with torch.no_grad():
            self.frames = torch.cat([model.encoder(h.to(device)) for h in train.heard.split(8)])
            self.start = torch.cat([model.head(f)[0] for f in self.frames.split(64)])

    def optimizer(self, stage: str) -> torch.optim.Optimizer:
        top = [module for _, module in self.model.encoder.stages()[-self.options.top_stages :]]
        upper = [p for module in top for p in module.parameters()]
        for parameter in self.model.encoder.parameters():
            parameter.requires_grad_(False)
        groups: list[dict[str, Any]] = [
            {"params": list(self.model.head.parameters()), "lr": self.options.head_rate}
        ]
        if stage == "top":
            for parameter in upper:
                parameter.requires_grad_(True)
            groups[0]["lr"] = self.options.head_rate / 2
            groups.append({"params": upper, "lr": self.options.top_rate})
        return torch.optim.AdamW(groups, weight_decay=0.01)

    def distance(self, chosen: Tensor, part: Segments, rows: Tensor, stride: int) -> Tensor:
        raw, mixed = part.raw[rows].to(self.device), part.mixed[rows].to(self.device)
        result = self.console(raw, denormalize(chosen))
        return mix_distance(
            result[..., self.lead :], mixed[..., self.lead :], PAIR_RATE, stride=stride
        )

    def epoch(
        self,
        optimizer: torch.optim.Optimizer,
        stage: str,
        number: int,
        most: int,
        report: Callable[[dict[str, Any]], None],
    ) -> float:
        # Normalisation statistics of a batch of eight would be noise: they stay as pretrained.
        self.model.eval()
        self.model.head.train()
        rng = np.random.default_rng((self.options.seed, stage == "top", number))
        order = torch.from_numpy(rng.permutation(len(self.train)))
        losses = []
        steps = order.split(self.options.batch)
        # Each epoch has its own dropout, so that a run that goes on does what it would have done.
        with torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(2**63)))
            for step, rows in enumerate(steps):
                losses.append(self.step(optimizer, stage, rows))
                fraction = (number + (step + 1) / len(steps)) / most
                report({"stage": stage, "fraction": fraction, "loss": losses[-1]})
        return float(np.mean(losses))

    def step(self, optimizer: torch.optim.Optimizer, stage: str, rows: Tensor) -> float:
        if stage == "top":
            frames = self.model.encoder(self.train.heard[rows].to(self.device))
        else:
            frames = self.frames[rows]
        mean, log_variance = self.model.head(frames)
        pull = (mean - self.start[rows]).square().mean(dim=1)
        chosen = self.model.choose(mean, (log_variance / 2).exp())
        distance = self.distance(chosen, self.train, rows, LOSS_STRIDE)
        loss = (distance + PULL * pull).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for g in optimizer.param_groups for p in g["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        return float(distance.detach().mean())

    @torch.no_grad()
    def held_out_distance(self) -> float:
        self.model.eval()
        found = []
        for rows in torch.arange(len(self.held)).split(self.options.batch):
            mean, log_variance = self.model(self.held.heard[rows].to(self.device))
            chosen = self.model.choose(mean, (log_variance / 2).exp())
            found.append(self.distance(chosen, self.held, rows, LOSS_STRIDE))
        return float(torch.cat(found).mean())
