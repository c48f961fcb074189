"""aiSFX: the package's file format, its spectrogram, its network computed independently."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffconsole import Predictor
from diffconsole.encoders import create, open_encoder
from diffconsole.errors import ModelError

from ..synthetic import RATE, voice
from .common import RunsCode, assert_saved_whole, assert_ten_minutes_in_bounded_memory

REAL = os.environ.get("DIFFCONSOLE_AISFX")
WIDTH = 2


def checkpoint(width: int = WIDTH) -> dict[str, Tensor]:
    """Weights under the names that the package's file has, classifiers included."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int, low: float = -0.5) -> Tensor:
        return low + torch.rand(*shape, generator=generator)

    state = {}
    before = 1
    for n in range(4):
        after = width * 2**n
        for k, inner in ((1, before), (2, after)):
            start = f"embedding_net.conv_block{n + 1}"
            state[f"{start}.conv{k}.weight"] = drawn(after, inner, 3, 3)
            state[f"{start}.bn{k}.weight"] = drawn(after, low=0.5)
            state[f"{start}.bn{k}.bias"] = drawn(after)
            state[f"{start}.bn{k}.running_mean"] = drawn(after)
            state[f"{start}.bn{k}.running_var"] = drawn(after, low=0.5)
            state[f"{start}.bn{k}.num_batches_tracked"] = torch.tensor(7)
        before = after
    state["fc.0.0.weight"] = drawn(3, before)
    return state


def write(path: Path, state: Any = None) -> Path:
    counts = {"ucs": (np.int64(0), np.int64(5)), "loss": np.float64(0.25)}
    torch.save((checkpoint() if state is None else state, counts), path)
    return path


def independent(mono: np.ndarray, state: dict[str, Tensor]) -> np.ndarray:
    """The features by loops over frames, bands and taps, in float64."""
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(2048) / 2048)
    padded = np.pad(mono.astype(np.float64), 1024)
    frames = 1 + (len(padded) - 2048) // 1024
    power = np.stack(
        [np.abs(np.fft.rfft(window * padded[i * 1024 : i * 1024 + 2048])) ** 2
         for i in range(frames)]
    )  # fmt: skip
    mel = 1127.0 * np.log(1.0 + np.arange(1025) * 44100 / 2048 / 700.0)
    edges = np.linspace(0.0, mel[-1], 98)
    bands = np.zeros((frames, 96))
    for b in range(96):
        weights = np.interp(mel, edges[b : b + 3], [0.0, 1.0, 0.0], left=0.0, right=0.0)
        bands[:, b] = power @ weights / weights.sum()
    x = np.log10(1.0 + 10000.0 * bands)[None] / 9.457798957824707
    x = np.pad(x, ((0, 0), (0, -frames % 8), (0, 0)))
    for n in range(4):
        for k in (1, 2):
            part = {
                key.rsplit(f"conv_block{n + 1}.", 1)[1]: value.double().numpy()
                for key, value in state.items()
                if f"conv_block{n + 1}." in key
            }
            taps = part[f"conv{k}.weight"]
            around = np.pad(x, ((0, 0), (1, 1), (1, 1)))
            y = np.zeros((len(taps), *x.shape[1:]))
            for i in range(3):
                for j in range(3):
                    seen = around[:, i : i + x.shape[1], j : j + x.shape[2]]
                    y += np.einsum("oc,chw->ohw", taps[:, :, i, j], seen)
            scale = part[f"bn{k}.weight"] / np.sqrt(part[f"bn{k}.running_var"] + 1e-5)
            shift = part[f"bn{k}.bias"] - scale * part[f"bn{k}.running_mean"]
            x = np.maximum(scale[:, None, None] * y + shift[:, None, None], 0.0)
        if n < 3:
            c, h, w = x.shape
            x = x[:, : h // 2 * 2, : w // 2 * 2].reshape(c, h // 2, 2, w // 2, 2).max(axis=(2, 4))
    return x.mean(axis=2).T


@pytest.fixture
def encoder(tmp_path):
    return open_encoder("aisfx", str(write(tmp_path / "checkpoint.pth")))


@torch.no_grad()
@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_features_are_those_of_an_independent_computation(encoder, seconds):
    audio = voice(seconds, 1)
    found = encoder(torch.from_numpy(audio)[None, None])[0].numpy()
    expected = independent(audio, checkpoint())
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)
    assert len(found) == pytest.approx(seconds * encoder.frames_per_second, abs=1.0)


def test_the_places_where_the_file_may_lie(tmp_path):
    inside = tmp_path / "aisfx" / "models"
    inside.mkdir(parents=True)
    file = write(inside / "checkpoint.pth")
    wheel = tmp_path / "aisfx-0.1.2-py2.py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, "aisfx/models/checkpoint.pth")
    states = [open_encoder("aisfx", str(place)).state_dict()
              for place in (file, wheel, tmp_path, tmp_path / "aisfx")]  # fmt: skip
    for state in states[1:]:
        assert all(torch.equal(state[key], states[0][key]) for key in states[0])


def test_the_installed_package_is_found(tmp_path, monkeypatch):
    inside = tmp_path / "aisfx" / "models"
    inside.mkdir(parents=True)
    # Looked up, not run: the package needs what nobody here has.
    (tmp_path / "aisfx" / "__init__.py").write_text("raise SystemExit('imported')")
    write(inside / "checkpoint.pth")
    with pytest.raises(ModelError, match="pip download --no-deps aisfx"):
        open_encoder("aisfx", None)
    monkeypatch.syspath_prepend(tmp_path)
    assert open_encoder("aisfx", None).dim == 8 * WIDTH


def test_gradients_and_freezing_from_the_bottom(encoder):
    names = [name for name, _ in encoder.stages()]
    assert names == ["block_1", "block_2", "block_3", "block_4"]
    staged = {id(p) for _, stage in encoder.stages() for p in stage.parameters()}
    assert staged == {id(p) for p in encoder.parameters()}
    for _, stage in encoder.stages()[:3]:
        stage.requires_grad_(False)
    audio = torch.from_numpy(voice(0.5))[None, None].requires_grad_()
    encoder(audio).square().mean().backward()
    assert float(audio.grad.abs().max()) > 0.0
    assert all(p.grad is None for p in encoder.blocks[:3].parameters())
    assert all(bool(p.grad.isfinite().all()) for p in encoder.blocks[3].parameters())


@torch.no_grad()
def test_level_is_in_the_features_and_both_channels_count(encoder):
    mono = torch.from_numpy(voice(0.6))[None, None]
    loud, soft = (encoder.spectrogram(gain * mono[:, 0]) for gain in (1.0, 0.25))
    # 12 dB less, where the sound stands far above the 1 in the logarithm.
    fall = (loud - soft)[loud > 0.6]
    torch.testing.assert_close(
        fall, torch.full_like(fall, 2 * np.log10(4) / 9.4578), rtol=0.02, atol=0.0
    )
    assert not torch.allclose(encoder(mono), encoder(0.25 * mono), rtol=1e-2)
    stereo = torch.cat((mono, torch.zeros_like(mono)), dim=1)
    torch.testing.assert_close(encoder(stereo), encoder(0.5 * mono))
    assert torch.equal(encoder(mono), encoder(mono))


def test_a_model_with_it_is_saved_whole(encoder, tmp_path):
    model = Predictor(encoder, hidden=8).eval()
    assert_saved_whole(model, tmp_path / "model", RATE)


def test_wrong_files_are_one_line(tmp_path, capsys):
    short = checkpoint()
    del short["embedding_net.conv_block2.bn1.weight"]
    other = {**checkpoint(), "embedding_net.conv_block4.conv2.weight": torch.zeros(3, 3)}
    (tmp_path / "text.pth").write_text("no")
    (tmp_path / "empty.whl").write_bytes(b"PK\x05\x06" + bytes(18))
    (tmp_path / "code.pth").write_bytes(pickle.dumps(RunsCode()))
    torch.save([1], tmp_path / "list.pth")
    cases = {
        write(tmp_path / "short.pth", short): "lacks blocks.1.bn1.weight",
        write(tmp_path / "other.pth", other): r"conv2.weight \(3, 3\) instead of \(16, 16, 3, 3\)",
        write(tmp_path / "none.pth", {"a": torch.ones(1)}): "lacks conv_block1",
        tmp_path / "text.pth": "damaged, or no checkpoint of aiSFX",
        tmp_path / "code.pth": "damaged, or no checkpoint of aiSFX",
        tmp_path / "list.pth": "holds no state dict",
        tmp_path / "empty.whl": "is not in it",
        tmp_path / "nothing.pth": "cannot be read",
    }
    for path, words in cases.items():
        with pytest.raises(ModelError, match=words) as error:
            open_encoder("aisfx", str(path))
        assert "\n" not in str(error.value)
    assert "code was run" not in capsys.readouterr().out
    with pytest.raises(ModelError, match="width is 0"):
        create("aisfx", {"width": 0})


@torch.no_grad()
def test_ten_minutes_in_bounded_memory(encoder):
    assert_ten_minutes_in_bounded_memory(encoder)


@pytest.mark.skipif(REAL is None, reason="DIFFCONSOLE_AISFX does not name a wheel of aisfx 0.1.2")
@torch.no_grad()
def test_the_published_weights(real_voices):
    encoder = open_encoder("aisfx", REAL)
    assert encoder.dim == 512
    name, samples, rate = real_voices[0]
    from diffconsole.audio import resample

    audio = resample(samples[None], rate, 44100)[:, :44100]
    found = encoder(torch.from_numpy(np.ascontiguousarray(audio))[None])[0].numpy()
    state, _ = _published(REAL)
    expected = independent(audio[0], state)
    assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected), name


def _published(place: str) -> Any:
    import io

    from diffconsole.encoders.aisfx import INSIDE, _numbers

    with zipfile.ZipFile(place) as wheel, torch.serialization.safe_globals(_numbers()):
        return torch.load(io.BytesIO(wheel.read(INSIDE)), weights_only=True, map_location="cpu")
