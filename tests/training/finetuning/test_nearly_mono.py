"""A mix that is nearly mono among those held out does not decide what is learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffconsole.model.predictor import Predictor
from diffconsole.pairs import Pair
from diffconsole.pairs.evaluation import mean_and_median, model_distance
from diffconsole.training.finetuning import map_estimates
from diffconsole.training.finetuning.finetune import FinetuneOptions, FinetuneResult, finetune

from ...synthetic import STUDIO, nearly_mono, pair
from .helpers import base_model, quick_runs


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_runs(monkeypatch.setattr)
    monkeypatch.setattr(map_estimates, "STEPS", 2)


def trained(held: list[Pair], folder: Path) -> tuple[Predictor, FinetuneResult]:
    model = base_model()
    options = FinetuneOptions(
        studio_epochs=1, head_epochs=1, top_epochs=0, batch=4, minutes=1e3, top_stages=1
    )
    train = [pair(seed, seconds=1.0) for seed in range(10, 14)]
    folder.mkdir()
    return model, finetune(model, train, held, folder, options)


def test_the_model_is_as_good_on_the_others_as_without_it(tmp_path: Path) -> None:
    held = [pair(seed, {**STUDIO, "reverb.width": 1.0}, seconds=1.0) for seed in range(3)]
    mono = nearly_mono(pair(3, seconds=1.0))
    before = [model_distance(p, base_model()) for p in held]
    without, _ = trained(held, tmp_path / "without")
    among, result = trained([*held, mono], tmp_path / "among")
    ours, theirs = (np.mean([model_distance(p, m) for p in held]) for m in (among, without))
    assert ours < 1.05 * theirs
    assert ours < 0.7 * np.mean(before)
    assert result.best != "before"
    # Each pair's distance is told, by stage.
    assert len(result.by_pair["before"]) == len(result.by_pair[result.best]) == 4
    # As it is reported, this mix is farther than the others by far, and decides their mean.
    after = [model_distance(p, among) for p in [*held, mono]]
    assert after[-1] > 3.0 * max(after[:-1])
    mean, median = mean_and_median(after)
    assert mean > 1.5 * median
