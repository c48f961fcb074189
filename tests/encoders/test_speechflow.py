"""SpeechFlow: NeMo's archive, its spectrogram, flow and network computed independently."""

from __future__ import annotations

import gzip
import io
import resource
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf

from diffconsole import Predictor
from diffconsole.encoders import create, open_encoder
from diffconsole.encoders.speechflow import LONGEST_FRAMES
from diffconsole.errors import ModelError

from ..programs import needs_module
from ..synthetic import voice
from .common import RunsCode, assert_saved_whole
from .tiny_nemo import CONFIG, DEPTH, DIM, GROUPS, HEADS, KERNEL, checkpoint, write

needs_module("yaml")

RATE = 16000


def independent(mono: np.ndarray, layer: int, normalize: bool = True) -> np.ndarray:
    """The features by loops over frames, heads and taps, in float64."""
    w = {key.removeprefix("estimator."): value.double().numpy()
         for key, value in checkpoint().items()}  # fmt: skip

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return 0.5 * x * (1.0 + erf(x / np.sqrt(2.0)))

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.sqrt(np.mean(x**2, axis=1, keepdims=True))

    mono = mono.astype(np.float64)
    around = np.pad(mono, 255)
    heard = around / np.abs(mono).max() if normalize else around
    count = 1 + len(mono) // 128
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(510) / 510)
    vocal = np.stack([np.fft.rfft(window * heard[128 * i : 128 * i + 510]) for i in range(count)])
    vocal = 0.33 * np.sqrt(np.abs(vocal)) * np.exp(1j * np.angle(vocal))
    noise = np.random.RandomState(20240507).standard_normal(count * 512).reshape(count, 512)
    noise = (noise[:, :256] + 1j * noise[:, 256:]) / np.sqrt(2.0)
    state = 0.9 * vocal + (0.1 * 1.0 + 0.9 * 1e-4) * noise
    x = np.concatenate([state.real, state.imag, vocal.real, vocal.imag], axis=1)
    x = linear(x, "proj_in")

    taps, half = w["conv_embed.dw_conv1d.0.weight"], KERNEL // 2
    padded = np.pad(x, ((half, half), (0, 0)))
    convolved = np.tile(w["conv_embed.dw_conv1d.0.bias"], (count, 1))
    width = DIM // GROUPS
    for out in range(DIM):
        first = out // width * width
        for k in range(KERNEL):
            convolved[:, out] += padded[k : k + count, first : first + width] @ taps[out, :, k]
    x = x + gelu(convolved)

    phases = 2.0 * np.pi * 0.9 * w["sinu_pos_emb.0.weights"]
    clock = linear(np.concatenate([np.sin(phases), np.cos(phases)]), "sinu_pos_emb.1")
    clock = clock / (1.0 + np.exp(-clock))
    distance = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    below = []
    for n in range(layer):
        name = f"transformerunet.layers.{n}"
        if n < DEPTH // 2:
            below.append(x)
        else:
            x = linear(np.hstack([x, below.pop() / np.sqrt(2.0)]), f"{name}.0")

        def norm(x: np.ndarray, place: str) -> np.ndarray:
            return unit(x) * linear(clock, f"{place}.to_gamma") + linear(clock, f"{place}.to_beta")

        normed = norm(x, f"{name}.1")
        projected = normed @ w[f"{name}.2.in_proj_weight"].T + w[f"{name}.2.in_proj_bias"]
        mixed = np.zeros_like(x)
        each = DIM // HEADS
        for h in range(HEADS):
            q, k, v = (
                projected[:, p * DIM + h * each : p * DIM + (h + 1) * each] for p in range(3)
            )
            scores = q @ k.T / np.sqrt(each) - w["transformerunet.slopes"][h, 0, 0] * distance
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            mixed[:, h * each : (h + 1) * each] = weights @ v / weights.sum(axis=1, keepdims=True)
        x = x + linear(mixed, f"{name}.2.out_proj")
        values, gate = np.split(linear(norm(x, f"{name}.3"), f"{name}.4.0"), 2, axis=1)
        x = x + linear(values * gelu(gate), f"{name}.4.3")
    power = [np.mean(around[128 * i : 128 * i + 510] ** 2) for i in range(count)]
    level = (10.0 * np.log10(np.array(power) + 1e-9) + 20.0) / 20.0
    return np.hstack([unit(x), level[:, None]])


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write(tmp_path_factory.mktemp("nemo") / "flow.nemo")


@pytest.fixture
def encoder(archive):
    return open_encoder("speechflow", str(archive))


def take(seconds: float, seed: int = 1) -> np.ndarray:
    return voice(seconds, seed, rate=RATE)


@torch.no_grad()
@pytest.mark.parametrize("layer", [1, None, 3, 4])
def test_features_are_those_of_an_independent_computation(archive, layer):
    encoder = open_encoder("speechflow", f"{archive}:{layer}" if layer else str(archive))
    assert f"layer {layer or 2} of {DEPTH}" in encoder.about
    audio = take(0.7)
    found = encoder(torch.from_numpy(audio)[None, None])[0].numpy()
    expected = independent(audio, layer or DEPTH // 2)
    assert found.shape == expected.shape == (1 + len(audio) // 128, encoder.dim)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error <= 1e-4
    np.testing.assert_allclose(found[:, -1], expected[:, -1], atol=1e-4)
    assert len(found) == pytest.approx(0.7 * encoder.frames_per_second, abs=1.0)


@torch.no_grad()
def test_every_part_of_the_network_and_of_its_input_counts(encoder):
    audio = torch.from_numpy(take(0.3))[None, None]
    usual = encoder(audio)
    state = {key: value.clone() for key, value in encoder.network.state_dict().items()}
    for key, value in state.items():
        if key.endswith("in_proj_bias"):
            continue  # A key's bias shifts all scores alike.
        encoder.network.load_state_dict({**state, key: 0.5 * value})
        assert not torch.allclose(encoder(audio), usual, rtol=1e-3, atol=1e-3), key
    encoder.network.load_state_dict(state)
    encoder.flow_time = 0.5
    assert not torch.allclose(encoder(audio), usual, rtol=1e-2)


@torch.no_grad()
def test_a_model_that_does_not_normalise_its_input(tmp_path):
    plain = CONFIG.replace("normalize_input: true\n", "")
    encoder = open_encoder("speechflow", str(write(tmp_path / "plain.nemo", config=plain)))
    audio = take(0.4)
    found = encoder(torch.from_numpy(audio)[None, None])[0].numpy()
    expected = independent(audio, 2, normalize=False)
    assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)


def test_gzip_archives_and_members_without_a_dot(archive, encoder, tmp_path):
    packed = write(tmp_path / "packed.nemo", mode="w:gz")
    plain = tmp_path / "flat.nemo"
    with tarfile.open(archive) as source, tarfile.open(plain, "w:") as tar:
        for name in ("model_weights.ckpt", "model_config.yaml"):
            content = source.extractfile(f"./{name}").read()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        info = tarfile.TarInfo("../outside.txt")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"no"))
    for path in (packed, plain):
        again = open_encoder("speechflow", str(path)).state_dict()
        assert all(torch.equal(again[key], value) for key, value in encoder.state_dict().items())
    assert not (tmp_path.parent / "outside.txt").exists()


def test_what_the_file_holds_in_half_precision_is_heard_in_full(tmp_path):
    halves = {key: value.bfloat16() for key, value in checkpoint().items()}
    encoder = open_encoder("speechflow", str(write(tmp_path / "half.nemo", halves)))
    assert all(p.dtype is torch.float32 for p in encoder.parameters())


def test_gradients_and_freezing_from_the_bottom(archive):
    encoder = open_encoder("speechflow", f"{archive}:3")
    assert [name for name, _ in encoder.stages()] == ["input", "layer_1", "layer_2", "layer_3"]
    staged = [id(p) for _, stage in encoder.stages() for p in stage.parameters()]
    assert sorted(staged) == sorted(id(p) for p in encoder.parameters())
    for _, stage in encoder.stages()[:3]:
        stage.requires_grad_(False)
    audio = torch.from_numpy(take(0.3))[None, None]
    audio[..., :2000] = 0.0
    encoder(audio.requires_grad_()).square().mean().backward()
    assert bool(audio.grad.isfinite().all()) and float(audio.grad.abs().max()) > 0.0
    layers = encoder.network.transformerunet.layers
    assert all(p.grad is None for p in encoder.network.proj_in.parameters())
    assert encoder.network.transformerunet.slopes.grad is None
    assert all(p.grad is None for p in layers[:2].parameters())
    assert all(bool(p.grad.isfinite().all()) for p in layers[2].parameters())


@torch.no_grad()
def test_level_is_in_the_features_and_both_channels_count(encoder):
    mono = torch.from_numpy(take(0.6))[None, None]
    loud, soft = encoder(mono), encoder(0.25 * mono)
    torch.testing.assert_close(loud[..., :-1], soft[..., :-1], rtol=1e-3, atol=1e-3)
    fall = (loud - soft)[..., -1][loud[..., -1] > -1.5]
    torch.testing.assert_close(fall, torch.full_like(fall, np.log10(4.0)), rtol=0.01, atol=0.0)
    stereo = torch.cat((mono, torch.zeros_like(mono)), dim=1)
    torch.testing.assert_close(encoder(stereo), encoder(0.5 * mono))
    assert bool(encoder(torch.zeros(1, 1, 8000)).isfinite().all())


@torch.no_grad()
def test_the_same_in_any_batch_and_after_any_randomness(encoder):
    a, b = (torch.from_numpy(take(0.4, seed))[None, None] for seed in (1, 2))
    first = encoder(a)
    torch.manual_seed(99)
    np.random.seed(99)
    assert torch.equal(encoder(a), first)
    torch.testing.assert_close(encoder(torch.cat((b, a)))[1:], first, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_long_audio_is_heard_in_stretches(encoder):
    frames = 2 * LONGEST_FRAMES + 10
    audio = torch.from_numpy(np.resize(take(2.0), 128 * (frames - 1)))[None, None]
    whole = encoder(audio)
    assert whole.shape[1] == frames
    # What lies two stretches away is not attended to, the peak apart.
    changed = audio.clone()
    changed[..., -128 * 100 :] *= 0.5
    first = frames // 3
    torch.testing.assert_close(encoder(changed)[:, :first], whole[:, :first])
    assert not torch.allclose(encoder(changed)[:, -50:], whole[:, -50:], atol=1e-2)


def test_a_model_with_it_is_saved_whole(archive, tmp_path):
    model = Predictor(open_encoder("speechflow", f"{archive}:3"), hidden=8).eval()
    again = assert_saved_whole(model, tmp_path / "model", RATE)
    assert again.encoder.config()["layer"] == 3


def tar_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_wrong_files_are_one_line(tmp_path, capsys):
    short = checkpoint()
    del short["estimator.transformerunet.layers.1.2.in_proj_weight"]
    other = {**checkpoint(), "estimator.proj_in.weight": torch.zeros(3, 3)}
    (tmp_path / "text.nemo").write_text("no")
    (tmp_path / "empty.nemo").write_bytes(b"")
    whole = write(tmp_path / "whole.nemo").read_bytes()
    (tmp_path / "cut.nemo").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.gz.nemo").write_bytes(gzip.compress(whole)[:-1000])
    changes = {
        "sb": ("flow.OptimalTransportFlow", "sb.Schedule", r"its flow is '.*Schedule', not"),
        "dim": (f"dim: {DIM}", "dim: ${x}", r"dim is '\$\{x\}', not a whole number"),
        "big": (f"dim: {DIM}\n", "dim: 99999\n", "dim is 99999, not a whole number 2 to 16384"),
        "one": ("in_channels: 2", "in_channels: 1", "in_channels is not 2"),
        "deaf": ("p_cond: 0.9", "p_cond: 0", "p_cond is 0"),
        "bins": ("fft_length: 510", "fft_length: 512", "do not go together"),
        "yaml": ("sample_rate: 16000", "sample_rate: [", "not what NeMo writes"),
        "object": ("p_cond: 0.9", "p_cond: !!python/name:os.system", "not what NeMo writes"),
        "depth": (
            f"depth: {DEPTH}",
            "depth: 6",
            r"lacks estimator.transformerunet.layers.3.0|layers.4",
        ),
    }
    cases = {
        write(tmp_path / f"{key}.nemo", config=CONFIG.replace(old, new)): words
        for key, (old, new, words) in changes.items()
    }
    cases |= {
        write(tmp_path / "short.nemo", short): "lacks estimator.transformerunet.layers.1.2.in_pr",
        write(tmp_path / "other.nemo", other): r"proj_in.weight is \(3, 3\), not \(24, 1024\)",
        write(tmp_path / "list.nemo", [1]): "holds no state dict but list",
        write(tmp_path / "code.nemo", {"a": RunsCode()}): "add --trust-checkpoint",
        tar_of(tmp_path / "none.nemo", ("readme", b"x")): "lacks model_config.yaml",
        tar_of(
            tmp_path / "out.nemo", ("../model_config.yaml", b"x"), ("/model_weights.ckpt", b"x")
        ): "lacks model_config.yaml",
        tar_of(
            tmp_path / "long.nemo", ("model_config.yaml", bytes(2 << 20))
        ): "lacks model_weights.ckpt|too large",
        tmp_path / "text.nemo": "damaged, or no .nemo archive",
        tmp_path / "empty.nemo": "damaged, or no .nemo archive",
        tmp_path / "cut.nemo": "damaged",
        tmp_path / "cut.gz.nemo": "damaged, or no .nemo archive",
        tmp_path / "nothing.nemo": "cannot be read",
        tmp_path: "cannot be read",
        tmp_path / "whole.nemo:5": r"layer 5: it has layers 1 to 4",
        tmp_path / "whole.nemo:0": r"layer 0: it has layers 1 to 4",
    }
    for path, words in cases.items():
        with pytest.raises(ModelError, match=words) as error:
            open_encoder("speechflow", str(path))
        assert "\n" not in str(error.value)
    assert "code was run" not in capsys.readouterr().out
    with pytest.raises(ModelError, match="give an archive"):
        open_encoder("speechflow", None)


def test_trusted_code_is_run(tmp_path, capsys):
    state: dict[str, Any] = {**checkpoint(), "note": RunsCode()}
    path = write(tmp_path / "code.nemo", state)
    open_encoder("speechflow", str(path), trust=True)
    assert "code was run" in capsys.readouterr().out


def test_memory_is_bounded_before_it_is_taken(tmp_path, encoder):
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 40 << 30
    block = header.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "header.nemo").write_bytes(gzip.compress(block + bytes(4096)))
    members = [(f"f{n}", b"") for n in range(5000)]
    wide = CONFIG.replace(f"dim: {DIM}\n", "dim: 16128\n").replace("depth: 4", "depth: 64")
    cases = {
        tmp_path / "header.nemo": "a header of .* bytes",
        tar_of(tmp_path / "many.nemo", *members): "more than 4096 files",
        write(tmp_path / "wide.nemo", config=wide): r"proj_in.weight is \(24, 1024\), not \(16128",
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path, words in cases.items():
        with pytest.raises(ModelError, match=words):
            open_encoder("speechflow", str(path))
    settings = {**encoder.settings, "dim": 16128, "depth": 64}
    with pytest.raises(ModelError, match="more weights than any encoder"):
        create("speechflow", {"settings": settings, "layer": 32})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_settings_are_checked(encoder):
    good = encoder.settings
    for key, value, words in [
        ("heads", 5, "dim 24 is not divisible by 5"),
        ("depth", 5, "depth and fft_length must be even"),
        ("sample_rate", 16000.0, "sample_rate is 16000.0"),
        ("scale", [[["x"] * 9] * 9] * 9, "scale is list, not a number"),
        ("sigma_end", float("nan"), "sigma_end is nan"),
        ("normalize_input", 1, "normalize_input is 1"),
    ]:
        with pytest.raises(ModelError, match=words):
            create("speechflow", {"settings": {**good, key: value}, "layer": 1})
    with pytest.raises(ModelError, match="its settings are not exactly"):
        create("speechflow", {"settings": {}, "layer": 1})
    with pytest.raises(ModelError, match="layer 9 is not one"):
        create("speechflow", {"settings": good, "layer": 9})


def test_without_pyyaml_it_is_said_how_to_get_it(archive, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ModelError, match=r'pip install "diffconsole\[nemo\]"'):
        open_encoder("speechflow", str(archive))


@torch.no_grad()
def test_ten_minutes_in_bounded_memory(encoder):
    model = Predictor(encoder, hidden=8).eval()
    long = np.tile(take(5.0), 120)[None]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.predict(long, RATE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024


def test_the_published_size():
    """430 million weights, as the archive's name says, under the published settings."""
    from diffconsole.encoders.speechflow import _outline

    settings = {
        "fft_length": 510, "dim": 1024, "depth": 24, "heads": 16, "ff_mult": 4,
        "time_hidden_dim": 1024, "conv_pos_embed_kernel_size": 31, "conv_pos_embed_groups": 1024,
    }  # fmt: skip
    count = sum(value.numel() for value in _outline(settings, 24).values())
    # The last norm and the projection to the vector field are not among them.
    count += 1024 + 512 * 1024 + 512
    assert count == pytest.approx(430e6, rel=2e-3)
