"""Diff-MST: Lightning's file format, the network computed independently, what is refused."""

from __future__ import annotations

import argparse
import pathlib
import pickle
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from diffconsole import Predictor
from diffconsole.encoders import create, open_encoder
from diffconsole.errors import ModelError

from ..synthetic import RATE, voice
from .common import RunsCode, assert_saved_whole, assert_ten_minutes_in_bounded_memory

WIDTH, DIM = 2, 7
POOLS = ((2, 2), (4, 4), (4, 2), (4, 2), (4, 2), (2, 2))
YAML = """\
trainer:
  callbacks: []
model:
  class_path: mst.system.System
  init_args:
    mix_console:
      class_path: mst.modules.AdvancedMixConsole
      init_args:
        sample_rate: 44100

        eq_min_gain_db: -12.0
    model:
      class_path: mst.modules.MixStyleTransferModel
      init_args:
        track_encoder:\x20
          class_path: mst.modules.SpectrogramEncoder
          init_args:
            embed_dim: 512
            n_fft: 2048
            hop_length: 512
            input_batchnorm: false
        mix_encoder:
          class_path: mst.modules.SpectrogramEncoder
          init_args:
            n_fft: 2048
            hop_length: 512
    loss:
      init_args:
        sample_rate: 48000
        hop_length: 7
"""


def checkpoint(width: int = WIDTH, inputs: int = 1, batch_norm: bool = True) -> dict[str, Tensor]:
    """Weights under the names that the public code gives: two encoders and a controller."""
    generator = torch.Generator().manual_seed(5)

    def drawn(*shape: int, low: float = -0.5) -> Tensor:
        return low + torch.rand(*shape, generator=generator)

    state: dict[str, Tensor] = OrderedDict()
    for part in ("track", "mix"):
        start = f"model.{part}_encoder."
        state[f"{start}window"] = torch.hann_window(2048)
        before = inputs
        for n in range(6):
            after = width * 2**n
            for k, inner in ((1, before), (2, after)):
                block = f"{start}model.conv_block{n + 1}"
                # Rectified by half each time; the spectrogram of a soft voice is far below 1.
                scale = (24.0 / (9 * inner)) ** 0.5 * (4.0 if (n, k) == (0, 1) else 1.0)
                state[f"{block}.conv{k}.weight"] = scale * drawn(after, inner, 3, 3)
                if batch_norm:
                    state[f"{block}.bn{k}.weight"] = drawn(after, low=0.5)
                    state[f"{block}.bn{k}.bias"] = drawn(after, low=-0.2)
                    state[f"{block}.bn{k}.running_mean"] = drawn(after)
                    state[f"{block}.bn{k}.running_var"] = drawn(after, low=0.5)
                    state[f"{block}.bn{k}.num_batches_tracked"] = torch.tensor(7)
            before = after
        state[f"{start}model.fc.weight"] = drawn(DIM, before)
        state[f"{start}model.fc.bias"] = drawn(DIM)
    state["model.controller.track_embedding"] = drawn(1, 1, DIM)
    return state


def write(path: Path, state: Any = None, **more: Any) -> Path:
    """What Lightning writes beside the weights, plain parts only."""
    held = {
        "epoch": 191,
        "global_step": 626608,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": checkpoint() if state is None else state,
        "loops": {"fit_loop": {"epoch_progress": {"current": {"ready": 192}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.ones(())}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}],
        "lr_schedulers": [],
    }
    torch.save({**held, **more}, path)
    return path


def independent(
    channels: np.ndarray, state: dict[str, Tensor], part: str = "track", clip: bool = False
) -> np.ndarray:
    """The features by loops over frames and taps, in float64; or the embedding of the clip."""
    start = f"model.{part}_encoder."
    weights = {
        key.removeprefix(start): value.double().numpy()
        for key, value in state.items()
        if key.startswith(start)
    }
    gain = 10.0 ** (-30.0 / 20.0) if part == "track" else 1.0
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(2048) / 2048)
    spectra = []
    for mono in channels:
        padded = np.pad(gain * mono.astype(np.float64), 1024, mode="reflect")
        frames = 1 + (len(padded) - 2048) // 512
        at = [np.fft.rfft(window * padded[i * 512 : i * 512 + 2048]) for i in range(frames)]
        spectra.append((np.abs(np.stack(at, axis=1)) + 1e-8) ** 0.3)
    x = np.stack(spectra)
    for n, (down, along) in enumerate(POOLS):
        for k in (1, 2):
            block = f"model.conv_block{n + 1}."
            taps = weights[f"{block}conv{k}.weight"]
            around = np.pad(x, ((0, 0), (1, 1), (1, 1)))
            y = np.zeros((len(taps), *x.shape[1:]))
            for i in range(3):
                for j in range(3):
                    seen = around[:, i : i + x.shape[1], j : j + x.shape[2]]
                    y += np.tensordot(taps[:, :, i, j], seen, axes=1)
            if f"{block}bn{k}.weight" in weights:
                norm = {p: weights[f"{block}bn{k}.{p}"][:, None, None]
                        for p in ("weight", "bias", "running_mean", "running_var")}  # fmt: skip
                y = (y - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5)
                y = y * norm["weight"] + norm["bias"]
            x = np.where(y > 0.0, y, 0.0)
        c, h, w = x.shape
        h, w = h // down * down, w // along * along
        x = x[:, :h, :w].reshape(c, h // down, down, w // along, along).mean(axis=(2, 4))
    x = x.mean(axis=1)
    if clip:
        return (
            weights["model.fc.weight"] @ (x.max(axis=1) + x.mean(axis=1)) + weights["model.fc.bias"]
        )
    frames = [x[:, i] + x[:, i] for i in range(x.shape[1])]
    return np.stack([weights["model.fc.weight"] @ f + weights["model.fc.bias"] for f in frames])


def apart(found: Tensor, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.linalg.norm(found.double().numpy() - expected) / np.linalg.norm(expected))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("mst") / "epoch=191-step=626608.ckpt")


@pytest.fixture
def encoder(file):
    return open_encoder("diffmst", str(file))


@torch.no_grad()
@pytest.mark.parametrize("part", ["track", "mix"])
def test_features_are_those_of_an_independent_computation(file, part):
    encoder = open_encoder("diffmst", f"{file}:{part}")
    audio = voice(3.2, 1)
    found = encoder(torch.from_numpy(audio)[None, None])[0]
    assert apart(found, independent(audio[None], checkpoint(), part)) <= 1e-4
    assert (len(found), encoder.dim, encoder.part) == (2, DIM, part)
    assert len(found) == pytest.approx(3.2 * encoder.frames_per_second, abs=1.0)


@torch.no_grad()
def test_every_part_of_the_network_and_the_sound_matter(encoder):
    audio = torch.from_numpy(voice(1.6, 1))[None, None]
    whole = encoder(audio)
    other = encoder(torch.from_numpy(voice(1.6, 2))[None, None])
    assert float((other - whole).norm() / whole.norm()) > 1e-2
    for name, value in encoder.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        kept = value.clone()
        value[...] = value + 0.3 * torch.linspace(0.1, 1.0, value.numel()).reshape(value.shape)
        assert float((encoder(audio) - whole).norm() / whole.norm()) > 1e-3, name
        value[...] = kept
    assert torch.equal(encoder(audio), whole)


@torch.no_grad()
def test_a_clip_of_one_frame_has_the_published_embedding(encoder):
    audio = voice(1.6, 2)
    found = encoder(torch.from_numpy(audio)[None, None])[0]
    expected = independent(audio[None], checkpoint(), clip=True)
    assert apart(found[0], expected) <= 1e-4


@torch.no_grad()
def test_short_audio_is_filled_up_with_silence(encoder):
    audio = voice(0.3, 3)
    found = encoder(torch.from_numpy(audio)[None, None])[0]
    filled = np.pad(audio, (0, 127 * 512 - len(audio)))
    assert apart(found, independent(filled[None], checkpoint())) <= 1e-4


@torch.no_grad()
def test_networks_without_normalisation_or_with_two_channels(tmp_path):
    audio = np.stack((voice(1.6, 4), voice(1.6, 5)))
    state = checkpoint(1, 2, False)
    encoder = open_encoder("diffmst", str(write(tmp_path / "two.ckpt", state)))
    assert encoder.config() == {
        "part": "track", "width": 1, "dim": DIM, "inputs": 2, "batch_norm": False,
    }  # fmt: skip
    found = encoder(torch.from_numpy(audio)[None])[0]
    assert apart(found, independent(audio, state)) <= 1e-4
    mono = torch.from_numpy(audio[:1])[None]
    assert torch.equal(encoder(mono), encoder(mono.expand(-1, 2, -1)))


class Hyper(dict):
    """As Lightning's AttributeDict."""


Hyper.__qualname__ = Hyper.__name__ = "AttributeDict"
AttributeDict = Hyper


def mixing() -> None:
    raise SystemExit("code was run")


def test_what_a_training_writes_beside_the_weights_is_passed_by(tmp_path):
    more = {
        "hyper_parameters": AttributeDict(lr=1e-4, mix_fn=mixing),
        "hparams": argparse.Namespace(root="data"),
        "where": pathlib.PurePosixPath("/data"),
        "counts": defaultdict(list, a=[1]),
        "loss": np.float64(0.25),
        "stops": np.array([1.0]),
    }
    path = write(tmp_path / "whole.ckpt", **more)
    plain = write(tmp_path / "plain.ckpt")
    states = [open_encoder("diffmst", str(p)).state_dict() for p in (path, plain)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])
    bare = tmp_path / "bare.safetensors"
    safetensors.torch.save_file(checkpoint(), bare)
    assert torch.equal(open_encoder("diffmst", str(bare)).window, states[0]["window"])


class _List(list):
    pass


def test_code_runs_only_where_the_file_is_trusted(tmp_path, capsys):
    held = {"state_dict": checkpoint(), "more": RunsCode()}
    torch.save(held, tmp_path / "code.ckpt")
    open_encoder("diffmst", str(tmp_path / "code.ckpt"))
    assert "code was run" not in capsys.readouterr().out
    # What no stand-in can be put in the place of.
    torch.save({**held, "list": _List([1])}, tmp_path / "list.ckpt")
    torch.save(held, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    for name in ("list.ckpt", "old.ckpt"):
        with pytest.raises(ModelError, match="If you trust that person, add --trust-checkpoint"):
            open_encoder("diffmst", str(tmp_path / name))
        assert "code was run" not in capsys.readouterr().out
        open_encoder("diffmst", str(tmp_path / name), trust=True)
        assert "code was run" in capsys.readouterr().out


def test_the_yaml_beside_is_heeded(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    file = write(tmp_path / "run" / "checkpoints" / "epoch=1.ckpt")
    above = tmp_path / "run" / "config.yaml"
    beside = file.with_suffix(".yaml")
    for place in (above, beside):
        place.write_text(YAML)
        open_encoder("diffmst", str(file))
        for old, new, words in (
            ("sample_rate: 44100", "sample_rate: 48000", "mix_console has sample_rate 48000"),
            ("hop_length: 512", "hop_length: 256", "track_encoder has hop_length 256"),
            ("n_fft: 2048", "n_fft: 1024", "track_encoder has n_fft 1024"),
        ):
            place.write_text(YAML.replace(old, new, 1))
            with pytest.raises(ModelError, match=words) as error:
                open_encoder("diffmst", str(file))
            assert str(place) in str(error.value)
            if "track" in words:
                open_encoder("diffmst", f"{file}:mix")
        place.write_text(YAML)


def test_gradients_and_freezing_from_the_bottom(encoder):
    names = [name for name, _ in encoder.stages()]
    assert names == [*(f"block_{n}" for n in range(1, 7)), "projection"]
    staged = [id(p) for _, stage in encoder.stages() for p in stage.parameters()]
    assert staged == [id(p) for p in encoder.parameters()]
    for _, stage in encoder.stages()[:4]:
        stage.requires_grad_(False)
    audio = torch.from_numpy(np.pad(voice(1.0), (0, RATE)))[None, None].requires_grad_()
    encoder(audio).square().mean().backward()
    assert bool(audio.grad.isfinite().all())
    assert float(audio.grad.abs().max()) > 0.0
    for n, (_, stage) in enumerate(encoder.stages()):
        assert all((p.grad is None) == (n < 4) for p in stage.parameters())
        assert all(n < 4 or bool(p.grad.isfinite().all()) for p in stage.parameters())


@torch.no_grad()
def test_level_is_in_the_features_and_both_channels_count(encoder):
    mono = torch.from_numpy(voice(1.6))[None, None]
    loud, soft = (encoder.spectrogram(gain * mono) for gain in (1.0, 0.25))
    # 12 dB less, where the sound stands far above the 10⁻⁸ that are added.
    ratio = (loud / soft)[soft > 0.05]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 4.0**0.3), rtol=1e-3, atol=0.0)
    assert not torch.allclose(encoder(mono), encoder(0.25 * mono), rtol=1e-2)
    stereo = torch.cat((mono, torch.zeros_like(mono)), dim=1)
    torch.testing.assert_close(encoder(stereo), encoder(0.5 * mono))
    assert torch.equal(encoder(mono), encoder(mono))
    several = torch.cat((mono, 0.1 * mono.flip(-1)))
    one_by_one = torch.cat([encoder(one[None]) for one in several])
    torch.testing.assert_close(encoder(several), one_by_one)
    torch.testing.assert_close(encoder.model(encoder.spectrogram(several)), one_by_one)


@pytest.mark.parametrize("part", ["track", "mix"])
def test_a_model_with_it_is_saved_whole(file, tmp_path, part):
    encoder = open_encoder("diffmst", f"{file}:{part}")
    model = Predictor(encoder, hidden=8).eval()
    again = assert_saved_whole(model, tmp_path / "model", RATE)
    assert again.encoder.licence == "CC BY-NC-SA 4.0: non-commercial"
    assert f"its {part} encoder" in again.encoder.about


def test_wrong_files_are_one_line(tmp_path, capsys):
    start = "model.track_encoder."
    short = checkpoint()
    del short[f"{start}model.conv_block2.bn1.weight"]
    other = {**checkpoint(), f"{start}model.conv_block4.conv2.weight": torch.zeros(3, 3)}
    resnet = {f"{start}model.conv1.weight": torch.ones(2, 3, 7, 7)}
    normalised = {**checkpoint(), f"{start}bn.weight": torch.ones(3)}
    window = {**checkpoint(), f"{start}window": torch.ones(1024)}
    wide = {**checkpoint(), f"{start}model.conv_block1.conv1.weight": torch.ones(129, 1, 3, 3)}
    (tmp_path / "text.ckpt").write_text("no")
    (tmp_path / "code.ckpt").write_bytes(pickle.dumps(RunsCode(), protocol=2))
    torch.save([1], tmp_path / "list.ckpt")
    torch.save({"state_dict": 3}, tmp_path / "three.ckpt")
    cases = {
        write(tmp_path / "short.ckpt", short): f"lacks {start}model.conv_block2.bn1.weight",
        write(tmp_path / "other.ckpt", other): r"conv2.weight is \(3, 3\), not \(16, 16, 3, 3\)",
        write(tmp_path / "resnet.ckpt", resnet): f"lacks {start}model.conv_block1.conv1.weight",
        write(tmp_path / "bn.ckpt", normalised): "normalises its spectrograms",
        write(tmp_path / "window.ckpt", window): r"window is \(1024,\), not \(2048,\)",
        write(tmp_path / "wide.ckpt", wide): "width is 129",
        tmp_path / "text.ckpt": "damaged, or no PyTorch checkpoint",
        tmp_path / "code.ckpt": "add --trust-checkpoint",
        tmp_path / "list.ckpt": "holds no state dict",
        tmp_path / "three.ckpt": "holds no state dict",
        tmp_path / "nothing.ckpt": "cannot be read",
    }
    half = write(tmp_path / "half.ckpt").read_bytes()
    (tmp_path / "half.ckpt").write_bytes(half[: len(half) // 2])
    cases[tmp_path / "half.ckpt"] = "damaged, or no PyTorch checkpoint"
    for path, words in cases.items():
        with pytest.raises(ModelError, match=words) as error:
            open_encoder("diffmst", str(path))
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)
    assert "code was run" not in capsys.readouterr().out
    with pytest.raises(ModelError, match="diffmst:FILE:mix"):
        open_encoder("diffmst", None)
    for config, words in (
        ({"width": 0}, "width is 0"),
        ({"part": "bus"}, "part is 'bus'"),
        ({"dim": 9000}, "dim is 9000"),
        ({"inputs": True}, "inputs is True"),
    ):
        with pytest.raises(ModelError, match=words):
            create("diffmst", config)


@torch.no_grad()
def test_ten_minutes_in_bounded_memory(encoder):
    assert_ten_minutes_in_bounded_memory(encoder)
