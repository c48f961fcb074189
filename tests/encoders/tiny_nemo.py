"""NeMo's archive of a tiny flow-matching model, with the names and places that NeMo gives."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

DIM, DEPTH, HEADS, FF_MULT, TIME_DIM, KERNEL, GROUPS = 24, 4, 3, 2, 20, 5, 4
CONFIG = f"""\
sample_rate: 16000
skip_nan_grad: true
num_outputs: 1
p_cond: 0.9
normalize_input: true
train_ds:
  shar_path: ???
encoder:
  _target_: nemo.collections.audio.modules.transforms.AudioToSpectrogram
  fft_length: 510
  hop_length: 128
  magnitude_power: 0.5
  scale: 0.33
decoder:
  _target_: nemo.collections.audio.modules.transforms.SpectrogramToAudio
  fft_length: ${{model.encoder.fft_length}}
estimator:
  _target_: nemo.collections.audio.parts.submodules.transformerunet.SpectrogramTransformerUNet
  in_channels: 2
  out_channels: 1
  dim: {DIM}
  depth: {DEPTH}
  heads: {HEADS}
  ff_mult: {FF_MULT}
  ff_dropout: 0.1
  time_hidden_dim: {TIME_DIM}
  conv_pos_embed_kernel_size: {KERNEL}
  conv_pos_embed_groups: {GROUPS}
flow:
  _target_: nemo.collections.audio.parts.submodules.flow.OptimalTransportFlow
  sigma_start: 1.0
  sigma_end: 1e-4
ssl_pretrain_masking:
  _target_: nemo.collections.audio.modules.ssl_pretrain_masking.SSLPretrainWithMaskedPatch
  patch_size: 10
  mask_fraction: 0.7
target: nemo.collections.audio.models.enhancement.FlowMatchingAudioToAudioModel
nemo_version: 2.0.0
"""


def checkpoint() -> dict[str, Tensor]:
    """Weights under NeMo's names, what the features do not need included."""
    generator = torch.Generator().manual_seed(5)

    def drawn(*shape: int) -> Tensor:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 4
        return 1.5 * torch.randn(*shape, generator=generator) / fan_in**0.5

    state = {"encoder.window": torch.hann_window(510), "decoder.window": torch.hann_window(510)}
    base = "estimator."
    state[f"{base}proj_in.weight"] = drawn(DIM, 4 * 256)
    state[f"{base}proj_in.bias"] = drawn(DIM)
    state[f"{base}sinu_pos_emb.0.weights"] = drawn(DIM // 2)
    state[f"{base}sinu_pos_emb.1.weight"] = drawn(TIME_DIM, DIM)
    state[f"{base}sinu_pos_emb.1.bias"] = drawn(TIME_DIM)
    state[f"{base}conv_embed.dw_conv1d.0.weight"] = drawn(DIM, DIM // GROUPS, KERNEL)
    state[f"{base}conv_embed.dw_conv1d.0.bias"] = drawn(DIM)
    state[f"{base}transformerunet.slopes"] = drawn(HEADS, 1, 1).abs() * 0.1
    inner = int(DIM * FF_MULT * 2 / 3)
    for n in range(DEPTH):
        start = f"{base}transformerunet.layers.{n}."
        if n >= DEPTH // 2:
            state[f"{start}0.weight"] = drawn(DIM, 2 * DIM)
            state[f"{start}0.bias"] = drawn(DIM)
        for norm in (1, 3):
            for part in ("gamma", "beta"):
                state[f"{start}{norm}.to_{part}.weight"] = drawn(DIM, TIME_DIM)
                state[f"{start}{norm}.to_{part}.bias"] = drawn(DIM) + 1.0
        state[f"{start}2.in_proj_weight"] = drawn(3 * DIM, DIM)
        state[f"{start}2.in_proj_bias"] = drawn(3 * DIM)
        state[f"{start}2.out_proj.weight"] = drawn(DIM, DIM)
        state[f"{start}2.out_proj.bias"] = drawn(DIM)
        state[f"{start}4.0.weight"] = drawn(2 * inner, DIM)
        state[f"{start}4.0.bias"] = drawn(2 * inner)
        state[f"{start}4.3.weight"] = drawn(DIM, inner)
        state[f"{start}4.3.bias"] = drawn(DIM)
    state[f"{base}transformerunet.final_norm.gamma"] = drawn(DIM)
    state[f"{base}proj_out.weight"] = drawn(512, DIM)
    state[f"{base}proj_out.bias"] = drawn(512)
    return state


def write(path: Path, state: Any = None, config: str | bytes = CONFIG, mode: str = "w:") -> Path:
    """A folder's content in a tar, as NeMo packs it; `mode` "w:gz" as before its version 1.7."""
    folder = path.parent / f"{path.name}.folder"
    folder.mkdir()
    text = config if isinstance(config, bytes) else config.encode()
    (folder / "model_config.yaml").write_bytes(text)
    torch.save(checkpoint() if state is None else state, folder / "model_weights.ckpt")
    with tarfile.open(path, mode) as tar:
        tar.add(folder, arcname=".")
    return path
