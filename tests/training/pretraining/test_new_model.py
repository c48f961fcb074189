"""A model to fine-tune from: the encoder that was asked for, a head in the middle of real mixes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffconsole.errors import ModelError
from diffconsole.model.predictor import Predictor
from diffconsole.strip.anchor import anchor
from diffconsole.training.pretraining.new_model import new_model

from ...encoders.tiny import RATE, Convolutions, network, scripted, write
from ...synthetic import small_model


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One source for each family."""
    folder = tmp_path_factory.mktemp("sources")
    small_model().save(folder / "studio", {})
    (folder / "theirs.pt").write_bytes(scripted(Convolutions()))
    return {
        "logmel": folder / "studio",
        "wav2vec2": write(folder / "w.safetensors", network("base").state_dict()),
        "script": folder / "theirs.pt",
    }


@torch.no_grad()
@pytest.mark.parametrize("name", ["logmel", "wav2vec2", "script"])
def test_it_answers_near_the_anchor(files, name):
    model = new_model(f"{name}:{files[name]}", RATE if name == "script" else None)
    assert not model.training
    assert model.encoder.name == name
    mean, log_variance = model(0.1 * torch.randn(2, 1, model.encoder.sample_rate))
    assert float((mean - anchor()).abs().max()) < 0.1
    assert (log_variance == -3.0).all()


def test_the_seed_is_of_the_head_alone(files):
    one, same, other = (new_model(f"logmel:{files['logmel']}", seed=s) for s in (1, 1, 2))
    first = "body.0.weight"
    assert torch.equal(one.head.state_dict()[first], same.head.state_dict()[first])
    assert not torch.equal(one.head.state_dict()[first], other.head.state_dict()[first])
    for name, weights in one.encoder.state_dict().items():
        assert torch.equal(weights, other.encoder.state_dict()[name])


def test_shipped_weights_need_no_path():
    shipped = Predictor.load().encoder.state_dict()
    for name, weights in new_model("logmel").encoder.state_dict().items():
        assert torch.equal(weights, shipped[name])


@pytest.mark.parametrize("name", ["wav2vec2", "script"])
def test_the_encoder_of_a_model_can_be_taken(files, tmp_path, name):
    first = new_model(f"{name}:{files[name]}", RATE if name == "script" else None)
    first.save(tmp_path / "model", {})
    if name == "script":
        with pytest.raises(ModelError, match="trust"):
            new_model(f"{name}:{tmp_path / 'model'}")
    again = new_model(f"{name}:{tmp_path / 'model'}", trust=True)
    assert again.encoder.config() == first.encoder.config()
    with pytest.raises(ModelError, match=f"its encoder is '{name}', not 'logmel'"):
        new_model(f"logmel:{tmp_path / 'model'}", trust=True)
    with pytest.raises(ModelError, match="leave --encoder-rate out"):
        new_model(f"{name}:{tmp_path / 'model'}", RATE, trust=True)


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("wavelet", "unknown encoder 'wavelet'; there are: logmel, wav2vec2, "),
        ("wavelet:x.pt", "unknown encoder 'wavelet'"),
        ("", "unknown encoder ''"),
        ("logmel:", "nothing follows the colon"),
        ("logmel:nowhere", "logmel:nowhere: not the folder of a model"),
        ("wav2vec2", "give a state dict or a bundle"),
        ("wav2vec2:nowhere.pt", "nowhere.pt: no such file"),
        ("script", "give a TorchScript file"),
        ("script:nowhere.pt", "nowhere.pt"),
    ],
)
def test_what_is_none_is_refused(spec, word):
    with pytest.raises(ModelError) as caught:
        new_model(spec)
    assert word in str(caught.value)


def test_a_rate_that_is_known_is_refused(files):
    with pytest.raises(ModelError, match="takes 16000 Hz; --encoder-rate is for script"):
        new_model(f"wav2vec2:{files['wav2vec2']}", 44100)
