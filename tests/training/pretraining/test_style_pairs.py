"""Simulated singers through one strip: the same draw each time, one strip for all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from diffconsole.encoders.logmel import LogMelEncoder
from diffconsole.model.predictor import Predictor
from diffconsole.model.reference.style_features import STYLE_FEATURES
from diffconsole.model.reference.style_statistics import load
from diffconsole.strip import statistics
from diffconsole.training.pretraining import style_pairs
from diffconsole.training.pretraining.simulate import load_voices
from tests.synthetic import RATE, voice


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two clips of each of three singers, and a small model with a second head."""
    place = tmp_path_factory.mktemp("style")
    for seed, name in enumerate(("anna", "bert", "carl")):
        (place / "voices" / name).mkdir(parents=True)
        for take in range(2):
            path = place / "voices" / name / f"{take}.wav"
            soundfile.write(path, voice(1.5, 10 * seed + take), RATE)
    torch.manual_seed(1)
    encoder = LogMelEncoder(widths=(16, 16, 16), features=8, mels=16, n_fft=1024, window=1024)
    Predictor(encoder, hidden=16, has_style=True).save(place / "model", {})
    return place


def test_one_strip_for_all_singers(folder) -> None:
    model, voices = Predictor.load(folder / "model"), load_voices(folder / "voices")
    first, again = (
        style_pairs.simulate_strip(
            model, voices, [], statistics.load(), np.random.default_rng(4), 1.0
        )
        for _ in range(2)
    )
    assert first.raw.shape == (style_pairs.SINGERS, len(STYLE_FEATURES))
    for name, value in vars(first).items():
        assert np.isfinite(value).all()
        np.testing.assert_array_equal(value, getattr(again, name))
    side = STYLE_FEATURES.index("side_500_hz_db")
    # Raw vocals have no side; after the strip all have that of its reverb.
    assert first.raw[:, side].max() < -49.0
    assert np.ptp(first.finished[:, side]) < 3.0


def test_the_command_writes_what_is_read(folder, monkeypatch, capsys) -> None:
    output = folder / "statistics.json"
    common = ["style_pairs", "--voices", str(folder / "voices"), "--model", str(folder / "model")]
    small = ["--strips", "5", "--seconds", "1", "-o", str(output)]
    monkeypatch.setattr("sys.argv", [*common, *small, "--without", "carl"])
    assert style_pairs.main() == 0
    assert "side_500_hz_db" in capsys.readouterr().out
    assert load(output).source.endswith("singers: anna, bert")
    monkeypatch.setattr("sys.argv", ["style_pairs", "--voices", str(folder / "none"), *small])
    assert style_pairs.main() == 1
    assert capsys.readouterr().err.startswith("Error: ")
