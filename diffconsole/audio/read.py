"""Reading audio files: what is stored is what is read, nothing is padded, scaled, or clipped.

libsndfile (soundfile) decodes, ffmpeg what libsndfile cannot; headers that are wrong about the
file are corrected on the way to the decoder, and what was corrected is said.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AudioError
from .containers import Container, inspect_container
from .decoder_output import without_decoder_words
from .foreign import conversion, decode_foreign
from .mpeg import FRAME_SAMPLES

__all__ = [
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "AudioFile",
    "check_finite",
    "check_rate",
    "decoder_reason",
    "file_name",
    "read_audio",
    "read_audio_file",
]

MIN_SAMPLE_RATE = 16_000
MAX_SAMPLE_RATE = 192_000

# A file is held in memory whole; beyond this it is refused before any memory is taken.
_MAX_READ_BYTES = 4 * 2**30
_BLOCK_SAMPLES = 1 << 17
_ANOTHER_EXPORT = "export it again as WAV"
# libsndfile states this many samples, or more, of a stream whose length it cannot find.
_UNKNOWN_LENGTH = 2**60
# +200 dBFS: above it single precision overflows in the strip, and no recording is near.
_LARGEST_SAMPLE = 1e10
# A voice moves little from one sample to the next; bytes that are no samples move as noise does,
# whose steps have twice its own power.
_PROBE_SAMPLES = 1 << 16
_LARGEST_STEP, _HIGHEST_PEAK = 1.0, 8.0


@dataclass(frozen=True)
class AudioFile:
    """What was read from an audio file.

    Attributes
    ----------
    samples : ndarray
        float32 ``(channels, samples)``.
    sample_rate : int
        Hz.
    messages : tuple of str
        What the user should know of this file, a line each, with the file's name.
    time_reference : int or None
        Samples since midnight at which the recording begins, where the file states it (BWF).
    """

    samples: np.ndarray
    sample_rate: int
    messages: tuple[str, ...] = ()
    time_reference: int | None = None


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """Read an audio file whole, exactly as stored.

    WAV (8, 16, 24, 32 bit, float, double, MP3; RF64, BW64, W64), FLAC, Ogg Vorbis, Opus, MP3,
    AIFF, CAF; where ffmpeg is installed also M4A, AAC, ALAC, WebM, WMA and the like.

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
    found = read_audio_file(path)
    return found.samples, found.sample_rate


def read_audio_file(path: str | Path) -> AudioFile:
    """Read an audio file as :func:`read_audio` does, with what the user should know of it.

    Raises
    ------
    AudioError
        As :func:`read_audio`.
    """
    path = Path(path)
    container = inspect_container(path)
    messages = tuple(f"{path}: {message}" for message in container.messages)
    try:
        if container.demuxer is not None:
            samples, sample_rate, said = decode_foreign(path, container.demuxer, _MAX_READ_BYTES)
            _check_stream(path, sample_rate, len(samples), samples.shape[1])
            messages += tuple(f"{path}: {message}" for message in said)
        elif container.pieces:
            samples, sample_rate = _read_pieces(path, container)
        else:
            samples, sample_rate = _read_whole(path, container)
    except MemoryError:
        raise AudioError(f"{path}: does not fit into memory; cut it into shorter parts") from None
    if container.stated_seconds is not None:
        samples, message = _read_on(samples, sample_rate, container.stated_seconds)
        messages += (f"{path}: {message}",)
    if samples.shape[1] == 0:
        raise AudioError(f"{path}: has 0 samples; {_ANOTHER_EXPORT}")
    check_finite(path, samples, sample_rate)
    return AudioFile(samples, sample_rate, messages, container.time_reference)


def _read_whole(path: Path, container: Container) -> tuple[np.ndarray, int]:
    """Decode a file from beginning to end."""
    import soundfile

    with (
        _decoder_errors(path, container.kind),
        without_decoder_words(container.kind),
        _opened(path, container) as source,
        soundfile.SoundFile(source) as file,
    ):
        sample_rate, frames = int(file.samplerate), int(file.frames)
        _check_stream(path, sample_rate, file.channels, frames)
        samples = _read_through(file, frames)
    missing = frames - samples.shape[1]
    if missing > (2 * FRAME_SAMPLES if container.kind == "MP3" else 0):
        raise AudioError(
            f"{path}: is truncated: {frames} samples are stated, {samples.shape[1]} are there; "
            f"copy it again, or {_ANOTHER_EXPORT}"
        )
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


def _read_pieces(path: Path, container: Container) -> tuple[np.ndarray, int]:
    """Decode the parts of a file, each as a file of its own, and join them."""
    import soundfile

    found: list[np.ndarray] = []
    total = 0
    kind: tuple[int, int] | None = None
    with (
        _decoder_errors(path, container.kind),
        without_decoder_words(container.kind),
        path.open("rb") as source,
    ):
        for piece in container.pieces:
            content = io.BytesIO(piece.front + b"".join(_stretches(source, piece.ranges)))
            with soundfile.SoundFile(content) as file:
                kind = kind or (int(file.samplerate), file.channels)
                if kind != (file.samplerate, file.channels):
                    raise AudioError(
                        f"{path}: joins recordings with different sample rates or channel counts; "
                        "convert the parts to WAV"
                    )
                total += int(file.frames)
                _check_stream(path, kind[0], kind[1], total)
                found.append(file.read(dtype="float32", always_2d=True).T[:, piece.skip :])
    samples = np.concatenate(found, axis=1)
    assert kind is not None
    return np.ascontiguousarray(samples), kind[0]


def _stretches(file: Any, ranges: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
    for start, end in ranges:
        file.seek(start)
        yield file.read(end - start)


@contextmanager
def _decoder_errors(path: Path, kind: str) -> Iterator[None]:
    """Put what the decoder says into one line with the file's name."""
    import soundfile

    try:
        yield
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: is damaged, truncated or of an unknown kind of {kind} "
            f"({decoder_reason(error)}); copy it again, or {_ANOTHER_EXPORT}"
        ) from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror}); copy it again") from error


@contextmanager
def _opened(path: Path, container: Container) -> Iterator[Any]:
    """Give what libsndfile opens: the path, or a view of the file with a corrected header."""
    if not container.patches:
        yield file_name(path)
        return
    with path.open("rb") as file:
        yield _Patched(file, container.patches)


class _Patched:
    """A file of which some bytes read as others."""

    def __init__(self, file: Any, patches: tuple[tuple[int, bytes], ...]) -> None:
        self._file, self._patches = file, patches
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        start = self._file.tell()
        content: bytes = self._file.read(count)
        for at, wanted in self._patches:
            first, last = max(at, start), min(at + len(wanted), start + len(content))
            if first < last:
                part = wanted[first - at : last - at]
                content = content[: first - start] + part + content[last - start :]
        return content

    def write(self, content: bytes) -> int:
        """Refuse; libsndfile wants to see the method."""
        raise OSError("read only")


def _read_on(
    samples: np.ndarray, sample_rate: int, stated_seconds: float
) -> tuple[np.ndarray, str]:
    """Decide on what lies behind the samples that a header states: kept if it sounds.

    Returns
    -------
    samples : ndarray
        All, or the stated ones.
    message : str
        What was done.
    """
    stated = min(round(stated_seconds * sample_rate), samples.shape[1])
    seconds = (samples.shape[1] - stated) / sample_rate
    there = f"its header states {stated / sample_rate:.1f} s, and {seconds:.1f} s more lie behind"
    if _sounds(samples[:, stated : stated + _PROBE_SAMPLES]):
        return samples, f"{there} them (an interrupted recording?); all of it was read"
    kept = np.ascontiguousarray(samples[:, :stated])
    return kept, f"{there} them that do not look like sound; they were left out"


def _sounds(samples: np.ndarray) -> bool:
    """Whether these are the samples of a voice rather than other bytes."""
    if not np.isfinite(samples).all() or samples.shape[1] < 2:
        return False
    wide = samples.astype(np.float64)
    power = np.mean(wide**2)
    step = np.mean(np.diff(wide, axis=1) ** 2)
    return bool(np.max(np.abs(wide)) <= _HIGHEST_PEAK and step < _LARGEST_STEP * power)


def file_name(path: Path) -> str | bytes:
    """Give soundfile bytes where it would encode: names that are not valid UTF-8 must open too."""
    return os.fsencode(path) if os.name == "posix" else str(path)


def _check_stream(path: Path, sample_rate: int, channels: int, frames: int) -> None:
    """Refuse by what the header says, before memory is taken."""
    if channels > 2:
        raise AudioError(f"{path}: has {channels} channels; export it as mono or stereo")
    check_rate(path, sample_rate)
    if frames == 0:
        raise AudioError(f"{path}: has 0 samples; {_ANOTHER_EXPORT}")
    if frames >= _UNKNOWN_LENGTH:
        raise AudioError(
            f"{path}: does not state its length, and it cannot be found; convert it: "
            f"{conversion(path)}"
        )
    size = frames * channels * 4
    if size > _MAX_READ_BYTES:
        raise AudioError(
            f"{path}: would take {size / 2**30:.1f} GiB of memory, {_MAX_READ_BYTES / 2**30:.0f} "
            "GiB are allowed; cut it into shorter parts"
        )


def check_rate(path: Path, sample_rate: int) -> None:
    """Refuse a sample rate that is out of range.

    Raises
    ------
    AudioError
        It is.
    """
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{path}: {sample_rate} Hz is outside {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz; "
            "convert the audio to 44100 or 48000 Hz"
        )


def check_finite(path: Path, samples: np.ndarray, sample_rate: int, before: int = 0) -> None:
    """Refuse NaN, Inf and what is no sound either, naming the first in time.

    `before` samples of the file went before these.

    Raises
    ------
    AudioError
        There is one.
    """
    for start in range(0, samples.shape[1], _BLOCK_SAMPLES):
        # False for NaN too.
        finite = np.abs(samples[:, start : start + _BLOCK_SAMPLES]) <= _LARGEST_SAMPLE
        if finite.all():
            continue
        offset = int(np.argmin(finite.all(axis=0)))
        channel = int(np.argmin(finite[:, offset]))
        value = float(samples[channel, start + offset])
        kind = "NaN" if math.isnan(value) else "Inf"
        if math.isfinite(value):
            kind = f"{value:.3g} ({20 * math.log10(abs(value)):+.1f} dBFS), far too loud for sound"
        side = f"channel {channel + 1} of {len(samples)}"
        index = before + start + offset
        raise AudioError(
            f"{path}: sample index {index} ({index / sample_rate:.6f} s, "
            f"{side}) is {kind}; repair it in an editor or export the audio again"
        )


def decoder_reason(error: Exception) -> str:
    """Return what a decoder says, in one line and without the file name that it repeats."""
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(text.split()).rstrip(".")
