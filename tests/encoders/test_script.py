"""Any TorchScript file: what it takes and gives is found out, and it travels with the model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffconsole import Predictor
from diffconsole.encoders import create, open_encoder
from diffconsole.encoders.base import scaled_level
from diffconsole.encoders.script import ScriptEncoder
from diffconsole.errors import ModelError

from ..synthetic import voice
from .tiny import RATE, Convolutions, scripted

GIVES = ("batch, frames, dim", "batch, dim, frames", "batch, dim")


def heard(seconds: float, seed: int = 1) -> Tensor:
    return torch.from_numpy(voice(seconds, seed, RATE))[None, None]


def made(gives: str = GIVES[0]) -> Convolutions:
    torch.manual_seed(1)
    return Convolutions(gives).eval()


def opened(folder: Path, content: bytes, rate: int = RATE) -> ScriptEncoder:
    path = folder / "theirs.pt"
    path.write_bytes(content)
    encoder = open_encoder("script", str(path), rate)
    assert isinstance(encoder, ScriptEncoder)
    return encoder


class Channels(Convolutions):
    """Wants ``(batch, channels, samples)``, and gives a second output."""

    def forward(self, audio: Tensor) -> tuple[Tensor, int]:  # type: ignore[override]
        if audio.dim() != 3:
            raise ValueError("three axes, please")
        return self.top(self.body(audio).transpose(1, 2)), 7


# Features


@torch.no_grad()
@pytest.mark.parametrize("gives", GIVES)
@pytest.mark.parametrize("how", ["scripted", "traced", "frozen"])
def test_features_are_those_of_the_module(tmp_path, gives, how):
    module = made(gives)
    example = torch.randn(2, RATE) if how == "traced" else None
    encoder = opened(tmp_path, scripted(module, example, frozen=how == "frozen"))
    audio = torch.cat((heard(1.3), heard(1.3, 2)))
    expected = module(audio[:, 0])
    expected = expected.transpose(1, 2) if gives == GIVES[1] else expected
    expected = expected.unsqueeze(1) if gives == GIVES[2] else expected
    frames = encoder(audio)
    assert frames.shape == (2, expected.shape[1], 7)
    assert encoder.dim == 7
    assert encoder.frames_per_second == (0 if gives == GIVES[2] else 50)
    torch.testing.assert_close(frames[..., :-1], expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(encoder(audio), frames)


@torch.no_grad()
def test_channels_and_second_outputs(tmp_path):
    torch.manual_seed(1)
    module = Channels().eval()
    encoder = opened(tmp_path, scripted(module))
    audio = heard(1.0)
    torch.testing.assert_close(encoder(audio)[..., :-1], module(audio)[0])
    torch.testing.assert_close(encoder(audio.expand(1, 2, -1)), encoder(audio))


@torch.no_grad()
@pytest.mark.parametrize("level", [True, False])
def test_level_is_one_more_feature(tmp_path, level):
    """Also where the network normalises it away; 20 dB are 1."""
    encoder = opened(tmp_path, scripted(Convolutions(level=level)))
    audio = 0.1 * torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(0))
    before, after = encoder(audio), encoder(2.0 * audio)
    assert (after - before)[..., -1].mean().item() == pytest.approx(0.301, abs=1e-3)
    assert torch.allclose(after[..., :-1], before[..., :-1], atol=1e-4) != level
    mean = (10.0 ** (before[..., -1] * 2.0 - 2.0)).mean()
    torch.testing.assert_close(mean, audio.square().mean(), rtol=0.02, atol=0.0)
    assert float(scaled_level(torch.tensor(0.01))) == pytest.approx(0.0, abs=1e-5)


@torch.no_grad()
def test_half_precision_files_are_heard_in_full(tmp_path):
    encoder = opened(tmp_path, scripted(made().half()))
    frames = encoder(heard(1.0))
    assert frames.dtype == torch.float32
    torch.testing.assert_close(frames[..., :-1], made()(heard(1.0)[0]), rtol=0.05, atol=0.02)


# Learning


def test_gradients_reach_audio_and_every_weight(tmp_path):
    encoder = opened(tmp_path, scripted(made()))
    audio = heard(0.5).requires_grad_()
    encoder(audio).square().mean().backward()
    assert audio.grad is not None
    assert torch.isfinite(audio.grad).all()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None, name
        assert float(weight.grad.abs().max()) > 0.0, name


def test_stages_are_the_parts_with_weights(tmp_path):
    encoder = opened(tmp_path, scripted(made()))
    named = encoder.stages()
    assert [name for name, _ in named] == ["body.0", "body.1", "body.3", "top"]
    staged = [p for _, stage in named for p in stage.parameters()]
    assert len({id(p) for p in staged}) == len(staged)
    assert {id(p) for p in staged} == {id(p) for p in encoder.parameters()}
    for _, stage in named[:3]:
        stage.requires_grad_(False)
    encoder(heard(0.5)).square().mean().backward()
    assert {n for n, p in encoder.named_parameters() if p.grad is not None} == {
        "network.top.weight",
        "network.top.bias",
    }


class Wrapped(nn.Module):
    """An only child, and a weight of its own inside."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Scaled()

    def forward(self, audio: Tensor) -> Tensor:
        return self.model(audio)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.first = Convolutions()
        self.second = nn.Linear(6, 6)

    def forward(self, audio: Tensor) -> Tensor:
        return self.second(self.first(audio * self.scale))


def test_stages_of_wrappers_and_own_weights(tmp_path):
    encoder = opened(tmp_path, scripted(Wrapped()))
    named = encoder.stages()
    assert [name for name, _ in named] == ["model.weights", "model.first", "model.second"]
    staged = {id(p) for _, stage in named for p in stage.parameters()}
    assert staged == {id(p) for p in encoder.parameters()}


def test_a_frozen_file_has_no_stages(tmp_path):
    encoder = opened(tmp_path, scripted(made(), frozen=True))
    assert encoder.stages() == []
    assert list(encoder.parameters()) == []


# Save and load


class Tied(nn.Module):
    """One weight in two places, and statistics that half precision cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(320, 320, bias=False), nn.Linear(320, 320, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("large", torch.tensor(1e6 / 3.0))

    def forward(self, audio: Tensor) -> Tensor:
        frames = audio[:, : audio.shape[1] // 320 * 320].reshape(audio.shape[0], -1, 320)
        return self.second(self.first(frames)) * (self.large / 1e6)


@torch.no_grad()
@pytest.mark.parametrize("module", [Convolutions, Tied])
def test_a_saved_model_takes_the_file_along(tmp_path, module):
    source = tmp_path / "theirs"
    source.mkdir()
    encoder = opened(source, scripted(module()))
    for weights in encoder.parameters():
        weights.mul_(1.5)  # as training might
    model = Predictor(encoder, hidden=16).eval()
    model.save(tmp_path / "model", {})
    assert (tmp_path / "model" / "encoder.pt").read_bytes() == (source / "theirs.pt").read_bytes()
    (source / "theirs.pt").unlink()
    (tmp_path / "model").rename(tmp_path / "moved")
    again = Predictor.load(tmp_path / "moved", trust_checkpoint=True)
    assert again.encoder.config() == encoder.config()
    found, expected = again.encoder(heard(1.0)), encoder(heard(1.0))
    assert float((found - expected).norm() / expected.norm()) < 2e-3
    again.save(tmp_path / "moved", {})  # over itself
    Predictor.load(tmp_path / "moved", trust_checkpoint=True)


def test_a_model_of_another_kind_leaves_no_file_behind(tmp_path):
    from ..synthetic import small_model

    Predictor(opened(tmp_path, scripted(made())), hidden=16).save(tmp_path / "model", {})
    small_model().save(tmp_path / "model", {})
    assert not (tmp_path / "model" / "encoder.pt").exists()


def test_a_missing_or_changed_file_is_named(tmp_path):
    Predictor(opened(tmp_path, scripted(made())), hidden=16).save(tmp_path / "model", {})
    file = tmp_path / "model" / "encoder.pt"
    file.write_bytes(scripted(Convolutions()))
    with pytest.raises(ModelError, match=r"encoder\.pt: is not the file that this model"):
        Predictor.load(tmp_path / "model", trust_checkpoint=True)
    file.unlink()
    with pytest.raises(ModelError, match=r"encoder\.pt: cannot be read \(No such file"):
        Predictor.load(tmp_path / "model", trust_checkpoint=True)


# Files that are none


def refused(folder: Path, content: bytes, rate: int | None = RATE) -> str:
    path = folder / "theirs.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        open_encoder("script", str(path), rate)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


class Odd(nn.Module):
    """Gives what no encoder gives."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, audio: Tensor) -> Tensor:
        frames = audio[:, ::320].unsqueeze(1)
        if self.kind == "samples":
            return audio
        if self.kind == "four axes":
            return frames.unsqueeze(1)
        if self.kind == "square":
            return frames.transpose(1, 2) * frames
        if self.kind == "integers":
            return frames.int()
        if self.kind == "NaN":
            return frames * torch.nan
        if self.kind == "one":
            return frames[:1]
        raise ValueError("I will not")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("samples", "does not distinguish frames from features"),
        ("four axes", "none of batch, frames, dim"),
        ("square", "does not distinguish frames from features"),
        ("integers", "no tensor of floating-point"),
        ("NaN", "NaN or infinity"),
        ("one", "for a batch of 2"),
        ("nothing", "I will not"),
    ],
)
def test_networks_that_are_no_encoders(tmp_path, kind, word):
    line = refused(tmp_path, scripted(Odd(kind)))
    assert "cannot be used as an encoder" in line
    assert word in line


def test_files_of_other_kinds(tmp_path, monkeypatch):
    assert "is no TorchScript file that can be loaded (damaged" in refused(tmp_path, b"hello")
    assert "is no TorchScript file that can be loaded (damaged" in refused(tmp_path, b"")
    whole = scripted(made())
    assert "is no TorchScript file that can be loaded (damaged" in refused(
        tmp_path, whole[: len(whole) // 2]
    )
    assert "--encoder-rate" in refused(tmp_path, whole, rate=None)
    assert "not a number from 8000 to 192000 Hz" in refused(tmp_path, whole, rate=100)
    monkeypatch.setattr("diffconsole.encoders.torchscript.LARGEST_BYTES", 100)
    assert "GiB; a TorchScript encoder may have" in refused(tmp_path, whole)
    with pytest.raises(ModelError, match=r"nowhere\.pt: cannot be read \(No such file"):
        open_encoder("script", "nowhere.pt", RATE)
    with pytest.raises(ModelError, match="give a TorchScript file"):
        open_encoder("script", None, RATE)


@pytest.mark.parametrize("config", [{}, {"sample_rate": RATE}, {"sample_rate": RATE, "sha256": ""}])
def test_without_a_folder_it_cannot_be_rebuilt(config: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="encoder 'script': .* saved model's folder"):
        create("script", config)


def test_no_warnings(tmp_path):
    content = scripted(made())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(tmp_path, content)
