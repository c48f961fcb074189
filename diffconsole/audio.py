"""Audio files and levels: the only file that reads, writes, resamples, and measures loudness.

Samples are float32 arrays ``(channels, samples)``, full scale at ±1.0. What is read is what is
stored: nothing is padded, scaled, or clipped. Reading and writing use libsndfile (soundfile),
resampling soxr, loudness pyloudnorm; each is imported when it is first needed.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .containers import Container, inspect_container, locate_chunk
from .errors import AudioError, OutputError
from .files import atomic_path, check_output
from .loudness import LoudnessMeter, gated_loudness_lufs
from .quantize import encoded_blocks

__all__ = [
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "loudness_lufs",
    "peak_dbfs",
    "read_audio",
    "resample",
    "write_audio",
]

MIN_SAMPLE_RATE = 16_000
MAX_SAMPLE_RATE = 192_000

# A file is held in memory whole; beyond this it is refused before any memory is taken.
_MAX_READ_BYTES = 4 * 2**30
# WAV and AIFF count bytes in 32 bits; the rest is for their headers.
_MAX_WRITE_BYTES = 2**32 - 2**16
_BLOCK_SAMPLES = 1 << 17
_MP3_FRAME_SAMPLES = 1152
_NORMALIZED_PEAK_DBFS = -1.0
_LOUDNESS_BLOCK_S = 0.4

_FORMATS = {".wav": "WAV", ".flac": "FLAC", ".aiff": "AIFF", ".aif": "AIFF"}
_SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}
_ANOTHER_EXPORT = "export it again as WAV"


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """Read an audio file whole, exactly as stored.

    WAV (8, 16, 24, 32 bit, float, double; RF64, W64), FLAC, Ogg Vorbis, Opus, MP3, AIFF, CAF.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    samples : numpy.ndarray
        float32 ``(channels, samples)``, C-contiguous; one or two channels, at least one sample,
        all finite. Integer files reach −1.0 … 1.0, float files whatever they hold.
    sample_rate : int
        In Hz, 16000 to 192000.

    Raises
    ------
    AudioError
        The file is missing, a folder, empty, unreadable, no audio, truncated, or damaged; has no
        samples, more than two channels, a NaN or Inf sample, or a rate out of range; would take
        more than 4 GiB.
    """
    import soundfile

    path = Path(path)
    container = inspect_container(path)
    try:
        with soundfile.SoundFile(_decodable(path, container)) as file:
            sample_rate, frames = int(file.samplerate), int(file.frames)
            _check_stream(path, sample_rate, file.channels, frames)
            _check_mp3_length(path, container, frames)
            samples = _read_through(file, frames)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: is damaged, truncated or of an unknown kind of {container.kind} "
            f"({_reason(error)}); copy it again, or {_ANOTHER_EXPORT}"
        ) from error
    except MemoryError:
        raise AudioError(f"{path}: does not fit into memory; cut it into shorter parts") from None
    missing = frames - samples.shape[1]
    if missing > (2 * _MP3_FRAME_SAMPLES if container.kind == "MP3" else 0):
        raise AudioError(
            f"{path}: is truncated: {frames} samples are stated, {samples.shape[1]} are there; "
            f"copy it again, or {_ANOTHER_EXPORT}"
        )
    if samples.shape[1] == 0:
        raise AudioError(f"{path}: has 0 samples; {_ANOTHER_EXPORT}")
    check_finite(path, samples, sample_rate)
    return samples, sample_rate


def _read_through(file: Any, frames: int) -> np.ndarray:
    """Decode all of an open file to ``(channels, samples)``, with that much memory and no more."""
    # soundfile seeks between blocks where it can, which lossy decoders do not do exactly.
    file.seekable = lambda: False
    samples = np.empty((file.channels, frames), np.float32)
    done = 0
    while done < frames:
        block = file.read(min(_BLOCK_SAMPLES, frames - done), dtype="float32", always_2d=True)
        if not len(block):
            break
        samples[:, done : done + len(block)] = block.T
        done += len(block)
    return samples if done == frames else samples[:, :done].copy()


def write_audio(
    path: str | Path,
    samples: np.ndarray,
    sample_rate: int,
    *,
    bit_depth: str = "32f",
    normalize: bool = False,
    force: bool = False,
    seed: int = 0,
) -> float:
    """Write an audio file, whole or not at all.

    16 and 24 bit get triangular dither (:mod:`diffconsole.quantize`). The same arguments give
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
    store_blocks(path, blocks, samples.shape, sample_rate, bit_depth=bit_depth, force=force)
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
) -> None:
    """Write what :mod:`diffconsole.quantize` yields of ``(channels, samples)``, whole or not.

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
                f"{path}: could not be written whole ({_reason(error)}); check the free space "
                "there, or choose another folder"
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
    """Integrated loudness after ITU-R BS.1770-4, gated, as pyloudnorm measures it.

    The standard's blocks last 0.4 s. A shorter clip is repeated, whole, until it fills one:
    filled up with silence it would measure quieter than it sounds, by 3 dB at half the length.
    One channel counts once: a mono file is 3 dB below the same signal in two channels.

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
        The array has not two dimensions.
    """
    import pyloudnorm

    _check_dimensions(samples)
    if not np.any(samples):
        return -math.inf
    shortest = math.ceil(_LOUDNESS_BLOCK_S * sample_rate)
    length = samples.shape[1]
    if length < shortest:
        samples = np.tile(samples, (1, -(-shortest // length)))
    if length > 8 * _BLOCK_SAMPLES:
        # pyloudnorm takes several times the memory of what it measures.
        parts = LoudnessMeter(sample_rate, len(samples), length)
        for start in range(0, length, _BLOCK_SAMPLES):
            parts.add(samples[:, start : start + _BLOCK_SAMPLES])
        return gated_loudness_lufs(parts.mean_squares())
    meter = pyloudnorm.Meter(sample_rate, block_size=_LOUDNESS_BLOCK_S)
    return float(meter.integrated_loudness(samples.T))


def peak_dbfs(samples: np.ndarray) -> float:
    """Level of the largest sample of any channel in dB below full scale; −inf for silence."""
    peak = _peak(np.asarray(samples))
    return 20 * math.log10(peak) if peak > 0 else -math.inf


def _decodable(path: Path, container: Container) -> Any:
    """Give what libsndfile opens: the path, or a copy in memory with a header that it reads.

    It takes a WAV that states 0 bytes of samples at its word; "all ones" it reads to the end.
    """
    if container.unsized_at is None:
        return file_name(path)
    content = bytearray(path.read_bytes())
    content[container.unsized_at : container.unsized_at + 4] = b"\xff" * 4
    return io.BytesIO(content)


def file_name(path: Path) -> str | bytes:
    """Give soundfile bytes where it would encode: names that are not valid UTF-8 must open too."""
    return os.fsencode(path) if os.name == "posix" else str(path)


def _check_stream(path: Path, sample_rate: int, channels: int, frames: int) -> None:
    """Refuse by what the header says, before memory is taken."""
    if channels > 2:
        raise AudioError(f"{path}: has {channels} channels; export it as mono or stereo")
    _check_rate(path, sample_rate)
    if frames == 0:
        raise AudioError(f"{path}: has 0 samples; {_ANOTHER_EXPORT}")
    size = frames * channels * 4
    if size > _MAX_READ_BYTES:
        raise AudioError(
            f"{path}: would take {size / 2**30:.1f} GiB of memory, {_MAX_READ_BYTES / 2**30:.0f} "
            "GiB are allowed; cut it into shorter parts"
        )


def _check_mp3_length(path: Path, container: Container, frames: int) -> None:
    """Refuse an MP3 of changing bit rate without a length: the decoder stops at its estimate."""
    counted = container.samples
    if counted is not None and abs(counted - frames) > 2 * _MP3_FRAME_SAMPLES:
        raise AudioError(
            f"{path}: this MP3 does not state its length and cannot be read whole ({frames} of "
            f"{counted} samples); convert it to WAV"
        )


def _check_rate(path: Path, sample_rate: int) -> None:
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{path}: {sample_rate} Hz is outside {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz; "
            "convert the audio to 44100 or 48000 Hz"
        )


def check_finite(path: Path, samples: np.ndarray, sample_rate: int, before: int = 0) -> None:
    """Refuse NaN and Inf, naming the first in time; `before` samples went before these."""
    for start in range(0, samples.shape[1], _BLOCK_SAMPLES):
        finite = np.isfinite(samples[:, start : start + _BLOCK_SAMPLES])
        if finite.all():
            continue
        offset = int(np.argmin(finite.all(axis=0)))
        channel = int(np.argmin(finite[:, offset]))
        kind = "NaN" if np.isnan(samples[channel, start + offset]) else "Inf"
        side = f"channel {channel + 1} of {len(samples)}"
        index = before + start + offset
        raise AudioError(
            f"{path}: sample index {index} ({index / sample_rate:.6f} s, "
            f"{side}) is {kind}; repair it in an editor or export the audio again"
        )


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
    _check_rate(path, sample_rate)


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


def _reason(error: Exception) -> str:
    """What a decoder says, in one line and without the file name that it repeats."""
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(text.split()).rstrip(".")
