"""Folders that Transformers itself wrote, of tiny networks with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffconsole.encoders.torchaudio_loader import load_torchaudio

from ..programs import needs_module

load_torchaudio()
transformers = needs_module("transformers")

CONVS = {
    "conv_dim": (8, 8, 8), "conv_kernel": (10, 8, 4), "conv_stride": (5, 8, 8),
    "num_feat_extract_layers": 3,
}  # fmt: skip
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
POSITIONS = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
SPEECH = {**CONVS, **SIZES, **POSITIONS}
RATES = {"mert": 24000, "clap": 48000, "clap fused": 48000, "dac": 44100, "encodec": 24000}
"""Hz where they are not 16000."""

SPEECH_KINDS = ("hubert", "wav2vec2 large", "wavlm", "mert")
OTHERS = ("sew", "wav2vec2-bert")
KINDS = (*SPEECH_KINDS, "ast", "whisper", "clap", "clap fused", "dac", *OTHERS)
CLAP_AUDIO = {
    "spec_size": 64, "num_mel_bins": 16, "window_size": 4, "patch_size": 4, "patch_stride": [4, 4],
    "depths": [2, 2, 1], "num_attention_heads": [1, 2, 4], "patch_embeds_hidden_size": 8,
    "hidden_size": 32, "aff_block_r": 1,
}  # fmt: skip


def speech(kind: str, **changes: Any) -> Any:
    """A class of Transformers by its first name, and its configuration by these sizes."""
    given = {**SPEECH, **changes}
    return getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**given))


def whisper() -> Any:
    return transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(
            d_model=16, encoder_layers=3, decoder_layers=2, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24,
            max_source_positions=50, max_target_positions=8, vocab_size=40, num_mel_bins=80,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=3,
        )
    )  # fmt: skip


def ast() -> Any:
    return transformers.ASTForAudioClassification(
        transformers.ASTConfig(**SIZES, max_length=64, num_mel_bins=32, num_labels=3)
    )


def clap() -> Any:
    text = {**SIZES, "vocab_size": 40, "max_position_embeddings": 16, "projection_dim": 8}
    return transformers.ClapModel(
        transformers.ClapConfig(
            text_config=text, audio_config={**CLAP_AUDIO, "projection_dim": 8}, projection_dim=8
        )
    )


def clap_fused() -> Any:
    config = transformers.ClapAudioConfig(**CLAP_AUDIO, enable_fusion=True)
    return transformers.ClapAudioModel(config)


def dac() -> Any:
    return transformers.DacModel(
        transformers.DacConfig(
            encoder_hidden_size=4, downsampling_ratios=(4, 8, 8), decoder_hidden_size=8,
            n_codebooks=2, codebook_size=8, codebook_dim=4, sampling_rate=44100,
        )
    )  # fmt: skip


def encodec() -> Any:
    return transformers.EncodecModel(
        transformers.EncodecConfig(hidden_size=6, num_filters=4, codebook_size=16)
    )


def sew() -> Any:
    return speech("SEW", squeeze_factor=2, num_feat_extract_layers=3)


def conformer() -> Any:
    config = transformers.Wav2Vec2BertConfig(**SIZES, feature_projection_input_dim=20)
    return transformers.Wav2Vec2BertModel(config)


MODELS: dict[str, Callable[[], Any]] = {
    "hubert": lambda: speech("Hubert"),
    "wav2vec2 large": lambda: speech(
        "Wav2Vec2", do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True
    ),
    "wavlm": lambda: speech("WavLM", num_buckets=8, max_bucket_distance=20),
    "mert": lambda: speech("Hubert"),
    "ast": ast,
    "whisper": whisper,
    "clap": clap,
    "clap fused": clap_fused,
    "dac": dac,
    "encodec": encodec,
    "sew": sew,
    "wav2vec2-bert": conformer,
}


def extractor(kind: str) -> Any:
    """The feature extractor that goes with a kind, with windows as short as its network's."""
    rate = RATES.get(kind, 16000)
    if kind == "ast":
        return transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=64)
    if kind == "whisper":
        return transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=1)
    if kind.startswith("clap"):
        return transformers.ClapFeatureExtractor(
            feature_size=16, hop_length=240, max_length_s=1, frequency_min=50,
            truncation="fusion" if kind == "clap fused" else "rand_trunc",
        )  # fmt: skip
    if kind == "dac":
        return transformers.DacFeatureExtractor(sampling_rate=rate, hop_length=256)
    if kind == "encodec":
        return transformers.EncodecFeatureExtractor(sampling_rate=rate)
    if kind == "wav2vec2-bert":
        return transformers.SeamlessM4TFeatureExtractor(feature_size=10, num_mel_bins=10)
    return transformers.Wav2Vec2FeatureExtractor(sampling_rate=rate, do_normalize=True)


@torch.no_grad()
def network(kind: str) -> Any:
    """A network whose every part is heard in what it gives."""
    torch.manual_seed(3)
    model: nn.Module = MODELS[kind]().eval()
    generator = torch.Generator().manual_seed(7)
    for name, weights in model.named_parameters():
        noise = torch.randn(weights.shape, generator=generator)
        if name.endswith(("original0", "alpha")):
            weights.copy_(0.5 + noise.abs())
        elif weights.ndim > 1:
            weights.copy_(1.4 * noise / (weights[0].numel() ** 0.5))
        else:
            weights.add_(0.3 * noise)
    for name, held in model.named_buffers():
        if "running" in name:
            held.copy_(20.0 * torch.rand(held.shape, generator=generator) + 1.0)
    return model


def folder(kind: str, path: Path) -> Path:
    """Write a network and its feature extractor; MERT's as its makers' code names it."""
    network(kind).save_pretrained(path)
    extractor(kind).save_pretrained(path)
    if kind == "mert":
        file = path / "config.json"
        said = file.read_text().replace('"model_type": "hubert"', '"model_type": "mert_model"')
        said = said.replace(
            '"architectures"',
            '"auto_map": {"AutoModel": "modeling_MERT.MERTModel"},\n"deepnorm": false,\n'
            '"feature_extractor_cqt": false,\n"attention_relax": -1.0,\n"architectures"',
        )
        file.write_text(said)
    return path
