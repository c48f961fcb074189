"""What simulated pairs say of references: the fit, the file, and what is no such file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diffconsole.encoders.logmel import LogMelEncoder
from diffconsole.errors import ModelError
from diffconsole.model.predictor import Predictor
from diffconsole.model.reference.style_features import STYLE_FEATURES
from diffconsole.model.reference.style_statistics import (
    STATISTICS_FILE,
    load,
    load_of_model,
)
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
        several = effect + prediction_noise * rng.standard_normal((4, COUNT))
        none = np.empty((4, 0))
        found.append(StylePairs(raw, raw + effect, raw + guess, raw + several, none, none))
    return found


def test_where_singers_differ_the_prediction_counts_and_elsewhere_the_reference() -> None:
    pairs = made_pairs(300, 1.0)
    table = fit_statistics(pairs, "made")
    half = COUNT // 2
    assert np.median(table.deviation[0, half:]) < 0.7
    assert 0.6 < np.median(table.deviation[0, :half]) < 1.3
    assert np.median(table.of_prediction[0, :half]) > 0.7
    assert np.median(table.of_reference[0, half:]) > 0.6
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
    assert table.deviation[0, place["side_500_hz_db"]] < table.deviation[0, place["tone_63.1_hz"]]
    assert table.of_reference[0, place["side_500_hz_db"]] > 0.7


def with_embeddings(strips: int, seed: int) -> list[StylePairs]:
    """Singers whose own tone the embedding tells, and a strip that adds to it."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(strips):
        raw = 4.0 * rng.standard_normal((4, COUNT))
        effect = 3.0 * rng.standard_normal(COUNT)
        known = np.tile(raw[:, :8], 16)
        found.append(StylePairs(raw, raw + effect, raw, raw, known, known))
    return found


def test_embeddings_that_know_the_singer_make_references_surer() -> None:
    table = fit_statistics(with_embeddings(200, 0), "made", with_embeddings(60, 1))
    assert table.embedding_dim == 128
    known, unknown = table.deviation[:, :8], table.deviation[:, 8:]
    assert known[0].mean() < 0.75 * unknown[0].mean()
    # Three singers together hide less of the strip than one.
    assert unknown[1].mean() < 0.9 * unknown[0].mean()
    pair = with_embeddings(1, 2)[0]
    embedding = np.concatenate((pair.raw_embedding[0], pair.finished_embedding[1]))
    one = table.for_references(1.0)
    found = one.expected(pair.raw[0], pair.finished[1], pair.predicted[0], embedding)
    off = found - pair.finished[0]
    assert np.abs(off[:8]).mean() < np.abs(pair.raw[0] - pair.finished[0])[:8].mean()


def test_what_lies_between_one_reference_and_three_goes_by_the_inverse() -> None:
    table = fit_statistics(made_pairs(40, 1.0), "made")
    for count, share in ((1.0, 1.0), (2.0, 0.25), (3.0, 0.0), (9.0, 0.0)):
        found = table.for_references(count)
        assert found.weights.shape[0] == 1
        for name in ("weights", "deviation", "of_reference"):
            one, several = getattr(table, name)
            np.testing.assert_allclose(getattr(found, name)[0], share * one + (1 - share) * several)


def test_a_model_keeps_its_statistics_and_refuses_those_of_another(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = LogMelEncoder(widths=(16, 16, 16), features=8, mels=16, n_fft=1024, window=1024)
    model = Predictor(encoder, hidden=16, has_style=True)
    model.save(tmp_path / "none", {})
    assert Predictor.load(tmp_path / "none").style_statistics is None
    rng = np.random.default_rng(0)
    pairs = [
        replace(
            pair,
            raw_embedding=rng.standard_normal((4, 2 * encoder.dim)),
            finished_embedding=rng.standard_normal((4, 2 * encoder.dim)),
        )
        for pair in made_pairs(8, 1.0)
    ]
    model.style_statistics = fit_statistics(pairs, "made")
    model.save(tmp_path / "own", {})
    again = Predictor.load(tmp_path / "own").style_statistics
    assert again is not None and again.source == "made"
    np.testing.assert_allclose(again.weights, model.style_statistics.weights, atol=1e-3)
    # Saved over a model that had some, one without has none.
    model.style_statistics = None
    model.save(tmp_path / "own", {})
    assert not (tmp_path / "own" / STATISTICS_FILE).exists()
    (tmp_path / "none" / STATISTICS_FILE).write_bytes(
        fit_statistics(with_embeddings(8, 0), "of another").to_bytes()
    )
    with pytest.raises(ModelError, match="not statistics of styles"):
        Predictor.load(tmp_path / "none")
    (tmp_path / "none" / STATISTICS_FILE).write_bytes(b"\0" * 64)
    with pytest.raises(ModelError, match="not statistics of styles"):
        Predictor.load(tmp_path / "none")


def test_the_same_statistics_are_the_same_bytes() -> None:
    table = fit_statistics(with_embeddings(8, 0), "made")
    assert len({table.to_bytes() for _ in range(6)}) == 1


@pytest.mark.parametrize(
    "change", [{"deviation": 1e-30}, {"bias": 1e30}, {"input_deviation": 1e-9}], ids=str
)
def test_statistics_that_no_fit_leaves_are_damage(tmp_path: Path, change) -> None:
    table = fit_statistics(with_embeddings(8, 0), "made")
    ((name, value),) = change.items()
    damaged = replace(table, **{name: np.full_like(getattr(table, name), value)})
    (tmp_path / STATISTICS_FILE).write_bytes(damaged.to_bytes())
    with pytest.raises(ModelError, match="not statistics of styles"):
        load_of_model(tmp_path, 128)


def test_a_link_to_nowhere_is_no_model_without_statistics(tmp_path: Path) -> None:
    assert load_of_model(tmp_path, 128) is None
    (tmp_path / STATISTICS_FILE).symlink_to(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="not statistics of styles"):
        load_of_model(tmp_path, 128)


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
