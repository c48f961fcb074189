"""AnyEnhance: the files as published, both networks computed independently, what is refused."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffconsole import Predictor
from diffconsole.encoders import create, open_encoder
from diffconsole.encoders.anyenhance import DEFAULTS
from diffconsole.errors import ModelError

from ..synthetic import RATE, voice
from .common import RunsCode, assert_saved_whole, assert_ten_minutes_in_bounded_memory

KINDS = ("lighter", "paper's", "sines")
DIM, WIDTH, HEADS, DIM_HEAD, LAYERS, MULT, SEQ_LEN = 6, 10, 3, 4, 2, 4, 40
TASKS = 2
LIGHTER = """\
{
    "dataset": {
        "sample_rate": 44100,
        "batch_size": 32,
        "seq_len": 133120, // 512 * 260, ~3.1s
        "test_noisy_path": "http://debug_audio/noisy,}",
    },
    /* as published, with comments
       and last commas */
    "model": {
        "dac_path": "./pretrained/dac/weights.pth",
        "MaskGitTransformer": {"num_tokens": 1024, "seq_len": 40},
        "AudioEncoder": %s,
    },
    "train": {
        "epochs": -1, // -1 means infinite
        "encoder_loss": [
            {"type": "semantic", "weight": 1.0,},
        ],
    }
}"""


def told(kind: str) -> dict[str, Any]:
    """What a configuration tells of the encoder."""
    config = {
        "dim": DIM,
        "seq_len": SEQ_LEN,
        "input_dim": 1025,
        "n_fft": 2048,
        "hop_length": 512,
        "win_length": 2048,
        "mlp_layers": [WIDTH, DIM],
        "transformer_layers": LAYERS,
        "transformer_dim": DIM,
        "transformer_dim_head": DIM_HEAD,
        "transformer_heads": HEADS,
        "transformer_ff_mult": MULT,
        "use_rotary_pos_enc": kind != "sines",
    }
    if kind == "paper's":
        config |= {"num_transformer_paths": 2, "use_noisy_audio_embed": True}
    return config


def checkpoint(kind: str) -> dict[str, Tensor]:
    """Weights under the names that the public code gives, with some of the generating part."""
    generator = torch.Generator().manual_seed(9)

    def drawn(*shape: int, low: float = -0.5) -> Tensor:
        return low + torch.rand(*shape, generator=generator)

    inner, paths = DIM * MULT * 2 // 3, 2 if kind == "paper's" else 1
    state = {
        "transformer.null_embed": drawn(DIM),
        "code_emb.0.weight": drawn(3, DIM),
        "audio_encoder.mlp.0.weight": 0.2 * drawn(WIDTH, 2050),
        "audio_encoder.mlp.0.bias": drawn(WIDTH),
        "audio_encoder.mlp.2.weight": drawn(DIM, WIDTH),
        "audio_encoder.mlp.2.bias": drawn(DIM),
    }
    if kind == "paper's":
        state["task_emb.weight"] = 2.0 * drawn(TASKS, DIM)
        state["audio_encoder.batch_norm.weight"] = drawn(1025, low=0.5)
        state["audio_encoder.batch_norm.bias"] = drawn(1025)
        state["audio_encoder.batch_norm.running_mean"] = drawn(1025, low=0.5)
        state["audio_encoder.batch_norm.running_var"] = drawn(1025, low=0.5)
        state["audio_encoder.batch_norm.num_batches_tracked"] = torch.tensor(7)
        for path in range(paths):
            for n in (0, 2, 4):
                state[f"audio_encoder.embed_proj.{path}.{n}.weight"] = drawn(DIM, DIM)
                state[f"audio_encoder.embed_proj.{path}.{n}.bias"] = drawn(DIM)
    if kind == "sines":
        # As computed at the training; drawn here, so that the file's are seen to be used.
        state["audio_encoder.pos_emb.sinusoidal_embeddings"] = drawn(SEQ_LEN, DIM)
    for path in range(paths):
        start = f"audio_encoder.transformer_paths.{path}"
        norms = {f"{start}.norm": DIM}
        for n in range(LAYERS):
            layer = f"{start}.layers.{n}"
            norms |= {f"{layer}.0.norm": DIM, f"{layer}.1.0": DIM, f"{layer}.1.3": inner}
            state[f"{layer}.0.null_kv"] = 2.0 * drawn(2, HEADS, 1, DIM_HEAD)
            state[f"{layer}.0.to_q.weight"] = drawn(HEADS * DIM_HEAD, DIM)
            state[f"{layer}.0.to_kv.weight"] = drawn(2 * HEADS * DIM_HEAD, DIM)
            state[f"{layer}.0.q_scale"] = drawn(DIM_HEAD, low=0.5)
            state[f"{layer}.0.k_scale"] = drawn(DIM_HEAD, low=0.5)
            state[f"{layer}.0.to_out.weight"] = drawn(DIM, HEADS * DIM_HEAD)
            state[f"{layer}.1.1.weight"] = drawn(2 * inner, DIM)
            state[f"{layer}.1.4.weight"] = drawn(DIM, inner)
        for norm, dim in norms.items():
            state[f"{norm}.gamma"] = drawn(dim, low=0.5)
            state[f"{norm}.beta"] = 0.1 * drawn(dim)
    return state


def write(folder: Path, kind: str = "lighter", state: Any = None, **changes: Any) -> Path:
    """The weights and the configuration, laid out as published."""
    state = checkpoint(kind) if state is None else state
    encoder = json.dumps({**told(kind), **changes})
    if kind == "paper's":
        inner = folder / "epoch-1-step-300000-loss-4.3083"
        inner.mkdir(parents=True, exist_ok=True)
        (folder / "dac").mkdir(exist_ok=True)
        (folder / "dac" / "weights.pth").write_bytes(b"no matter")
        (folder / "w2v.json").write_text("{}")
        torch.save({f"module.{key}": value for key, value in state.items()}, inner / "model.pt")
        model = f'{{"model": {{"AudioEncoder": {encoder}}}}}'
        (folder / "anyenhance-360M-selfcritic-v2.json").write_text(model)
        return inner / "model.pt"
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "model.pt")
    (folder / "config.json").write_text(LIGHTER % encoder)
    return folder / "model.pt"


def normal(x: np.ndarray, state: dict[str, np.ndarray], name: str) -> np.ndarray:
    centred = x - x.mean()
    return (
        centred / np.sqrt(np.mean(centred**2) + 1e-5) * state[f"{name}.gamma"]
        + state[f"{name}.beta"]
    )


def path_of(x: np.ndarray, state: dict[str, np.ndarray], start: str, turns: bool) -> np.ndarray:
    """One path over a window, frame for frame and head for head."""
    for n in range(LAYERS):
        layer = f"{start}.layers.{n}"
        seen = [normal(frame, state, f"{layer}.0.norm") for frame in x]
        out = np.zeros((len(x), HEADS * DIM_HEAD))
        for h in range(HEADS):
            rows = slice(h * DIM_HEAD, (h + 1) * DIM_HEAD)
            keys, values = (
                state[f"{layer}.0.to_kv.weight"][part * HEADS * DIM_HEAD :][rows] for part in (0, 1)
            )
            k = [state[f"{layer}.0.null_kv"][0, h, 0]]
            v = [state[f"{layer}.0.null_kv"][1, h, 0], *(values @ frame for frame in seen)]
            q = []
            for i, frame in enumerate(seen):
                for heard, weights in ((q, state[f"{layer}.0.to_q.weight"][rows]), (k, keys)):
                    found = weights @ frame
                    if turns:
                        pairs = found[0::2] + 1j * found[1::2]
                        speeds = [10000.0 ** (-2.0 * p / DIM_HEAD) for p in range(len(pairs))]
                        pairs = pairs * np.exp(1j * i * np.array(speeds))
                        found = np.ravel([[z.real, z.imag] for z in pairs])
                    heard.append(found)
            k = [key / np.linalg.norm(key) * state[f"{layer}.0.k_scale"] for key in k]
            for i, query in enumerate(q):
                query = query / np.linalg.norm(query) * state[f"{layer}.0.q_scale"]
                shares = np.exp([8.0 * float(query @ key) for key in k])
                out[i, rows] = sum(s * value for s, value in zip(shares, v, strict=True))
                out[i, rows] /= shares.sum()
        x = x + out @ state[f"{layer}.0.to_out.weight"].T
        after = []
        for frame in x:
            a, b = np.split(state[f"{layer}.1.1.weight"] @ normal(frame, state, f"{layer}.1.0"), 2)
            gelu = np.array([0.5 * u * (1.0 + math.erf(u / math.sqrt(2.0))) for u in a])
            gated = normal(b * gelu, state, f"{layer}.1.3")
            after.append(frame + state[f"{layer}.1.4.weight"] @ gated)
        x = np.stack(after)
    return np.stack([normal(frame, state, f"{start}.norm") for frame in x])


def independent(mono: np.ndarray, kind: str, heard: np.ndarray) -> np.ndarray:
    """The features in float64.

    The first frame lies in a signal that is mirrored at its middle, so its phases are 0 or half a
    turn; whether that is π or −π is a matter of rounding, so it is looked up in `heard`.
    """
    state = {
        k.removeprefix("audio_encoder."): v.double().numpy() for k, v in checkpoint(kind).items()
    }
    padded = np.pad(mono.astype(np.float64), 1024, mode="reflect")
    spectrum = np.stack(
        [np.fft.rfft(padded[i * 512 : i * 512 + 2048]) for i in range(len(mono) // 512)]
    )
    magnitude, phase = np.abs(spectrum) ** 0.3, np.angle(spectrum)
    half_turn = np.abs(phase) > np.pi - 1e-4
    assert np.all(half_turn.sum(axis=1)[1:] < 10)
    phase = np.where(half_turn, np.copysign(phase, heard[:, 1025:]), phase)
    if kind == "paper's":
        norm = {key: state[f"batch_norm.{key}"]
                for key in ("weight", "bias", "running_mean", "running_var")}  # fmt: skip
        magnitude = (magnitude - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5)
        magnitude = magnitude * norm["weight"] + norm["bias"]
    x = np.concatenate((magnitude, phase), axis=1) @ state["mlp.0.weight"].T
    x = np.maximum(x + state["mlp.0.bias"], 0.0) @ state["mlp.2.weight"].T + state["mlp.2.bias"]
    if kind == "paper's":
        x = x + state["task_emb.weight"][0]
    count = math.ceil(len(x) / SEQ_LEN)
    windows = []
    for window in np.array_split(x, count):
        if kind == "sines":
            window = window + state["pos_emb.sinusoidal_embeddings"][: len(window)]
        paths = range(2 if kind == "paper's" else 1)
        windows.append(
            sum(path_of(window, state, f"transformer_paths.{p}", kind != "sines") for p in paths)
        )
    return np.concatenate(windows)


def apart(found: Tensor, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.linalg.norm(found.double().numpy() - expected) / np.linalg.norm(expected))


@pytest.fixture
def encoder(tmp_path):
    return open_encoder("anyenhance", str(write(tmp_path / "lighter")))


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_features_are_those_of_an_independent_computation(tmp_path, kind, seconds):
    encoder = open_encoder("anyenhance", str(write(tmp_path / "there", kind)))
    audio = voice(seconds, 1)
    batch = torch.from_numpy(audio)[None]
    found = encoder(batch[None])[0]
    assert apart(found, independent(audio, kind, encoder.spectrogram(batch)[0].numpy())) <= 1e-4
    assert len(found) == pytest.approx(seconds * encoder.frames_per_second, abs=1.0)
    # Nothing but rounding is left between the two.
    encoder, batch = encoder.double(), batch.double()
    heard = encoder.spectrogram(batch)[0].numpy()
    assert apart(encoder(batch[None])[0], independent(audio, kind, heard)) <= 1e-9


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_the_network_matters(tmp_path, kind):
    encoder = open_encoder("anyenhance", str(write(tmp_path / "there", kind)))
    audio = torch.from_numpy(voice(0.3, 1))[None, None]
    whole = encoder(audio)
    for name, value in encoder.state_dict().items():
        if name.endswith(("num_batches_tracked", "window")):
            continue
        kept = value.clone()
        value[...] = value + 0.5 * torch.linspace(0.1, 1.0, value.numel()).reshape(value.shape)
        assert float((encoder(audio) - whole).norm() / whole.norm()) > 3e-4, name
        value[...] = kept
    assert torch.equal(encoder(audio), whole)


def test_the_places_where_the_files_may_lie(tmp_path):
    file = write(tmp_path / "lighter")
    first = open_encoder("anyenhance", str(file))
    assert open_encoder("anyenhance", str(file.parent)).config() == first.config()
    assert first.licence.startswith("not stated")
    deep = write(tmp_path / "paper", "paper's")
    second = open_encoder("anyenhance", str(tmp_path / "paper"))
    assert second.config() == open_encoder("anyenhance", str(deep)).config()
    assert second.licence == "said to be CC BY-NC 4.0: non-commercial"
    assert second.architecture["batch_norm"] is second.architecture["task"] is True
    # Beside them goes before above.
    (deep.parent / "config.json").write_text(json.dumps({"AudioEncoder": told("paper's")}))
    (tmp_path / "paper" / "anyenhance-360M-selfcritic-v2.json").write_text("damaged")
    assert open_encoder("anyenhance", str(deep)).config() == second.config()


def test_gradients_and_freezing_from_the_bottom(encoder, tmp_path):
    names = [name for name, _ in encoder.stages()]
    assert names == ["linear", "layer_1", "layer_2", "norm"]
    paper = open_encoder("anyenhance", str(write(tmp_path / "paper", "paper's")))
    for each in (encoder, paper):
        staged = [id(p) for _, stage in each.stages() for p in stage.parameters()]
        assert sorted(staged) == sorted(id(p) for p in each.parameters())
        for _, stage in each.stages()[:2]:
            stage.requires_grad_(False)
        # Half a second of nothing, of which neither power nor phase have a slope.
        audio = torch.from_numpy(np.pad(voice(0.4), (0, RATE // 2)))[None, None].requires_grad_()
        each(audio)[..., :2].square().mean().backward()
        assert bool(audio.grad.isfinite().all())
        assert float(audio.grad.abs().max()) > 0.0
        for n, (_, stage) in enumerate(each.stages()):
            assert all((p.grad is None) == (n < 2) for p in stage.parameters())
            assert all(n < 2 or bool(p.grad.isfinite().all()) for p in stage.parameters())


@torch.no_grad()
def test_level_is_in_the_features_and_both_channels_count(encoder):
    mono = torch.from_numpy(voice(0.6))[None, None]
    loud, soft = (encoder.spectrogram(gain * mono[:, 0]) for gain in (1.0, 0.25))
    torch.testing.assert_close(loud[..., :1025], 4.0**0.3 * soft[..., :1025])
    torch.testing.assert_close(loud[..., 1025:], soft[..., 1025:])
    assert not torch.allclose(encoder(mono), encoder(0.25 * mono), rtol=1e-2)
    stereo = torch.cat((mono, torch.zeros_like(mono)), dim=1)
    torch.testing.assert_close(encoder(stereo), encoder(0.5 * mono))
    assert torch.equal(encoder(mono), encoder(mono))


@torch.no_grad()
def test_windows_are_of_equal_length(encoder):
    """Of 90 frames three windows of 30, not two of 40 and one of 10."""
    audio = torch.from_numpy(voice(90 * 512 / RATE, 2))[None, None]
    hop = 512
    whole = encoder(audio)
    assert whole.shape[1] == 90
    # The last frame of a window hears what lies half a frame behind it: not those at the edges.
    for n in range(3):
        start, stop = n * 30 * hop, (n + 1) * 30 * hop
        far = audio.clone()
        far[..., : max(start - 1024, 0)] = far[..., stop + 1024 :] = 0.3
        window = slice(n * 30, (n + 1) * 30)
        torch.testing.assert_close(encoder(far)[:, window], whole[:, window])
    tiny = encoder(audio[..., :100])
    assert tiny.shape == (1, 2, DIM)
    assert bool(tiny.isfinite().all())
    assert bool(encoder(torch.zeros_like(audio)).isfinite().all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_with_it_is_saved_whole(tmp_path, kind):
    encoder = open_encoder("anyenhance", str(write(tmp_path / "there", kind)))
    model = Predictor(encoder, hidden=8).eval()
    again = assert_saved_whole(model, tmp_path / "model", RATE)
    assert (again.encoder.licence, again.encoder.about) == (encoder.licence, encoder.about)


def test_wrong_weights_are_one_line(tmp_path, capsys):
    start = "audio_encoder."
    layer = f"{start}transformer_paths.0.layers.1"
    short = checkpoint("lighter")
    del short[f"{layer}.0.q_scale"]
    other = {**checkpoint("lighter"), f"{layer}.1.4.weight": torch.zeros(3, 3)}
    deeper = {
        **checkpoint("lighter"),
        f"{start}transformer_paths.0.layers.2.0.q_scale": torch.ones(4),
    }
    place = write(tmp_path / "there").parent
    (place / "text.pt").write_text("no")
    (place / "code.pt").write_bytes(pickle.dumps(RunsCode(), protocol=2))
    torch.save({"audio_encoder.mlp.0.weight": RunsCode()}, place / "zip.pt")
    torch.save([1], place / "list.pt")
    for name, state in {
        "short": short,
        "other": other,
        "deeper": deeper,
        "sines": checkpoint("sines"),
        "codec": {"decoder.model.0.bias": torch.ones(1)},
    }.items():
        torch.save(state, place / f"{name}.pt")
    cases = {
        "short.pt": f"no network of config.json: lacks {layer}.0.q_scale",
        "other.pt": r"layers.1.1.4.weight is \(3, 3\), not \(6, 16\)",
        "deeper.pt": "it also has audio_encoder.transformer_paths.0.layers.2.0.q_scale",
        "sines.pt": "it also has audio_encoder.pos_emb.sinusoidal_embeddings",
        "codec.pt": "no checkpoint of AnyEnhance: lacks audio_encoder.mlp.0.weight",
        "text.pt": "damaged, or no PyTorch checkpoint",
        "code.pt": "add --trust-checkpoint",
        "zip.pt": "add --trust-checkpoint",
        "list.pt": "holds no state dict",
        "nothing.pt": "cannot be read",
    }
    for name, words in cases.items():
        with pytest.raises(ModelError, match=words) as error:
            open_encoder("anyenhance", str(place / name))
        assert "\n" not in str(error.value)
        assert str(place / name) in str(error.value)
    assert "code was run" not in capsys.readouterr().out
    with pytest.raises(ModelError, match="give its model.pt"):
        open_encoder("anyenhance", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="has no model.pt"):
        open_encoder("anyenhance", str(tmp_path / "empty"))


def test_wrong_configurations_are_one_line(tmp_path):
    file = write(tmp_path / "there")
    config = file.parent / "config.json"
    cases = [
        (LIGHTER % json.dumps(told("lighter") | changes), words)
        for changes, words in (
            ({"hop_length": 0}, "hop_length is 0"),
            ({"hop_length": 512.5}, "hop_length is 512.5"),
            ({"mlp_layers": [WIDTH]}, "not the widths of two linear maps"),
            ({"dim": 8}, "dim is 8; it can only be 6 here"),
            ({"transformer_dim": 512}, "transformer_dim is 512"),
            ({"input_dim": 513}, "input_dim is 513"),
            ({"win_length": 4096}, "win_length 4096 is more than n_fft 2048"),
            ({"transformer_dim_head": 3}, "must be even"),
            ({"transformer_layers": 65}, "transformer_layers is 65"),
            ({"use_rotary_pos_enc": 1}, "neither true nor false"),
            ({"transformer_heads": 2}, r"null_kv is \(2, 3, 1, 4\), not \(2, 2, 1, 4\)"),
            ({"transformer_layers": 1}, "it also has audio_encoder.transformer_paths.0.layers.1"),
            ({"use_rotary_pos_enc": False}, "lacks audio_encoder.pos_emb"),
        )
    ]
    cases += [
        ("{", "no JSON"),
        ("[1]", "states no AudioEncoder"),
        ('{"model": {"AudioEncoder": 3}}', "states no AudioEncoder"),
        ('{"model": {"AudioEncoder": {"dim": 512}}}', "lacks n_fft, hop_length"),
        (LIGHTER.replace("44100", "16000") % json.dumps(told("lighter")), "for 16000 Hz"),
    ]
    for text, words in cases:
        config.write_text(text)
        with pytest.raises(ModelError, match=words) as error:
            open_encoder("anyenhance", str(file))
        assert "\n" not in str(error.value)
        assert "config.json" in str(error.value)
    config.unlink()
    with pytest.raises(ModelError, match="copy it there as config.json"):
        open_encoder("anyenhance", str(file))
    for name in ("a.json", "b.json"):
        (file.parent / name).write_text(json.dumps({"AudioEncoder": told("lighter")}))
    with pytest.raises(ModelError, match="a.json and b.json both state an AudioEncoder"):
        open_encoder("anyenhance", str(file))
    for architecture, words in (
        ({"layers": 2}, "'layers' is not known"),
        ({"mlp_layers": [65536, 8192], "transformer_layers": 64}, "at most 2000000000"),
        ({"mlp_layers": 3}, "mlp_layers is 3"),
    ):
        with pytest.raises(ModelError, match=words):
            create("anyenhance", {"architecture": architecture})


def test_a_silent_configuration_means_what_the_public_code_means(tmp_path):
    """Six layers of eight heads of 64, twice four thirds as wide between, one path, sines."""
    assert {k: DEFAULTS[k] for k in DEFAULTS if k.startswith(("transf", "num", "use"))} == {
        "transformer_layers": 6,
        "transformer_heads": 8,
        "transformer_dim_head": 64,
        "transformer_ff_mult": 4,
        "num_transformer_paths": 1,
        "use_rotary_pos_enc": False,
    }
    encoder = create("anyenhance", {"architecture": {"mlp_layers": [4, 6], "seq_len": 5}})
    sines = encoder.state_dict()["pos_emb.sinusoidal_embeddings"].numpy()
    expected = [[f(n / 10000.0 ** (2 * p / 6)) for p in range(3) for f in (math.sin, math.cos)]
                for n in range(5)]  # fmt: skip
    np.testing.assert_allclose(sines, expected, atol=1e-6)


@torch.no_grad()
def test_ten_minutes_in_bounded_memory(encoder):
    assert_ten_minutes_in_bounded_memory(encoder)
