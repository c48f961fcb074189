"""EnCodec's encoder before quantisation, its weights from any of the three formats they come in.

The network of A. Défossez and others, "High Fidelity Neural Audio Compression" (2022), and of
AudioCraft's compression models, as MusicGen's: convolutions that halve time again and again, each
after residual units, then an LSTM. Its latents are the features. The file states which network it
is; the published ones are 24 kHz mono (75 frames a second), 48 kHz stereo (150) and, by
AudioCraft, 16 and 32 kHz mono (50).

The 48 kHz network encodes chunks of 1 s that overlap by 1 %, as its makers' library cuts them, each
brought to the same level. The frames of all chunks follow one another; there each frame's level is
one more feature. The others keep the level.

Normalised weights are multiplied out on loading, which changes no feature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .base import Encoder, scaled_level

__all__ = ["ENCODEC_LICENCE", "EncodecEncoder", "fit_channels", "encode_chunks"]

ENCODEC_LICENCE = "CC BY-NC 4.0, non-commercial"
ABOUT = "EnCodec's encoder before quantisation"
LARGEST = {
    "channels": 2, "dim": 4096, "filters": 1024, "residual_layers": 16, "kernel": 64,
    "last_kernel": 64, "residual_kernel": 64, "dilation_base": 16, "compress": 64,
}  # fmt: skip
MOST_LSTM_LAYERS, MOST_RATIOS, LARGEST_RATIO = 8, 10, 64
MOST_WEIGHTS = 1 << 29
RATES_HZ = (4000, 192000)
QUIETEST = 1e-8
"""What the makers' library adds to the level before it divides by it."""


class EncodecEncoder(Encoder):
    """See the module.

    Parameters
    ----------
    network : mapping
        ``channels``, ``dim``, ``filters`` (of the first convolution; each level has twice as many
        as the one before), ``ratios`` (by which each level shortens, from the input up),
        ``residual_layers`` in each level, ``kernel``, ``last_kernel``, ``residual_kernel``,
        ``dilation_base``, ``compress``, ``lstm_layers``, ``causal``, ``reflect`` (how edges are
        padded, else with zeros), ``group_norm``, ``conv_shortcut``.
    sample_rate : int
        Hz.
    normalize : bool
        Whether each chunk is brought to the same level.
    chunk_seconds : float, optional
        Length of a chunk; None where the whole is encoded at once.
    overlap : float
        Of a chunk with the next, as a fraction of it.
    about, licence : str
        Which network it is, and the licence of its weights.
    """

    name = "encodec"

    def __init__(
        self,
        network: Mapping[str, Any],
        sample_rate: int,
        normalize: bool = False,
        chunk_seconds: float | None = None,
        overlap: float = 0.01,
        about: str = ABOUT,
        licence: str = ENCODEC_LICENCE,
    ) -> None:
        super().__init__()
        _check(network, sample_rate, chunk_seconds, overlap)
        self.network, self.sample_rate = dict(network), sample_rate
        self.normalize, self.chunk_seconds, self.overlap = bool(normalize), chunk_seconds, overlap
        self.about, self.licence = str(about), str(licence)
        with torch.device("meta"):
            count = sum(weights.numel() for weights in _layers(network).parameters())
        if count > MOST_WEIGHTS:
            raise ValueError(f"the network would have {count} weights; {MOST_WEIGHTS} are the most")
        self.layers = _layers(network)
        self.hop = math.prod(network["ratios"])
        # A norm over time takes the level away as well.
        self.tells_level = self.normalize or bool(network["group_norm"])
        self.dim = network["dim"] + self.tells_level
        self.chunk = None if chunk_seconds is None else int(chunk_seconds * sample_rate)
        self.step = None if self.chunk is None else max(1, int((1.0 - overlap) * self.chunk))
        self.frames_per_second = sample_rate / self.hop
        if self.chunk is not None and self.step is not None:
            self.frames_per_second = -(-self.chunk // self.hop) * sample_rate / self.step

    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at `sample_rate` into ``(batch, frames, dim)``."""
        audio = fit_channels(audio, self.network["channels"])
        return encode_chunks(audio, self._hear, self.chunk, self.step)

    def _hear(self, audio: Tensor) -> Tensor:
        power = audio.mean(dim=1, keepdim=True).square()
        if self.normalize:
            audio = audio / (power.mean(dim=2, keepdim=True).sqrt() + QUIETEST)
        for layer in self.layers:
            audio = layer(audio)
        frames = audio.transpose(1, 2)
        if not self.tells_level:
            return frames
        levels = nn.functional.avg_pool1d(power, self.hop, ceil_mode=True)
        return torch.cat((frames, scaled_level(levels).transpose(1, 2)), dim=-1)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the first convolution, each level, the LSTM and the last convolution."""
        layers = list(self.layers)
        size = self.network["residual_layers"] + 2
        found: list[tuple[str, nn.Module]] = [("input", layers[0])]
        for n in range(len(self.network["ratios"])):
            found.append(
                (f"level_{n + 1}", nn.ModuleList(layers[1 + n * size : 1 + (n + 1) * size]))
            )
        if self.network["lstm_layers"]:
            found.append(("lstm", layers[-3]))
        return [*found, ("output", layers[-1])]

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "network": self.network,
            "sample_rate": self.sample_rate,
            "normalize": self.normalize,
            "chunk_seconds": self.chunk_seconds,
            "overlap": self.overlap,
            "about": self.about,
            "licence": self.licence,
        }

    @classmethod
    def open(
        cls, source: str | None, sample_rate: int | None, *, trust: bool = False
    ) -> EncodecEncoder:
        """Build from a file of PyPI's ``encodec``, of AudioCraft, or a folder of Transformers."""
        from .encodec_files import load_network, read_encodec

        if source is None:
            raise ModelError(
                "encoder 'encodec': give a file or folder, as encodec:encodec_24khz-d7cc33bc.th, "
                "encodec:compression_state_dict.bin or encodec:FOLDER"
            )
        found = read_encodec(Path(source), sample_rate, trust=trust)
        about = f"{ABOUT}, {Path(source).name}"
        try:
            encoder = cls(**found.arguments, about=about)
        except (TypeError, ValueError, KeyError) as error:
            raise ModelError(f"{found.shown}: {error}") from None
        load_network(encoder, found)
        return encoder


def fit_channels(audio: Tensor, channels: int) -> Tensor:
    """Give a network its number of channels: the mean of others, doubled for two."""
    if audio.shape[1] == channels:
        return audio
    return audio.mean(dim=1, keepdim=True).expand(-1, channels, -1)


def encode_chunks(audio: Tensor, encode: Any, length: int | None, step: int | None) -> Tensor:
    """Encode ``(batch, channels, samples)`` in chunks, and put their frames one behind the other.

    Parameters
    ----------
    audio : Tensor
        The whole.
    encode : callable
        Turns a chunk into ``(batch, frames, dim)``.
    length, step : int, optional
        Samples of a chunk, and from one to the next; None for the whole at once.
    """
    if length is None or step is None:
        found: Tensor = encode(audio)
        return found
    starts = range(0, audio.shape[-1], step)
    return torch.cat([encode(audio[..., start : start + length]) for start in starts], dim=1)


class _Convolution(nn.Module):
    """A convolution whose output has one value for each `stride` samples begun."""

    def __init__(
        self, before: int, after: int, size: int, network: Mapping[str, Any],
        stride: int = 1, dilation: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = nn.Conv1d(before, after, size, stride, dilation=dilation)
        self.norm = nn.GroupNorm(1, after) if network["group_norm"] else None
        self.missing = (size - 1) * dilation + 1 - stride
        self.stride = stride
        self.left = self.missing if network["causal"] else self.missing - self.missing // 2
        self.reflect = bool(network["reflect"])

    def forward(self, x: Tensor) -> Tensor:
        right = self.missing - self.left + -x.shape[-1] % self.stride
        x = self.conv(self._pad(x, right))
        return x if self.norm is None else self.norm(x)

    def _pad(self, x: Tensor, right: int) -> Tensor:
        if not self.reflect:
            return nn.functional.pad(x, (self.left, right))
        # A signal too short for its own reflection is first filled up with zeros, as in training.
        short = max(0, max(self.left, right) + 1 - x.shape[-1])
        x = nn.functional.pad(nn.functional.pad(x, (0, short)), (self.left, right), "reflect")
        return x[..., : x.shape[-1] - short]


class _Residual(nn.Module):
    """Two convolutions through fewer channels, beside a shortcut."""

    def __init__(self, width: int, dilation: int, network: Mapping[str, Any]) -> None:
        super().__init__()
        inner, size = width // network["compress"], network["residual_kernel"]
        self.block = nn.Sequential(
            nn.ELU(),
            _Convolution(width, inner, size, network, dilation=dilation),
            nn.ELU(),
            _Convolution(inner, width, 1, network),
        )
        self.shortcut = _Convolution(width, width, 1, network) if network["conv_shortcut"] else None

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.shortcut is None else self.shortcut(x)
        found: Tensor = beside + self.block(x)
        return found


class _Lstm(nn.Module):
    """An LSTM over time, added to its input."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, layers, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.lstm(x.transpose(1, 2))[0].transpose(1, 2)
        return found


def _layers(network: Mapping[str, Any]) -> nn.ModuleList:
    """The layers, numbered as in the published files."""
    width = network["filters"]
    layers: list[nn.Module] = [_Convolution(network["channels"], width, network["kernel"], network)]
    for ratio in network["ratios"]:
        for n in range(network["residual_layers"]):
            layers.append(_Residual(width, network["dilation_base"] ** n, network))
        layers += [nn.ELU(), _Convolution(width, 2 * width, 2 * ratio, network, stride=ratio)]
        width *= 2
    if network["lstm_layers"]:
        layers.append(_Lstm(width, network["lstm_layers"]))
    layers += [nn.ELU(), _Convolution(width, network["dim"], network["last_kernel"], network)]
    return nn.ModuleList(layers)


def _check(network: Mapping[str, Any], sample_rate: Any, chunk_seconds: Any, overlap: Any) -> None:
    """Raise a ValueError for what is no such network, or is absurd."""
    ratios = network["ratios"]
    if not isinstance(ratios, (list, tuple)) or not 1 <= len(ratios) <= MOST_RATIOS:
        raise ValueError(f"ratios is {ratios!r}, not a list of 1 to {MOST_RATIOS} numbers")
    numbers: list[tuple[str, Any, int, int]] = [
        ("sample_rate", sample_rate, *RATES_HZ),
        ("lstm_layers", network["lstm_layers"], 0, MOST_LSTM_LAYERS),
        *((f"ratio {n + 1}", ratio, 1, LARGEST_RATIO) for n, ratio in enumerate(ratios)),
        *(
            (key, network[key], int(key != "residual_layers"), most)
            for key, most in LARGEST.items()
        ),
    ]
    for key, number, least, most in numbers:
        if type(number) is not int or not least <= number <= most:
            raise ValueError(f"{key} is {number!r}, not a whole number from {least} to {most}")
    if network["compress"] > network["filters"]:
        raise ValueError(
            f"compress {network['compress']} leaves none of {network['filters']} filters"
        )
    for key in ("causal", "reflect", "group_norm", "conv_shortcut"):
        if type(network[key]) is not bool:
            raise ValueError(f"{key} is {network[key]!r}, neither true nor false")
    if chunk_seconds is not None:
        number_like = isinstance(chunk_seconds, (int, float)) and isinstance(overlap, (int, float))
        if not number_like or not 0.05 <= chunk_seconds <= 600 or not 0.0 <= overlap <= 0.9:
            raise ValueError(f"chunks of {chunk_seconds!r} s that overlap by {overlap!r}: absurd")
