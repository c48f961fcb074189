"""What every family's tests ask of its encoder in the same words."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffconsole import Predictor
from diffconsole.encoders.base import Encoder

from ..synthetic import voice

MOST_MEBIBYTES = 500


class RunsCode:
    """Pickled, a file that runs code where it is read."""

    def __reduce__(self) -> Any:
        return print, ("code was run",)


def assert_saved_whole(model: Predictor, folder: Path, rate: int = 44100) -> Predictor:
    """A model on the encoder, read again, has its configuration and answers the same."""
    model.save(folder, {})
    again = Predictor.load(folder, trust_checkpoint=True)
    assert again.encoder.config() == model.encoder.config()
    take = voice(1.0, rate=rate)[None]
    a, b = (m.predict(take, rate).settings for m in (model, again))
    assert all(b[key] == pytest.approx(a[key], rel=2e-2, abs=2e-2) for key in a)
    return again


def assert_ten_minutes_in_bounded_memory(encoder: Encoder, rate: int = 16000) -> None:
    """A long vocal takes no more than a short one and its samples."""
    model = Predictor(encoder, hidden=8).eval()
    take = np.tile(voice(5.0, rate=rate), 120)[None]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.predict(take, rate)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEBIBYTES * 1024
