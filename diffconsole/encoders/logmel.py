"""The shipped encoder: log-mel spectrogram, a small convolutional network, and the mel itself.

Power in mel bands (Slaney's scale, 20 Hz to 20 kHz, Hann window) in dB, then five stages of
3×3 convolutions that halve frequency and, in the first three, time. Each frame's features are the
network's output beside the mel spectrum of that moment, so level and tone reach the head as they
are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .base import Encoder
from .logmel_shape import HIGHEST_HZ, LOWEST_HZ, POWER_FLOOR, SAMPLE_RATE, LogMelShape
from .torchaudio_loader import load_torchaudio

__all__ = ["LogMelEncoder"]


class LogMel(nn.Module):
    """Log-mel spectrogram, scaled so that a levelled voice lies around 0.

    ``(batch, samples)`` → ``(batch, mels, frames)``.
    """

    bank: Tensor
    window: Tensor

    def __init__(self, sample_rate: int, n_fft: int, window: int, hop: int, mels: int) -> None:
        super().__init__()
        self.n_fft, self.window_length, self.hop = n_fft, window, hop
        bins = n_fft // 2 + 1
        if torch.empty(0).is_meta:
            # Shapes are all that is asked for; torch would load its compiler to give them.
            bank, shape = torch.empty(bins, mels), torch.empty(window)
        else:
            shape = torch.hann_window(window)
            bank = load_torchaudio().functional.melscale_fbanks(
                bins, LOWEST_HZ, HIGHEST_HZ, mels, sample_rate, norm="slaney", mel_scale="slaney"
            )
            bank = bank * (sample_rate / n_fft)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("window", shape, persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Return the scaled log-mel spectrogram."""
        spectrum = torch.stft(
            audio,
            self.n_fft,
            self.hop,
            self.window_length,
            self.window,
            pad_mode="constant",
            return_complex=True,
        )
        power = torch.view_as_real(spectrum).square().sum(dim=-1) / self.window.square().sum()
        mel = power.transpose(1, 2) @ self.bank
        return (10.0 * torch.log10(mel + POWER_FLOOR) + 40.0).transpose(1, 2) / 20.0


class _Stage(nn.Sequential):
    """Down by a strided convolution, then a residual block."""

    def __init__(self, before: int, after: int, time_stride: int) -> None:
        super().__init__(
            nn.Conv2d(before, after, 3, stride=(2, time_stride), padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.GELU(),
            _Residual(after),
        )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width // 16, bias=False),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gelu(x + self.body(x))


class LogMelEncoder(Encoder):
    """See the module. 44.1 kHz; one frame every eight hops.

    Parameters
    ----------
    widths : sequence of int
        Channels of the stages, multiples of 16.
    features : int
        Network features per frame; the mel bands come on top.
    mels, n_fft, window, hop : int
        Of the spectrogram, in samples at 44.1 kHz.
    """

    name = "logmel"
    about = "log-mel spectrogram and a small convolutional network"
    licence = "MIT"
    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 96, 128, 192),
        features: int = 256,
        mels: int = 128,
        n_fft: int = 4096,
        window: int = 2048,
        hop: int = 1024,
    ) -> None:
        super().__init__()
        shape = LogMelShape(widths, features, mels, n_fft, window, hop)
        self._config = {**vars(shape), "widths": list(widths)}
        self.mel = LogMel(self.sample_rate, n_fft, window, hop, mels)
        self.blocks = nn.ModuleList(
            _Stage(before, after, stride)
            for before, after, stride in zip((1, *widths), widths, shape.time_strides, strict=False)
        )
        self.project = nn.Linear(widths[-1] * shape.rows, features)
        self.pool, self.dim = shape.pool, shape.dim
        self.frames_per_second = shape.frames_per_second

    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at 44.1 kHz into ``(batch, frames, dim)``."""
        return self.frames_of(self.mel(audio.mean(dim=1)))

    def frames_of(self, mel: Tensor) -> Tensor:
        """Turn a scaled log-mel spectrogram ``(batch, mels, frames)`` into features."""
        spare = -mel.shape[-1] % self.pool
        mel = nn.functional.pad(mel, (0, spare), mode="replicate") if spare else mel
        x = mel.unsqueeze(1)
        for block in self.blocks:
            x = block(x)
        learnt = self.project(x.flatten(1, 2).transpose(1, 2))
        pooled_mel = nn.functional.avg_pool1d(mel, self.pool).transpose(1, 2)
        return torch.cat((learnt, pooled_mel), dim=-1)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the stages of convolutions and the projection."""
        named: list[tuple[str, nn.Module]] = [
            (f"stage_{i + 1}", block) for i, block in enumerate(self.blocks)
        ]
        return [*named, ("projection", self.project)]

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return dict(self._config)
