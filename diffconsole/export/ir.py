"""The sends as an impulse response, for any convolver.

The file holds pre-delay, cuts and width at wet level 0 dB: the return of
:mod:`diffconsole.modules.reverb.process` is the mean of the vocal's channels convolved with it,
times ``10^(wet_db/20)``, added to the dry. Where the delay is on, the file holds delay and reverb
together, with their levels (:mod:`.sends`), up to 60 s.
"""

from __future__ import annotations

import io

import numpy as np

from ..errors import ExportError
from .base import Figure, Files, Format, Mapped, Strip
from .sends import SEND_KEYS, sends_response

__all__ = ["FORMAT", "wav_bytes"]

NAMES = (
    "pre_delay_ms", "decay_s", "low_ratio", "high_ratio", "low_cut_hz", "high_cut_hz", "width",
)  # fmt: skip
LONGEST_S = 60


def wav_bytes(samples: np.ndarray, sample_rate: int, *, bits: int = 32) -> bytes:
    """Return ``(channels, samples)`` as the bytes of a floating-point WAV file.

    Parameters
    ----------
    samples : ndarray
        Any level.
    sample_rate : int
        Hz.
    bits : int
        32, or 64 for consumers that work in double precision.
    """
    import scipy.io.wavfile

    file = io.BytesIO()
    # libsndfile writes the time into each file of floats: the same reverb would be other bytes.
    scipy.io.wavfile.write(file, sample_rate, samples.T.astype(f"<f{bits // 8}"))
    return file.getvalue()


def _write(strip: Strip) -> Files:
    if strip.on("delay"):
        return {"": wav_bytes(sends_response(strip, LONGEST_S), strip.sample_rate)}
    if not strip.on("reverb"):
        raise ExportError(
            "the reverb is off: there is no impulse response to write; use a preset with reverb"
        )
    return {"": wav_bytes(strip.impulse_response(), strip.sample_rate)}


def _notes(strip: Strip) -> tuple[str, ...]:
    if strip.on("delay"):
        lines = (
            "delay: with its level in the response; set the convolver's wet and dry level to 0 dB, "
            "its own normalisation off; the send is the mean of the channels, after compressor and "
            "before pan",
            "reverb.wet_db: in the response, beside the delay",
        )
        return lines if strip.on("reverb") else lines[:1]
    if not strip.on("reverb"):
        return ()
    return (
        f"reverb.wet_db: set the convolver's wet level to {strip['reverb.wet_db']:.2f} dB, dry to "
        "0 dB, its own normalisation off; the send is the mean of the channels, after compressor "
        "and before pan",
    )


FORMAT = Format(
    key="ir",
    title="impulse response of reverb and delay, stereo 32-bit float WAV, for any convolver",
    ending=".wav",
    write=_write,
    mapped=tuple(Mapped(key, "samples") for key in SEND_KEYS if key != "reverb.wet_db"),
    lost={
        "input_gain": "not part of the response",
        "eq": "not part of the response",
        "compressor": "not part of the response",
        "pan": "not part of the response",
        "output_gain": "not part of the response",
    },
    notes=_notes,
    figures=(Figure("reverb's return", -140.0),),
    consumer="SciPy's convolution",
)
