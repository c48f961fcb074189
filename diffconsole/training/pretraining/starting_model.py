"""The pretrained model that a run starts from: whether it may, and what is taken of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ...errors import ModelError
from ...model.predictor import Predictor, default_model
from .pretrain_options import PretrainOptions, with_present_names

__all__ = ["mean_with", "starting_model", "take_over"]

SHIPPED = "shipped"


def _runs_of(info: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a model records of its last run, and of those that it continued."""
    run: Mapping[str, Any] | None = info
    while run is not None:
        yield run
        run = run.get("started_from")


def starting_model(options: PretrainOptions, trust: bool) -> Predictor:
    """The model to start from, if it may be."""
    folder = default_model() if options.start_from == SHIPPED else Path(str(options.start_from))
    known = Predictor.load(folder, trust_checkpoint=trust)
    info = known.info
    if not {"trained", "options", "steps"} <= info.keys() or known.style is None:
        raise ModelError(f"{folder}: not a model that pretrain wrote; give one to start from")
    asked = {*options.held_out, *options.validation}
    before = with_present_names(info["options"])
    used = sorted({name for run in _runs_of(info) for name in run.get("people", ())} & asked)
    if "people" not in info:
        used += sorted(asked - {*before.get("held_out", ()), *before.get("validation", ())})
    if used:
        raise ModelError(
            f"{folder}: was trained on {used[0]!r}, who is to be held out; hold out whom it held "
            "out, or start from scratch"
        )
    runs = [with_present_names(run["options"]) for run in _runs_of(info)]
    validated = {name for run in runs for name in run.get("validation", ())}
    known_already = sorted(set(options.held_out) & validated)
    if known_already:
        raise ModelError(
            f"{folder}: was chosen by {known_already[0]!r}, who is to be a test speaker; name "
            "them for validation"
        )
    return known


def take_over(model: Predictor, known: Predictor, options: PretrainOptions) -> None:
    """Set a model's weights to those of the model to start from.

    Raises
    ------
    ModelError
        It is of another size.
    """
    same = (known.encoder.name, known.encoder.config(), known.hidden)
    if same != (model.encoder.name, model.encoder.config(), model.hidden):
        raise ModelError(
            f"{options.start_from}: of another size than what pretrain trains; start from scratch"
        )
    model.load_state_dict(known.state_dict())


@torch.no_grad()
def mean_with(model: Predictor, other: Predictor) -> None:
    """Set a model's weights to the mean of its own and those of another of the same kind."""
    theirs = other.state_dict()
    for name, weights in model.state_dict().items():
        if weights.is_floating_point():
            weights.lerp_(theirs[name].to(weights), 0.5)
