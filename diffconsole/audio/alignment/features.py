"""What survives mixing: energies of bands over time, and where a file holds nothing at all.

Mixing changes tone and dynamics, but not when a syllable starts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft

from ..windows import runs_of_true

__all__ = [
    "FINE_HOP",
    "FINE_LEAD",
    "FRAME",
    "FRAME_SECONDS",
    "PAIR_RATE",
    "band_energies",
    "band_powers",
    "energy_changes",
    "long_runs",
    "one_channel",
]

PAIR_RATE = 44100
FRAME = 441
FRAME_SECONDS = FRAME / PAIR_RATE
BAND_EDGES_HZ = (100.0, 400.0, 1000.0, 2500.0, 6000.0)
SIZE = 2048
# Breaths and room lie between a raw vocal's words and digital silence between a mix's: neither
# counts below this share of the loudest frame's energy.
FLOOR = 1e-5
TREND_FRAMES = 51
BLOCK_FRAMES = 1000

FINE_HOP, FINE_SIZE = 44, 1024
FINE_EDGES_HZ = tuple(np.geomspace(150.0, 9000.0, 15))
FINE_FLOOR, FINE_SMOOTHING = 1e-4, 31
FINE_LEAD = (FINE_SIZE + FINE_SMOOTHING * FINE_HOP) // 2


CANCELLED = 0.5
"""The energy of the channels' sum over that of the channels, below which they cancel out.

It is 1 where they have nothing in common or one is silent, and 2 where two are alike."""

ALIKE = 0.8
"""Share of the loudest channel's energy from which another is as loud."""


def one_channel(samples: np.ndarray) -> np.ndarray:
    """Mean of the channels of ``(channels, samples)``; the loudest where they cancel out.

    With one side inverted nothing of the voice is left in the middle.
    """
    mean = samples.mean(axis=0)
    energy = np.array([float(np.dot(channel, channel)) for channel in samples])
    share = float(np.dot(mean, mean)) * len(samples) ** 2 / max(float(energy.sum()), 1e-30)
    if share >= CANCELLED:
        return mean
    # Of channels alike the first, so that the polarity is that of the left one.
    return samples[int(np.argmax(energy >= ALIKE * energy.max()))]


def band_powers(
    mono: np.ndarray,
    edges_hz: Sequence[float] = BAND_EDGES_HZ,
    size: int = SIZE,
    hop: int = FRAME,
    padded: bool = True,
) -> np.ndarray:
    """Power of bands every `hop` samples: ``(bands, frames)``.

    Frames are centred there; or, not `padded`, begin there and lie within the samples.
    """
    around = size // 2 if padded else 0
    samples = np.pad(mono.astype(np.float32), (around, around))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    window /= window.sum()
    freq_hz = np.fft.rfftfreq(size, 1.0 / PAIR_RATE)
    places = np.searchsorted(freq_hz, edges_hz)
    # The narrowest bands hold one bin at least.
    starts = places[:-1]
    stops = np.maximum(places[1:], starts + 1)
    result = np.empty((len(starts), len(frames)))
    for first in range(0, len(frames), BLOCK_FRAMES):
        block = slice(first, first + BLOCK_FRAMES)
        power = np.abs(scipy.fft.rfft(frames[block] * window, axis=1)) ** 2
        for row, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            result[row, block] = power[:, start:stop].sum(axis=1)
    return result


def band_energies(powers: np.ndarray) -> np.ndarray:
    """Log-energy of the bands around the mean of half a second.

    A reverb fills the gaps and a compressor levels the phrases, but both let a syllable stand
    out from the half second around it.
    """
    floor = FLOOR * np.max(powers.sum(axis=0)) + 1e-20
    energies = np.log10(powers + floor)
    window = np.hanning(TREND_FRAMES + 2)[1:-1]
    half = TREND_FRAMES // 2
    padded = np.pad(energies, ((0, 0), (half, half)), mode="edge")
    trend = [np.convolve(row, window / window.sum(), "valid") for row in padded]
    return energies - np.array(trend)


def energy_changes(mono: np.ndarray) -> np.ndarray:
    """How the log-energies of fourteen bands change, every 44 samples: ``(bands, frames)``.

    Onsets and releases; they stay where they are when the pitch is corrected. The first frame is
    that of `FINE_LEAD` samples after the start, the last lies as long before the end.
    """
    powers = band_powers(mono, FINE_EDGES_HZ, FINE_SIZE, FINE_HOP, padded=False)
    loud = np.percentile(powers, 98, axis=1)[:, None]
    energies = np.log10(powers + FINE_FLOOR * loud + 1e-20)
    window = np.hanning(FINE_SMOOTHING + 2)[1:-1]
    smooth = [np.convolve(row, window / window.sum(), "valid") for row in energies]
    return np.diff(np.array(smooth), axis=1)


def long_runs(mask: np.ndarray, least: int) -> np.ndarray:
    """Keep only runs of at least `least` true values."""
    result = np.zeros(len(mask), bool)
    for start, stop in runs_of_true(mask):
        result[start:stop] = stop - start >= least
    return result
