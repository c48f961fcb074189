"""A predictor to fine-tune from: a pretrained encoder, and a head that knows nothing yet."""

from __future__ import annotations

from pathlib import Path

import torch

from ...encoders import family_of, open_encoder, split_spec
from ...encoders.base import Encoder
from ...errors import ModelError
from ...model.known import Known
from ...model.predictor import Predictor, default_model
from ...strip.anchor import anchor
from ...strip.later import FIRST_PARAMETERS

__all__ = ["new_model"]


def new_model(
    spec: str, sample_rate: int | None = None, seed: int = 0, *, trust: bool = False
) -> Predictor:
    """Build a predictor on an encoder; its head predicts the anchor for every input.

    Parameters
    ----------
    spec : str
        ``NAME[:PATH]``: a family, and a file, a bundle, or the folder of a model whose encoder
        it is. The families whose weights are shipped need no path.
    sample_rate : int, optional
        Hz, for encoders whose file does not state it.
    seed : int
        Of the head's weights.
    trust : bool
        Also read files that hold more than numbers, which runs their author's code.

    Returns
    -------
    Predictor
        In evaluation mode.

    Raises
    ------
    ModelError
        No such encoder, or weights of another kind.
    """
    encoder = _pretrained(spec, sample_rate, trust)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Predictor(encoder)
    model.head.start_at(anchor())
    # The anchor does without modules that came after it.
    model.known = Known.of(FIRST_PARAMETERS)
    return model.eval()


def _pretrained(spec: str, sample_rate: int | None, trust: bool) -> Encoder:
    name, source = split_spec(spec)
    if source is None and family_of(name).shipped:
        folder = default_model()
    elif source is not None and (Path(source) / "model.json").is_file():
        folder = Path(source)
    else:
        return open_encoder(name, source, sample_rate, trust=trust)
    if sample_rate is not None:
        raise ModelError(f"{spec}: its rate is known; leave --encoder-rate out")
    encoder = Predictor.load(folder, trust_checkpoint=trust).encoder
    if encoder.name != name:
        raise ModelError(f"{folder}: its encoder is {encoder.name!r}, not {name!r}")
    return encoder
