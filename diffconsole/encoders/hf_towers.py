"""The networks of Transformers that take audio: each as audio in, frames of one layer out.

A tower keeps the layers up to the chosen one. Networks that normalise before each layer hand on
sums that no layer takes as they are; their frames are normalised as the next layer would, without
its weights. What a tower's extractor or network normalises away is kept as each frame's level.
"""

from __future__ import annotations

import importlib
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .base import scaled_level
from .hf_features import KALDI_FRAME_MS, ClapMel, WhisperMel, kaldi_mel, number

__all__ = ["KINDS", "Kind", "Tower", "build_tower", "layers_of", "shorten"]

MOST_SECONDS = 600


class Kind(NamedTuple):
    """Where a kind of network lies.

    Attributes
    ----------
    tower : type
        The :class:`Tower` for it.
    model : str
        Transformers' class that reads its files.
    part : str
        Which part of that is the network, as its weights' names start.
    """

    tower: type[Tower]
    model: str
    part: str


class Tower(nn.Module, ABC):
    """A network, its input, and which of its frames are features.

    Attributes
    ----------
    network : Module
        Of Transformers.
    dim : int
        Features per frame.
    frames_per_second : float
        Frames of the output per second of audio.
    window : int or None
        Samples that are encoded at once, where a network takes no more.
    """

    network: Any
    dim: int
    frames_per_second: float
    window: int | None = None

    @abstractmethod
    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, 1, samples)`` into ``(batch, frames, dim)``."""

    @abstractmethod
    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the parts from the input up."""


class SpeechTower(Tower):
    """wav2vec 2.0, HuBERT, WavLM and their kin: convolutions, then layers."""

    def __init__(self, config: Any, front: Mapping[str, Any], sample_rate: int) -> None:
        super().__init__()
        _unmask(config)
        config.add_adapter = False
        self.network = _class(type(config).__name__.replace("Config", "Model"))(config)
        self.norm_first = bool(getattr(config, "do_stable_layer_norm", False))
        if self.norm_first:
            self.network.encoder.layer_norm = nn.Identity()
        self.normalize = bool(front.get("do_normalize", True))
        self.hop, self.field = 1, 1
        for size, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            self.field += (size - 1) * self.hop
            self.hop *= stride
        self.dim = config.hidden_size + 1
        self.frames_per_second = sample_rate / self.hop

    def forward(self, audio: Tensor) -> Tensor:
        audio = _at_least(audio, self.field)
        # The same windows as those of the convolutions, so frame for frame.
        power = nn.functional.avg_pool1d(audio.square(), self.field, self.hop)
        mono = audio[:, 0]
        if self.normalize:
            mono = nn.functional.layer_norm(mono, mono.shape[-1:], eps=1e-7)
        frames = self.network(mono).last_hidden_state
        frames = _normalised(frames) if self.norm_first else frames
        return torch.cat((frames, scaled_level(power).transpose(1, 2)), dim=-1)

    def stages(self) -> list[tuple[str, nn.Module]]:
        encoder = self.network.encoder
        below = [self.network.feature_projection, encoder.pos_conv_embed, encoder.layer_norm]
        return [
            ("convolutions", self.network.feature_extractor),
            ("projection", nn.ModuleList(below)),
            *_numbered(encoder.layers),
        ]


class AstTower(Tower):
    """The audio spectrogram transformer; a frame is the mean of its patches over frequency."""

    def __init__(self, config: Any, front: Mapping[str, Any], sample_rate: int) -> None:
        super().__init__()
        self.network = _class("ASTModel")(config)
        self.network.layernorm = nn.Identity()
        self.front = {**front, "max_length": config.max_length}
        self.sample_rate, self.mels = sample_rate, config.num_mel_bins
        self.step, self.bands = config.time_stride, 1
        self.bands += (config.num_mel_bins - config.patch_size) // config.frequency_stride
        self.frame, self.hop = KALDI_FRAME_MS * sample_rate // 1000, sample_rate // 100
        self.window = config.max_length * self.hop
        self.dim = config.hidden_size + 1
        self.frames_per_second = sample_rate / self.hop / self.step

    def forward(self, audio: Tensor) -> Tensor:
        audio = _at_least(audio, self.frame)
        valid = 1 + (audio.shape[-1] - self.frame) // self.hop
        mel = kaldi_mel(audio[:, 0], self.front, self.sample_rate, self.mels)
        # Two tokens stand before the patches.
        patches = _normalised(self.network(mel).last_hidden_state[:, 2:])
        frames = patches.unflatten(1, (self.bands, -1)).mean(dim=1)
        return _with_level(frames[:, : -(-valid // self.step)], audio)

    def stages(self) -> list[tuple[str, nn.Module]]:
        inside = getattr(self.network, "encoder", None)
        layers = self.network.layers if inside is None else inside.layer
        return [("patches", self.network.embeddings), *_numbered(layers)]


class WhisperTower(Tower):
    """Whisper's encoder. It wants 30 s: silence fills them up, frames of it are left out."""

    def __init__(self, config: Any, front: Mapping[str, Any], sample_rate: int) -> None:
        super().__init__()
        self.network = _inside("whisper", "WhisperEncoder")(config)
        self.network.layer_norm = nn.Identity()
        self.mel = WhisperMel(front, sample_rate, config.num_mel_bins)
        self.step = 2 * self.mel.hop
        self.window = config.max_source_positions * self.step
        self.dim = config.d_model + 1
        self.frames_per_second = sample_rate / self.step

    def forward(self, audio: Tensor) -> Tensor:
        mel = self.mel(_at_least(audio, self.window or 0)[:, 0])
        frames = _normalised(self.network(mel).last_hidden_state)
        return _with_level(frames[:, : -(-audio.shape[-1] // self.step)], audio)

    def stages(self) -> list[tuple[str, nn.Module]]:
        network = self.network
        below = [network.conv1, network.conv2, network.embed_positions]
        return [("convolutions", nn.ModuleList(below)), *_numbered(network.layers)]


class ClapTower(Tower):
    """CLAP's audio tower; a frame is the mean over frequency. Shorter takes are repeated to 10 s.

    Its makers encode a random piece of longer takes, or pieces fused; here the whole is encoded,
    10 s after 10 s, and nothing is fused.
    """

    def __init__(self, config: Any, front: Mapping[str, Any], sample_rate: int) -> None:
        super().__init__()
        self.network = _class("ClapAudioModel")(config).audio_encoder
        self.network.norm = nn.Identity()
        self.mel = ClapMel(front, sample_rate)
        self.channels = 4 if config.enable_fusion else 1
        self.padding = front.get("padding", "repeatpad")
        window = int(number(front, "max_length_s", 10, MOST_SECONDS) * sample_rate)
        across = self.network.patch_embed.grid_size[1] // 2 ** (len(config.depths) - 1)
        self.frames = across * self.network.freq_ratio
        self.window = window
        self.dim = config.patch_embeds_hidden_size * 2 ** (len(config.depths) - 1) + 1
        self.frames_per_second = self.frames * sample_rate / window

    def forward(self, audio: Tensor) -> Tensor:
        window = self.window or 0
        times = window // audio.shape[-1] + (self.padding == "repeat")
        filled = audio if self.padding == "pad" else audio.repeat(1, 1, max(1, times))
        mel = self.mel(_at_least(filled[..., :window], window)[:, 0])
        mel = mel[:, None].expand(-1, self.channels, -1, -1)
        longer = torch.zeros(len(audio), 1, dtype=torch.bool, device=audio.device)
        found = self.network(input_features=mel, is_longer=longer).last_hidden_state
        frames = _normalised(found.permute(0, 3, 2, 1)).mean(dim=2)
        valid = math.ceil(audio.shape[-1] / window * self.frames)
        return _with_level(frames[:, :valid], audio)

    def stages(self) -> list[tuple[str, nn.Module]]:
        below = nn.ModuleList([self.network.batch_norm, self.network.patch_embed])
        return [("patches", below), *_numbered(self.network.layers)]


class DacTower(Tower):
    """The Descript audio codec's encoder before quantisation. The level is in its latents."""

    def __init__(self, config: Any, front: Mapping[str, Any], sample_rate: int) -> None:
        super().__init__()
        self.network = _inside("dac", "DacEncoder")(config)
        self.hop = math.prod(config.downsampling_ratios)
        self.dim = config.hidden_size
        self.frames_per_second = sample_rate / self.hop

    def forward(self, audio: Tensor) -> Tensor:
        audio = nn.functional.pad(audio, (0, -audio.shape[-1] % self.hop))
        found: Tensor = self.network(audio).transpose(1, 2)
        return found

    def stages(self) -> list[tuple[str, nn.Module]]:
        network = self.network
        return [
            ("input", network.conv1),
            *((f"level_{n + 1}", block) for n, block in enumerate(network.block)),
            ("output", nn.ModuleList([network.snake1, network.conv2])),
        ]


class OtherTower(Tower):
    """Any other network with hidden states over time, by its own feature extractor.

    The extractor computes on the CPU, so no gradient reaches the audio. Layers above the chosen
    one are kept, and run.
    """

    def __init__(self, config: Any, front: Mapping[str, Any], sample_rate: int, layer: int) -> None:
        super().__init__()
        transformers = importlib.import_module("transformers")
        _unmask(config)
        model = transformers.AutoModel.from_config(config, trust_remote_code=False)
        self.network = model.get_encoder() if config.is_encoder_decoder else model
        kind = str(front.get("feature_extractor_type"))
        if not kind.endswith("FeatureExtractor") or not hasattr(transformers, kind):
            raise ValueError(f"feature_extractor_type {kind!r} is none that Transformers knows")
        self.extractor = getattr(transformers, kind)(**front)
        self.layer, self.sample_rate = layer, sample_rate
        self.takes = set(inspect.signature(self.network.forward).parameters)
        with torch.no_grad():
            network = self.network.eval()
            found = [self._hear(torch.zeros(1, 1, n * sample_rate)) for n in (1, 2)]
            network.train(self.training)
        self.dim = found[0].shape[-1] + 1
        self.frames_per_second = float(found[1].shape[1] - found[0].shape[1])
        if not self.frames_per_second:
            raise ValueError("its hidden states are no frames over time")

    def _hear(self, audio: Tensor) -> Tensor:
        mono = [row.detach().cpu().numpy() for row in audio[:, 0]]
        given = self.extractor(mono, sampling_rate=self.sample_rate, return_tensors="pt")
        inputs = {k: v.to(audio.device) for k, v in given.items() if k in self.takes}
        states = self.network(**inputs, output_hidden_states=True, return_dict=True).hidden_states
        if not states or states[self.layer].ndim != 3:
            raise ValueError("it gives no hidden states as (batch, frames, features)")
        found: Tensor = states[self.layer]
        return found

    def forward(self, audio: Tensor) -> Tensor:
        return _with_level(self._hear(audio), audio)

    def stages(self) -> list[tuple[str, nn.Module]]:
        found: list[tuple[str, nn.Module]] = []
        for name, part in _opened(self.network, ("encoder", "model")):
            found += _numbered(part) if isinstance(part, nn.ModuleList) else [(name, part)]
        return [part for part in found if any(True for _ in part[1].parameters())]


KINDS = {
    "hubert": Kind(SpeechTower, "HubertModel", ""),
    "wav2vec2": Kind(SpeechTower, "Wav2Vec2Model", ""),
    "wavlm": Kind(SpeechTower, "WavLMModel", ""),
    "unispeech": Kind(SpeechTower, "UniSpeechModel", ""),
    "unispeech-sat": Kind(SpeechTower, "UniSpeechSatModel", ""),
    "data2vec-audio": Kind(SpeechTower, "Data2VecAudioModel", ""),
    "audio-spectrogram-transformer": Kind(AstTower, "ASTModel", ""),
    "whisper": Kind(WhisperTower, "WhisperModel", "encoder."),
    "clap": Kind(ClapTower, "ClapModel", "audio_model.audio_encoder."),
    "clap_audio_model": Kind(ClapTower, "ClapAudioModel", "audio_encoder."),
    "dac": Kind(DacTower, "DacModel", "encoder."),
}
"""By ``model_type`` in ``config.json``."""


def build_tower(config: Any, front: Mapping[str, Any], sample_rate: int, layer: int) -> Tower:
    """Build a network with random weights, of the layers up to `layer`.

    Raises
    ------
    ValueError
        It is none that gives frames.
    """
    kind = KINDS.get(config.model_type)
    if kind is None:
        return OtherTower(config, front, sample_rate, layer)
    build: Any = kind.tower
    tower: Tower = build(config, front, sample_rate)
    return tower


def layers_of(config: Any) -> int | None:
    """How many layers may be chosen from; None where there are none to choose."""
    if config.model_type == "dac":
        return None
    if config.model_type in ("clap", "clap_audio_model"):
        return len(_of_audio(config).depths)
    key = "encoder_layers" if config.model_type == "whisper" else "num_hidden_layers"
    found = getattr(config, key, None)
    return found if type(found) is int else None


def shorten(config: Any, layer: int) -> None:
    """Leave out what lies above a layer."""
    if config.model_type in ("clap", "clap_audio_model"):
        audio = _of_audio(config)
        audio.depths = list(audio.depths)[:layer]
        audio.num_attention_heads = list(audio.num_attention_heads)[:layer]
    elif config.model_type == "whisper":
        # The decoder is read too, and left out: the fewer of it, the better.
        config.encoder_layers, config.decoder_layers = layer, min(1, config.decoder_layers)
    elif config.model_type in KINDS:
        config.num_hidden_layers = layer


def _of_audio(config: Any) -> Any:
    return config.audio_config if config.model_type == "clap" else config


def _class(name: str) -> Any:
    return getattr(importlib.import_module("transformers"), name)


def _inside(folder: str, name: str) -> Any:
    """A part that Transformers does not hand out at its top."""
    return getattr(importlib.import_module(f"transformers.models.{folder}.modeling_{folder}"), name)


def _unmask(config: Any) -> None:
    """Leave out the weight that stands for what is hidden in training."""
    for key in ("mask_time_prob", "mask_feature_prob"):
        if hasattr(config, key):
            setattr(config, key, 0.0)


def _opened(module: nn.Module, names: tuple[str, ...]) -> list[tuple[str, nn.Module]]:
    """A module's own weights and its children; instead of those with these names, theirs."""
    found: list[tuple[str, nn.Module]] = [
        ("weights", nn.ParameterList(module.parameters(recurse=False)))
    ]
    for name, child in module.named_children():
        found += _opened(child, names) if name in names else [(name, child)]
    return found


def _numbered(layers: Any) -> list[tuple[str, nn.Module]]:
    return [(f"layer_{n + 1}", layer) for n, layer in enumerate(layers)]


def _at_least(audio: Tensor, samples: int) -> Tensor:
    return nn.functional.pad(audio, (0, max(0, samples - audio.shape[-1])))


def _normalised(frames: Tensor) -> Tensor:
    return nn.functional.layer_norm(frames, frames.shape[-1:])


def _with_level(frames: Tensor, audio: Tensor) -> Tensor:
    power = nn.functional.adaptive_avg_pool1d(audio.square(), frames.shape[1])
    return torch.cat((frames, scaled_level(power).transpose(1, 2)), dim=-1)
