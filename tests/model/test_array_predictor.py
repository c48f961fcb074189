"""Predictions without PyTorch are those of the predictor that is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from diffconsole.audio.take import take_of
from diffconsole.errors import AudioError, ModelError
from diffconsole.jobs.predict import predict_preset
from diffconsole.model.array_predictor import ArrayPredictor
from diffconsole.model.encoder_windows import cut_windows
from diffconsole.model.head_arrays import head_tensors
from diffconsole.model.opening import open_predictor
from diffconsole.model.predictor import Predictor
from diffconsole.model.shipped import default_model
from diffconsole.model.voice_features import VOICE_FEATURES, voice_features_of

from ..synthetic import small_model, voice
from .test_rows import KEYS, rearrange

if TYPE_CHECKING:
    from diffconsole.model.opening import AnyPredictor

WEIGHTS, SIDECAR = "model.safetensors", "model.json"


def stereo(seconds: float, rate: int) -> np.ndarray:
    return np.stack((voice(seconds, 3, rate), 0.5 * voice(seconds, 4, rate)))


TAKES = {
    "0.2 s": (voice(0.2, 1, 44100)[None], 44100),
    "2 s, 16 kHz": (voice(2.0, 2, 16000)[None], 16000),
    "3 s, two channels": (stereo(3.0, 48000), 48000),
    "7 s, quiet": (0.01 * voice(7.0, 5, 48000)[None], 48000),
    "1 s, 192 kHz": (voice(1.0, 6, 192000)[None], 192000),
    "45 s": (voice(45.0, 7, 22050)[None], 22050),
}


def both(folder: Path) -> tuple[ArrayPredictor, Predictor]:
    arrays = open_predictor(folder)
    assert isinstance(arrays, ArrayPredictor)
    return arrays, Predictor.load(folder)


def written(model: AnyPredictor, samples: np.ndarray, rate: int) -> dict[str, object]:
    preset = predict_preset(model, samples, rate, name="take.wav", model_name="model", full=True)
    text = json.loads(preset.to_json())
    del text["provenance"]["created"]
    return text


def assert_same(folder: Path, samples: np.ndarray, rate: int) -> None:
    arrays, tensors = both(folder)
    take = take_of(samples, rate)
    mean, deviation = arrays.distribution_of(take)
    wanted_mean, wanted_deviation = (value.numpy() for value in tensors.distribution_of(take))
    np.testing.assert_allclose(mean, wanted_mean, rtol=0.0, atol=1e-5)
    np.testing.assert_allclose(deviation, wanted_deviation, rtol=0.0, atol=1e-5)
    windows = cut_windows(take.mono, take.sample_rate, 44100)
    features = voice_features_of(take.mono, take.sample_rate)
    pooled = arrays.head.pool(arrays.encoder(windows))
    for found, wanted in zip(
        arrays.head.predict_from_pooled(pooled, features),
        tensors(torch.from_numpy(windows), torch.from_numpy(features).expand(len(windows), -1)),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted.detach(), rtol=0.0, atol=1e-5)
    assert_near(written(arrays, samples, rate), written(tensors, samples, rate))


def assert_near(found: object, wanted: object) -> None:
    """Equal texts; a number may lie half way between two roundings."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict) and found.keys() == wanted.keys()
        for key in wanted:
            assert_near(found[key], wanted[key])
    elif isinstance(wanted, list):
        assert isinstance(found, list) and len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_near(one, other)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1.01e-4, abs=1.01e-3)
    else:
        assert found == wanted


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as fine-tuning leaves it: with linear maps and with probabilities of the switches."""
    model = small_model(3)
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in model.head.state_dict().items():
            if name in ("skip.weight", "voice.weight", "voice_mean", "feature_mean", "log_scale"):
                value.add_(0.05 * torch.randn(value.shape, generator=rng))
            elif name in ("feature_std", "voice_std", "switch_line"):
                value.add_(torch.rand(value.shape, generator=rng))
    model.save(tmp_path / "model", {"note": "studio"})
    return tmp_path / "model"


@pytest.mark.parametrize("take", TAKES)
def test_the_shipped_model(take):
    assert_same(default_model(), *TAKES[take])


@pytest.mark.parametrize("take", ["0.2 s", "3 s, two channels"])
def test_a_fine_tuned_model(folder, take):
    assert_same(folder, *TAKES[take])
    arrays, tensors = both(folder)
    assert arrays.head.is_calibrated and tensors.head.is_calibrated
    assert arrays.info == tensors.info == {"note": "studio"}


def test_an_untrained_model(tmp_path):
    small_model(4).save(tmp_path, {})
    assert_same(tmp_path, *TAKES["2 s, 16 kHz"])
    assert not both(tmp_path)[0].head.is_calibrated


def test_a_model_with_other_rows(folder):
    """Of another version: rows in another order, some that nobody knows, others missing."""
    places = [place for place, key in enumerate(KEYS) if not key.startswith("reverb.")][::-1]
    names = ["enhancer.freq_hz", *(KEYS[place] for place in places)]
    rearrange(folder, "parameters", [None, *places], names)
    switches = json.loads((folder / SIDECAR).read_text())["switches"]
    rearrange(folder, "switches", [0, *range(2, len(switches))], [switches[0], *switches[2:]])
    arrays, tensors = both(folder)
    assert arrays.known == tensors.known
    assert_same(folder, *TAKES["0.2 s"])


def test_a_model_of_before_the_linear_maps(folder):
    held = load_file(folder / WEIGHTS)
    for name in list(held):
        part, _, rest = name.partition(".")
        if part in ("head", "style") and not rest.startswith(("norm", "body", "mean", "log_var")):
            del held[name]
    assert len(held) < len(load_file(folder / WEIGHTS))
    save_file(held, folder / WEIGHTS)
    assert_same(folder, *TAKES["0.2 s"])


def test_the_head_has_these_tensors():
    model = small_model(0)
    shapes = {name: tuple(value.shape) for name, value in model.head.state_dict().items()}
    assert head_tensors(model.encoder.dim, model.hidden) == shapes
    assert shapes["voice.weight"][1] == len(VOICE_FEATURES)


def damage_name(folder: Path) -> None:
    held = load_file(folder / WEIGHTS)
    held["head.other"] = held.pop("head.mean.bias")
    save_file(held, folder / WEIGHTS)


def damage_number(folder: Path) -> None:
    held = load_file(folder / WEIGHTS)
    held["head.mean.bias"][0] = np.nan
    save_file(held, folder / WEIGHTS)


def damage_size(folder: Path) -> None:
    sidecar = json.loads((folder / SIDECAR).read_text())
    sidecar["encoder"]["config"]["features"] += 1
    (folder / SIDECAR).write_text(json.dumps(sidecar))


def damage_width(folder: Path) -> None:
    sidecar = json.loads((folder / SIDECAR).read_text())
    sidecar["encoder"]["config"]["widths"] = [8192] * 16
    (folder / SIDECAR).write_text(json.dumps(sidecar))


def damage_version(folder: Path) -> None:
    sidecar = json.loads((folder / SIDECAR).read_text())
    (folder / SIDECAR).write_text(json.dumps(sidecar | {"version": 2}))


def damage_statistics(folder: Path) -> None:
    sidecar = json.loads((folder / SIDECAR).read_text())
    (folder / SIDECAR).write_text(json.dumps(sidecar | {"style": True}))


def cut(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def take_away(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


@pytest.mark.parametrize(
    "damage",
    [
        damage_name, damage_number, damage_size, damage_width, damage_version, damage_statistics,
        cut, take_away,
    ],
    ids=lambda damage: damage.__name__,
)  # fmt: skip
def test_what_is_refused_is_refused_in_the_same_words(folder, damage):
    damage(folder)
    with pytest.raises(ModelError) as ours:
        open_predictor(folder)
    with pytest.raises(ModelError) as wanted:
        Predictor.load(folder)
    assert str(ours.value) == str(wanted.value)


def test_damaged_statistics_of_styles_are_refused(tmp_path):
    for name in ("model.json", WEIGHTS):
        (tmp_path / name).write_bytes((default_model() / name).read_bytes())
    assert isinstance(open_predictor(tmp_path), ArrayPredictor)
    (tmp_path / "style_statistics.safetensors").write_bytes(b"none")
    with pytest.raises(ModelError, match="not statistics of styles"):
        open_predictor(tmp_path)


def test_weights_that_overflow_are_refused(folder):
    held = load_file(folder / WEIGHTS)
    held["head.body.0.weight"] = np.full_like(held["head.body.0.weight"], 3e38, np.float32)
    save_file(held, folder / WEIGHTS)
    for model in both(folder):
        with pytest.raises(ModelError, match="no numbers"):
            model.predict(*TAKES["0.2 s"])


def test_silence_is_refused():
    arrays, _ = both(default_model())
    with pytest.raises(AudioError, match="silent"):
        arrays.predict(np.zeros((1, 8000), np.float32), 16000)


def test_what_arrays_do_not_serve_is_opened_on_tensors(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(Predictor, "load", lambda *given, **named: asked.append((given, named)))
    open_predictor(folder, with_references=True)
    open_predictor(folder, "cuda")
    sidecar = json.loads((folder / SIDECAR).read_text())
    sidecar["encoder"] = {"name": "script", "config": {}}
    (folder / SIDECAR).write_text(json.dumps(sidecar))
    open_predictor(folder, trust_checkpoint=True)
    assert asked == [
        ((folder, "cpu"), {"trust_checkpoint": False}),
        ((folder, "cuda"), {"trust_checkpoint": False}),
        ((folder, "cpu"), {"trust_checkpoint": True}),
    ]
