"""RAVE's exports: their means, their streams, their gradients, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffconsole import Predictor
from diffconsole.encoders import open_encoder
from diffconsole.encoders.rave import RaveEncoder
from diffconsole.errors import ModelError

from ..synthetic import voice
from .common import assert_ten_minutes_in_bounded_memory
from .tiny import scripted
from .tiny_rave import (
    BANDS,
    LATENTS,
    RATIO,
    ROWS,
    STRIDES,
    Combined,
    Convolution,
    First,
    Second,
)

RATE = 16000
KINDS = ("first", "second", "streaming", "stereo", "combined")


def export(kind: str) -> nn.Module:
    torch.manual_seed(4)
    if kind in ("first", "combined"):
        first = First().eval()
        return first if kind == "first" else Combined(first).eval()
    return Second(kind == "streaming", 2 if kind == "stereo" else 1).eval()


def opened(folder: Path, module: nn.Module, rate: int | None = None) -> RaveEncoder:
    path = folder / "theirs.ts"
    path.write_bytes(scripted(module))
    encoder = open_encoder("rave", str(path), rate)
    assert isinstance(encoder, RaveEncoder)
    return encoder


def heard(seconds: float, seed: int = 1) -> Tensor:
    return torch.from_numpy(voice(seconds, seed, RATE))[None, None]


# The latents' means by loops over taps, in float64


def convolved(x: np.ndarray, layer: Convolution) -> np.ndarray:
    weights = layer.weight.detach().double().numpy()
    stride, dilation = layer.stride[0], layer.dilation[0]
    x = np.pad(x, ((0, 0), (layer.left, layer.right)))
    frames = (x.shape[1] - (weights.shape[2] - 1) * dilation - 1) // stride + 1
    y = np.zeros((len(weights), frames))
    for tap in range(weights.shape[2]):
        at = tap * dilation
        y += weights[:, :, tap] @ x[:, at : at + (frames - 1) * stride + 1 : stride]
    return y if layer.bias is None else y + layer.bias.detach().double().numpy()[:, None]


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0.0, 0.2 * x, x)


def through(x: np.ndarray, layers: nn.Module) -> np.ndarray:
    for layer in layers:
        if isinstance(layer, nn.LeakyReLU):
            x = leaky(x)
        elif isinstance(layer, Convolution):
            x = convolved(x, layer)
        elif isinstance(layer, nn.BatchNorm1d):
            mean, power, scale, shift = (
                value.detach().double().numpy()[:, None]
                for value in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
            )
            x = (x - mean) / np.sqrt(power + 1e-5) * scale + shift
        else:
            x = x + through(x, layer.net)
    return x


def independent(channels: np.ndarray, module: nn.Module) -> np.ndarray:
    if isinstance(module, Combined):
        return independent(channels, module._rave)
    channels = np.pad(channels.astype(np.float64), ((0, 0), (0, -channels.shape[1] % RATIO)))
    bands = []
    for channel in channels:
        x = convolved(channel[None], module.pqmf.forward_conv)
        x[1::2, ::2] *= -1.0
        bands.append(x)
    trunk = module.encoder.net if isinstance(module, First) else module.encoder.encoder.net
    x = through(np.concatenate(bands), trunk)
    mean = x[: len(x) // 2] - module.latent_mean.double().numpy()[:, None]
    return (module.latent_pca.double().numpy() @ mean)[:LATENTS].T


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_means_of_the_latents(tmp_path, kind):
    module = export(kind)
    encoder = opened(tmp_path, module)
    assert (encoder.sample_rate, encoder.dim) == (RATE, LATENTS + 1)
    assert encoder.frames_per_second == RATE / RATIO == RATE / (BANDS * np.prod(STRIDES))
    for samples in (31 * RATIO, 31 * RATIO + 5):
        audio = torch.cat((heard(0.5, 1), heard(0.5, 2)), dim=1)[..., -samples:]
        channels = audio[0].numpy()
        if kind != "stereo":
            channels = channels.mean(axis=0, keepdims=True)
        expected = independent(channels, module)
        found = encoder(audio)[0]
        assert found.shape == (-(-samples // RATIO), LATENTS + 1)
        error = np.linalg.norm(found[:, :-1].numpy() - expected) / np.linalg.norm(expected)
        assert error <= 1e-4
    assert "the means of its latents" in encoder.about
    assert ("stream" in encoder.about) == (kind == "streaming")


@torch.no_grad()
@pytest.mark.parametrize("kind", ["second", "streaming"])
def test_nothing_is_heard_of_what_came_before_or_lies_beside(tmp_path, kind):
    encoder = opened(tmp_path, export(kind))
    one, other = heard(0.5, 1), heard(0.5, 2)
    first = encoder(one)
    encoder(3.0 * other)
    torch.manual_seed(99)
    assert torch.equal(encoder(one), first)
    # More rows than the caches have.
    rows = torch.cat([one, other] * ROWS)
    many = encoder(rows)
    torch.testing.assert_close(many[4:5], first, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(many[1:2], encoder(other), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_stereo_export_hears_both_channels_and_mono_twice(tmp_path):
    encoder = opened(tmp_path, export("stereo"))
    mono, other = heard(0.3, 1), heard(0.3, 2)
    torch.testing.assert_close(encoder(mono), encoder(mono.expand(-1, 2, -1)))
    turned = encoder(torch.cat((other, mono), dim=1))
    assert not torch.allclose(encoder(torch.cat((mono, other), dim=1))[..., :-1], turned[..., :-1])


@torch.no_grad()
def test_level_is_one_more_feature(tmp_path):
    encoder = opened(tmp_path, export("first"))
    audio = 0.1 * torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(0))
    before, after = encoder(audio), encoder(2.0 * audio)
    assert (after - before)[..., -1].mean().item() == pytest.approx(0.301, abs=1e-3)
    mean = (10.0 ** (before[..., -1] * 2.0 - 2.0)).mean()
    torch.testing.assert_close(mean, audio.square().mean(), rtol=1e-3, atol=0.0)


class Jittering(Second):
    """Draws also where no mean can be told."""

    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        z = self.encoder(self.pqmf(x))[:, : self.latent_size]
        return z + torch.rand_like(z)


@torch.no_grad()
def test_other_draws_have_a_fixed_seed(tmp_path):
    torch.manual_seed(1)
    encoder = opened(tmp_path, Jittering().eval())
    assert "fixed seed" in encoder.about
    before = torch.random.get_rng_state()
    first = encoder(heard(0.3))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(encoder(heard(0.3)), first)


# Learning


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_and_freezing_from_the_bottom(tmp_path, kind):
    """Though a trained export cuts its gradient off, and a stream keeps what it heard."""
    encoder = opened(tmp_path, export(kind))
    named = encoder.stages()
    staged = [p for _, stage in named for p in stage.parameters()]
    trained = {id(p) for p in encoder.parameters() if p.requires_grad}
    assert {id(p) for p in staged} == trained
    assert len(staged) == len(trained) > 0
    names = {n for n, p in encoder.named_parameters() if p.requires_grad}
    start = "network._rave.encoder." if kind == "combined" else "network.encoder."
    assert names == {n for n, _ in encoder.named_parameters() if n.startswith(start)}
    for _ in range(2):
        audio = heard(0.3).requires_grad_()
        encoder(torch.cat([audio] * (ROWS + 1))).square().mean().backward()
        assert audio.grad is not None
        assert float(audio.grad.abs().max()) > 0.0
    for name, weights in encoder.named_parameters():
        assert (weights.grad is not None) == (name in names), name
    encoder.zero_grad()
    for _, stage in named[:-1]:
        stage.requires_grad_(False)
    encoder(heard(0.3)).square().mean().backward()
    last = {id(p) for p in named[-1][1].parameters()}
    assert {id(p) for p in encoder.parameters() if p.grad is not None} == last


# Save and load


@torch.no_grad()
@pytest.mark.parametrize("kind", ["second", "streaming"])
def test_a_model_with_it_is_saved_whole(tmp_path, kind):
    (tmp_path / "theirs").mkdir()
    encoder = opened(tmp_path / "theirs", export(kind))
    for weights in encoder.parameters():
        weights.mul_(1.5)  # as training might
    model = Predictor(encoder, hidden=8).eval()
    model.save(tmp_path / "model", {})
    (tmp_path / "theirs" / "theirs.ts").unlink()
    again = Predictor.load(tmp_path / "model", trust_checkpoint=True)
    assert again.encoder.config() == encoder.config()
    assert again.encoder.about == encoder.about
    found, expected = again.encoder(heard(0.5)), encoder(heard(0.5))
    assert float((found - expected).norm() / expected.norm()) < 2e-3
    # By the file's half precision bands may trade places: the same weights for both.
    model.load_state_dict(again.state_dict())
    take = voice(1.0, 3)[None]
    a, b = (m.predict(take, 44100).settings for m in (model, again))
    assert all(b[key] == pytest.approx(a[key], rel=2e-2, abs=2e-2) for key in a)


@torch.no_grad()
def test_ten_minutes_in_bounded_memory(tmp_path):
    assert_ten_minutes_in_bounded_memory(opened(tmp_path, export("streaming")), RATE)


# The rate


def test_the_rate_is_the_files_or_the_given_one(tmp_path):
    torch.manual_seed(4)
    silent = Second(rate=None).eval()
    assert opened(tmp_path, silent, 22050).sample_rate == 22050
    assert opened(tmp_path, export("combined")).sample_rate == RATE
    assert opened(tmp_path, export("second"), RATE).sample_rate == RATE
    with pytest.raises(ModelError, match=r"theirs\.ts: does not state its sample rate; give it by"):
        opened(tmp_path, silent)
    with pytest.raises(ModelError, match="says that it takes 16000 Hz, not 48000"):
        opened(tmp_path, export("second"), 48000)
    with pytest.raises(ModelError, match="not a number from 8000 to 192000 Hz"):
        opened(tmp_path, silent, 100)


# Files that are none


class Codes(Second):
    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(self.pqmf(x))[:, : self.latent_size].mul(5).round()


class Shorter(Second):
    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(self.pqmf(x))[:, :1]


class Failing(Second):
    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        if x.shape[0] > 0:
            raise ValueError("I will not")
        return x


class Silent(nn.Module):
    """Has parameters, but encodes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Linear(2, 2)
        self.register_buffer("encode_params", torch.tensor([1, 1, 2, 2]))

    def forward(self, x: Tensor) -> Tensor:
        return self.top(x)


def told(*params: int) -> nn.Module:
    module = Second().eval()
    module.register_buffer("encode_params", torch.tensor(params))
    return module


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Silent, "lacks encode; any other network is opened by script:FILE"),
        (lambda: nn.Linear(2, 2), "lacks encode and encode_params"),
        (lambda: told(1, 1, LATENTS), r"encode_params are \[1, 1, 3\]"),
        (lambda: told(3, 1, LATENTS, RATIO), r"encode_params are \[3, 1, 3, 32\]"),
        (lambda: told(1, 1, LATENTS, 0), r"encode_params are \[1, 1, 3, 0\]"),
        (lambda: told(1, 1, 2**40, RATIO), "encode_params are"),
        (Shorter, r"gave \(1, 1, 250\), not \(1, 3, 250\)"),
        (Codes, "numbers of codebook entries"),
        (Failing, "encode gave an error, .*I will not"),
    ],
)
def test_networks_that_are_no_rave(tmp_path, make, words):
    torch.manual_seed(4)
    with pytest.raises(ModelError, match=words) as caught:
        opened(tmp_path, make().eval(), RATE)
    assert str(caught.value).startswith(str(tmp_path / "theirs.ts"))
    assert "\n" not in str(caught.value)


def test_files_of_other_kinds(tmp_path):
    whole = scripted(export("first"))
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        path = tmp_path / "theirs.ts"
        path.write_bytes(content)
        with pytest.raises(ModelError, match="is no TorchScript file that can be loaded"):
            open_encoder("rave", str(path))
    with pytest.raises(ModelError, match=r"nowhere\.ts: cannot be read \(No such file"):
        open_encoder("rave", "nowhere.ts")
    with pytest.raises(ModelError, match="give an export of RAVE or BRAVE"):
        open_encoder("rave", None)
