"""Exported programs: trusted once, kept as operations and weights, run as they were."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.export import Dim

from diffconsole import Predictor
from diffconsole.encoders import open_encoder
from diffconsole.encoders.exported import is_exported
from diffconsole.encoders.program import Program, holds_program
from diffconsole.encoders.script import ScriptEncoder
from diffconsole.errors import ModelError

from ..synthetic import voice
from .common import RunsCode
from .tiny import RATE, Convolutions, scripted


def exported(module: nn.Module, example: Tensor, *dynamic: Any) -> bytes:
    stream = io.BytesIO()
    shapes = (dict(enumerate(dynamic)),) if dynamic else None
    program = torch.export.export(module.eval(), (example,), dynamic_shapes=shapes)
    torch.export.save(program, stream)
    return stream.getvalue()


class Attending(nn.Module):
    """Positions from the length, attention, tied weights, a constant, a second output."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(1, 8, 400, 320), nn.GELU())
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.first, self.second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("large", torch.tensor(1e6 / 3.0), persistent=False)

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(audio.unsqueeze(1)).transpose(1, 2)
        x = x + torch.arange(x.shape[1], device=audio.device).unsqueeze(-1) / x.shape[1]
        heard, weights = self.attention(x, x, x)
        x = x + heard.masked_fill(heard > torch.inf, 0.0)
        return self.second(self.first(x)) * (self.large / 1e6), weights


@pytest.fixture(scope="module")
def attending() -> tuple[nn.Module, bytes]:
    torch.manual_seed(1)
    module = Attending().eval()
    return module, exported(module, torch.randn(2, RATE), Dim.AUTO, Dim.AUTO)


@pytest.fixture(scope="module")
def steps() -> tuple[nn.Module, bytes]:
    """One row at a time, its length a multiple of 320."""
    torch.manual_seed(1)
    module = Convolutions().eval()
    with torch.no_grad():
        module.body[1].running_mean.uniform_(-0.1, 0.1)
    example = torch.randn(1, RATE)
    return module, exported(module, example, None, 320 * Dim("steps", min=3, max=10**4))


def opened(folder: Path, content: bytes, rate: int = RATE) -> ScriptEncoder:
    path = folder / "theirs.pt2"
    path.write_bytes(content)
    encoder = open_encoder("script", str(path), rate, trust=True)
    assert isinstance(encoder, ScriptEncoder)
    return encoder


def heard(seconds: float, seed: int = 1) -> Tensor:
    return torch.from_numpy(voice(seconds, seed, RATE))[None, None]


@torch.no_grad()
def test_features_are_those_of_the_module_at_any_length(tmp_path, attending):
    module, content = attending
    encoder = opened(tmp_path, content)
    assert (encoder.dim, encoder.frames_per_second) == (9, 50)
    for seconds in (0.4, 1.3):
        audio = torch.cat((heard(seconds), heard(seconds, 2), heard(seconds, 3)))
        frames = encoder(audio)
        torch.testing.assert_close(frames[..., :-1], module(audio[:, 0])[0], rtol=1e-5, atol=1e-6)
        assert torch.equal(encoder(audio), frames)


@torch.no_grad()
def test_rows_and_multiples_that_a_program_demands(tmp_path, steps):
    module, content = steps
    encoder = opened(tmp_path, content)
    audio = torch.cat((heard(0.5, 1), heard(0.5, 2)))[..., :7777]
    filled = nn.functional.pad(audio[:, 0], (0, -7777 % 320))
    torch.testing.assert_close(encoder(audio)[..., :-1], module(filled), rtol=1e-5, atol=1e-6)


class Embedding(nn.Module):
    """One vector of a stereo second, for two at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Linear(4, 3)

    def forward(self, audio: Tensor) -> Tensor:
        return self.top(audio.reshape(2, 2, 2, RATE // 2).square().mean(-1).flatten(1))


@torch.no_grad()
def test_a_fixed_program_is_run_piece_by_piece(tmp_path):
    torch.manual_seed(1)
    module = Embedding().eval()
    encoder = opened(tmp_path, exported(module, torch.randn(2, 2, RATE)))
    assert (encoder.dim, encoder.frames_per_second) == (4, 1.0)
    audio = torch.cat([heard(2.5, seed) for seed in (1, 2, 3)])
    frames = encoder(audio)
    assert frames.shape == (3, 3, 4)
    for second in range(3):
        piece = audio[..., second * RATE : (second + 1) * RATE]
        piece = nn.functional.pad(piece, (0, RATE - piece.shape[-1])).expand(-1, 2, -1)
        expected = torch.cat((module(piece[:2]), module(piece[1:])[1:]))
        torch.testing.assert_close(frames[:, second, :-1], expected)
    assert encoder(heard(0.1)).shape == (1, 1, 4)


# Trust, and what is kept


def test_a_program_must_be_trusted_and_what_is_kept_of_it_runs_nothing(tmp_path, steps, capsys):
    _, content = steps
    path = tmp_path / "theirs.pt2"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"theirs\.pt2: is an exported program; .*--trust-check"):
        open_encoder("script", str(path), RATE)
    # Whatever is unpickled before the question of trust, is run.
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/constants/opaque_obj_0", pickle.dumps(RunsCode()))
        archive.writestr("archive/data/sample_inputs/other.pt", pickle.dumps(RunsCode()))
    with pytest.raises(ModelError, match="--trust-checkpoint"):
        open_encoder("script", str(path), RATE)
    assert "code was run" not in capsys.readouterr().out
    encoder = opened(tmp_path, content)
    assert encoder.file is not None
    assert holds_program(encoder.file)
    assert not is_exported(encoder.file)
    assert not is_exported(scripted(Convolutions()))
    assert b"pickle" not in encoder.file
    safetensors.torch.load(encoder.file)


@torch.no_grad()
def test_a_saved_model_is_rebuilt_without_trust_and_without_the_file(tmp_path, attending):
    (tmp_path / "theirs").mkdir()
    encoder = opened(tmp_path / "theirs", attending[1])
    for weights in encoder.parameters():
        weights.mul_(1.5)  # as training might
    model = Predictor(encoder, hidden=8).eval()
    model.save(tmp_path / "model", {})
    (tmp_path / "theirs" / "theirs.pt2").unlink()
    again = Predictor.load(tmp_path / "model")
    assert again.encoder.config() == encoder.config()
    found, expected = again.encoder(heard(1.0)), encoder(heard(1.0))
    assert float((found - expected).norm() / expected.norm()) < 2e-3


def test_gradients_and_stages(tmp_path, attending, steps):
    encoder = opened(tmp_path, attending[1])
    *below, top = [name for name, _ in encoder.stages()]
    assert below == ["body.0.weights", "attention"]
    # One weight in two places has one name.
    assert top in ("first", "second")
    staged = [p for _, stage in encoder.stages() for p in stage.parameters()]
    assert {id(p) for p in staged} == {id(p) for p in encoder.parameters()}
    for _, stage in encoder.stages()[:1]:
        stage.requires_grad_(False)
    audio = heard(0.5).requires_grad_()
    encoder(audio).square().mean().backward()
    assert audio.grad is not None
    assert float(audio.grad.abs().max()) > 0.0
    for name, weights in encoder.named_parameters():
        assert (weights.grad is None) == ("body" in name), name
    parts = [name for name, _ in opened(tmp_path, steps[1]).stages()]
    assert parts == ["body.0", "body.1", "body.3", "top"]


# Files that are none


def changed(content: bytes, **changes: Any) -> bytes:
    """A program's file with another program."""
    held = safetensors.torch.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    program = json.loads(header["__metadata__"]["program"])
    program.update(changes)
    return safetensors.torch.save(held, metadata={"program": json.dumps(program)})


def test_programs_that_are_more_than_operations_are_refused(tmp_path, steps):
    kept = opened(tmp_path, steps[1]).file
    assert kept is not None
    for target in (
        "aten::from_file.default", "aten::save.default", "os::system.default", "torch.load",
        "aten::__class__.default", "aten::conv1d.__init__", "prim::PythonOp.default", "exec",
    ):  # fmt: skip
        content = changed(kept, nodes=[["x", target, ["a"], {}]])
        with pytest.raises(ValueError, match="needs the operation|opens files"):
            Program(content)
    for bad in (
        {"shape": [[1, 1, 0]]},
        {"nodes": None},
        {"shape": None},
        {"tensors": 3},
        {"format": "x"},
    ):
        with pytest.raises(ValueError, match="damaged program|no program of the format"):
            Program(changed(kept, **bad))
    with pytest.raises(ValueError, match="damaged program"):
        Program(kept[: len(kept) // 2])
    dtype = {"dtype": "hub"}
    content = changed(kept, nodes=[["x", "aten::to.dtype", [{"node": "audio"}, dtype], {}]])
    content = changed(content, output={"node": "x"}, input="audio", shape=[[1, 1, 1], [1, None, 1]])
    with pytest.raises(ValueError, match="damaged program"):
        Program(content)(torch.zeros(1, 3200))


class Odd(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.top = nn.Linear(320, 3)

    def forward(self, audio: Tensor, more: Tensor | None = None) -> Tensor:
        frames = self.top(audio.reshape(2, -1, 320))
        if self.kind == "two inputs":
            return frames + more
        if self.kind == "training":
            return nn.functional.dropout(frames, training=True)
        return frames


def test_programs_that_are_no_encoders(tmp_path, monkeypatch):
    example = torch.randn(2, RATE)
    path = tmp_path / "theirs.pt2"

    def refused(content: bytes) -> str:
        path.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            open_encoder("script", str(path), RATE, trust=True)
        line = str(caught.value)
        assert line.startswith(str(path))
        assert "\n" not in line
        return line

    assert "export it with a dynamic length" in refused(exported(Odd("fixed"), example))
    assert "exported in training mode" in refused(exported(Odd("training"), example))
    stream = io.BytesIO()
    program = torch.export.export(Odd("two inputs").eval(), (example, torch.ones(1)))
    torch.export.save(program, stream)
    assert "takes 2 tensors" in refused(stream.getvalue())
    short = (None, 320 * Dim("steps", min=3, max=100))
    assert "takes 2 s at most" in refused(exported(Odd("short"), example, *short))
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("archive/archive_format", "pt2")
    assert "is no exported program that can be loaded" in refused(empty.getvalue())
    whole = exported(Odd("fixed"), example)
    assert "is no TorchScript file" in refused(whole[: len(whole) // 2])
