"""Names that changed: files, state dicts and calls with the former ones still work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from diffconsole.encoders import create
from diffconsole.errors import ModelError
from diffconsole.model import voice_features
from diffconsole.model.head import FILE_NAMES, Head
from diffconsole.model.predictor import Predictor, default_model

FORMER = {"centre", "spread", "usual", "usual_spread"}
WIDE = 8


def filled_head(seed: int) -> Head:
    """A head whose buffers all differ."""
    head, random = Head(WIDE, 4), torch.Generator().manual_seed(seed)
    for name in FILE_NAMES:
        getattr(head, name).uniform_(0.5, 1.5, generator=random)
    return head


def small_model() -> Predictor:
    torch.manual_seed(0)
    config = {"widths": [16, 16, 16, 16], "features": 16}
    model = Predictor(create("logmel", config), hidden=8, has_style=True)
    assert model.style is not None
    for seed, head in enumerate((model.head, model.style)):
        random = torch.Generator().manual_seed(seed)
        for name in FILE_NAMES:
            getattr(head, name).uniform_(0.5, 1.5, generator=random)
    return model


def same(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    state = theirs.state_dict()
    return all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())


def test_state_dicts_with_the_former_names() -> None:
    head = filled_head(1)
    former = {FILE_NAMES.get(name, name): value for name, value in head.state_dict().items()}
    assert former.keys() >= FORMER
    again = Head(WIDE, 4)
    again.load_state_dict(former)
    assert same(again, head)
    assert set(former) >= FORMER, "what is loaded stays as it is"


def test_model_files_keep_the_names_of_their_format(tmp_path: Path) -> None:
    """The shipped weights have them, and a program of before reads what is saved now."""
    small_model().save(tmp_path, {})
    for folder in (tmp_path, default_model()):
        names = load_file(folder / "model.safetensors").keys()
        for part in ("head", "style"):
            assert {f"{part}.{name}" for name in FORMER} <= names
            assert not {f"{part}.{name}" for name in FILE_NAMES} & names


def test_the_shipped_model_loads_with_its_values() -> None:
    weights = load_file(default_model() / "model.safetensors")
    state = Predictor.load().state_dict()
    for name, former in FILE_NAMES.items():
        assert torch.equal(state[f"head.{name}"], weights[f"head.{former}"].float())


def test_model_files_with_either_names(tmp_path: Path) -> None:
    small_model().save(tmp_path, {})
    path = tmp_path / "model.safetensors"
    expected, weights = Predictor.load(tmp_path), load_file(path)
    present = {former: name for name, former in FILE_NAMES.items()}
    renamed = {}
    for name, value in weights.items():
        part, _, rest = name.partition(".")
        own = part != "encoder" and rest in present
        renamed[f"{part}.{present[rest]}" if own else name] = value
    assert renamed.keys() != weights.keys()
    save_file(renamed, path)
    assert same(Predictor.load(tmp_path), expected)
    save_file({**weights, **{name: value.clone() for name, value in renamed.items()}}, path)
    with pytest.raises(ModelError, match=r"holds (head|style)\.\w+ under both of its names"):
        Predictor.load(tmp_path)


def test_functions_by_their_former_names() -> None:
    model = small_model().eval()
    mean = torch.full((1, len(model.head.mean.bias)), 0.5)
    deviation = torch.full_like(mean, 0.1)
    assert torch.equal(model.choose(mean, deviation), model.point_estimate(mean, deviation))
    pooled = torch.randn(1, 2 * model.encoder.dim)
    both = (model.style_answer(pooled, pooled), model.predict_style_from_pooled(pooled, pooled))
    assert all(map(torch.equal, *both))
    samples = np.random.default_rng(0).standard_normal((1, 22050)).astype(np.float32)
    former = voice_features.describe(samples, 22050)
    assert torch.equal(former, voice_features.extract_voice_features(samples, 22050))
    assert voice_features.MANNER == voice_features.DYNAMICS_FEATURES
    assert voice_features.LEAST_SPREADS == voice_features.MIN_FEATURE_STD
