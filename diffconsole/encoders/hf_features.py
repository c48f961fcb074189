"""What Transformers' feature extractors compute for AST, Whisper and CLAP, in torch.

The same spectrograms from the same numbers of ``preprocessor_config.json``, differentiable and on
whichever device the audio is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .torchaudio_loader import load_torchaudio

__all__ = ["KALDI_FRAME_MS", "ClapMel", "WhisperMel", "kaldi_mel", "number"]

KALDI_FRAME_MS, KALDI_HOP_MS = 25, 10
QUIETEST_MEL = 1e-10
WHISPER_TOP_HZ = 8000.0
WHISPER_RANGE = 8.0


def number(front: Mapping[str, Any], key: str, default: float, most: float) -> float:
    """Return a number of ``preprocessor_config.json`` within its bounds.

    Raises
    ------
    ValueError
        It is none, or absurd.
    """
    value = front.get(key)
    value = default if value is None else value
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > most:
        raise ValueError(f"{key} of the feature extractor is {value!r}, not a number up to {most}")
    return value


def kaldi_mel(mono: Tensor, front: Mapping[str, Any], sample_rate: int, mels: int) -> Tensor:
    """AST's spectrogram: Kaldi's filter bank, one frame each 10 ms, normalised.

    Parameters
    ----------
    mono : Tensor
        ``(batch, samples)``, at least a frame long.
    front : mapping
        ``max_length`` (in frames; shorter is filled up with zeros), ``do_normalize``, ``mean``,
        ``std``.
    sample_rate, mels : int
        Hz, and bands.

    Returns
    -------
    Tensor
        ``(batch, max_length, mels)``.
    """
    load_torchaudio()
    from torchaudio.compliance import kaldi

    length = int(front["max_length"])
    rows = [
        kaldi.fbank(
            row[None], sample_frequency=sample_rate, window_type="hanning", num_mel_bins=mels
        )[:length]
        for row in mono
    ]
    x = torch.stack(rows)
    x = nn.functional.pad(x, (0, 0, 0, length - x.shape[1]))
    if not front.get("do_normalize", True):
        return x
    mean = number(front, "mean", -4.2677393, 1e6)
    return (x - mean) / (2.0 * number(front, "std", 4.5689974, 1e6))


class _Mel(nn.Module):
    """Power in mel bands of Hann-windowed frames, of which the first lies around the start."""

    bank: Tensor
    window: Tensor

    def __init__(
        self, n_fft: int, hop: int, mels: int, sample_rate: int, low_hz: float, high_hz: float,
        scale: str,
    ) -> None:  # fmt: skip
        super().__init__()
        bank = load_torchaudio().functional.melscale_fbanks(
            n_fft // 2 + 1, low_hz, high_hz, mels, sample_rate,
            norm="slaney" if scale == "slaney" else None, mel_scale=scale,
        )  # fmt: skip
        # Neither is a weight: a saved model computes them again.
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.n_fft, self.hop = n_fft, hop

    def forward(self, mono: Tensor) -> Tensor:
        """Turn ``(batch, samples)`` into ``(batch, frames, mels)``."""
        spectrum = torch.stft(mono, self.n_fft, self.hop, window=self.window, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(dim=-1).transpose(1, 2)
        return (power @ self.bank).clamp(min=QUIETEST_MEL)


class WhisperMel(nn.Module):
    """Whisper's spectrogram: at most 80 dB below its loudest, scaled.

    Parameters
    ----------
    front : mapping
        ``n_fft``, ``hop_length``.
    sample_rate, mels : int
        Hz, and bands.
    """

    def __init__(self, front: Mapping[str, Any], sample_rate: int, mels: int) -> None:
        super().__init__()
        n_fft = int(number(front, "n_fft", 400, 65536))
        self.hop = int(number(front, "hop_length", 160, 65536))
        self.mel = _Mel(n_fft, self.hop, mels, sample_rate, 0.0, WHISPER_TOP_HZ, "slaney")

    def forward(self, mono: Tensor) -> Tensor:
        """Turn ``(batch, samples)`` into ``(batch, mels, frames)``."""
        x = self.mel(mono).log10()[:, :-1]
        loudest = x.amax(dim=(1, 2), keepdim=True)
        return ((torch.maximum(x, loudest - WHISPER_RANGE) + 4.0) / 4.0).transpose(1, 2)


class ClapMel(nn.Module):
    """CLAP's spectrogram in dB.

    Parameters
    ----------
    front : mapping
        ``fft_window_size``, ``hop_length``, ``frequency_min``, ``frequency_max``, ``feature_size``
        and ``truncation``, whose two kinds were trained on two kinds of filters.
    sample_rate : int
        Hz.
    """

    def __init__(self, front: Mapping[str, Any], sample_rate: int) -> None:
        super().__init__()
        self.mel = _Mel(
            int(number(front, "fft_window_size", 1024, 65536)),
            int(number(front, "hop_length", 480, 65536)),
            int(number(front, "feature_size", 64, 4096)),
            sample_rate,
            number(front, "frequency_min", 0.0, sample_rate / 2),
            number(front, "frequency_max", 14000.0, sample_rate / 2),
            "htk" if front.get("truncation", "fusion") == "fusion" else "slaney",
        )

    def forward(self, mono: Tensor) -> Tensor:
        """Turn ``(batch, samples)`` into ``(batch, frames, mels)``."""
        found: Tensor = 10.0 * self.mel(mono).log10()
        return found
