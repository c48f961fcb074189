"""What the page holds of a vocal: its audio in a compact file, and how loud each version is."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from ..audio import loudness_lufs, peak_dbfs, resample

__all__ = ["aligned_mix", "encode", "measured"]

FAITHFUL_DB = -100.0
"""24 bits serve a file whose rounding to them stays this far below it; a very quiet one is kept
as floats."""


def encode(samples: np.ndarray, sample_rate: int) -> bytes:
    """Return audio as a browser decodes it: FLAC where that is faithful, else WAV in floats.

    Parameters
    ----------
    samples : ndarray
        ``(channels, samples)`` float32.
    sample_rate : int
        Hz.
    """
    import soundfile

    flac = io.BytesIO()
    # Always 24 bits: chromium divides positive samples of 16 by 32767, an error of -98 dB. FLAC
    # leaves out bits that are nowhere used.
    if _fits_24_bits(samples):
        try:
            soundfile.write(flac, samples.T, sample_rate, subtype="PCM_24", format="FLAC")
            return flac.getvalue()
        except soundfile.LibsndfileError:  # a rate that FLAC does not have
            pass
    wav = io.BytesIO()
    soundfile.write(wav, samples.T, sample_rate, subtype="FLOAT", format="WAV")
    return wav.getvalue()


def _fits_24_bits(samples: np.ndarray) -> bool:
    if np.max(np.abs(samples)) >= 1.0 - 2.0**-23:
        return False
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    rounding = 2.0**-46 / 12.0
    return power == 0.0 or 10.0 * math.log10(rounding / power) <= FAITHFUL_DB


def measured(samples: np.ndarray, sample_rate: int) -> dict[str, Any]:
    """Return a version's loudness and peak as the page states them.

    A mono version is heard on two speakers, so it counts in both channels.

    Returns
    -------
    dict
        ``loudness`` in LUFS, None below the gate of BS.1770; ``peak``, full scale 1.
    """
    pair = samples if len(samples) == 2 else np.repeat(samples, 2, axis=0)
    loudness = loudness_lufs(pair, sample_rate)
    peak_db = peak_dbfs(samples)
    return {
        "loudness": loudness if math.isfinite(loudness) else None,
        "peak": 10.0 ** (peak_db / 20.0),
    }


def aligned_mix(
    raw: np.ndarray, sample_rate: int, mixed: np.ndarray, mixed_rate: int
) -> tuple[np.ndarray, float | None, bool]:
    """Return an engineer's mix at the vocal's rate, in time with it and in its polarity.

    An inverted mix would cancel the other versions while one fades into the other.

    Parameters
    ----------
    raw, mixed : ndarray
        ``(channels, samples)``.
    sample_rate, mixed_rate : int
        Hz.

    Returns
    -------
    mix : ndarray
        ``(channels, samples)``.
    seconds : float or None
        How much later it lay; None where the two do not sound like the same performance, and
        the mix stays as it was.
    inverted : bool
        Whether its polarity was turned round.
    """
    from ..pairs import LOWEST_CORRELATION, PAIR_RATE, align, one_channel

    mix = resample(mixed, mixed_rate, sample_rate)
    ours, theirs = (
        one_channel(resample(signal, rate, PAIR_RATE))
        for signal, rate in ((raw, sample_rate), (mixed, mixed_rate))
    )
    lag, polarity, correlation = align(ours, theirs)
    if correlation < LOWEST_CORRELATION:
        return mix, None, False
    late = round(lag / PAIR_RATE * sample_rate)
    moved = mix[:, late:] if late >= 0 else np.pad(mix, ((0, 0), (-late, 0)))
    return np.ascontiguousarray(moved) * np.float32(polarity), lag / PAIR_RATE, polarity < 0
