"""Levels over time and long-term spectra of a signal that comes in parts."""

from __future__ import annotations

import numpy as np

__all__ = ["BlockPowers", "LongTermSpectrum"]

SPECTRUM_OCTAVES = 1.0 / 6.0


class BlockPowers:
    """Mean squares over channels and blocks of a fixed length; the last block may be shorter.

    Parameters
    ----------
    block : int
        Samples.
    samples : int
        Of the whole signal; what comes after them is left out.
    """

    def __init__(self, block: int, samples: int) -> None:
        self._starts = np.arange(0, samples, block)
        self._lengths = np.diff(np.append(self._starts, samples))
        self._sums = np.zeros(len(self._starts))
        self._block, self._samples, self._done = block, samples, 0

    def add(self, part: np.ndarray) -> None:
        """Go on with the next samples, ``(channels, samples)``."""
        part = part[:, : self._samples - self._done]
        if not part.shape[1]:
            return
        square = np.square(part, dtype=np.float64).mean(axis=0)
        first, last = self._done // self._block, (self._done + part.shape[1] - 1) // self._block
        starts = np.maximum(self._starts[first : last + 1] - self._done, 0)
        self._sums[first : last + 1] += np.add.reduceat(square, starts)
        self._done += part.shape[1]

    def mean_squares(self) -> np.ndarray:
        """Return one number a block."""
        return self._sums / self._lengths


class LongTermSpectrum:
    """Welch's mean of the spectra of overlapping segments, and of the channels.

    Parameters
    ----------
    sample_rate : int
        Hz.
    samples : int
        Of the whole signal: a segment is no longer, and what comes after them is left out.
    """

    def __init__(self, sample_rate: int, samples: int) -> None:
        self.sample_rate = sample_rate
        self.length = min(samples, 1 << (sample_rate // 4).bit_length())
        self._hop = self.length - self.length // 2
        turn = 2.0 * np.pi * np.arange(self.length) / self.length
        self._window = (0.5 - 0.5 * np.cos(turn)).astype(np.float32)
        if self.length == 1:
            self._window[:] = 1.0
        self._density = np.zeros(self.length // 2 + 1)
        # Both signs of a frequency count; 0 Hz and half the rate have one.
        both = np.full(self.length // 2 + 1, 2.0)
        both[[0, *([-1] if self.length % 2 == 0 else [])]] = 1.0
        self._scale = both / (sample_rate * np.square(self._window, dtype=np.float64).sum())
        self._count = 0
        self._rest: np.ndarray | None = None
        self._left = samples

    def add(self, part: np.ndarray) -> None:
        """Go on with the next samples, ``(channels, samples)``."""
        part = part[:, : self._left]
        self._left -= part.shape[1]
        signal = part if self._rest is None else np.concatenate((self._rest, part), axis=1)
        count = (signal.shape[1] - self.length) // self._hop + 1
        if count < 1:
            self._rest = signal
            return
        used = (count - 1) * self._hop + self.length
        segments = np.lib.stride_tricks.sliding_window_view(signal[:, :used], self.length, axis=1)
        for segment in np.moveaxis(segments[:, :: self._hop], 1, 0):
            spectrum = np.fft.rfft(segment * self._window)
            power = np.square(spectrum.real) + np.square(spectrum.imag)
            self._density += self._scale * power.mean(axis=0, dtype=np.float64)
        self._count += count
        self._rest = signal[:, count * self._hop :].copy()

    def decibels(self, freq_hz: np.ndarray) -> np.ndarray:
        """Return the power in a sixth of an octave around each frequency, dBFS."""
        own_hz = np.arange(len(self._density)) * (self.sample_rate / self.length)
        step = self.sample_rate / self.length
        density = self._density / max(self._count, 1)
        edges = np.append(own_hz - step / 2.0, own_hz[-1] + step / 2.0)
        summed = np.append(0.0, np.cumsum(density * step))
        half = 2.0 ** (SPECTRUM_OCTAVES / 2.0)
        power = np.interp(freq_hz * half, edges, summed) - np.interp(freq_hz / half, edges, summed)
        return 10.0 * np.log10(np.maximum(power, 1e-12))
