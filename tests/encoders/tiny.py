"""Tiny networks of the classes that torchaudio's published weights have, and TorchScript files."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from diffconsole.encoders.torchaudio_loader import load_torchaudio

RATE = 16000
CONVS = [(16, 10, 5), *[(24, 3, 2)] * 4, (24, 2, 2), (32, 2, 2)]
KINDS = ("base", "large", "wavlm", "wavlm large")
"""wav2vec 2.0 and HuBERT are one class in two sizes, WavLM is another."""


def arguments(kind: str, embed_dim: int = 128, layers: int = 4) -> dict[str, Any]:
    """What torchaudio's factories take, as for the published networks of that kind."""
    large = "large" in kind
    given: dict[str, Any] = {
        "extractor_mode": "layer_norm" if large else "group_norm",
        "extractor_conv_layer_config": CONVS,
        "extractor_conv_bias": kind == "large",
        "encoder_embed_dim": embed_dim,
        "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": 16,
        "encoder_pos_conv_groups": 4,
        "encoder_num_layers": layers,
        "encoder_num_heads": embed_dim // 64,
        "encoder_attention_dropout": 0.1,
        "encoder_ff_interm_features": 48,
        "encoder_ff_interm_dropout": 0.1,
        "encoder_dropout": 0.1,
        "encoder_layer_norm_first": large,
        "encoder_layer_drop": 0.05,
        "aux_num_out": None,
    }
    if "wavlm" in kind:
        given.update(encoder_num_buckets=32, encoder_max_distance=800)
    return given


def network(kind: str, seed: int = 0, **changes: Any) -> nn.Module:
    """One of torchaudio's own models, in evaluation mode."""
    torch.manual_seed(seed)
    models = load_torchaudio().models
    factory = models.wavlm_model if "wavlm" in kind else models.wav2vec2_model
    model: nn.Module = factory(**{**arguments(kind), **changes}).eval()
    # Random weights of torchaudio's initialisation hardly attend, and weigh positions like noise.
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim > 1 and "conv" not in name:
                weights.normal_(0.0, 1.5 / weights.shape[-1] ** 0.5)
    return model


def write(path: Path, state: dict[str, Tensor], hints: dict[str, Any] | None = None) -> Path:
    """Write a state dict in the format that the name asks for, and the JSON beside it."""
    if path.suffix == ".safetensors":
        safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, path)
    else:
        torch.save(state, path)
    if hints is not None:
        path.with_suffix(".json").write_text(json.dumps(hints))
    return path


class Convolutions(nn.Module):
    """A network as a person might script: ``(batch, samples)`` → features, in several shapes."""

    def __init__(self, gives: str = "batch, frames, dim", level: bool = True) -> None:
        super().__init__()
        self.gives, self.level = gives, level
        self.body = nn.Sequential(
            nn.Conv1d(1, 8, 400, 320), nn.BatchNorm1d(8), nn.GELU(), nn.Conv1d(8, 12, 3, padding=1)
        )
        self.top = nn.Linear(12, 6)

    def forward(self, audio: Tensor) -> Tensor:
        if not self.level:
            audio = audio / audio.square().mean(-1, keepdim=True).add(1e-9).sqrt()
        found = self.top(self.body(audio.unsqueeze(1)).transpose(1, 2))
        if self.gives == "batch, dim, frames":
            return found.transpose(1, 2)
        return found.mean(dim=1) if self.gives == "batch, dim" else found


def scripted(module: nn.Module, example: Tensor | None = None, frozen: bool = False) -> bytes:
    """What ``torch.jit.save`` writes of a module: scripted, or traced on an example."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(module.eval()) if example is None else None
        made = torch.jit.trace(module.eval(), example) if script is None else script
        torch.jit.save(torch.jit.freeze(made) if frozen else made, stream)
    return stream.getvalue()
