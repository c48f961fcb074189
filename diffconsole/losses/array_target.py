"""The distance to one mix for a search on the CPU: arrays, half the frames, no gradient.

What :class:`.distance.MixTarget` measures with ``bounded``, from frames that overlap by half in
place of three quarters: the same means over half as many frames. No PyTorch is loaded for it.
"""

from __future__ import annotations

import math

import numpy as np

from .a_weighting import a_weighting_taps
from .figures import ENERGY_TIMES_MS, FFT_SIZES, MASKED_DB, POWER_FLOOR
from .kernels import cpu_energies, cpu_spectra
from .kernels.cpu_strided import strided_averages_of
from .kernels.cpu_weighting import weigh
from .terms import REPORTED

__all__ = ["ArrayTarget"]

OVERLAP = 2


class ArrayTarget:
    """A mix to which many sounds are compared, bounded as :class:`.distance.MixTarget` is.

    Parameters
    ----------
    audio : ndarray
        ``(2, samples)`` float32, more than 1024 samples.
    sample_rate : float
        Hz.

    Attributes
    ----------
    frames : tuple of Frames
        One for each size of :data:`.figures.FFT_SIZES`.
    roots : tuple of ndarray
        The mix's magnitudes in these frames, as :func:`.kernels.cpu_spectra.roots_of` has them.
    """

    def __init__(self, audio: np.ndarray, sample_rate: float) -> None:
        samples, kind = audio.shape[-1], audio.dtype
        self._masked = 10.0 ** (MASKED_DB / 20.0)
        self._taps = a_weighting_taps(sample_rate)
        self.frames = tuple(
            cpu_spectra.frames_of(samples, size, kind, OVERLAP) for size in FFT_SIZES
        )
        self._half = max(FFT_SIZES) // 2
        reach = max(self._half - f.size // 2 + f.padded for f in self.frames)
        # One for all sounds: fresh memory would cost as much as the filter that fills it.
        self._padded = np.zeros((1, 2, max(reach, samples + 2 * self._half)), kind)
        self._weigh(audio)
        kept = [
            cpu_spectra.roots_of_padded(self._padded, self._origin(f), f, self._masked)
            for f in self.frames
        ]
        self.roots = tuple(roots for roots, _ in kept)
        self._squares = [squares[0].sum(axis=0) for _, squares in kept]
        first, second = (cpu_energies.times_of(*both, sample_rate) for both in ENERGY_TIMES_MS)
        self._times = (first, second)
        averages = strided_averages_of(audio, self._times)
        masked = 10.0 ** (MASKED_DB / 10.0)
        cpu_energies.raise_to(averages, cpu_energies.masked_by(averages, masked))
        self._least = cpu_energies.masked_by(averages, masked)
        self._ratios = cpu_energies.ratios_of(averages)

    def _origin(self, frames: cpu_spectra.Frames) -> int:
        return self._half - frames.size // 2

    def _weigh(self, audio: np.ndarray) -> None:
        """Fill the buffer with a sound as the ear weighs it, mirrored at both ends."""
        half, samples, rows = self._half, audio.shape[-1], self._padded[0]
        weighed = rows[:, half : half + samples]
        weigh(audio[None], self._taps, weighed)
        rows[:, :half] = weighed[:, half:0:-1]
        rows[:, half + samples : samples + 2 * half] = weighed[:, -2 : -2 - half : -1]

    def weighed(self, audio: np.ndarray) -> np.ndarray:
        """Return ``(2, samples)`` as the ear weighs it, mirrored at both ends by 1024 samples.

        It holds until another sound is measured.
        """
        self._weigh(audio)
        return self._padded[0, :, : audio.shape[-1] + 2 * self._half]

    def counting_bins(self) -> np.ndarray:
        """Return in which share of the largest frames a bin of the mix counts, ``(4, bins)``.

        Of left, right, mid and side: where it is above the floor, and mid and side also where they
        are not raised to the other one.
        """
        frames, roots = self.frames[-1], self.roots[-1]
        by_bin = roots.reshape(frames.groups, frames.bins, 2, 4, -1)
        above = by_bin > math.sqrt(1.5 * POWER_FLOOR)
        # Rounding may leave what was raised a little above.
        least = np.float32(1.0005 * self._masked) * by_bin[..., :1:-1, :]
        above[..., 2:, :] &= by_bin[..., 2:, :] > least
        shares: np.ndarray = above.sum(axis=(0, 2, 4)).T / frames.frames
        return shares

    def distance(self, audio: np.ndarray) -> float:
        """Return the total distance of ``(2, samples)``, of the mix's length and type."""
        self._weigh(audio)
        spectral = np.zeros(3)
        for frames, roots, squares in zip(self.frames, self.roots, self._squares, strict=True):
            every = np.ones(frames.groups, bool)
            sums = cpu_spectra.compare_padded(
                self._padded, self._origin(frames), frames, every, roots, self._masked
            )[0]
            count = frames.frames * frames.bins * np.array([2.0, 1.0, 1.0])
            spectral += np.sqrt(sums[:3] / squares) + math.log(2.0) * sums[3:] / count
        spectral /= len(self.frames)
        averages = strided_averages_of(audio, self._times)
        cpu_energies.raise_to(averages, self._least)
        apart = math.log(2.0) * cpu_energies.octaves_apart(averages, self._ratios)[0]
        terms = {
            "mss_lr": spectral[0],
            "mss_ms": 0.5 * (spectral[1] + spectral[2]),
            "mldr_lr": 0.5 * (apart[0] + apart[1]),
            "mldr_ms": 0.5 * (apart[2] + apart[3]),
        }
        return float(sum(weight * terms[name] for name, weight in REPORTED.items()))
