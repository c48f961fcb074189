"""Networks of Transformers: their folders read, compared with what Transformers itself hears."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffconsole import Predictor
from diffconsole.encoders import create, open_encoder
from diffconsole.encoders.encodec import EncodecEncoder
from diffconsole.encoders.hf_files import split_layer
from diffconsole.errors import ModelError

from ..synthetic import RATE, voice
from . import tiny_hf
from .common import RunsCode
from .tiny_hf import KINDS, OTHERS, RATES, SPEECH_KINDS, extractor, network


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Written when first asked for."""
    written: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in written:
            written[kind] = tiny_hf.folder(kind, tmp_path_factory.mktemp("hf") / kind)
        return written[kind]

    return folder


def rate_of(kind: str) -> int:
    return RATES.get(kind, 16000)


def take(kind: str, seconds: float = 0.5) -> np.ndarray:
    return voice(seconds, 1, rate_of(kind))


@torch.no_grad()
def reference(kind: str, audio: np.ndarray, layer: int) -> Tensor:
    """``(frames, features)`` from Transformers' own extractor and hidden states."""
    model = network(kind)
    given = extractor(kind)(audio, sampling_rate=rate_of(kind), return_tensors="pt")
    if kind == "dac":
        return model.encoder(given["input_values"])[0].T
    if kind.startswith("clap"):
        encoder = getattr(model, "audio_model", model).audio_encoder
        states = encoder(
            given["input_features"].float(), is_longer=torch.tensor([[False]]),
            output_hidden_states=True, output_hidden_states_before_downsampling=True,
        ).hidden_states[layer][0]  # fmt: skip
        # Quarters of the time lie one above the other, each with all its frequencies.
        normalised = torch.nn.functional.layer_norm(states.permute(1, 2, 0), states.shape[:1])
        quarters = normalised.chunk(4, dim=0)
        return torch.cat([quarter.mean(dim=0) for quarter in quarters])
    if kind == "whisper":
        model = model.model.encoder
    if kind == "ast":
        model = model.audio_spectrogram_transformer
    state = model(**given, output_hidden_states=True).hidden_states[layer][0]
    if kind in ("whisper", "ast", "wav2vec2 large"):
        state = torch.nn.functional.layer_norm(state, state.shape[-1:])
    if kind == "ast":
        bands, times = 2, 5
        state = torch.stack(
            [sum(state[2 + band * times + t] for band in range(bands)) / bands
             for t in range(times)]
        )  # fmt: skip
    return state


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_transformers(folders, kind, monkeypatch):
    # AST's extractor then computes its spectrogram in numpy, not by torchaudio as we do.
    module = "transformers.models.audio_spectrogram_transformer"
    name = f"{module}.feature_extraction_audio_spectrogram_transformer"
    encoder = open_encoder("hf", str(folders(kind)))
    if kind == "ast":
        extractor(kind)
        monkeypatch.setattr(sys.modules[name], "is_speech_available", lambda: False)
    audio = take(kind)
    found = encoder(torch.from_numpy(audio)[None, None])[0]
    expected = reference(kind, audio, 2)
    assert encoder.sample_rate == rate_of(kind)
    assert found.shape[1] == encoder.dim
    if kind == "ast":
        # Half a second begins the first five steps of 0.1 s, of which the window has no more.
        assert len(found) == len(expected) == 5
    elif kind in ("whisper", "clap", "clap fused"):
        # The window is a second.
        assert len(found) == len(expected) // 2
    else:
        assert len(found) == len(expected)
    assert len(found) == pytest.approx(0.5 * encoder.frames_per_second, abs=2.0)
    heard = found if kind == "dac" else found[:, :-1]
    expected = expected[: len(found)]
    assert float((heard - expected).norm()) <= 1e-4 * float(expected.norm())
    assert torch.equal(encoder(torch.from_numpy(audio)[None, None])[0], found)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["hubert", "wav2vec2 large", "ast", "whisper", "clap", "sew"])
def test_any_layer_may_be_chosen(folders, kind):
    audio = take(kind)
    encoder = open_encoder("hf", f"{folders(kind)}:1")
    expected = reference(kind, audio, 1)
    found = encoder(torch.from_numpy(audio)[None, None])[0, :, :-1]
    assert float((found - expected[: len(found)]).norm()) <= 1e-4 * float(expected.norm())
    if kind not in OTHERS:
        assert [name for name, _ in encoder.stages()][-1] == "layer_1"
    with pytest.raises(ModelError, match="layer 4 is not one of its layers, 1 to 3"):
        open_encoder("hf", f"{folders(kind)}:4")


def test_encodec_is_read_by_its_own_family(folders):
    encoder = open_encoder("hf", str(folders("encodec")))
    assert isinstance(encoder, EncodecEncoder)
    audio = torch.from_numpy(take("encodec"))[None, None]
    expected = network("encodec").encoder(audio).transpose(1, 2)
    torch.testing.assert_close(encoder(audio), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match="no layers to choose from"):
        open_encoder("hf", f"{folders('encodec')}:2")


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_and_freezing_from_the_bottom(folders, kind):
    encoder = open_encoder("hf", str(folders(kind)))
    stages = encoder.stages()
    assert len(stages) >= 3
    staged = [id(p) for _, stage in stages for p in stage.parameters()]
    assert sorted(staged) == sorted({id(p) for p in encoder.parameters()})
    encoder.requires_grad_(True)
    for _, stage in stages[:2]:
        stage.requires_grad_(False)
    audio = torch.from_numpy(take(kind))[None, None].requires_grad_()
    encoder(audio)[..., :-1].square().mean().backward()
    assert kind in OTHERS or float(audio.grad.abs().max()) > 0.0
    for n, (_, stage) in enumerate(stages):
        for weights in stage.parameters():
            assert n >= 2 or weights.grad is None
            assert weights.grad is None or bool(weights.grad.isfinite().all())
    heard = [any(bool(p.grad.any()) for p in stage.parameters() if p.grad is not None)
             for _, stage in stages[2:]]  # fmt: skip
    # Other networks keep the layers above the chosen one.
    assert any(heard) if kind in OTHERS else all(heard)


@torch.no_grad()
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dac"])
def test_level_is_a_feature_and_both_channels_count(folders, kind):
    encoder = open_encoder("hf", str(folders(kind)))
    mono = torch.from_numpy(take(kind))[None, None]
    loud, soft = encoder(mono)[0, :, -1], encoder(0.25 * mono)[0, :, -1]
    sounding = loud > -1.0
    assert int(sounding.sum()) >= 2
    torch.testing.assert_close(
        (loud - soft)[sounding], torch.full((int(sounding.sum()),), float(np.log10(4.0))),
        rtol=0.01, atol=1e-4,
    )  # fmt: skip
    stereo = torch.cat((mono, torch.zeros_like(mono)), dim=1)
    torch.testing.assert_close(encoder(stereo), encoder(0.5 * mono))


@torch.no_grad()
def test_the_level_is_in_the_latents_of_dac(folders):
    encoder = open_encoder("hf", str(folders("dac")))
    mono = torch.from_numpy(take("dac"))[None, None]
    assert not torch.allclose(encoder(mono), encoder(0.25 * mono), rtol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["ast", "whisper", "clap"])
def test_longer_takes_are_heard_window_after_window(folders, kind):
    encoder = open_encoder("hf", str(folders(kind)))
    window = encoder.tower.window
    audio = torch.from_numpy(take(kind, 2.3))[None, None]
    found = encoder(audio)
    pieces = [encoder(audio[..., at : at + window]) for at in range(0, audio.shape[-1], window)]
    assert len(pieces) >= 3
    torch.testing.assert_close(found, torch.cat(pieces, dim=1))
    assert found.shape[1] == pytest.approx(2.3 * encoder.frames_per_second, rel=0.25, abs=2)
    shortest = encoder(audio[..., :50])
    assert shortest.shape[1] == 1 and bool(shortest.isfinite().all())


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_with_it_is_saved_whole(folders, kind, tmp_path):
    encoder = open_encoder("hf", str(folders(kind)))
    model = Predictor(encoder, hidden=8).eval()
    model.save(tmp_path / "model", {})
    again = Predictor.load(tmp_path / "model").encoder
    assert again.config() == encoder.config()
    assert again.frames_per_second == encoder.frames_per_second
    # Weights are saved in half precision; the rest must be the same.
    for weights in encoder.parameters():
        weights.copy_(weights.half().float())
    audio = torch.from_numpy(take(kind))[None, None]
    torch.testing.assert_close(again(audio), encoder(audio))


def test_another_version_of_transformers_is_named(folders, tmp_path):
    model = Predictor(open_encoder("hf", str(folders("ast"))), hidden=8)
    model.save(tmp_path, {})
    file = tmp_path / "model.json"
    said = json.loads(file.read_text())
    said["encoder"]["config"]["made_with"] = "4.48.0"
    file.write_text(json.dumps(said))
    assert Predictor.load(tmp_path).encoder.config()["made_with"] == "4.48.0"
    from safetensors.torch import load_file, save_file

    weights = load_file(tmp_path / "model.safetensors")
    renamed = {key.replace(".attention", ".attn"): value for key, value in weights.items()}
    save_file(renamed, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="pip install transformers==4.48.0"):
        Predictor.load(tmp_path)


def test_licence_and_name_are_told(folders, tmp_path):
    folder = shutil.copytree(folders("mert"), tmp_path / "MERT-v1-95M")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\ntags: [music]\n---\n# MERT\n")
    encoder = open_encoder("hf", f"{folder}:3")
    assert encoder.licence == "cc-by-nc-4.0, non-commercial"
    assert encoder.about == "mert_model by Transformers, MERT-v1-95M, layer 3 of 3"
    assert "not stated" in open_encoder("hf", str(folders("mert"))).licence


def test_folders_with_colons_and_layers(tmp_path):
    plain, odd = tmp_path / "C:" / "net", tmp_path / "net:7"
    for folder in (plain, odd):
        folder.mkdir(parents=True)
    assert split_layer(str(plain)) == (plain, None)
    assert split_layer(f"{plain}:12") == (plain, 12)
    assert split_layer(str(odd)) == (odd, None)
    assert split_layer(f"{odd}:3") == (odd, 3)
    with pytest.raises(ModelError, match="layer 'top' is no whole number"):
        split_layer(f"{plain}:top")
    for missing in ("facebook/hubert-base-ls960", r"D:\models\hubert", "nowhere:3"):
        with pytest.raises(ModelError, match="no such folder; nothing is downloaded"):
            split_layer(missing)


def changed(folder: Path, target: Path, **changes: Any) -> Path:
    """A copy whose ``config.json`` says something else."""
    shutil.copytree(folder, target)
    said = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**said, **changes}))
    return target


def test_wrong_folders_are_one_line(folders, tmp_path, capfd):
    from safetensors.torch import load_file, save_file

    hubert = folders("hubert")
    short = shutil.copytree(hubert, tmp_path / "short")
    weights = load_file(short / "model.safetensors")
    lost = "encoder.layers.1.attention.k_proj.weight"
    save_file({k: v for k, v in weights.items() if k != lost}, short / "model.safetensors")
    half = shutil.copytree(hubert, tmp_path / "half")
    (half / "model.safetensors").write_bytes((hubert / "model.safetensors").read_bytes()[:2000])
    bare = shutil.copytree(hubert, tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    deaf = shutil.copytree(hubert, tmp_path / "deaf")
    (deaf / "preprocessor_config.json").unlink()
    code = shutil.copytree(bare, tmp_path / "code")
    with (code / "pytorch_model.bin").open("wb") as file:
        torch.save({"encoder.layer_norm.weight": RunsCode()}, file)
    text = shutil.copytree(bare, tmp_path / "text")
    (text / "config.json").write_text("[]")
    remote = {"model_type": "own", "auto_map": {"AutoModel": "own.Own"}}
    other = changed(hubert, tmp_path / "remote", **remote)
    (other / "own.py").write_text("print('code was run')")
    wide = changed(hubert, tmp_path / "wide", intermediate_size=25)
    cases = {
        short: f"no hubert: lacks {lost}",
        wide: r"is (\(24,\)|.*shape), not \(25,\)",
        half: "no weights that can be read",
        bare: "no weights that can be read",
        deaf: "preprocessor_config.json: missing",
        code: "add --trust-checkpoint",
        text: "no JSON of Transformers",
        other: "code in the folder is not run",
        changed(folders("mert"), tmp_path / "cqt", feature_extractor_cqt=True): "constant-Q",
        changed(hubert, tmp_path / "huge", hidden_size=10**8): "100000000, more than",
        changed(hubert, tmp_path / "heads", num_attention_heads=3): "cannot be built",
        changed(hubert, tmp_path / "text layers", num_hidden_layers="3"): "cannot be built|no laye",
        changed(hubert, tmp_path / "bert", model_type="bert"): "cannot be built",
    }
    for folder, words in cases.items():
        with pytest.raises(ModelError, match=words) as error:
            open_encoder("hf", str(folder), trust=folder == other)
        assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match="give a folder of Transformers"):
        open_encoder("hf", None)
    with pytest.raises(ModelError, match="takes 16000 Hz; leave --encoder-rate out"):
        open_encoder("hf", str(hubert), 44100)
    with pytest.raises(ModelError, match="more than 512"):
        said = open_encoder("hf", str(hubert)).config()
        create("hf", {**said, "network": {**said["network"], "num_hidden_layers": 10**5}})
    shown = capfd.readouterr()
    assert "code was run" not in shown.out
    # Not a word of Transformers itself, nor a bar.
    assert shown.err == ""


def test_pickled_weights_are_read_as_numbers_alone(folders, tmp_path):
    from safetensors.torch import load_file

    folder = shutil.copytree(folders("hubert"), tmp_path / "old")
    weights = load_file(folder / "model.safetensors")
    old = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for key, value in weights.items()
    }
    (folder / "model.safetensors").unlink()
    torch.save(old, folder / "pytorch_model.bin")
    a, b = (open_encoder("hf", str(f)).state_dict() for f in (folder, folders("hubert")))
    assert all(torch.equal(a[key], b[key]) for key in b)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(RunsCode()))
    with pytest.raises(ModelError, match="damaged, or hold Python objects"):
        open_encoder("hf", str(folder))


def test_what_is_more_than_numbers_is_read_where_trusted(folders, tmp_path):
    from safetensors.torch import load_file

    folder = shutil.copytree(folders("hubert"), tmp_path / "old")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**weights, "made_in": tmp_path}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="add --trust-checkpoint"):
        open_encoder("hf", str(folder))
    a = open_encoder("hf", str(folder), trust=True).state_dict()
    b = open_encoder("hf", str(folders("hubert"))).state_dict()
    assert all(torch.equal(a[key], b[key]) for key in b)


def test_without_the_extra_it_says_what_to_install(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r'pip install "diffconsole\[hf\]"'):
        open_encoder("hf", str(folders("hubert")))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["hubert"])
def test_ten_minutes_in_bounded_memory(folders, kind):
    import resource

    assert kind in SPEECH_KINDS
    model = Predictor(open_encoder("hf", str(folders(kind))), hidden=8).eval()
    audio = np.tile(voice(5.0, rate=16000), 120)[None]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    settings = model.predict(audio, 16000).settings
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024
    assert settings and RATE
