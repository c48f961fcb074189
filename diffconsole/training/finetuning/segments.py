"""Segments of aligned pairs, ready for training: the encoder's input, the raw, the mix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...audio.alignment.segment import uncovered
from ...audio.take import take_of
from ...audio.windows import loud_windows, repeated, window_starts
from ...model.predictor import WINDOW_SECONDS, Predictor, gain_of, windows_of
from ...pairs import PAIR_RATE, Pair

__all__ = ["SegmentLoader", "SegmentRef", "Segments", "places_of", "segments_of"]

MOST_A_PAIR = 4
MOST_IN_ALL = 600
QUIETEST_DB = -20.0


@dataclass(frozen=True)
class Segments:
    """Segments of equal length, one a row.

    Attributes
    ----------
    encoder_input : Tensor
        ``(segments, 1, samples)`` at the encoder's rate and −18 LUFS.
    raw : Tensor
        ``(segments, 1 or 2, samples)`` at 44.1 kHz and −18 LUFS (by the whole file's loudness).
    mixed : Tensor
        ``(segments, 2, samples)`` at 44.1 kHz.
    """

    encoder_input: Tensor
    raw: Tensor
    mixed: Tensor

    def __len__(self) -> int:
        return len(self.raw)


@dataclass(frozen=True)
class SegmentRef:
    """Where a segment lies.

    Attributes
    ----------
    pair : int
        Number of the pair.
    start : int
        First sample.
    """

    pair: int
    start: int


def segments_of(pairs: Sequence[Pair], model: Predictor) -> Segments:
    """Cut up to four loud five-second segments out of each pair; repeat what is shorter.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned.
    model : Predictor
        Its encoder gives the rate of `encoder_input`.
    """
    cutter, places = SegmentLoader(pairs, model), places_of(pairs)
    return Segments(cutter.encoder_input(places), *cutter.audio(places))


def places_of(pairs: Sequence[Pair], variant: int = 0) -> list[SegmentRef]:
    """Choose segments: places spread evenly over each pair, the quiet ones left out.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned.
    variant : int
        0 spreads them evenly, any other moves them. Nothing else is changed: other levels and the
        other polarity would be no news, since the predictor levels every vocal and neither console
        nor distance depends on the sign; and played faster, a reverb is none of the console's.
    """
    most = max(1, min(MOST_A_PAIR, MOST_IN_ALL // max(len(pairs), 1)))
    rng = np.random.default_rng((variant, 11))
    length = int(WINDOW_SECONDS * PAIR_RATE)
    places = []
    for number, pair in enumerate(pairs):
        spare = max(pair.raw.shape[1] - length, 0)
        for start in _starts(pair, length, most):
            if variant:
                start = int(np.clip(start + rng.uniform(-0.5, 0.5) * length, 0, spare))
            places.append(SegmentRef(number, start))
    return places


class SegmentLoader:
    """Cuts segments out of pairs where they are wanted, so that not all lie in memory.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned.
    model : Predictor
        Its encoder gives the rate of its input.
    """

    def __init__(self, pairs: Sequence[Pair], model: Predictor) -> None:
        self.pairs, self.encoder = pairs, model.encoder
        self.channels = max(pair.raw.shape[0] for pair in pairs)
        self.takes = [take_of(pair.raw, PAIR_RATE) for pair in pairs]
        self.gains = [np.float32(10.0 ** (gain_of(take) / 20.0)) for take in self.takes]

    def raw(self, place: SegmentRef) -> np.ndarray:
        """Return the raw vocal of a segment, ``(1 or 2, samples)``, levelled with its file."""
        return _part(self.pairs[place.pair].raw, place) * self.gains[place.pair]

    def encoder_input(self, places: Sequence[SegmentRef]) -> Tensor:
        """Return the encoder's input, as :class:`Segments` has it."""
        length = int(WINDOW_SECONDS * PAIR_RATE)
        voices = [
            self.takes[p.pair].between(p.start, p.start + length) * self.gains[p.pair]
            for p in places
        ]
        parts = [windows_of(_filled(v, length), PAIR_RATE, self.encoder)[0] for v in voices]
        return torch.stack(parts)

    def audio(self, places: Sequence[SegmentRef]) -> tuple[Tensor, Tensor]:
        """Return raw vocals and mixes, as :class:`Segments` has them."""
        raw = [
            np.broadcast_to(part, (self.channels, part.shape[1])) for part in map(self.raw, places)
        ]
        mixed = [_part(self.pairs[place.pair].mixed, place) for place in places]
        return torch.from_numpy(np.stack(raw)), torch.from_numpy(np.stack(mixed))


def _part(samples: np.ndarray, place: SegmentRef) -> np.ndarray:
    length = int(WINDOW_SECONDS * PAIR_RATE)
    return _filled(samples[:, place.start : place.start + length], length)


def _filled(part: np.ndarray, length: int) -> np.ndarray:
    # Silence behind a short vocal would count as part of it, and its reverb as too long.
    return repeated(part, length)[:, :length].astype(np.float32)


def _starts(pair: Pair, length: int, most: int) -> list[int]:
    """Places spread evenly over the pair, left out where it is quiet or one of its files is not."""
    raw = np.where(uncovered(pair.raw, pair.mixed), np.float32(0.0), pair.raw)
    samples = raw.shape[1]
    if samples <= length:
        return [0]
    places = window_starts(samples, length, max(2, round(samples / length)))
    power = np.array([np.mean(raw[:, p : p + length] ** 2) for p in places])
    return [int(place) for place in places[loud_windows(power, QUIETEST_DB, most)]]
