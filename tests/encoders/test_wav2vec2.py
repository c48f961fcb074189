"""wav2vec 2.0, HuBERT and WavLM give torchaudio's own features, from files alone."""

from __future__ import annotations

import functools
import json
import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffconsole import Predictor
from diffconsole.encoders import create, open_encoder
from diffconsole.encoders.base import scaled_level
from diffconsole.encoders.torchaudio_loader import load_torchaudio
from diffconsole.encoders.wav2vec2 import Wav2Vec2Encoder, _licence
from diffconsole.encoders.wav2vec2_files import architecture_of, take_weights
from diffconsole.errors import ModelError
from diffconsole.model.rows import row_tensors, taken_out

from ..synthetic import voice
from .tiny import KINDS, RATE, arguments, network, write


@functools.cache
def heard(seconds: float, seed: int = 1) -> Tensor:
    return torch.from_numpy(voice(seconds, seed, RATE))[None, None]


def opened(path: Path) -> Wav2Vec2Encoder:
    encoder = open_encoder("wav2vec2", str(path))
    assert isinstance(encoder, Wav2Vec2Encoder)
    return encoder


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def peer(kind: str) -> nn.Module:
    return network(kind)


@pytest.fixture(scope="module")
def encoder(kind: str, peer: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("weights") / f"{kind}.safetensors"
    return opened(write(path, peer.state_dict()))


# Features


def of_peer(peer: nn.Module, audio: Tensor, large: bool, layer: int) -> Tensor:
    """torchaudio's own features of single takes, as its bundles hear and its next layer reads."""
    mono = audio[:, 0]
    found = []
    for take in mono.split(1):
        take = nn.functional.layer_norm(take, take.shape) if large else take
        frames = peer.extract_features(take)[0][layer - 1]
        found.append(nn.functional.layer_norm(frames, frames.shape[-1:]) if large else frames)
    return torch.cat(found)


@torch.no_grad()
@pytest.mark.parametrize("seconds", [0.5, 2.03])
def test_features_are_those_of_torchaudio(kind, peer, encoder, seconds):
    """Also of a batch: no take moves the features of another."""
    audio = torch.cat((heard(seconds), 0.1 * heard(seconds, 2)))
    frames = encoder(audio)
    expected = of_peer(peer, audio, "large" in kind, layer=2)
    assert frames.shape == (2, expected.shape[1], encoder.dim)
    assert float((frames[..., :-1] - expected).norm() / expected.norm()) < 1e-4
    assert abs(frames.shape[1] - seconds * encoder.frames_per_second) <= 2.0


@torch.no_grad()
def test_the_network_tells_takes_and_moments_apart(encoder):
    """The tiny networks are no constants, so what they are compared by means something."""
    one, other = (encoder(heard(1.0, seed))[0, :, :-1] for seed in (1, 2))
    assert float((one - other).norm() / one.norm()) > 0.1
    assert float((one - one.mean(dim=0)).norm() / one.norm()) > 0.1


@torch.no_grad()
@pytest.mark.parametrize("gain_db", [-6.0, 6.0])
def test_level_is_one_more_feature(encoder, gain_db):
    """The network itself is nearly deaf to it; 20 dB are 1."""
    audio = 0.1 * torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(0))
    before, after = encoder(audio), encoder(audio * 10.0 ** (gain_db / 20.0))
    moved = after[..., -1] - before[..., -1]
    assert moved.mean().item() == pytest.approx(gain_db / 20.0, abs=1e-3)
    learnt = slice(0, -1)
    assert float((after - before)[..., learnt].norm() / before[..., learnt].norm()) < 0.05


@torch.no_grad()
def test_level_is_of_the_samples_that_the_frame_hears(encoder):
    audio = heard(1.0)
    for frame in (0, 7):
        start = frame * encoder.hop
        power = audio[0, 0, start : start + encoder.field].square().mean()
        assert float(encoder(audio)[0, frame, -1]) == pytest.approx(float(scaled_level(power)))


@torch.no_grad()
@pytest.mark.parametrize("samples", [1, 100, 5000])
def test_short_silent_and_loud_audio_is_finite(encoder, samples):
    square = torch.where(torch.arange(samples) % 100 < 50, 1.0, -1.0)
    for audio in (torch.zeros(1, 1, samples), square[None, None]):
        frames = encoder(audio)
        assert frames.shape[1] >= 1
        assert torch.isfinite(frames).all()


@torch.no_grad()
def test_the_same_audio_gives_the_same_features(encoder):
    """Also in training mode: there is no dropout. Two equal channels are one."""
    audio = heard(1.0)
    once = encoder(audio)
    encoder.train()
    assert torch.equal(encoder(audio), once)
    encoder.eval()
    torch.testing.assert_close(encoder(audio.expand(1, 2, -1)), once)


@torch.no_grad()
def test_thirty_seconds(encoder):
    frames = encoder(heard(30.0))
    assert torch.isfinite(frames).all()
    assert abs(frames.shape[1] - 30.0 * encoder.frames_per_second) <= 2.0


# Learning


def test_gradients_reach_audio_and_every_weight(kind, encoder):
    audio = heard(0.5).clone().requires_grad_()
    encoder.zero_grad()
    encoder(audio)[..., :-1].pow(3).mean().backward()
    assert audio.grad is not None
    assert torch.isfinite(audio.grad).all()
    assert float(audio.grad.abs().max()) > 0.0
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        # Attention does not change when all its keys move together.
        assert float(weight.grad.abs().max()) > 0.0 or "k_proj.bias" in name, name
    encoder.zero_grad()


def test_stages_are_all_weights_from_the_input_up(encoder):
    named = encoder.stages()
    assert [name for name, _ in named] == ["convolutions", "projection", "layer_1", "layer_2"]
    staged = [p for _, stage in named for p in stage.parameters()]
    assert len({id(p) for p in staged}) == len(staged)
    assert {id(p) for p in staged} == {id(p) for p in encoder.parameters()}


def test_freezing_from_the_bottom_leaves_the_top(kind):
    encoder = Wav2Vec2Encoder(**small_config(kind))
    for _, stage in encoder.stages()[:3]:
        stage.requires_grad_(False)
    encoder(heard(0.5))[..., :-1].pow(3).mean().backward()
    assert {
        n.split("layers.")[-1][0] for n, p in encoder.named_parameters() if p.requires_grad
    } == {"1"}
    assert all((p.grad is not None) == p.requires_grad for p in encoder.parameters())


def small_config(kind: str) -> dict[str, Any]:
    given = {k: v for k, v in arguments(kind, layers=2).items() if "drop" not in k}
    del given["aux_num_out"]
    return {"architecture": given, "normalize_waveform": "large" in kind}


# Architecture


def test_the_architecture_is_told_by_the_shapes(kind, peer):
    found = architecture_of(take_weights(peer.state_dict(), "x.pt"), {}, "x.pt")
    found["extractor_conv_layer_config"] = [tuple(c) for c in found["extractor_conv_layer_config"]]
    expected = arguments(kind)
    assert found == {k: v for k, v in expected.items() if k in found}
    assert {k for k in expected if k not in found} == {
        k for k in expected if "drop" in k or k == "aux_num_out"
    }


BUNDLES = sorted(
    name
    for name, bundle in vars(load_torchaudio().pipelines).items()
    if isinstance(bundle, load_torchaudio().pipelines.Wav2Vec2Bundle)
)


@pytest.mark.parametrize("name", BUNDLES)
def test_the_shapes_of_every_bundle_tell_what_torchaudio_says(name):
    """Without weights: a network on the meta device has shapes alone; two of its layers do."""
    bundle = getattr(load_torchaudio().pipelines, name)
    models = load_torchaudio().models
    factory = models.wavlm_model if bundle._model_type == "WavLM" else models.wav2vec2_model
    given = {**bundle._params, "encoder_num_layers": 2}
    with torch.device("meta"):
        shapes = factory(**given).state_dict()
    state = {k: v for k, v in shapes.items() if not k.startswith("aux.")}
    found = architecture_of(state, {}, name)
    found["extractor_conv_layer_config"] = [tuple(c) for c in found["extractor_conv_layer_config"]]
    if given["extractor_conv_layer_config"] is None:
        given["extractor_conv_layer_config"] = [
            (512, 10, 5),
            *[(512, 3, 2)] * 4,
            *[(512, 2, 2)] * 2,
        ]
    assert found == {k: v for k, v in given.items() if k in found}
    assert bundle._normalize_waveform == given["encoder_layer_norm_first"]
    assert bundle.sample_rate == 16000
    licence = "CC BY-NC 4.0" if name.startswith(("MMS", "VOX")) else "MIT"
    assert _licence(bundle.__doc__) == licence


@torch.no_grad()
def test_a_file_beside_tells_what_shapes_do_not(tmp_path):
    """Heads that no published network has, another layer, a licence."""
    peer = network("base", encoder_embed_dim=48, encoder_num_heads=6)
    path = write(tmp_path / "odd.pt", peer.state_dict())
    with pytest.raises(ModelError, match=r'48 features .*"encoder_num_heads": N.* odd\.json'):
        opened(path)
    hints = {**arguments("base", 48), "encoder_num_heads": 6, "layer": 3, "licence": "CC0"}
    encoder = opened(write(path, peer.state_dict(), hints))
    audio = heard(0.5)
    expected = of_peer(peer, audio, False, layer=3)
    assert float((encoder(audio)[..., :-1] - expected).norm() / expected.norm()) < 1e-4
    assert encoder.licence == "CC0"
    assert encoder.about == "wav2vec 2.0 or HuBERT, odd.pt, layer 3 of 4"


@torch.no_grad()
@pytest.mark.parametrize("form", ["old names", "of a bundle", "of pretraining", "nested", "half"])
def test_other_forms_of_the_same_weights(tmp_path, form):
    peer = network("large")
    state = peer.state_dict()
    expected = opened(write(tmp_path / "plain.safetensors", state))(heard(0.5))
    start = "encoder.transformer.pos_conv_embed.conv."
    content: Any = state
    if form == "old names":
        for number, letter in enumerate("gv"):
            state[f"{start}weight_{letter}"] = state.pop(
                f"{start}parametrizations.weight.original{number}"
            )
    elif form == "of a bundle":
        content = {f"model.{k}": v for k, v in state.items()}
    elif form == "of pretraining":
        content = {f"wav2vec2.{k}": v for k, v in state.items()}
        content["mask_generator.mask_embedding"] = torch.zeros(8)
    elif form == "nested":
        content = {"state_dict": dict(state), "epoch": 3}
    else:
        content = {k: v.half() for k, v in state.items()}
    found = opened(write(tmp_path / "other.pt", content))(heard(0.5))
    near = 1e-2 if form == "half" else 1e-6
    assert float((found - expected).norm() / expected.norm()) < near


# Bundles


@pytest.fixture
def tiny_bundle(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A bundle of torchaudio's own class whose weights need no network."""
    pipelines = load_torchaudio().pipelines
    bundle = pipelines.Wav2Vec2Bundle("tiny.pth", arguments("large"), RATE, True, "Wav2Vec2")
    bundle.__doc__ = "Published under MIT License."
    monkeypatch.setattr(pipelines, "TINY", bundle, raising=False)
    return network("large")


def patch_download(monkeypatch: pytest.MonkeyPatch, get: Any) -> None:
    from torchaudio.pipelines._wav2vec2 import utils

    monkeypatch.setattr(utils, "load_state_dict_from_url", get)


@torch.no_grad()
def test_a_bundle_is_heard_as_torchaudio_hears_it(tiny_bundle, monkeypatch):
    asked: dict[str, Any] = {}

    def get(url: str, **options: Any) -> dict[str, Tensor]:
        asked.update(options, url=url)
        return dict(tiny_bundle.state_dict())

    patch_download(monkeypatch, get)
    encoder = open_encoder("wav2vec2", "TINY")
    assert asked["url"].endswith("/tiny.pth")
    assert asked["weights_only"] is True
    model = load_torchaudio().pipelines.TINY.get_model()
    expected = model.extract_features(heard(0.5)[:, 0])[0][1]
    expected = nn.functional.layer_norm(expected, expected.shape[-1:])
    found = encoder(heard(0.5))[..., :-1]
    assert float((found - expected).norm() / expected.norm()) < 1e-4
    assert encoder.licence == "MIT"
    assert "TINY" in encoder.about


@pytest.mark.usefixtures("tiny_bundle")
def test_a_bundle_without_network_is_one_line(monkeypatch):
    def get(url: str, **_: Any) -> dict[str, Tensor]:
        raise URLError("[Errno -2] Name or service not known")

    patch_download(monkeypatch, get)
    assert "TINY: cannot be downloaded (" in refused("TINY")
    assert "check the network, or give a state dict" in refused("TINY")


def test_an_unknown_bundle_is_named():
    line = refused("HUBERT_BIG")
    assert "neither a file nor a bundle; bundles: " in line
    assert "HUBERT_BASE" in line


# Save and load


def test_a_saved_model_needs_nothing_else(kind, encoder, tmp_path):
    torch.manual_seed(2)
    model = Predictor(encoder, hidden=16).eval()
    model.save(tmp_path / "model", {})
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "model.json",
        "model.safetensors",
    ]
    again = Predictor.load(tmp_path / "model")
    assert again.encoder.config() == json.loads(json.dumps(encoder.config()))
    assert (again.encoder.dim, again.encoder.licence) == (encoder.dim, encoder.licence)
    rows, names = row_tensors(model), model.known.names
    for name, weights in model.state_dict().items():
        read = again.state_dict()[name]
        if name in rows:
            # Rows of modules that the model does not know are not saved.
            read, weights = (taken_out(each, rows[name], names) for each in (read, weights))
        torch.testing.assert_close(read, weights, rtol=2**-11, atol=1e-7)
    take = voice(1.0, 3)[None]
    before, after = (m.predict(take, 44100).settings for m in (model, again))
    assert before["eq.peak_1.freq_hz"] == pytest.approx(after["eq.peak_1.freq_hz"], rel=0.02)


def test_config_rebuilds_the_encoder(encoder):
    again = create("wav2vec2", json.loads(json.dumps(encoder.config()))).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(heard(0.5)), encoder(heard(0.5)))
    assert again.frames_per_second == encoder.frames_per_second


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"encoder_num_heads": 0}, "encoder_num_heads is 0"),
        ({"encoder_num_heads": 3}, "does not divide"),
        ({"encoder_num_layers": 10**9}, "encoder_num_layers is 1000000000"),
        ({"encoder_embed_dim": "wide"}, "encoder_embed_dim is 'wide'"),
        ({"extractor_conv_layer_config": [[16, 10]]}, "no [channels, kernel, stride]"),
        ({"extractor_conv_layer_config": 7}, "no list"),
        ({"extractor_mode": "none"}, "norm mode"),
        ({"depth": 3}, "depth"),
    ],
)
def test_arguments_that_it_does_not_take(change, word):
    config = small_config("base")
    config["architecture"].update(change)
    with pytest.raises(ModelError, match="encoder 'wav2vec2': ") as caught:
        create("wav2vec2", config)
    assert word.lower() in str(caught.value).lower()


# Files that are none


def refused(source: object) -> str:
    with pytest.raises(ModelError) as caught:
        open_encoder("wav2vec2", str(source))
    message = str(caught.value)
    assert str(source) in message
    assert "\n" not in message
    return message


LAST = "encoder.transformer.layers.1.attention.v_proj.weight"


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_missing_and_wrong_weights_are_named(tmp_path, suffix):
    path, state = tmp_path / f"w{suffix}", network("base").state_dict()
    fewer = {k: v for k, v in state.items() if k != LAST}
    assert f"lacks {LAST}" in refused(write(path, fewer))
    assert f"has {LAST} (3, 3) instead of (128, 128)" in refused(
        write(path, state | {LAST: torch.zeros(3, 3)})
    )
    assert "has unknown encoder.adapter" in refused(
        write(path, state | {"encoder.adapter": torch.zeros(3)})
    )
    assert "holds NaN" in refused(write(path, state | {LAST: torch.full((128, 128), torch.nan)}))
    few = {k: v for k, v in state.items() if "layers" not in k}
    assert "no state dict of torchaudio's wav2vec 2.0" in refused(write(path, few))
    assert "it lacks feature_extractor.conv_layers.0.conv.weight, " in refused(
        write(path, {"weight": torch.zeros(3)})
    )


@pytest.mark.parametrize(
    "name",
    [
        "feature_extractor.conv_layers.0.conv.weight",
        "feature_extractor.conv_layers.1.conv.weight",
        "encoder.feature_projection.projection.weight",
        "encoder.transformer.pos_conv_embed.conv.parametrizations.weight.original1",
        "encoder.transformer.layers.0.feed_forward.intermediate_dense.weight",
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (0, 3, 3), (2, 3, 4, 5)])
def test_shapes_that_cannot_be(tmp_path, name, shape):
    state = {**network("base").state_dict(), name: torch.zeros(shape)}
    assert name in refused(write(tmp_path / "w.pt", state))


def test_files_of_other_kinds(tmp_path):
    path = tmp_path / "w.pt"
    assert "no such file" in refused(path)
    path.write_bytes(np.random.default_rng(0).bytes(1000))
    assert "damaged, or no state dict" in refused(path)
    path.write_bytes(b"")
    assert "damaged, or no state dict" in refused(path)
    path.write_text("hello, I am no network\n")
    assert "damaged, or no state dict" in refused(path)
    whole = write(path, network("base").state_dict()).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged, or no state dict" in refused(path)
    torch.save([1, 2], path)
    assert "holds a list" in refused(path)
    safe = tmp_path / "w.safetensors"
    safe.write_bytes(whole[:500])
    assert "damaged, or no state dict" in refused(safe)
    with pytest.raises(ModelError, match="give a state dict or a bundle"):
        open_encoder("wav2vec2", None)


def test_torchscript_is_told(tmp_path):
    from .tiny import Convolutions, scripted

    path = tmp_path / "w.pt"
    path.write_bytes(scripted(Convolutions()))
    assert "is TorchScript; use it as --encoder script:FILE" in refused(path)


def test_names_of_transformers_are_told(tmp_path):
    state = {k.removeprefix("encoder."): v for k, v in network("base").state_dict().items()}
    assert "Hugging Face" in refused(write(tmp_path / "w.pt", state))


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_file_is_refused(tmp_path, how):
    path, mark = tmp_path / "w.pt", tmp_path / "it ran"
    content = {**network("base").state_dict(), "bomb": Bomb(mark)}
    if how == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps({"bomb": Bomb(mark)}))
    line = refused(path)
    if how == "torch":
        assert "refused: it holds more than tensors" in line
    assert not mark.exists()


def test_a_whole_module_is_refused(tmp_path):
    path = tmp_path / "w.pt"
    torch.save(nn.Sequential(nn.Linear(2, 2)), path)
    assert "save the model's state_dict() instead" in refused(path)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "no JSON object"),
        ('{"heads": 2}', "unknown key 'heads'"),
        ('{"layer": 9}', "layer 9 is not one of its layers, 1 to 4"),
        ('{"layer": "top"}', "layer 'top'"),
        ('{"encoder_num_heads": 5}', "does not divide"),
        ('{"sample_rate": "fast"}', "sample_rate is 'fast'"),
        ('{"encoder_ff_interm_features": 40}', "(48, 128) instead of (40, 128)"),
        ('{"extractor_conv_layer_config": 3}', "no list"),
    ],
)
def test_a_wrong_file_beside_is_named(tmp_path, text, word):
    path = write(tmp_path / "w.pt", network("base").state_dict())
    path.with_suffix(".json").write_text(text)
    with pytest.raises(ModelError) as caught:
        opened(path)
    assert str(tmp_path / "w.") in str(caught.value)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
