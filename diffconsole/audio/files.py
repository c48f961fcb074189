"""Audio files and levels: what writes, resamples, and measures loudness, and what reads.

Samples are float32 arrays ``(channels, samples)``, full scale at ±1.0. Reading is in
:mod:`diffconsole.audio.read`; it and writing use libsndfile (soundfile), resampling soxr; each is
imported when it is first needed. The loudness of more than two channels is pyloudnorm's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import AudioError, OutputError
from ..files import atomic_path, check_output
from .broadcast import stamp_time_reference
from .containers import inspect_container, locate_chunk
from .loudness import LoudnessMeter, gated_loudness_lufs
from .quantize import encoded_blocks
from .read import (
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    AudioFile,
    check_finite,
    check_rate,
    decoder_reason,
    file_name,
    read_audio,
    read_audio_file,
)
from .windows import repeated

__all__ = [
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "AudioFile",
    "loudness_lufs",
    "peak_dbfs",
    "read_audio",
    "read_audio_file",
    "resample",
    "write_audio",
]

# WAV and AIFF count bytes in 32 bits; the rest is for their headers.
_MAX_WRITE_BYTES = 2**32 - 2**16
_NORMALIZED_PEAK_DBFS = -1.0
_LOUDNESS_BLOCK_S = 0.4
_MOST_CHANNELS = 5
_LARGEST_SQUARED = 1e6

_FORMATS = {".wav": "WAV", ".flac": "FLAC", ".aiff": "AIFF", ".aif": "AIFF"}
_SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}


def write_audio(
    path: str | Path,
    samples: np.ndarray,
    sample_rate: int,
    *,
    bit_depth: str = "32f",
    normalize: bool = False,
    force: bool = False,
    seed: int = 0,
    time_reference: int | None = None,
) -> float:
    """Write an audio file, whole or not at all.

    16 and 24 bit get triangular dither (:mod:`diffconsole.audio.quantize`). The same arguments give
    the same bytes.

    Parameters
    ----------
    path : str or Path
        The file; ``.wav``, ``.flac``, ``.aiff`` or ``.aif``.
    samples : numpy.ndarray
        ``(channels, samples)``, one or two channels, finite.
    sample_rate : int
        In Hz, 16000 to 192000.
    bit_depth : {"32f", "24", "16"}
        Sample format; FLAC takes no ``"32f"``.
    normalize : bool
        Scale a signal that exceeds full scale to a peak of −1 dBFS, at any bit depth. Others
        stay as they are.
    force : bool
        Replace an existing file.
    seed : int
        Seed of the dither.
    time_reference : int, optional
        Samples since midnight at which the recording begins; WAV files keep it (BWF), others
        cannot.

    Returns
    -------
    float
        The gain that was applied, in dB; 0.0 unless normalized.

    Raises
    ------
    AudioError
        Suffix, bit depth, sample rate, or samples cannot be written; 16 or 24 bit would clip.
    OutputError
        The file exists, its folder is missing or read-only, the disk is full, the format's 4 GiB
        are exceeded.
    """
    path, samples = Path(path), np.asarray(samples)
    _output_format(path, bit_depth)
    _check_buffer(path, samples, sample_rate)
    check_room(path, samples.size, bit_depth)
    check_output(path, force=force)
    peak = _peak(samples)
    if not math.isfinite(peak):
        check_finite(path, samples, sample_rate)
    gain_db = safe_gain_db(path, peak, bit_depth, normalize)
    blocks = encoded_blocks(samples, 10 ** (gain_db / 20), bit_depth, seed)
    store_blocks(
        path,
        blocks,
        samples.shape,
        sample_rate,
        bit_depth=bit_depth,
        force=force,
        time_reference=time_reference,
    )
    return gain_db


def check_room(path: Path, values: int, bit_depth: str) -> None:
    """Refuse more than the format of a file can hold.

    Raises
    ------
    OutputError
        The format's 4 GiB are exceeded.
    """
    major, _ = _output_format(path, bit_depth)
    size = values * (4 if bit_depth == "32f" else int(bit_depth) // 8)
    if major != "FLAC" and size > _MAX_WRITE_BYTES:
        raise OutputError(
            f"{path}: {size / 2**30:.1f} GiB are more than {major} files "
            "can hold (4 GiB); write .flac with --bit-depth 24, or shorter parts"
        )


def store_blocks(
    path: Path,
    blocks: Iterable[np.ndarray],
    shape: tuple[int, ...],
    sample_rate: int,
    *,
    bit_depth: str,
    force: bool,
    time_reference: int | None = None,
) -> None:
    """Write what :mod:`diffconsole.audio.quantize` yields of ``(channels, samples)``, whole or not.

    Raises
    ------
    AudioError, OutputError
        As :func:`write_audio`.
    """
    import soundfile

    major, subtype = _output_format(path, bit_depth)
    channels, frames = shape
    with atomic_path(path, force=force) as temporary:
        try:
            with soundfile.SoundFile(
                file_name(temporary), "w", int(sample_rate), channels, subtype, format=major
            ) as file:
                if time_reference is not None and major == "WAV":
                    stamp_time_reference(file, time_reference)
                for block in blocks:
                    file.write(block)
            # libsndfile stamps the time into its PEAK chunk; readers ignore it.
            peak_chunk = locate_chunk(temporary, b"PEAK") if major != "FLAC" else None
            if peak_chunk is not None:
                with temporary.open("r+b") as raw:
                    raw.seek(peak_chunk + 4)
                    raw.write(bytes(4))
            _check_written(temporary, frames)
        except (soundfile.LibsndfileError, AudioError) as error:
            # libsndfile says only "System error". The system itself says why, when asked for
            # more room in the same file; atomic_path puts its answer into words.
            with temporary.open("ab") as raw:
                raw.write(bytes(1 << 20))
                raw.flush()
                os.fsync(raw.fileno())
            raise OutputError(
                f"{path}: could not be written whole ({decoder_reason(error)}); check the free "
                "space there, or choose another folder"
            ) from error


def resample(samples: np.ndarray, sample_rate: int, new_rate: int) -> np.ndarray:
    """Change the sample rate, with soxr at its very high quality and without a shift in time.

    Parameters
    ----------
    samples : numpy.ndarray
        ``(channels, samples)``.
    sample_rate, new_rate : int
        In Hz.

    Returns
    -------
    numpy.ndarray
        float32 ``(channels, round(samples · new_rate / sample_rate))``, at least one sample long
        unless the input is empty; the input itself when the rates are equal.

    Raises
    ------
    AudioError
        A rate is not positive, or the array has not two dimensions.
    """
    import soxr

    if sample_rate <= 0 or new_rate <= 0:
        raise AudioError(
            f"cannot resample from {sample_rate} Hz to {new_rate} Hz; give positive sample rates"
        )
    _check_dimensions(samples)
    if sample_rate == new_rate:
        return samples
    frames = np.asarray(samples, dtype=np.float32).T
    result = soxr.resample(frames, sample_rate, new_rate, quality="VHQ")
    if len(result) == 0 < len(frames):
        # Shorter than half an output sample: with silence behind it, one sample comes out.
        padded = np.pad(frames, ((0, -(-sample_rate // new_rate)), (0, 0)))
        result = soxr.resample(padded, sample_rate, new_rate, quality="VHQ")[:1]
    return np.ascontiguousarray(result.T)


def loudness_lufs(samples: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness after ITU-R BS.1770-4, gated (:mod:`.loudness`).

    The standard's blocks last 0.4 s. A shorter clip is repeated, whole, until it fills one:
    filled up with silence it would measure quieter than it sounds, by 3 dB at half the length.
    One channel counts once: a mono file is 3 dB below the same signal in two channels. The fourth
    and the fifth channel are those behind, which count 1.5 dB more.

    Parameters
    ----------
    samples : numpy.ndarray
        ``(channels, samples)``.
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        LUFS; −inf for silence, for no samples, and below the gate at −70 LUFS.

    Raises
    ------
    AudioError
        The array has not two dimensions, or more than five channels.
    """
    _check_dimensions(samples)
    if len(samples) > _MOST_CHANNELS:
        raise AudioError(
            f"loudness is defined for up to {_MOST_CHANNELS} channels, not for {len(samples)}"
        )
    if not np.any(samples):
        return -math.inf
    # Squares of single precision overflow far above full scale, where float files may reach.
    peak = _peak(samples)
    if peak > _LARGEST_SQUARED:
        return loudness_lufs(samples / np.float32(peak), sample_rate) + 20.0 * math.log10(peak)
    shortest = math.ceil(_LOUDNESS_BLOCK_S * sample_rate)
    samples = repeated(samples, shortest)
    if len(samples) > 2:
        # Takes have one channel or two, and pyloudnorm's import takes half a second.
        import pyloudnorm

        surround = pyloudnorm.Meter(sample_rate, block_size=_LOUDNESS_BLOCK_S)
        return float(surround.integrated_loudness(samples.T.astype(np.float64)))
    meter = LoudnessMeter(sample_rate, *samples.shape)
    meter.add(samples)
    return gated_loudness_lufs(meter.mean_squares())


def peak_dbfs(samples: np.ndarray) -> float:
    """Level of the largest sample of any channel in dB below full scale; −inf for silence."""
    peak = _peak(np.asarray(samples))
    return 20 * math.log10(peak) if peak > 0 else -math.inf


def _output_format(path: Path, bit_depth: str) -> tuple[str, str]:
    """Format and subtype for soundfile."""
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise AudioError(
            f"{path}: cannot write files of kind {suffix or '(no suffix)'}; use one of "
            f"{', '.join(_FORMATS)}"
        )
    if bit_depth not in _SUBTYPES:
        raise AudioError(
            f"{path}: bit depth {bit_depth!r} is unknown; use one of {', '.join(_SUBTYPES)}"
        )
    if suffix == ".flac" and bit_depth == "32f":
        raise AudioError(
            f"{path}: FLAC holds no 32-bit float samples; use --bit-depth 24, or write .wav"
        )
    return _FORMATS[suffix], _SUBTYPES[bit_depth]


def _check_dimensions(samples: np.ndarray) -> None:
    if samples.ndim != 2:
        raise AudioError(f"an array of shape {samples.shape} is no audio; give (channels, samples)")


def _check_buffer(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """Refuse arrays that are no audio of one or two channels."""
    if samples.ndim != 2 or not 1 <= len(samples) <= 2 or samples.dtype.kind != "f":
        raise AudioError(
            f"{path}: an array of shape {samples.shape} and type {samples.dtype} cannot be "
            "written; give floats (channels, samples) with one or two channels"
        )
    if samples.shape[1] == 0:
        raise AudioError(f"{path}: there are 0 samples to write; give at least one")
    check_rate(path, sample_rate)


def safe_gain_db(path: Path, peak: float, bit_depth: str, normalize: bool) -> float:
    """Return the gain that keeps a peak within full scale; refuse clipping nobody asked about.

    A sample at exactly +1.0 is one LSB above the top code and counts as full scale.

    Raises
    ------
    AudioError
        16 or 24 bit would clip, and `normalize` is false.
    """
    if peak <= 1.0:
        return 0.0
    over_db = 20 * math.log10(peak)
    if normalize:
        return _NORMALIZED_PEAK_DBFS - over_db
    if bit_depth == "32f":
        return 0.0
    # Rounded up, so that it never reads "by 0.00 dB".
    raise AudioError(
        f"{path}: would clip by {math.ceil(over_db * 100 - 1e-6) / 100:.2f} dB at {bit_depth} bit; "
        "add --normalize, or use --bit-depth 32f"
    )


def _check_written(path: Path, frames: int) -> None:
    """Make sure that every sample reached the file, the last one readable."""
    import soundfile

    inspect_container(path)
    with soundfile.SoundFile(file_name(path)) as file:
        file.seek(max(frames - 1, 0))
        if file.frames != frames or len(file.read(1)) != 1:
            raise AudioError(f"{file.frames} of {frames} samples were stored")


def _peak(samples: np.ndarray) -> float:
    """Largest magnitude, without a copy of the samples; NaN where there is one."""
    if samples.size == 0:
        return 0.0
    return max(float(np.max(samples)), -float(np.min(samples)))
