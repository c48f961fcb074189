"""SpeechFlow: flow-matching pretraining on speech, read from a NeMo archive without NeMo.

The pretraining of A. H. Liu and others, "Generative pre-training for speech with flow matching"
(ICLR 2024), whose own weights were not published; those of its successor, P.-J. Ku and others,
"Generative speech foundation model pretraining for high-quality speech extraction and restoration"
(2024), are: NVIDIA's ``sr_ssl_flowmatching_16k_430m``, CC BY-NC-SA 4.0. The structure is that of
NeMo's ``SpectrogramTransformerUNet``; its weights keep their names.

The network was trained to predict how noise must change to become speech, with the speech, mostly
masked, as a condition. Its input here: a complex spectrogram (magnitudes to a power, scaled)
of the vocal as the condition, nothing masked, as when it restores; beside it the flow's state at
the fixed time t = 0.9, ``t·vocal + ((1 − t)·σ₀ + t·σ₁)·noise``, late enough that the vocal stands
out of the noise. The noise is always the same, from a fixed seed, for each stretch of audio, so the
features are deterministic.

The features are the output of the middle transformer layer (``FILE.nemo:LAYER`` names another),
the last one below the connections that skip layers. What lies above is neither run nor kept. The
layers hand on sums that no layer takes as they are; the frames are normalised as the next layer
would, without its weights. The input is normalised to its peak, so each frame's level is one more
feature: the mean square over the samples of the frame, in dB, scaled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import ModelError
from .base import Encoder, scaled_level
from .nemo_archive import checked_settings, flow_settings, read_archive, real_number
from .weights import compare_exactly, load_exactly

__all__ = ["SpeechFlowEncoder"]

FLOW_TIME = 0.9
NOISE_SEED = 20240507
LONGEST_FRAMES = 750
"""Frames that attend to each other at most: six seconds at 8 ms; NeMo's settings for pretraining
have four. Longer audio is encoded in equal stretches."""

SKIP_SCALE = 2.0**-0.5
LEAST_POWER = 1e-20
PREFIX = "estimator."
MOST_WEIGHTS = 2 << 30


class _Fourier(nn.Module):
    """A time as sines and cosines of learnt frequencies."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(dim // 2))

    def forward(self, time: Tensor) -> Tensor:
        phase = 2.0 * math.pi * time.unsqueeze(1) * self.weights
        return torch.cat((phase.sin(), phase.cos()), dim=-1)


class _AdaptiveNorm(nn.Module):
    """Each frame at mean square 1, scaled and shifted by what the time says."""

    def __init__(self, dim: int, time_dim: int) -> None:
        super().__init__()
        self.to_gamma, self.to_beta = nn.Linear(time_dim, dim), nn.Linear(time_dim, dim)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return _normalised(x) * self.to_gamma(time) + self.to_beta(time)


class _Attention(nn.Module):
    """Self-attention with a bias for the distance of frames."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        projected = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = projected.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class _Gated(nn.Module):
    """One half, times the other through GELU."""

    def forward(self, x: Tensor) -> Tensor:
        kept, gate = x.chunk(2, dim=-1)
        return kept * functional.gelu(gate)


class _Layer(nn.ModuleList):
    """What joins the skipping connection, a norm, attention, a norm, the feed-forward network.

    A list, because NeMo's file numbers them.
    """

    def __init__(self, settings: Mapping[str, Any], skips: bool) -> None:
        dim, time_dim = settings["dim"], settings["time_hidden_dim"]
        inner = int(dim * settings["ff_mult"] * 2 / 3)
        super().__init__(
            [
                nn.Linear(2 * dim, dim) if skips else nn.Identity(),
                _AdaptiveNorm(dim, time_dim),
                _Attention(dim, settings["heads"]),
                _AdaptiveNorm(dim, time_dim),
                # NeMo's dropout has the third place.
                nn.Sequential(
                    nn.Linear(dim, 2 * inner), _Gated(), nn.Identity(), nn.Linear(inner, dim)
                ),
            ]
        )

    def forward(self, x: Tensor, time: Tensor, bias: Tensor) -> Tensor:
        join, attention_norm, attention, feed_norm, feed = self
        x = join(x)
        x = x + attention(attention_norm(x, time), bias)
        return x + feed(feed_norm(x, time))


class _Transformer(nn.Module):
    """The layers up to the one whose output is wanted."""

    def __init__(self, settings: Mapping[str, Any], layer: int) -> None:
        super().__init__()
        heads, self.middle = settings["heads"], settings["depth"] // 2
        slopes = [[[2.0 ** (-8.0 * (n + 1) / heads)]] for n in range(heads)]
        self.slopes = nn.Parameter(torch.tensor(slopes))
        self.layers = nn.ModuleList(_Layer(settings, n >= self.middle) for n in range(layer))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        bias = -self.slopes * (places - places[:, None]).abs()
        below: list[Tensor] = []
        for n, layer in enumerate(self.layers):
            if n < self.middle:
                below.append(x)
            else:
                x = torch.cat((x, SKIP_SCALE * below.pop()), dim=-1)
            x = layer(x, time, bias)
        return x


class _Estimator(nn.Module):
    """``(batch, frames, 4·bins)`` and a time → ``(batch, frames, dim)``; NeMo's names."""

    def __init__(self, settings: Mapping[str, Any], layer: int) -> None:
        super().__init__()
        dim, kernel = settings["dim"], settings["conv_pos_embed_kernel_size"]
        self.proj_in = nn.Linear(4 * (settings["fft_length"] // 2 + 1), dim)
        self.sinu_pos_emb = nn.Sequential(
            _Fourier(dim), nn.Linear(dim, settings["time_hidden_dim"]), nn.SiLU()
        )
        groups = settings["conv_pos_embed_groups"]
        positions = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)
        self.conv_embed = nn.ModuleDict({"dw_conv1d": nn.Sequential(positions, nn.GELU())})
        self.transformerunet = _Transformer(settings, layer)

    def forward(self, x: Tensor, time: float) -> Tensor:
        x = self.proj_in(x)
        x = x + self.conv_embed["dw_conv1d"](x.transpose(1, 2)).transpose(1, 2)
        return self.transformerunet(x, self.sinu_pos_emb(x.new_tensor([time])))


class SpeechFlowEncoder(Encoder):
    """See the module. One frame each 8 ms with the published weights.

    Parameters
    ----------
    settings : mapping
        NeMo's names of what the network depends on, as ``nemo_archive.flow_settings`` returns.
    layer : int
        The one whose output the features are, from 1.
    flow_time : float
        0…1: how much of the vocal is in the flow's state.
    about : str
        Which network it is.
    """

    name = "speechflow"
    licence = (
        "non-commercial (CC BY-NC-SA 4.0) where they are NVIDIA's; else ask who published them"
    )

    window: Tensor

    def __init__(
        self,
        settings: Mapping[str, Any],
        layer: int,
        flow_time: float = FLOW_TIME,
        about: str = "SpeechFlow",
    ) -> None:
        super().__init__()
        self.settings = checked_settings(settings)
        if type(layer) is not int or not 1 <= layer <= self.settings["depth"]:
            raise ValueError(
                f"layer {layer!r} is not one of its layers, 1 to {self.settings['depth']}"
            )
        self.layer, self.about = layer, str(about)
        self.flow_time = real_number("flow_time", flow_time, 0.0, 1.0)
        if _most_weights(self.settings, layer) > MOST_WEIGHTS:
            raise ValueError("its settings ask for more weights than any encoder of a vocal has")
        self.network = _Estimator(self.settings, layer)
        self.n_fft, self.hop = self.settings["fft_length"], self.settings["hop_length"]
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.sample_rate = self.settings["sample_rate"]
        self.dim = self.settings["dim"] + 1
        self.frames_per_second = self.sample_rate / self.hop

    def spectrogram(self, mono: Tensor) -> Tensor:
        """Turn ``(batch, samples)`` into ``(batch, frames, 2, bins)``, real and imaginary."""
        if self.settings["normalize_input"]:
            mono = mono / (mono.abs().amax(dim=-1, keepdim=True) + self.settings["eps"])
        spectrum = torch.stft(
            mono, self.n_fft, self.hop, window=self.window, pad_mode="constant",
            return_complex=True,
        )  # fmt: skip
        parts = torch.view_as_real(spectrum)
        # A power of the complex number's magnitude, with a finite gradient in silence.
        power = parts.square().sum(dim=-1, keepdim=True) + LEAST_POWER
        parts = parts * power ** (0.5 * (self.settings["magnitude_power"] - 1.0))
        return self.settings["scale"] * parts.permute(0, 2, 3, 1)

    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at `sample_rate` into ``(batch, frames, dim)``."""
        mono = audio.mean(dim=1)
        around = functional.pad(mono.square(), (self.n_fft // 2, self.n_fft // 2))
        power = functional.avg_pool1d(around.unsqueeze(1), self.n_fft, self.hop)
        vocal = self.spectrogram(mono)
        stretches = -(-vocal.shape[1] // LONGEST_FRAMES)
        frames = [self._encoded(part) for part in vocal.tensor_split(stretches, dim=1)]
        return torch.cat((torch.cat(frames, dim=1), scaled_level(power).transpose(1, 2)), dim=-1)

    def _encoded(self, vocal: Tensor) -> Tensor:
        """``(batch, frames, 2, bins)`` → ``(batch, frames, dim − 1)``."""
        time = self.flow_time
        start, end = self.settings["sigma_start"], self.settings["sigma_end"]
        # NumPy's old generator: its numbers stay the same in every version.
        drawn = np.random.RandomState(NOISE_SEED).standard_normal(vocal.shape[1:])
        # Half the variance for each part of a complex number.
        noise = torch.from_numpy(drawn * math.sqrt(0.5)).to(vocal)
        state = time * vocal + ((1.0 - time) * start + time * end) * noise
        joined = torch.cat((state, vocal), dim=2).flatten(2)
        return _normalised(self.network(joined, time))

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return what lies below the layers, with the time and the positions, and each layer."""
        network = self.network
        slopes = nn.ParameterList([network.transformerunet.slopes])
        below = [network.proj_in, network.sinu_pos_emb, network.conv_embed, slopes]
        return [
            ("input", nn.ModuleList(below)),
            *((f"layer_{n + 1}", layer) for n, layer in enumerate(network.transformerunet.layers)),
        ]

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "settings": self.settings,
            "layer": self.layer,
            "flow_time": self.flow_time,
            "about": self.about,
        }

    @classmethod
    def open(
        cls, source: str | None, sample_rate: int | None, *, trust: bool = False
    ) -> SpeechFlowEncoder:
        """Build from a ``.nemo`` archive; ``FILE.nemo:LAYER`` names another than the middle."""
        if source is None:
            raise ModelError("encoder 'speechflow': give an archive, as speechflow:FILE.nemo")
        path, layer = _split_layer(source)
        config, held = read_archive(path, trust=trust)
        settings = flow_settings(config, str(path))
        what = "SpectrogramTransformerUNet as its configuration states"
        try:
            settings = checked_settings(settings)
            layer = settings["depth"] // 2 if layer is None else layer
            if not 1 <= layer <= settings["depth"]:
                raise ValueError(f"layer {layer}: it has layers 1 to {settings['depth']}")
            # All its layers, and before memory is taken for what a few bytes of configuration ask.
            compare_exactly(_outline(settings, settings["depth"]), held, str(path), what, PREFIX)
            about = f"flow matching on speech, {path.name}, layer {layer} of {settings['depth']}"
            encoder = cls(settings, layer, about=about)
        except ValueError as error:
            raise ModelError(f"{path}: {error}") from None
        load_exactly(encoder.network, held, str(path), what, PREFIX)
        return encoder


def _normalised(x: Tensor) -> Tensor:
    return functional.normalize(x, dim=-1) * math.sqrt(x.shape[-1])


def _most_weights(settings: Mapping[str, Any], layer: int) -> int:
    """Weights of the matrices, each layer counted as if a skipping connection led to it."""
    dim, time_dim = settings["dim"], settings["time_hidden_dim"]
    positions = settings["conv_pos_embed_kernel_size"] * dim // settings["conv_pos_embed_groups"]
    below = 4 * (settings["fft_length"] // 2 + 1) + time_dim + positions
    return dim * (below + layer * ((6 + 2 * settings["ff_mult"]) * dim + 4 * time_dim))


def _outline(settings: Mapping[str, Any], layer: int) -> dict[str, Tensor]:
    """The network's weights without memory for them."""
    with torch.device("meta"):
        return _Estimator(settings, layer).state_dict()


def _split_layer(source: str) -> tuple[Path, int | None]:
    path, colon, layer = source.rpartition(":")
    if colon and layer.isdecimal() and len(layer) < 6 and not Path(source).exists():
        return Path(path), int(layer)
    return Path(source), None
