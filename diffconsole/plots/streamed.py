"""What the panels of a recording show, measured while it is rendered block by block."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.arrays import as_array
from .running import BlockPowers, LongTermSpectrum
from .signals import (
    Measured,
    block_samples,
    decibels,
    frequencies,
    gain_reduction_db,
    is_silent,
    together,
)

__all__ = ["StreamedMeasure"]


class StreamedMeasure:
    """Collects levels, gain reduction and spectra of one preset.

    Parameters
    ----------
    samples, processed_samples : int
        Of the raw recording, and of the processed one with its tail.
    sample_rate : int
        Hz.
    """

    def __init__(self, samples: int, processed_samples: int, sample_rate: int) -> None:
        block = block_samples(samples, sample_rate)
        self._sample_rate, self._block, self._samples = sample_rate, block, samples
        self._raw = BlockPowers(block, samples), LongTermSpectrum(sample_rate, samples)
        self._processed = (
            BlockPowers(block, processed_samples),
            LongTermSpectrum(sample_rate, processed_samples),
        )
        self._dynamics: dict[str, tuple[BlockPowers, BlockPowers]] = {}

    def add_raw(self, part: np.ndarray) -> None:
        """Go on with the raw recording, ``(channels, samples)``."""
        for one in self._raw:
            one.add(part)

    def add_processed(self, part: np.ndarray) -> None:
        """Go on with the processed recording, ``(channels, samples)``."""
        for one in self._processed:
            one.add(part)

    def add_dynamics(self, key: str, before: Any, after: Any, gain_db: float) -> None:
        """Go on with what goes into a compressor and comes out, ``(1, channels, samples)``."""
        if key not in self._dynamics:
            self._dynamics[key] = (
                BlockPowers(self._block, self._samples),
                BlockPowers(self._block, self._samples),
            )
        powers = self._dynamics[key]
        powers[0].add(as_array(before[0]))
        powers[1].add(as_array(after[0]) * np.float32(10.0 ** (-gain_db / 20.0)))

    def result(self) -> Measured:
        """Return what was measured."""
        reduction = together(
            [
                gain_reduction_db(before.mean_squares(), after.mean_squares())
                for before, after in self._dynamics.values()
            ]
        )
        freq_hz, raw = frequencies(self._sample_rate), self._raw[0].mean_squares()
        return Measured(
            self._block / self._sample_rate,
            decibels(raw),
            [decibels(self._processed[0].mean_squares())],
            [reduction],
            freq_hz,
            self._raw[1].decibels(freq_hz),
            [self._processed[1].decibels(freq_hz)],
            self._samples / self._sample_rate,
            is_silent(raw),
        )
