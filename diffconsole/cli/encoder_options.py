"""What the commands share that build a model on an encoder: the options, the model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import add_options, load_model, model_folder_option

if TYPE_CHECKING:
    from ..model.predictor import Predictor

__all__ = ["StartingModel", "encoder_options", "rate_option", "trust_option"]


@dataclass(frozen=True)
class StartingModel:
    """The model to start from, loaded or built when it is called with a seed.

    Attributes
    ----------
    make : callable
        Of a seed: the model, and its name.
    inputs : tuple of Path
        The files that it reads.
    """

    make: Callable[[int], tuple[Predictor, str]]
    inputs: tuple[Path, ...]

    def __call__(self, seed: int) -> tuple[Predictor, str]:
        """Return the model and its name."""
        return self.make(seed)


rate_option = click.option(
    "--encoder-rate",
    type=click.IntRange(8000, 192000),
    metavar="HZ",
    help="Sample rate of a script's input, or of a RAVE whose file does not state it.",
)
trust_option = click.option(
    "--trust-checkpoint",
    is_flag=True,
    help="Also read encoder files that hold more than numbers, and a model on a TorchScript file. "
    "Dangerous: opening such a file runs whatever code its author put into it, with your rights.",
)


def encoder_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose a model, and hand it over as `start`, a :data:`StartingModel`."""

    @functools.wraps(function)
    def run(
        *args: Any,
        model: Path | None,
        encoder: str | None,
        encoder_rate: int | None,
        trust_checkpoint: bool,
        **kwargs: Any,
    ) -> None:
        if model is not None and encoder is not None:
            raise click.UsageError("--model and --encoder exclude each other: start from one")
        if encoder_rate is not None and encoder is None:
            raise click.UsageError("--encoder-rate goes with --encoder script:FILE or rave:FILE")
        if trust_checkpoint and encoder is None and model is None:
            raise click.UsageError("--trust-checkpoint goes with --encoder NAME:PATH or --model")
        from ..files.results import files_of_model

        make = functools.partial(_starting_model, model, encoder, encoder_rate, trust_checkpoint)
        source = (encoder or "").partition(":")[2]
        inputs = (*files_of_model(model), *((Path(source),) if source else ()))
        function(*args, start=StartingModel(make, inputs), **kwargs)

    return add_options(
        run,
        model_folder_option,
        click.option(
            "--encoder", metavar="NAME[:PATH]",
            help="Start from scratch on this encoder instead of --model (see 'encoders list'). A "
            "script and a RAVE run code of their author: use files that you trust.",
        ),
        rate_option,
        trust_option,
    )  # fmt: skip


def _starting_model(
    model: Path | None, encoder: str | None, encoder_rate: int | None, trust: bool, seed: int
) -> tuple[Predictor, str]:
    """Load the model to fine-tune, or build one on an encoder; also its name."""
    if encoder is None:
        return load_model(model, trust=trust)
    from ..training.pretraining.new_model import new_model

    predictor = new_model(encoder, encoder_rate, seed, trust=trust)
    about, licence = predictor.encoder.about, predictor.encoder.licence
    name, _, _ = encoder.partition(":")
    return predictor, f"encoder {name}: {about} (licence: {licence})"
