"""wav2vec 2.0, HuBERT and WavLM as torchaudio builds them, from a state dict or a bundle.

The features are the output of the middle transformer layer (the hint ``layer`` names another):
the layers below it represent sound, those above it words. What lies above is neither run nor kept.
Networks that normalise before each layer hand on sums that no layer takes as they are; their
frames are normalised as the next layer would, without its weights.

All these networks normalise level away, at their input or in their first convolution. So each
frame's level is one more feature: the mean square over the samples of the frame, in dB,
scaled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .base import Encoder, scaled_level
from .torchaudio_loader import load_torchaudio
from .wav2vec2_files import (
    LAYERS,
    architecture_of,
    read_hints,
    read_weights,
    refuse_differences,
    take_weights,
)

__all__ = ["Wav2Vec2Encoder"]

NO_DROPOUT = {
    "encoder_projection_dropout": 0.0,
    "encoder_attention_dropout": 0.0,
    "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.0,
    "encoder_layer_drop": 0.0,
    "aux_num_out": None,
}
LARGEST = 65536
BUNDLE = re.compile(r"[A-Z][A-Z0-9_]+")
UNKNOWN_LICENCE = "not stated; ask who published the weights"


class Wav2Vec2Encoder(Encoder):
    """See the module. One frame each 20 ms where the strides are the published ones.

    Parameters
    ----------
    architecture : mapping
        The arguments of ``torchaudio.models.wavlm_model`` if it has ``encoder_num_buckets``, else
        of ``wav2vec2_model``, without dropouts; ``encoder_num_layers`` is the layer whose output
        the features are.
    normalize_waveform : bool
        Whether each take is brought to mean 0 and deviation 1 before the network gets it.
    sample_rate : int
        Hz.
    licence : str
        Of the weights.
    about : str
        Which network it is.
    """

    name = "wav2vec2"

    def __init__(
        self,
        architecture: Mapping[str, Any],
        normalize_waveform: bool = False,
        sample_rate: int = 16000,
        licence: str = UNKNOWN_LICENCE,
        about: str = "",
    ) -> None:
        super().__init__()
        _check(architecture, sample_rate)
        self.architecture = dict(architecture)
        self.normalize_waveform = bool(normalize_waveform)
        self.sample_rate, self.licence, self.about = sample_rate, str(licence), str(about)
        models = load_torchaudio().models
        wavlm = "encoder_num_buckets" in architecture
        factory = models.wavlm_model if wavlm else models.wav2vec2_model
        self.network = factory(**architecture, **NO_DROPOUT)
        self.norm_first = bool(architecture["encoder_layer_norm_first"])
        if self.norm_first:
            # Only the last layer's output would go through it.
            self.network.encoder.transformer.layer_norm = nn.Identity()
        self.hop, self.field = 1, 1
        for _, size, stride in architecture["extractor_conv_layer_config"]:
            self.field += (size - 1) * self.hop
            self.hop *= stride
        self.dim = architecture["encoder_embed_dim"] + 1
        self.frames_per_second = sample_rate / self.hop

    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at `sample_rate` into ``(batch, frames, dim)``."""
        mono = audio.mean(dim=1)
        mono = nn.functional.pad(mono, (0, max(0, self.field - mono.shape[-1])))
        # The same windows as those of the convolutions, so frame for frame.
        power = nn.functional.avg_pool1d(mono.square().unsqueeze(1), self.field, self.hop)
        if self.normalize_waveform:
            mono = nn.functional.layer_norm(mono, mono.shape[-1:])
        frames = self.network.extract_features(mono)[0][-1]
        if self.norm_first:
            frames = nn.functional.layer_norm(frames, frames.shape[-1:])
        return torch.cat((frames, scaled_level(power).transpose(1, 2)), dim=-1)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the convolutions, the projection with the positions, and each layer."""
        encoder = self.network.encoder
        transformer = encoder.transformer
        below = nn.ModuleList(
            [encoder.feature_projection, transformer.pos_conv_embed, transformer.layer_norm]
        )
        return [
            ("convolutions", self.network.feature_extractor),
            ("projection", below),
            *((f"layer_{i + 1}", layer) for i, layer in enumerate(transformer.layers)),
        ]

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "architecture": self.architecture,
            "normalize_waveform": self.normalize_waveform,
            "sample_rate": self.sample_rate,
            "licence": self.licence,
            "about": self.about,
        }

    @classmethod
    def open(
        cls, source: str | None, sample_rate: int | None, *, trust: bool = False
    ) -> Wav2Vec2Encoder:
        """Build from a state dict (.safetensors or .pt) or one of torchaudio's bundles."""
        if source is None:
            raise ModelError(
                "encoder 'wav2vec2': give a state dict or a bundle, as wav2vec2:weights.pt or "
                "wav2vec2:HUBERT_BASE"
            )
        path = Path(source)
        if BUNDLE.fullmatch(source) and not path.exists():
            return cls._of_bundle(source)
        hints = read_hints(path)
        return cls._of_weights(read_weights(path), hints, str(path), path.name)

    @classmethod
    def _of_bundle(cls, name: str) -> Wav2Vec2Encoder:
        pipelines = load_torchaudio().pipelines
        bundles = {
            key: value
            for key, value in vars(pipelines).items()
            if isinstance(value, pipelines.Wav2Vec2Bundle)
        }
        if name not in bundles:
            raise ModelError(
                f"wav2vec2:{name}: neither a file nor a bundle; bundles: {', '.join(bundles)}"
            )
        bundle = bundles[name]
        try:
            model = bundle.get_model(dl_kwargs={"progress": False, "weights_only": True})
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(
                f"wav2vec2:{name}: cannot be downloaded ({reason}); check the network, or give a "
                "state dict that you have: wav2vec2:FILE"
            ) from None
        hints = {"licence": _licence(bundle.__doc__ or ""), "sample_rate": int(bundle.sample_rate)}
        state = take_weights(model.state_dict(), f"wav2vec2:{name}")
        return cls._of_weights(state, hints, f"wav2vec2:{name}", name)

    @classmethod
    def _of_weights(
        cls, state: Mapping[str, Tensor], hints: Mapping[str, Any], shown: str, title: str
    ) -> Wav2Vec2Encoder:
        architecture = architecture_of(state, hints, shown)
        layers = architecture["encoder_num_layers"]
        layer = hints.get("layer", -(-layers // 2))
        if not isinstance(layer, int) or not 1 <= layer <= layers:
            raise ModelError(f"{shown}: layer {layer!r} is not one of its layers, 1 to {layers}")
        architecture["encoder_num_layers"] = layer
        kind = "WavLM" if "encoder_num_buckets" in architecture else "wav2vec 2.0 or HuBERT"
        norm_first = architecture["encoder_layer_norm_first"]
        try:
            encoder = cls(
                architecture,
                # As with all published networks: those that normalise first work so, too.
                normalize_waveform=hints.get("normalize_waveform", norm_first),
                sample_rate=hints.get("sample_rate", 16000),
                licence=hints.get("licence", UNKNOWN_LICENCE),
                about=f"{kind}, {title}, layer {layer} of {layers}",
            )
        except (TypeError, ValueError, KeyError) as error:
            raise ModelError(f"{shown}: {error}; correct the JSON file beside it") from None
        wanted = encoder.network.state_dict()
        unused = [f"{LAYERS}{i}." for i in range(layer, layers)]
        if norm_first:
            unused.append("encoder.transformer.layer_norm.")
        kept = {k: v for k, v in state.items() if not k.startswith(tuple(unused))}
        refuse_differences(kept, wanted, shown)
        encoder.network.load_state_dict(kept)
        return encoder


def _check(architecture: Mapping[str, Any], sample_rate: Any) -> None:
    """Raise a ValueError for numbers that torchaudio would stumble over, or that are absurd."""
    convs = architecture["extractor_conv_layer_config"]
    if not isinstance(convs, (list, tuple)) or not convs:
        raise ValueError("extractor_conv_layer_config is no list of [channels, kernel, stride]")
    for conv in convs:
        if not isinstance(conv, (list, tuple)) or len(conv) != 3:
            raise ValueError(f"{conv!r} is no [channels, kernel, stride]")
    numbers = {
        "sample_rate": sample_rate,
        **{k: v for k, v in architecture.items() if k.startswith("encoder_") and "first" not in k},
        **{f"convolution {i}": n for i, conv in enumerate(convs) for n in conv},
    }
    for key, number in numbers.items():
        most = 192000 if key == "sample_rate" else LARGEST
        if type(number) is not int or not 1 <= number <= most:
            raise ValueError(f"{key} is {number!r}, not a whole number from 1 to {most}")
    for part in ("encoder_num_heads", "encoder_pos_conv_groups"):
        if architecture["encoder_embed_dim"] % architecture[part]:
            raise ValueError(
                f"{part} {architecture[part]} does not divide "
                f"encoder_embed_dim {architecture['encoder_embed_dim']}"
            )


def _licence(text: str) -> str:
    """The licence that a bundle's documentation names."""
    found = re.search(r"\b(MIT|CC[ -]BY-NC 4\.0|CC[ -]BY 4\.0|Apache)\b", text)
    return found.group(1).replace("CC-", "CC ") if found else UNKNOWN_LICENCE
