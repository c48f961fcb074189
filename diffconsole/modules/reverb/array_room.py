"""The reverb on NumPy arrays: what :mod:`.room` and :mod:`.convolution_operator` do with tensors.

The loops over taps and bins are the same; the transforms are NumPy's instead of torch's, which
differ by less than −130 dB in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...kernels.transforms import to_samples, to_spectrum
from .cpu_color import color
from .cpu_room import band_powers, decaying_noise
from .noise import band_noise

__all__ = ["audio_type", "convolve", "room_response", "room_spectrum"]


def audio_type(dtype: np.dtype | None) -> np.dtype:
    """Return the type of a response: by default float32."""
    return np.dtype(np.float32 if dtype is None else dtype)


def room_spectrum(
    t60: np.ndarray,
    sample_rate: float,
    samples: int,
    seed: int,
    length: int,
    bins: Sequence[int],
    dtype: np.dtype,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectrum of decaying noise, and its mean powers over a band.

    See :func:`.room.room_spectrum`.
    """
    noise = np.asarray(band_noise(float(sample_rate), samples, seed, np.dtype(dtype)))
    rows = np.zeros((len(t60), 2, length), dtype)
    decaying_noise(noise, t60, float(sample_rate), rows)
    spectrum = to_spectrum(rows)
    return spectrum, band_powers(spectrum, bins)


def room_response(spectrum: np.ndarray, settings: np.ndarray, length: int, taps: int) -> np.ndarray:
    """Return the impulse response of both sides; see :func:`.room.room_response`."""
    return to_samples(color(spectrum, settings, length), length)[..., :taps]


def convolve(audio: np.ndarray, response: np.ndarray, length: int, step: int) -> np.ndarray:
    """Convolve, cut to the length of the audio, in blocks that overlap and add.

    See :func:`.convolution_operator.convolve`.
    """
    samples = audio.shape[2]
    by_tap = to_spectrum(response, length)
    if samples <= step:
        by_tap = by_tap * to_spectrum(audio, length)
        return to_samples(by_tap, length)[..., :samples]
    rows = max(audio.shape[1], response.shape[1])
    convolved = np.zeros((len(audio), rows, samples), audio.dtype)
    for first in range(0, samples, step):
        block = to_spectrum(audio[..., first : first + step], length)
        room = min(length, samples - first)
        convolved[..., first : first + room] += to_samples(by_tap * block, length)[..., :room]
    return convolved
