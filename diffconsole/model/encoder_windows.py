"""The windows of a vocal that the encoder gets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..audio.windows import loud_windows, repeated, window_starts

if TYPE_CHECKING:
    from torch import Tensor

    from ..encoders.base import Encoder

__all__ = ["WINDOW_SECONDS", "cut_windows", "windows_of"]

WINDOW_SECONDS = 5.0
MOST_WINDOWS = 16
QUIETEST_WINDOW_DB = -20.0


def windows_of(samples: np.ndarray, sample_rate: int, encoder: Encoder) -> Tensor:
    """Return what :func:`cut_windows` does for an encoder's rate, as a tensor.

    Parameters
    ----------
    samples : ndarray
        ``(channels, samples)``.
    sample_rate : int
        Hz.
    encoder : Encoder
        Gives the rate.

    Returns
    -------
    Tensor
        ``(windows, 1, samples)`` float32 at the encoder's rate.
    """
    import torch

    return torch.from_numpy(cut_windows(samples, sample_rate, encoder.sample_rate))


def cut_windows(samples: np.ndarray, sample_rate: int, encoder_rate: int) -> np.ndarray:
    """Cut a levelled vocal into the encoder's windows.

    The windows lie evenly over the file; quiet ones (20 dB under the loudest) and all beyond
    sixteen are left out.

    Parameters
    ----------
    samples : ndarray
        ``(channels, samples)``.
    sample_rate, encoder_rate : int
        Hz, of the samples and of what the encoder takes.

    Returns
    -------
    ndarray
        ``(windows, 1, samples)`` float32 at the encoder's rate.
    """
    from ..audio import resample

    mono = samples.mean(axis=0, keepdims=True)
    length = int(WINDOW_SECONDS * sample_rate)
    if mono.shape[1] <= length:
        pieces = mono[None]
    else:
        count = math.ceil(mono.shape[1] / length)
        starts = window_starts(mono.shape[1], length, count)
        power = np.array([np.mean(mono[0, s : s + length] ** 2) for s in starts])
        loud = starts[loud_windows(power, QUIETEST_WINDOW_DB, MOST_WINDOWS)]
        pieces = np.stack([mono[:, s : s + length] for s in loud])
    resampled = resample(pieces.reshape(len(pieces), -1), sample_rate, encoder_rate)
    resampled = repeated(resampled, encoder_rate // 2)
    return np.ascontiguousarray(resampled, np.float32)[:, None]
