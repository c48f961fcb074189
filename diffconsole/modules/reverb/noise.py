"""The reverb's noise: white, seeded, the same on every machine and for every length.

Sample n is a hash of n and the seed, so a longer noise begins with the shorter one, and any
language with 32-bit integers makes the same samples. The octave bands are cut from one noise by
amplitude crossfades that sum to 1; the idea of a filterbank over one noise is dasp-pytorch's,
whose noise is unseeded and whose bands are FIR filters for 44.1 and 48 kHz.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...kernels.shapes import constant

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["BAND_CENTRES_HZ", "CUT_Q", "band_noise", "band_weights", "white_noise"]

BAND_CENTRES_HZ = (63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0)
"""Octave bands; the first holds what lies below it too, the last what lies above."""

CUT_Q = 0.71
"""Of the two cuts behind the noise."""

LEAD_SECONDS = 0.25
MOST_BYTES = 1 << 28
"""Of the noises that each function keeps; one of eight seconds at 192 kHz takes 111 MB."""

# Each band keeps a third of an octave around its centre to itself, so that a third-octave
# measurement there sees that band's decay alone; the crossfade fills the rest of the octave.
PURE_OCTAVES = 1.0 / 6.0


def white_noise(samples: int, seed: int, first: int = 0) -> np.ndarray:
    """Return uniform white noise of unit variance.

    Each sample is the "lowbias32" integer hash (C. Wellons, public domain) of its index plus a
    hash of the seed, mapped to ±√3.

    Parameters
    ----------
    samples : int
        How many.
    seed : int
        Any integer; equal seeds give equal noise.
    first : int
        Index of the first sample.

    Returns
    -------
    ndarray
        ``(samples,)`` float64.
    """
    start = int(_hash(np.array([(seed * 0x9E3779B9 + 0x7F4A7C15) & 0xFFFFFFFF], np.uint32))[0])
    index = (np.arange(first, first + samples, dtype=np.int64) + start) & 0xFFFFFFFF
    integers = _hash(index.astype(np.uint32)).astype(np.float64)
    return ((integers + 0.5) / 2.0**31 - 1.0) * np.sqrt(3.0)


def _hash(values: np.ndarray) -> np.ndarray:
    h = values.astype(np.uint32)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    h ^= h >> np.uint32(16)
    return h


def band_weights(freq_hz: np.ndarray) -> np.ndarray:
    """Return each octave band's amplitude over frequency; the bands sum to 1.

    Parameters
    ----------
    freq_hz : ndarray
        ``(points,)``.

    Returns
    -------
    ndarray
        ``(bands, points)``.
    """
    position = np.log2(np.maximum(freq_hz, 1.0) / 1000.0)
    centres = np.log2(np.array(BAND_CENTRES_HZ) / 1000.0)
    # steps[i]: 0 below the crossfade between band i and i + 1, 1 above it
    gap = np.diff(centres)[:, None]
    along = (position - centres[:-1, None]) / gap
    ramp = np.clip((along - PURE_OCTAVES) / (1.0 - 2.0 * PURE_OCTAVES), 0.0, 1.0)
    steps = 0.5 - 0.5 * np.cos(np.pi * ramp)
    edge = np.ones((1, len(position)))
    return np.concatenate((edge, steps)) - np.concatenate((steps, 0.0 * edge))


@constant(4, MOST_BYTES)
def band_noise(
    sample_rate: float,
    samples: int,
    seed: int,
    dtype: Any,
    device: torch.device | None = None,
) -> Tensor | np.ndarray:
    """Return the noise of middle and side in octave bands.

    The noise starts a quarter of a second before the first sample that is kept, so that every
    band is stationary from there on and does not depend on the length.

    Parameters
    ----------
    sample_rate : float
        Hz.
    samples : int
        Length.
    seed : int
        Seed; middle and side are independent.
    dtype : torch.dtype or numpy.dtype
        Of the result.
    device : torch.device, optional
        Of the result; without one it is a NumPy array.

    Returns
    -------
    Tensor or ndarray
        ``(2, bands, samples)``; bands wholly above half the sample rate are left out.
    """
    if device is not None:
        import torch

        name = str(dtype).removeprefix("torch.")
        shared = np.asarray(band_noise(sample_rate, samples, seed, np.dtype(name)))
        # It outlives the call: a tensor made in inference mode could not serve autograd later.
        with torch.inference_mode(False):
            return torch.from_numpy(shared).to(device)
    lead = int(round(LEAD_SECONDS * sample_rate))
    length = 1 << (samples + 2 * lead - 1).bit_length()
    noise = _longest_noise(sample_rate, length, lead, seed, np.dtype(dtype))
    return np.ascontiguousarray(noise[..., :samples])


@constant(2, MOST_BYTES)
def _longest_noise(
    sample_rate: float, length: int, lead: int, seed: int, dtype: np.dtype
) -> np.ndarray:
    """Return the noise of one transform, ``(2, bands, length − 2·lead)``.

    All decays for which this transform is long enough are its beginning.
    """
    weights = band_weights(np.fft.rfftfreq(length, 1.0 / sample_rate))
    weights = weights[weights.any(axis=1)]
    bands = np.empty((2, len(weights), length - 2 * lead), dtype)
    for side in range(2):
        spectrum = np.fft.rfft(white_noise(length, 2 * seed + side))
        for band, weight in enumerate(weights):
            bands[side, band] = np.fft.irfft(spectrum * weight, length)[lead : length - lead]
    return bands
