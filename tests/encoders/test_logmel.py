"""The log-mel encoder keeps the interface of encoders: what is heard, when, and how loud."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from diffconsole.encoders import FAMILIES, create
from diffconsole.encoders.base import Encoder
from diffconsole.encoders.logmel import LogMelEncoder
from diffconsole.errors import ModelError

from ..synthetic import RATE, voice

SMALL: dict[str, Any] = {"widths": (16, 16), "features": 8, "mels": 32, "n_fft": 2048}


@pytest.fixture(scope="module")
def encoder() -> LogMelEncoder:
    torch.manual_seed(1)
    return LogMelEncoder(**SMALL).eval()


def heard(seconds: float, seed: int = 1) -> Tensor:
    return torch.from_numpy(voice(seconds, seed))[None, None]


# The interface


def test_the_family_is_what_it_says() -> None:
    encoder, family = create("logmel"), FAMILIES["logmel"]
    assert isinstance(encoder, Encoder)
    assert encoder.name == "logmel"
    told = (encoder.sample_rate, encoder.dim, encoder.licence, encoder.about)
    assert told == (family.sample_rate, family.dim, family.licence, family.about)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.3, 5.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_come_at_their_rate(encoder: LogMelEncoder, seconds: float, channels: int) -> None:
    frames = encoder(heard(seconds).expand(3, channels, -1))
    batch, count, dim = frames.shape
    assert (batch, dim) == (3, encoder.dim)
    assert abs(count - seconds * encoder.frames_per_second) <= 1.0


def test_shipped_size() -> None:
    encoder = create("logmel")
    assert encoder.sample_rate == 44100
    assert encoder.frames_per_second == pytest.approx(44100 / 8192)
    assert encoder.dim == 256 + 128


@pytest.mark.parametrize("samples", [1, 100, 1023, 5000])
def test_short_audio_gives_a_frame(encoder: LogMelEncoder, samples: int) -> None:
    frames = encoder(torch.full((1, 1, samples), 0.1))
    assert frames.shape[1] >= 1
    assert torch.isfinite(frames).all()


def test_silence_and_full_scale_are_finite(encoder: LogMelEncoder) -> None:
    square = torch.where(torch.arange(20000) % 100 < 50, 1.0, -1.0)
    for audio in (torch.zeros(1, 1, 20000), square[None, None]):
        assert torch.isfinite(encoder(audio)).all()


def test_the_same_audio_gives_the_same_features(encoder: LogMelEncoder) -> None:
    audio = heard(1.0)
    assert torch.equal(encoder(audio), encoder(audio))
    # And beside others in a batch, to the rounding of another order of sums.
    together = encoder(torch.cat((heard(1.0, 2), audio)))[1:]
    torch.testing.assert_close(together, encoder(audio), rtol=1e-4, atol=1e-5)


def test_two_equal_channels_are_one(encoder: LogMelEncoder) -> None:
    audio = heard(1.0)
    torch.testing.assert_close(encoder(audio.expand(1, 2, -1)), encoder(audio))


def test_config_rebuilds_the_encoder(encoder: LogMelEncoder) -> None:
    again = create("logmel", encoder.config()).eval()
    assert again.config() == encoder.config()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(heard(1.0)), encoder(heard(1.0)))
    assert (again.dim, again.frames_per_second) == (encoder.dim, encoder.frames_per_second)


def test_the_weights_are_all_that_is_saved(encoder: LogMelEncoder) -> None:
    """The mel bank and the window follow from the arguments; a file need not hold them."""
    assert not [name for name in encoder.state_dict() if name.startswith("mel.")]


# What is heard


@pytest.mark.parametrize("gain_db", [-20.0, -6.0, 6.0])
def test_level_stays_in_the_features(encoder: LogMelEncoder, gain_db: float) -> None:
    """The mel part moves by the gain: 20 dB are 1."""
    noise = 0.1 * torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(0))
    mel = slice(8, None)
    before = encoder(noise)[..., mel]
    after = encoder(noise * 10.0 ** (gain_db / 20.0))[..., mel]
    assert (after - before).mean().item() == pytest.approx(gain_db / 20.0, abs=0.01)
    learnt = slice(0, 8)
    louder = encoder(noise * 10.0 ** (gain_db / 20.0))[..., learnt]
    assert not torch.allclose(louder, encoder(noise)[..., learnt], atol=1e-3)


def test_a_sine_lights_its_band_alone(encoder: LogMelEncoder) -> None:
    """Higher sines light higher bands; elsewhere it is 40 dB darker."""
    time = torch.arange(RATE) / RATE
    lit = []
    for freq_hz in (200.0, 1000.0, 5000.0, 12000.0):
        with torch.no_grad():
            frames = encoder(torch.sin(2 * torch.pi * freq_hz * time)[None, None])
        mel = frames[0, 2:-2, 8:].mean(0)
        lit.append(int(mel.argmax()))
        far = (torch.arange(len(mel)) - mel.argmax()).abs() > 3
        assert float(mel.max() - mel[far].max()) > 2.0
    assert lit == sorted(set(lit))


def test_no_band_is_deaf() -> None:
    """At low frequencies the bands of the shipped size are hardly wider than a bin."""
    shipped = create("logmel")
    assert isinstance(shipped, LogMelEncoder)
    assert (shipped.mel.bank.sum(dim=0) > 0.0).all()


def test_features_are_of_their_moment(encoder: LogMelEncoder) -> None:
    """What comes later than a second does not move the first frames."""
    audio = heard(3.0)
    later = audio.clone()
    later[..., 2 * RATE :] = 0.0
    first = int(encoder.frames_per_second)
    difference = (encoder(audio) - encoder(later)).detach().abs().amax(dim=-1)[0]
    assert float(difference[:first].max()) == 0.0
    assert float(difference[2 * first + 4 :].max()) > 0.5


# Learning


def test_gradients_reach_audio_and_every_weight(encoder: LogMelEncoder) -> None:
    audio = heard(1.0).requires_grad_()
    encoder.zero_grad()
    encoder(audio).square().mean().backward()
    assert audio.grad is not None
    assert torch.isfinite(audio.grad).all()
    assert float(audio.grad.abs().max()) > 0.0
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert float(weight.grad.abs().max()) > 0.0, name
    encoder.zero_grad()


def test_stages_are_all_weights_from_the_input_up(encoder: LogMelEncoder) -> None:
    named = encoder.stages()
    assert len({name for name, _ in named}) == len(named)
    staged = [p for _, stage in named for p in stage.parameters()]
    assert len({id(p) for p in staged}) == len(staged)
    assert {id(p) for p in staged} == {id(p) for p in encoder.parameters()}

    order: list[str] = []
    hooks = [
        stage.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, stage in named
    ]
    encoder(heard(0.5))
    for hook in hooks:
        hook.remove()
    assert order == [name for name, _ in named]


def test_freezing_from_the_bottom_leaves_the_top(encoder: LogMelEncoder) -> None:
    model = create("logmel", SMALL)
    bottom, top = model.stages()[0][1], model.stages()[-1][1]
    bottom.requires_grad_(False)
    model(heard(0.5)).square().mean().backward()
    assert all(p.grad is None for p in bottom.parameters())
    assert all(p.grad is not None for p in top.parameters())


def test_without_memory_it_has_the_same_shapes() -> None:
    """A model's file is compared with these before anything is allocated."""
    with torch.device("meta"):
        empty = create("logmel", SMALL)
    whole = create("logmel", SMALL)
    shapes = [
        {name: t.shape for name, t in (*model.named_buffers(), *model.named_parameters())}
        for model in (empty, whole)
    ]
    assert shapes[0] == shapes[1]
    assert all(t.is_meta for t in (*empty.buffers(), *empty.parameters()))


# Errors


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(ModelError, match=r"unknown encoder 'wavelet'; there are: .*logmel"):
        create("wavelet")


@pytest.mark.parametrize(
    "config", [{"depth": 3}, {"widths": (8,)}, {"widths": 3}, {"mels": "many"}]
)
def test_arguments_that_it_does_not_take(config: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="encoder 'logmel': "):
        create("logmel", config)
