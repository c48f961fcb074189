"""Segments of aligned pairs, ready for training: what the encoder hears, the raw, the mix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..pairs import PAIR_RATE, Pair
from ..predictor import WINDOW_SECONDS, Predictor, level_gain_db, windows_of

__all__ = ["Segments", "segments_of"]

MOST_A_PAIR = 4
MOST_IN_ALL = 600
QUIETEST_DB = -20.0


@dataclass(frozen=True)
class Segments:
    """Segments of equal length, one a row.

    Attributes
    ----------
    heard : Tensor
        ``(segments, 1, samples)`` at the encoder's rate and −18 LUFS.
    raw : Tensor
        ``(segments, 1 or 2, samples)`` at 44.1 kHz and −18 LUFS (by the whole file's loudness).
    mixed : Tensor
        ``(segments, 2, samples)`` at 44.1 kHz.
    """

    heard: Tensor
    raw: Tensor
    mixed: Tensor

    def __len__(self) -> int:
        return len(self.raw)


def segments_of(pairs: Sequence[Pair], model: Predictor) -> Segments:
    """Cut up to four loud five-second segments out of each pair; repeat what is shorter.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned.
    model : Predictor
        Its encoder gives the rate of `heard`.
    """
    length = int(WINDOW_SECONDS * PAIR_RATE)
    most = max(1, min(MOST_A_PAIR, MOST_IN_ALL // max(len(pairs), 1)))
    channels = max(pair.raw.shape[0] for pair in pairs)
    heard, raw, mixed = [], [], []
    for pair in pairs:
        gain_db, _ = level_gain_db(pair.raw, PAIR_RATE)
        levelled = pair.raw * np.float32(10.0 ** (gain_db / 20.0))
        for start in _starts(levelled, length, most):
            part = _part(levelled, start, length)
            heard.append(windows_of(part, PAIR_RATE, model.encoder)[0])
            raw.append(torch.from_numpy(np.broadcast_to(part, (channels, length)).copy()))
            mixed.append(torch.from_numpy(_part(pair.mixed, start, length)))
    return Segments(torch.stack(heard), torch.stack(raw), torch.stack(mixed))


def _part(samples: np.ndarray, start: int, length: int) -> np.ndarray:
    part = samples[:, start : start + length]
    # Silence behind a short vocal would be heard as part of it, and its reverb as too long.
    times = -(-length // part.shape[1])
    return np.tile(part, (1, times))[:, :length].astype(np.float32)


def _starts(levelled: np.ndarray, length: int, most: int) -> list[int]:
    """Places spread evenly over the file, the quiet ones left out."""
    samples = levelled.shape[1]
    if samples <= length:
        return [0]
    places = np.linspace(0, samples - length, max(2, round(samples / length))).astype(int)
    power = np.array([np.mean(levelled[:, p : p + length] ** 2) for p in places])
    loud = places[power >= power.max() * 10.0 ** (QUIETEST_DB / 10.0)]
    chosen = np.linspace(0, len(loud) - 1, min(most, len(loud))).astype(int)
    return [int(loud[i]) for i in chosen]
