"""Runs that an earlier version left unfinished, with the former names of tensors, are known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from diffconsole.encoders import create
from diffconsole.model.head import FILE_NAMES
from diffconsole.model.predictor import Predictor
from diffconsole.model.rows import row_tensors, taken_out
from diffconsole.training.checkpoint import load_checkpoint, save_checkpoint
from diffconsole.training.finetuning.finetune_options import FinetuneOptions
from diffconsole.training.finetuning.finetune_state import VERSION, run_fingerprint


def small_model(seed: int) -> Predictor:
    torch.manual_seed(seed)
    model = Predictor(create("logmel", {"widths": [16, 16, 16, 16], "features": 16}), hidden=8)
    for name in FILE_NAMES:
        getattr(model.head, name).uniform_(0.5, 1.5)
    return model


def test_a_checkpoint_with_the_former_names(tmp_path: Path) -> None:
    model, path = small_model(1), tmp_path / "finetune.safetensors"
    head = {k: v + 1.0 for k, v in model.state_dict().items() if k.startswith("head.")}
    states = {f"studio/{name}": value for name, value in head.items()}
    save_checkpoint(path, model, None, {"stage": "near"}, states)
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    former = {}
    for name, value in tensors.items():
        start, _, last = name.rpartition(".")
        former[f"{start}.{FILE_NAMES.get(last, last)}"] = value
    assert {"model.head.usual", "best.studio/head.usual_spread"} <= former.keys()
    save_file(former, path, metadata)

    again = small_model(2)
    progress, best = load_checkpoint(path, again)
    assert progress == {"stage": "near"}
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert best.keys() == states.keys()
    assert all(torch.equal(best[name], value) for name, value in states.items())


def test_the_fingerprint_of_a_run_is_that_of_earlier_versions() -> None:
    """It is made of the names in files, in the order of the state dict."""
    model, options = small_model(1), FinetuneOptions()
    text = json.dumps([VERSION, ["a"], ["b"], asdict(options)], sort_keys=True)
    expected, rows = hashlib.sha256(text.encode()), row_tensors(model)
    for name, value in model.state_dict().items():
        start, _, last = name.rpartition(".")
        expected.update(f"{start}.{FILE_NAMES.get(last, last)}".encode())
        known = taken_out(value, rows[name], model.known.names) if name in rows else value
        expected.update(known.contiguous().numpy().tobytes())
    assert run_fingerprint(model, ["a"], ["b"], options) == expected.hexdigest()
