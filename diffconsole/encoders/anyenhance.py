"""AnyEnhance: the encoder of a network that restores speech and singing.

J. Zhang and others, "AnyEnhance: A Unified Generative Model with Prompt-Guidance and Self-Critic
for Voice Enhancement" (2025). Two networks are public, and both are read: the lighter AnyEnhance-v1
(viewfinder-annn/anyenhance-v1-ccf-aatc, no licence stated for its weights), and the one of the
paper (``models/se/anyenhance`` of Amphion, weights amphion/anyenhance). Structure and names
are those of that code; of a ``model.pt`` only ``audio_encoder`` is taken, and ``task_emb`` where it
has one. The codec is not needed.

Its input, at 44.1 kHz: an STFT without a window function (2048 samples each 512), magnitudes to
the power of 0.3 and phases, one above the other, without the last frame; the paper's network
normalises the magnitudes with the statistics of its training. Then two linear maps with a ReLU
between, to 512 numbers a frame; the paper's network adds the code of its task (here the first:
enhancement). Then paths of transformer layers, which encode positions by sines that are added, or
by rotation. The features are the sum of the paths, which is the input of the generating part; the
published configuration of the paper's network adds frames of w2v-BERT 2.0 to that sum, which are
no part of its file and are left out here.

The positions are those of a window of ``seq_len`` frames (260, so 3 s, in the lighter one). Longer
audio is encoded in as few windows as it takes, of equal length to a frame; its STFT is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .anyenhance_files import ENCODER, find_weights, read_config, take_encoder
from .base import Encoder
from .weights import load_exactly

__all__ = ["AnyEnhanceEncoder"]

DEFAULTS: dict[str, Any] = {
    "n_fft": 2048,
    "hop_length": 512,
    "win_length": 2048,
    "seq_len": 260,
    "mlp_layers": [1024, 512],
    "transformer_layers": 6,
    "transformer_heads": 8,
    "transformer_dim_head": 64,
    "transformer_ff_mult": 4,
    "num_transformer_paths": 1,
    "use_rotary_pos_enc": False,
    "batch_norm": False,
    "task": False,
}
"""The first four of the lighter network's configuration; from the layers on, what its code takes
where a configuration is silent."""

ATTENTION_SCALE = 8.0
LONGEST_PERIOD = 10000.0
MOST_WEIGHTS = 2_000_000_000
LARGEST = {
    "transformer_layers": 64,
    "num_transformer_paths": 16,
    "transformer_heads": 256,
    "transformer_dim_head": 1024,
    "transformer_ff_mult": 64,
    "n_fft": 65536,
    "win_length": 65536,
    "hop_length": 65536,
    "seq_len": 65536,
    "dim": 8192,
    "mlp": 65536,
}
UNKNOWN_LICENCE = "not stated; ask who published the weights"


class _Norm(nn.Module):
    """Layer normalisation whose shift is no parameter; names as in the file."""

    beta: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))
        self.register_buffer("beta", torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, self.gamma.shape, self.gamma, self.beta)


class _Gate(nn.Module):
    """The second half, times GELU of the first."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return second * nn.functional.gelu(first)


class _Attention(nn.Module):
    """Cosine attention among the frames and one learnt key that stands for none of them."""

    def __init__(self, dim: int, heads: int, dim_head: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _Norm(dim)
        self.null_kv = nn.Parameter(torch.randn(2, heads, 1, dim_head))
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * dim_head, bias=False)
        self.q_scale = nn.Parameter(torch.ones(dim_head))
        self.k_scale = nn.Parameter(torch.ones(dim_head))
        self.to_out = nn.Linear(heads * dim_head, dim, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        x = self.norm(x)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(x), *self.to_kv(x).chunk(2, dim=-1))
        )
        if rotation is not None:
            q, k = _rotated(q, *rotation), _rotated(k, *rotation)
        null_k, null_v = (null.expand(len(x), -1, -1, -1) for null in self.null_kv)
        k, v = torch.cat((null_k, k), dim=2), torch.cat((null_v, v), dim=2)
        q = nn.functional.normalize(q, dim=-1) * self.q_scale
        k = nn.functional.normalize(k, dim=-1) * self.k_scale
        attended = nn.functional.scaled_dot_product_attention(q, k, v, scale=ATTENTION_SCALE)
        return self.to_out(attended.transpose(1, 2).flatten(2))


class _Path(nn.Module):
    """Layers of attention and a gated network, each beside what goes past it."""

    def __init__(self, dim: int, layers: int, heads: int, dim_head: int, inner: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    _Attention(dim, heads, dim_head),
                    nn.Sequential(
                        _Norm(dim),
                        nn.Linear(dim, 2 * inner, bias=False),
                        _Gate(),
                        _Norm(inner),
                        nn.Linear(inner, dim, bias=False),
                    ),
                ]
            )
            for _ in range(layers)
        )
        self.norm = _Norm(dim)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        for layer in self.layers:
            attention, network = layer.children()
            x = attention(x, rotation) + x
            x = network(x) + x
        return self.norm(x)


class _Task(nn.Module):
    """The code of a task, added to every frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(dim))


class _Positions(nn.Module):
    """Sines of the position in a window, as the file holds them."""

    sinusoidal_embeddings: Tensor

    def __init__(self, seq_len: int, dim: int) -> None:
        super().__init__()
        angles = _angles(seq_len, dim)
        code = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
        self.register_buffer("sinusoidal_embeddings", code.float())


class AnyEnhanceEncoder(Encoder):
    """See the module. 44.1 kHz; one frame each hop.

    Parameters
    ----------
    architecture : mapping
        What the class of the public code is made from, in its names, where it differs from
        ``DEFAULTS``; ``batch_norm`` and ``task`` state whether magnitudes are normalised, and
        whether a task's code is added.
    licence, about : str
        Of the weights; which network it is.
    """

    name = "anyenhance"
    sample_rate = 44100

    window: Tensor

    def __init__(
        self,
        architecture: Mapping[str, Any] | None = None,
        licence: str = UNKNOWN_LICENCE,
        about: str = "AnyEnhance (2025)",
    ) -> None:
        super().__init__()
        self.architecture = given = {**DEFAULTS, **(architecture or {})}
        _check(given)
        self.licence, self.about = str(licence), str(about)
        width, dim = given["mlp_layers"]
        bins = given["n_fft"] // 2 + 1
        self.dim, self.hop, self.seq_len = dim, given["hop_length"], given["seq_len"]
        self.n_fft, self.dim_head = given["n_fft"], given["transformer_dim_head"]
        self.frames_per_second = self.sample_rate / self.hop
        self.register_buffer("window", torch.ones(given["win_length"]), persistent=False)
        self.batch_norm = nn.BatchNorm1d(bins) if given["batch_norm"] else nn.Identity()
        self.mlp = nn.Sequential(nn.Linear(2 * bins, width), nn.ReLU(), nn.Linear(width, dim))
        self.task = _Task(dim) if given["task"] else None
        self.pos_emb = None if given["use_rotary_pos_enc"] else _Positions(self.seq_len, dim)
        self.transformer_paths = nn.ModuleList(
            _Path(
                dim,
                given["transformer_layers"],
                given["transformer_heads"],
                self.dim_head,
                dim * given["transformer_ff_mult"] * 2 // 3,
            )
            for _ in range(given["num_transformer_paths"])
        )

    def spectrogram(self, mono: Tensor) -> Tensor:
        """Turn ``(batch, samples)`` into ``(batch, frames, 2·bins)``: magnitudes, then phases."""
        spectrum = torch.stft(
            mono, self.n_fft, self.hop, len(self.window), window=self.window, return_complex=True
        )
        real, imaginary = spectrum.real, spectrum.imag
        # Of nothing the phase is 0; its slope, and that of the power, would be none.
        is_sound = (real != 0.0) | (imaginary != 0.0)
        phase = torch.atan2(imaginary, torch.where(is_sound, real, 1.0))
        magnitude = torch.where(is_sound, spectrum.abs(), 1.0) ** 0.3 * is_sound
        return torch.cat((self.batch_norm(magnitude), phase), dim=1)[..., :-1].transpose(1, 2)

    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at 44.1 kHz into ``(batch, frames, dim)``."""
        mono = audio.mean(dim=1)
        # A frame at least, and more than is mirrored at the ends.
        shortest = max(self.hop, self.n_fft // 2 + 1)
        mono = nn.functional.pad(mono, (0, max(0, shortest - mono.shape[-1])))
        frames = self.mlp(self.spectrogram(mono))
        if self.task is not None:
            frames = frames + self.task.embedding
        windows = -(-frames.shape[1] // self.seq_len)
        return torch.cat([self._window(x) for x in frames.tensor_split(windows, dim=1)], dim=1)

    def _window(self, x: Tensor) -> Tensor:
        rotation = None
        if self.pos_emb is not None:
            x = x + self.pos_emb.sinusoidal_embeddings[: x.shape[1]]
        else:
            angles = _angles(x.shape[1], self.dim_head)
            rotation = angles.cos().to(x), angles.sin().to(x)
        return torch.stack([path(x, rotation) for path in self.transformer_paths]).sum(dim=0)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the linear maps, each layer of all paths, and what normalises at their ends."""
        below: list[nn.Module] = [self.batch_norm, self.mlp]
        if self.task is not None:
            below.append(self.task)
        paths = list(self.transformer_paths)
        layers = zip(*(path.get_submodule("layers").children() for path in paths), strict=True)
        return [
            ("linear", nn.ModuleList(below)),
            *((f"layer_{i + 1}", nn.ModuleList(layer)) for i, layer in enumerate(layers)),
            ("norm", nn.ModuleList(path.get_submodule("norm") for path in paths)),
        ]

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "architecture": dict(self.architecture),
            "licence": self.licence,
            "about": self.about,
        }

    @classmethod
    def open(
        cls, source: str | None, sample_rate: int | None, *, trust: bool = False
    ) -> AnyEnhanceEncoder:
        """Build from ``model.pt`` or its folder; the JSON configuration lies beside it."""
        if source is None:
            raise ModelError(
                "encoder 'anyenhance': give its model.pt with its JSON beside it, as "
                "anyenhance:FILE, or their folder"
            )
        path = find_weights(source)
        state, normalised, task = take_encoder(path, trust=trust)
        place, config = read_config(path)
        paper = normalised or task
        about = "AnyEnhance (2025)" if paper else "AnyEnhance-v1, the lighter one (2025)"
        licence = "said to be CC BY-NC 4.0: non-commercial" if paper else UNKNOWN_LICENCE
        config |= {"batch_norm": normalised, "task": task}
        try:
            encoder = cls(config, licence, about)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{place}: {error}") from None
        what = f"network of {place.name}"
        load_exactly(encoder, state, str(path), what, ENCODER)
        own = {ENCODER + key for key in encoder.state_dict()}
        more = [key for key in state if key not in own]
        if more:
            raise ModelError(f"{path}: no {what}: it also has {more[0]}")
        return encoder


def _angles(positions: int, dim: int) -> Tensor:
    """``(positions, dim / 2)``: a turn of 1 rad a frame for the first pair, ever slower ones."""
    speeds = LONGEST_PERIOD ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    at = torch.arange(positions, dtype=torch.float64)
    return torch.outer(at, speeds)


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair of neighbouring numbers by its frame's angle."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2)


def _check(config: dict[str, Any]) -> None:
    """Raise a ValueError for numbers that make no network, or one that is absurdly large."""
    unknown = [key for key in config if key not in DEFAULTS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not known; known are {', '.join(DEFAULTS)}")
    layers = config["mlp_layers"]
    if not isinstance(layers, (list, tuple)) or len(layers) != 2:
        raise ValueError(f"mlp_layers is {layers!r}, not the widths of two linear maps")
    numbers = {key: config[key] for key in LARGEST if key in config}
    numbers.update(zip(("mlp", "dim"), layers, strict=True))
    for key in ("use_rotary_pos_enc", "batch_norm", "task"):
        if type(config[key]) is not bool:
            raise ValueError(f"{key} is {config[key]!r}, neither true nor false")
    for key, number in numbers.items():
        if type(number) is not int or not 1 <= number <= LARGEST[key]:
            raise ValueError(f"{key} is {number!r}, not a whole number from 1 to {LARGEST[key]}")
    if config["win_length"] > config["n_fft"]:
        raise ValueError(f"win_length {config['win_length']} is more than n_fft {config['n_fft']}")
    if layers[1] % 2 or config["transformer_dim_head"] % 2:
        raise ValueError("dim and transformer_dim_head must be even: positions come in pairs")
    dim = layers[1]
    layer = config["transformer_heads"] * config["transformer_dim_head"] * 4 * dim
    layer += 2 * dim * dim * config["transformer_ff_mult"]
    weights = layer * config["transformer_layers"] * config["num_transformer_paths"]
    weights += layers[0] * (config["n_fft"] + 2 + dim) + config["seq_len"] * dim
    if weights > MOST_WEIGHTS:
        raise ValueError(f"a network of {weights} weights; at most {MOST_WEIGHTS} are read")
