"""What every family's tests ask of its encoder in the same words."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffconsole import Predictor
from diffconsole.encoders.base import Encoder
from diffconsole.model.rows import KEYS, row_tensors

from ..synthetic import voice

MOST_MEBIBYTES = 500


class RunsCode:
    """Pickled, a file that runs code where it is read."""

    def __reduce__(self) -> Any:
        return print, ("code was run",)


def assert_saved_whole(model: Predictor, folder: Path, rate: int = 44100) -> Predictor:
    """A model on the encoder, read again, has its configuration and answers the same.

    Files hold half precision. A strip whose bands trade places by that is another one, so answers
    are compared on the same weights.
    """
    model.save(folder, {})
    again = Predictor.load(folder, trust_checkpoint=True)
    assert again.encoder.config() == model.encoder.config()
    weights, rows = again.state_dict(), row_tensors(model)
    known = [place for place, key in enumerate(KEYS) if key not in again.known.unknown]
    for name, value in model.state_dict().items():
        found = weights[name]
        kind, dim = rows.get(name, ("", 0))
        if kind == "switches":
            continue
        if kind == "parameters":
            found, value = (each.index_select(dim, torch.tensor(known)) for each in (found, value))
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-6)
    model.load_state_dict(weights)
    take = voice(1.0, rate=rate)[None]
    a, b = (m.predict(take, rate).settings for m in (model, again))
    assert b == pytest.approx(a, rel=1e-6, abs=1e-6)
    return again


def assert_ten_minutes_in_bounded_memory(encoder: Encoder, rate: int = 16000) -> None:
    """A long vocal takes no more than a short one and its samples."""
    model = Predictor(encoder, hidden=8).eval()
    take = np.tile(voice(5.0, rate=rate), 120)[None]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.predict(take, rate)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEBIBYTES * 1024
