"""EnCodec: three file formats, the libraries that define them, and a computation by loops."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from diffconsole import Predictor
from diffconsole.encoders import create, open_encoder
from diffconsole.encoders.torchaudio_loader import load_torchaudio
from diffconsole.errors import ModelError

from ..programs import needs_module
from ..synthetic import RATE, voice
from .common import RunsCode, assert_saved_whole

DIM, FILTERS, RATIOS = 6, 4, (8, 5, 4, 2)
"""The published networks have 128, 32 or 64, and these ratios or (8, 5, 4, 4)."""

AUDIOCRAFT = """\
channels: 1
compression_model: encodec
dataset:
  batch_size: 192
encodec:
  autoencoder: seanet
  causal: false
  channels: ${channels}
  quantizer: rvq
  renormalize: false
  sample_rate: ${sample_rate}
sample_rate: 32000
seanet:
  activation: ELU
  activation_params:
    alpha: 1.0
  causal: ${encodec.causal}
  channels: ${channels}
  compress: 2
  decoder:
    trim_right_ratio: 1.0
  dilation_base: 2
  dimension: 6
  disable_norm_outer_blocks: 0
  encoder: {}
  kernel_size: 7
  last_kernel_size: 7
  lstm: 2
  n_filters: 4
  n_residual_layers: 1
  norm: weight_norm
  norm_params: {}
  pad_mode: constant
  ratios:
  - 8
  - 5
  - 4
  - 4
  residual_kernel_size: 3
  true_skip: true
"""
"""``xp.cfg`` as OmegaConf writes it, of MusicGen's compression model but for its sizes."""


def drawn(seed: int = 5) -> Any:
    """Draws weights of an amount at which each part of the network is heard in its output."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float | None = None) -> Tensor:
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        spread = scale if scale is not None else (1.6 / fan**0.5 if len(shape) > 1 else 0.3)
        return spread * torch.randn(*shape, generator=generator)

    return draw


def state_dict(
    channels: int = 1, group_norm: bool = False, shortcut: bool = True, ratios: Any = RATIOS
) -> dict[str, Tensor]:
    """A flat state dict by the names of PyPI's files, decoder and quantiser hinted at."""
    draw, state = drawn(), {}

    def conv(name: str, after: int, before: int, size: int) -> None:
        state[f"{name}.conv.conv.bias"] = draw(after)
        weight = draw(after, before, size)
        if group_norm:
            state[f"{name}.conv.conv.weight"] = weight
            state[f"{name}.conv.norm.weight"] = 1.0 + draw(after)
            state[f"{name}.conv.norm.bias"] = draw(after)
        else:
            # The length that a weight has is no matter: the sizes alone count.
            lengths = weight.flatten(1).norm(dim=1).view(-1, 1, 1)
            state[f"{name}.conv.conv.weight_g"] = lengths
            state[f"{name}.conv.conv.weight_v"] = 0.37 * weight

    conv("encoder.model.0", FILTERS, channels, 7)
    width, n = FILTERS, 1
    for ratio in reversed(ratios):
        conv(f"encoder.model.{n}.block.1", width // 2, width, 3)
        conv(f"encoder.model.{n}.block.3", width, width // 2, 1)
        if shortcut:
            conv(f"encoder.model.{n}.shortcut", width, width, 1)
        conv(f"encoder.model.{n + 2}", 2 * width, width, 2 * ratio)
        width, n = 2 * width, n + 3
    for layer in range(2):
        for part in ("ih", "hh"):
            state[f"encoder.model.{n}.lstm.weight_{part}_l{layer}"] = draw(4 * width, width)
            state[f"encoder.model.{n}.lstm.bias_{part}_l{layer}"] = draw(4 * width)
    conv(f"encoder.model.{n + 2}", DIM, width, 7)
    state["quantizer.vq.layers.0._codebook.embed"] = draw(8, DIM)
    state["decoder.model.0.conv.conv.bias"] = draw(2)
    return state


def write_flat(path: Path, state: Any = None) -> Path:
    """A file whose name carries its hash, as PyPI's do."""
    torch.save(state_dict() if state is None else state, path)
    named = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(path.with_name(f"{path.stem}-{named}.th"))


def write_audiocraft(path: Path, config: Any = AUDIOCRAFT, state: Any = None) -> Path:
    weights = state or state_dict(shortcut=False, ratios=(8, 5, 4, 4))
    content = {"best_state": weights, "xp.cfg": config, "version": "1.0.0", "exported": True}
    torch.save(content, path)
    return path


def independent(audio: np.ndarray, state: dict[str, Tensor], rules: dict[str, Any]) -> np.ndarray:
    """``(frames, dim)`` of ``(channels, samples)``: sums over taps, in float64, gate by gate."""
    weights = {key: value.double().numpy() for key, value in state.items()}

    def convolve(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        if f"{name}.conv.conv.weight_v" in weights:
            v, g = (weights[f"{name}.conv.conv.weight_{part}"] for part in "vg")
            taps = g * v / np.sqrt((v**2).sum(axis=(1, 2), keepdims=True))
        else:
            taps = weights[f"{name}.conv.conv.weight"]
        size = taps.shape[2]
        frames = -(-x.shape[1] // stride)
        before = size - stride if rules["causal"] else (size - stride + 1) // 2
        after = (frames - 1) * stride + size - before - x.shape[1]
        mode = {"mode": "reflect"} if rules["reflect"] else {"mode": "constant"}
        x = np.pad(x, ((0, 0), (before, after)), **mode)
        y = np.zeros((len(taps), frames)) + weights[f"{name}.conv.conv.bias"][:, None]
        for tap in range(size):
            y += taps[:, :, tap] @ x[:, tap : tap + (frames - 1) * stride + 1 : stride]
        if f"{name}.conv.norm.weight" in weights:
            y = (y - y.mean()) / np.sqrt(y.var() + 1e-5)
            y = y * weights[f"{name}.conv.norm.weight"][:, None]
            y = y + weights[f"{name}.conv.norm.bias"][:, None]
        return y

    def elu(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0)))

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-x))

    x = convolve(audio.astype(np.float64), "encoder.model.0")
    n = 1
    for ratio in reversed(rules["ratios"]):
        name = f"encoder.model.{n}"
        beside = convolve(x, f"{name}.shortcut") if rules["shortcut"] else x
        x = beside + convolve(elu(convolve(elu(x), f"{name}.block.1")), f"{name}.block.3")
        x = convolve(elu(x), f"encoder.model.{n + 2}", ratio)
        n += 3
    above = x
    for layer in range(2):
        part = {k: weights[f"encoder.model.{n}.lstm.{k}_l{layer}"]
                for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}  # fmt: skip
        hidden = cell = np.zeros(len(x))
        heard = []
        for frame in above.T:
            gates = part["weight_ih"] @ frame + part["weight_hh"] @ hidden
            i, f, g, o = np.split(gates + part["bias_ih"] + part["bias_hh"], 4)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            hidden = sigmoid(o) * np.tanh(cell)
            heard.append(hidden)
        above = np.array(heard).T
    return convolve(elu(x + above), f"encoder.model.{n + 2}").T


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    assert found.shape == expected.shape
    return bool(np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected))


@pytest.fixture
def encoder(tmp_path):
    return open_encoder("encodec", str(write_flat(tmp_path / "encodec_24khz.pt")))


@torch.no_grad()
@pytest.mark.parametrize("samples", [4321, 12000])
def test_the_24_khz_network_is_that_of_an_independent_computation(encoder, samples):
    audio = voice(1.0, 1, 24000)[None, :samples]
    found = encoder(torch.from_numpy(audio)[None])[0].numpy()
    rules = {"causal": True, "reflect": True, "shortcut": True, "ratios": RATIOS}
    assert close(found, independent(audio, state_dict(), rules))
    assert (encoder.sample_rate, encoder.dim, encoder.frames_per_second) == (24000, DIM, 75.0)
    assert len(found) == -(-samples // 320)


@torch.no_grad()
def test_audiocrafts_network_is_that_of_an_independent_computation(tmp_path):
    needs_module("yaml")
    file = write_audiocraft(tmp_path / "compression_state_dict.bin")
    encoder = open_encoder("encodec", str(file))
    audio = voice(0.4, 2, 32000)[None]
    rules = {"causal": False, "reflect": False, "shortcut": False, "ratios": (8, 5, 4, 4)}
    expected = independent(audio, state_dict(shortcut=False, ratios=(8, 5, 4, 4)), rules)
    assert close(encoder(torch.from_numpy(audio)[None])[0].numpy(), expected)
    assert (encoder.sample_rate, encoder.dim, encoder.frames_per_second) == (32000, DIM, 50.0)
    assert torch.equal(
        open_encoder("encodec", str(tmp_path)).state_dict()["layers.0.conv.weight"],
        encoder.state_dict()["layers.0.conv.weight"],
    )


@torch.no_grad()
def test_the_48_khz_network_hears_chunks_each_at_the_same_level(tmp_path):
    state = state_dict(channels=2, group_norm=True)
    encoder = open_encoder("encodec", str(write_flat(tmp_path / "encodec_48khz.pt", state)))
    assert (encoder.sample_rate, encoder.dim, encoder.chunk) == (48000, DIM + 1, 48000)
    audio = np.stack([voice(1.3, 3, 48000), voice(1.3, 4, 48000)])
    found = encoder(torch.from_numpy(audio)[None])[0].numpy()
    rules = {"causal": False, "reflect": True, "shortcut": True, "ratios": RATIOS}
    expected = []
    for start in (0, 47520):
        chunk = audio[:, start : start + 48000].astype(np.float64)
        mono = chunk.mean(axis=0)
        frames = independent(chunk / (1e-8 + np.sqrt(np.mean(mono**2))), state, rules)
        power = [np.mean(mono[i * 320 : i * 320 + 320] ** 2) for i in range(len(frames))]
        level = (10.0 * np.log10(np.array(power) + 1e-9) + 20.0) / 20.0
        expected.append(np.column_stack((frames, level)))
    assert close(found, np.concatenate(expected))
    assert encoder.frames_per_second == pytest.approx(150 / 0.99)
    # What the normalisation takes away is told by the level alone, 12 dB less.
    soft = encoder(torch.from_numpy(0.25 * audio)[None])[0].numpy()
    np.testing.assert_allclose(soft[:, :-1], found[:, :-1], atol=1e-3)
    loud = found[:, -1] > -1.0
    np.testing.assert_allclose((found - soft)[loud, -1], np.log10(4.0), atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("stereo", [False, True])
def test_features_are_those_of_the_library_encodec(tmp_path, stereo):
    load_torchaudio()
    library = needs_module("encodec.modules")
    rules = {"norm": "time_group_norm" if stereo else "weight_norm", "causal": not stereo}
    network = library.SEANetEncoder(
        channels=1 + stereo, dimension=DIM, n_filters=FILTERS, ratios=list(RATIOS), **rules
    )
    state = state_dict(channels=1 + stereo, group_norm=stereo)
    start = "encoder."
    network.load_state_dict(
        {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
    )
    encoder = open_encoder("encodec", str(write_flat(tmp_path / "published.pt", state)))
    model = needs_module("encodec").EncodecModel(
        network, None, _Codes(), [], encoder.sample_rate, 1 + stereo,
        normalize=stereo, segment=1.0 if stereo else None,
    ).eval()  # fmt: skip
    rate = encoder.sample_rate
    audio = torch.from_numpy(np.stack([voice(1.02, 6 + n, rate) for n in range(1 + stereo)]))[None]
    expected = torch.cat([codes.transpose(1, 2) for codes, _ in model.encode(audio)], dim=1)
    found = encoder(audio)
    assert close(found[0, :, :DIM].numpy(), expected[0].numpy())


class _Codes:
    """A quantiser that hands on what it gets, as ``(codebooks, batch, frames)``."""

    bins = 1024

    def encode(self, latents: Tensor, *_: Any) -> Tensor:
        return latents.transpose(0, 1)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["24 kHz", "32 kHz", "48 kHz"])
def test_features_are_those_of_transformers(tmp_path, kind):
    load_torchaudio()
    transformers = needs_module("transformers")
    sizes = {"hidden_size": DIM, "num_filters": FILTERS, "codebook_size": 16}
    says: dict[str, Any] = {
        "24 kHz": {},
        "32 kHz": {
            "sampling_rate": 32000, "upsampling_ratios": [8, 5, 4, 4], "use_causal_conv": False,
            "use_conv_shortcut": False, "target_bandwidths": [2.2],
        },
        "48 kHz": {
            "sampling_rate": 48000, "audio_channels": 2, "normalize": True, "chunk_length_s": 1.0,
            "overlap": 0.01, "use_causal_conv": False, "norm_type": "time_group_norm",
            "target_bandwidths": [3.0],
        },
    }[kind]  # fmt: skip
    torch.manual_seed(0)
    model = transformers.EncodecModel(transformers.EncodecConfig(**sizes, **says)).eval()
    draw = drawn()
    for weights in model.encoder.parameters():
        weights.copy_(draw(*weights.shape) if weights.ndim > 1 else 0.5 + draw(*weights.shape))
    model.save_pretrained(tmp_path)
    encoder = open_encoder("encodec", str(tmp_path))
    rate = encoder.sample_rate
    channels = model.config.audio_channels
    audio = torch.from_numpy(np.stack([voice(0.9, n, rate) for n in range(channels)]))[None]
    heard = audio
    if model.config.normalize:
        heard = audio / (audio.mean(dim=1).square().mean().sqrt() + 1e-8)
    expected = model.encoder(heard)[0].T.numpy()
    assert close(encoder(audio)[0, :, :DIM].numpy(), expected)
    old = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value.contiguous()
        for key, value in model.state_dict().items()
    }
    (tmp_path / "model.safetensors").unlink()
    torch.save(old, tmp_path / "pytorch_model.bin")
    again = open_encoder("encodec", str(tmp_path / "pytorch_model.bin"))
    assert torch.equal(again(audio), encoder(audio))


def test_gradients_and_freezing_from_the_bottom(encoder):
    names = [name for name, _ in encoder.stages()]
    assert names == ["input", "level_1", "level_2", "level_3", "level_4", "lstm", "output"]
    staged = [id(p) for _, stage in encoder.stages() for p in stage.parameters()]
    assert sorted(staged) == sorted({id(p) for p in encoder.parameters()})
    for _, stage in encoder.stages()[:5]:
        stage.requires_grad_(False)
    audio = torch.from_numpy(voice(0.5, rate=24000))[None, None].requires_grad_()
    encoder(audio).square().mean().backward()
    assert float(audio.grad.abs().max()) > 0.0
    for n, (_, stage) in enumerate(encoder.stages()):
        for weights in stage.parameters():
            assert (weights.grad is None) == (n < 5)
            assert n < 5 or (bool(weights.grad.isfinite().all()) and bool(weights.grad.any()))


@torch.no_grad()
def test_level_is_in_the_features_and_both_channels_count(encoder):
    mono = torch.from_numpy(voice(0.6, rate=24000))[None, None]
    assert not torch.allclose(encoder(mono), encoder(0.25 * mono), rtol=1e-2)
    stereo = torch.cat((mono, torch.zeros_like(mono)), dim=1)
    torch.testing.assert_close(encoder(stereo), encoder(0.5 * mono))
    assert torch.equal(encoder(mono), encoder(mono))


@torch.no_grad()
def test_a_stereo_network_hears_a_mono_voice_twice(tmp_path):
    state = state_dict(channels=2, group_norm=True)
    encoder = open_encoder("encodec", str(write_flat(tmp_path / "encodec_48khz.pt", state)))
    mono = torch.from_numpy(voice(0.6, rate=48000))[None, None]
    assert torch.equal(encoder(mono), encoder(mono.repeat(1, 2, 1)))
    assert bool(encoder(torch.zeros(1, 1, 24000)).isfinite().all())


@pytest.mark.parametrize("stereo", [False, True])
def test_a_model_with_it_is_saved_whole(tmp_path, stereo):
    state = state_dict(channels=1 + stereo, group_norm=stereo)
    encoder = open_encoder("encodec", str(write_flat(tmp_path / "published.pt", state)))
    model = Predictor(encoder, hidden=8).eval()
    again = assert_saved_whole(model, tmp_path / "model", RATE)
    assert again.encoder.frames_per_second == encoder.frames_per_second


def test_wrong_files_are_one_line(tmp_path, capsys):
    short, other = state_dict(), state_dict()
    del short["encoder.model.4.block.1.conv.conv.weight_v"]
    other["encoder.model.15.conv.conv.bias"] = torch.zeros(DIM + 1)
    (tmp_path / "encodec_24khz-d7cc33bc.th").write_bytes(b"half of it")
    (tmp_path / "text.th").write_text("no")
    (tmp_path / "code.th").write_bytes(pickle.dumps(RunsCode()))
    torch.save([1], tmp_path / "list.th")
    torch.save({"pretrained": "facebook/encodec_32khz"}, tmp_path / "pointer.bin")
    torch.save({"encoder.layers.0.conv.bias": torch.zeros(3)}, tmp_path / "renamed.bin")
    for name, config in (("hubert", '{"model_type": "hubert"}'), ("broken", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
    huge = {"model_type": "encodec", "num_filters": 100000}
    for name, config in (("huge", huge), ("pad", {"model_type": "encodec", "pad_mode": "wrap"})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        torch.save({}, tmp_path / name / "pytorch_model.bin")
    (tmp_path / "empty").mkdir()
    (tmp_path / "weightless").mkdir()
    (tmp_path / "weightless" / "config.json").write_text('{"model_type": "encodec"}')
    cases = {
        write_flat(tmp_path / "short.pt", short): "lacks encoder.model.4.block.1.conv.conv.weight",
        write_flat(tmp_path / "other.pt", other): r"encoder.model.15.conv.conv.bias is \(7,\), not",
        write_flat(tmp_path / "none.pt", {"a": torch.ones(1)}): "lacks encoder.model.0",
        tmp_path / "encodec_24khz-d7cc33bc.th": "SHA-256 starts with .*, not with d7cc33bc",
        tmp_path / "text.th": "damaged, or no PyTorch checkpoint",
        tmp_path / "code.th": "add --trust-checkpoint",
        tmp_path / "list.th": "holds no state dict",
        tmp_path / "pointer.bin": "only names 'facebook/encodec_32khz'",
        tmp_path / "renamed.bin": "has the names of Transformers",
        tmp_path / "hubert": "model_type is 'hubert'",
        tmp_path / "broken": "no JSON",
        tmp_path / "huge": "filters is 100000, not a whole number from 1 to 1024",
        tmp_path / "pad": "pad_mode is 'wrap'; known are reflect",
        tmp_path / "empty": "config.json: cannot be read",
        tmp_path / "weightless": "has neither model.safetensors nor pytorch_model.bin",
        tmp_path / "nothing.th": "cannot be read",
    }
    for path, words in cases.items():
        with pytest.raises(ModelError, match=words) as error:
            open_encoder("encodec", str(path))
        assert "\n" not in str(error.value)
    assert "code was run" not in capsys.readouterr().out
    with pytest.raises(ModelError, match="give a file or folder"):
        open_encoder("encodec", None)
    with pytest.raises(ModelError, match="kernel is 0"):
        network = open_encoder("encodec", str(write_flat(tmp_path / "good.pt"))).config()["network"]
        create("encodec", {"network": {**network, "kernel": 0}, "sample_rate": 24000})
    with pytest.raises(ModelError, match="the network would have"):
        wide = {**network, "filters": 1024, "ratios": [2] * 8}
        create("encodec", {"network": wide, "sample_rate": 24000})


def test_wrong_files_of_audiocraft_are_one_line(tmp_path):
    needs_module("yaml")
    cases = {
        "of dac": (AUDIOCRAFT.replace(": encodec\n", ": dac\n"), "compression_model is 'dac'"),
        "tanh": (AUDIOCRAFT.replace("ELU", "Tanh"), "its activation is not the ELU"),
        "spectral": (AUDIOCRAFT.replace(": weight_norm", ": spectral_norm"), "norm is 'spectral_n"),
        "cut": (AUDIOCRAFT + "  - [", "is no YAML"),
        "wide": (AUDIOCRAFT.replace("n_filters: 4", "n_filters: 5"), r"is \(4,\), not \(5,\)"),
        "rateless": (AUDIOCRAFT.replace("sample_rate: 32000", ""), "sample_rate is None"),
        "numbers": (3, "lacks best_state or a configuration"),
    }
    for name, (config, words) in cases.items():
        file = write_audiocraft(tmp_path / f"{name}.bin", config)
        with pytest.raises(ModelError, match=words) as error:
            open_encoder("encodec", str(file))
        assert "\n" not in str(error.value)


def test_checkpoints_of_audiocrafts_training_are_read_where_trusted(tmp_path):
    yaml = needs_module("yaml")
    state = state_dict(shortcut=False, ratios=(8, 5, 4, 4))
    content = {
        "best_state": {"model": state}, "xp.cfg": yaml.safe_load(AUDIOCRAFT), "folder": tmp_path
    }  # fmt: skip
    torch.save(content, tmp_path / "checkpoint.th")
    with pytest.raises(ModelError, match="add --trust-checkpoint"):
        open_encoder("encodec", str(tmp_path / "checkpoint.th"))
    exported = open_encoder("encodec", str(write_audiocraft(tmp_path / "exported.bin")))
    trained = open_encoder("encodec", str(tmp_path / "checkpoint.th"), trust=True)
    assert trained.config()["network"] == exported.config()["network"]
    assert torch.equal(trained.layers[0].conv.weight, exported.layers[0].conv.weight)


def test_a_rate_is_only_asked_for_where_the_file_tells_none(tmp_path):
    flat = write_flat(tmp_path / "own.pt")
    assert open_encoder("encodec", str(flat), 16000).frames_per_second == 50.0
    needs_module("yaml")
    file = write_audiocraft(tmp_path / "compression_state_dict.bin")
    with pytest.raises(ModelError, match="takes 32000 Hz; leave --encoder-rate out"):
        open_encoder("encodec", str(file), 24000)


def test_weights_as_safetensors(tmp_path):
    file = tmp_path / "own.safetensors"
    safetensors.torch.save_file(state_dict(), file)
    assert open_encoder("encodec", str(file)).dim == DIM


@torch.no_grad()
def test_ten_minutes_in_bounded_memory(tmp_path):
    import resource

    encoder = open_encoder("encodec", str(write_flat(tmp_path / "own.pt")), 8000)
    model = Predictor(encoder, hidden=8).eval()
    take = np.tile(voice(5.0, rate=16000), 120)[None]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.predict(take, 16000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024
