"""What simulated pairs say of references: the fit, the file, and what is no such file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diffconsole.errors import ModelError
from diffconsole.model.reference.style_features import STYLE_FEATURES
from diffconsole.model.reference.style_statistics import load
from diffconsole.training.pretraining.style_pairs import StylePairs, fit_statistics

COUNT = len(STYLE_FEATURES)


def made_pairs(strips: int, prediction_noise: float) -> list[StylePairs]:
    """Singers that differ by 4 dB in the first half of the figures and by nothing in the other."""
    rng = np.random.default_rng(0)
    differs = np.where(np.arange(COUNT) < COUNT // 2, 4.0, 0.0)
    found = []
    for _ in range(strips):
        raw = differs * rng.standard_normal((4, COUNT))
        effect = 3.0 * rng.standard_normal(COUNT)
        guess = effect + prediction_noise * rng.standard_normal((4, COUNT))
        found.append(StylePairs(raw, raw + effect, raw + guess))
    return found


def test_where_singers_differ_the_prediction_counts_and_elsewhere_the_reference() -> None:
    pairs = made_pairs(300, 1.0)
    table = fit_statistics(pairs, "made")
    half = COUNT // 2
    assert np.median(table.deviation[half:]) < 0.7
    assert 0.6 < np.median(table.deviation[:half]) < 1.3
    assert np.median(table.of_prediction[:half]) > 0.7
    assert np.median(table.of_reference[half:]) > 0.6
    pair = made_pairs(301, 1.0)[-1]
    expected = table.expected(pair.raw, np.roll(pair.finished, -1, axis=0), pair.predicted)
    off, guess = (np.square(a - pair.finished).mean() for a in (expected, pair.predicted))
    assert off < guess


def test_the_file_holds_what_was_fitted(tmp_path: Path) -> None:
    table = fit_statistics(made_pairs(40, 1.0), "made")
    table.save(tmp_path / "a.json")
    again = load(tmp_path / "a.json")
    assert again.source == "made"
    for name, value in vars(table).items():
        if name != "source":
            np.testing.assert_allclose(getattr(again, name), value, rtol=1e-3, atol=1e-9)


def test_the_shipped_file_knows_reverb_better_than_tone() -> None:
    table = load()
    place = {name: i for i, name in enumerate(STYLE_FEATURES)}
    assert "singers: " in table.source
    assert table.deviation[place["side_500_hz_db"]] < table.deviation[place["tone_63.1_hz"]]
    assert table.of_reference[place["side_500_hz_db"]] > 0.7


def test_what_is_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    fit_statistics(made_pairs(10, 1.0)).save(path)
    data = json.loads(path.read_text())
    for change in (
        {"features": []},
        {"bias": [1.0]},
        {"deviation": [0.0] * COUNT},
        {"weights": "x"},
    ):
        path.write_text(json.dumps({**data, **change}))
        with pytest.raises(ModelError, match="not statistics of styles"):
            load(path)
    path.write_text("{")
    with pytest.raises(ModelError, match=r"a\.json: not statistics of styles"):
        load(path)
    with pytest.raises(ModelError):
        load(tmp_path / "none.json")
