"""Recordings as a source of blocks: from a file that is never in memory whole, or from an array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import AudioError
from .containers import inspect_container
from .read import (
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    check_finite,
    file_name,
    read_audio_file,
)

__all__ = [
    "LONG_BYTES",
    "ArraySource",
    "BlockSource",
    "FileSource",
    "in_memory",
    "is_long",
    "open_source",
    "rechunk",
]

LONG_BYTES = 1 << 27
"""Two channels in float32 that take more than this are processed in blocks: 5:49 at 48 kHz."""

READ_SAMPLES = 1 << 19

# Where libsndfile finds every sample again after a seek, and the header states how many there are.
EXACT_KINDS = ("WAV", "RF64", "BW64", "W64", "AIFF", "CAF", "FLAC")
EXACT_SUBTYPES = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")


class BlockSource(Protocol):
    """A recording that can be gone through more than once, and read in parts."""

    @property
    def sample_rate(self) -> int:
        """Hz."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        ...

    @property
    def messages(self) -> tuple[str, ...]:
        """What the user should know of the file, a line each."""
        ...

    @property
    def time_reference(self) -> int | None:
        """Samples since midnight at which the recording begins, where the file states it."""
        ...

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all of it, ``(channels, block)`` float32."""
        ...

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return some of it, ``(channels, stop − start)`` float32."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """A recording in memory, ``(channels, samples)``."""

    samples: np.ndarray
    sample_rate: int
    messages: tuple[str, ...] = ()
    time_reference: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        return self.samples.shape[0], self.samples.shape[1]

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all of it."""
        for start in range(0, self.samples.shape[1], READ_SAMPLES):
            yield self.samples[:, start : start + READ_SAMPLES]

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return some of it."""
        return self.samples[:, start:stop]


@dataclass(frozen=True)
class FileSource:
    """A recording in a file whose samples lie where its header says."""

    path: Path
    sample_rate: int
    shape: tuple[int, int]
    messages: tuple[str, ...] = ()
    time_reference: int | None = None

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all of it.

        Raises
        ------
        AudioError
            The file is damaged, has become shorter, or holds a NaN or Inf sample.
        """
        for start in range(0, self.shape[1], READ_SAMPLES):
            yield self.part(start, min(start + READ_SAMPLES, self.shape[1]))

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return some of it; errors as of :meth:`blocks`."""
        import soundfile

        try:
            with soundfile.SoundFile(file_name(self.path)) as file:
                file.seek(start)
                interleaved = file.read(stop - start, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError) as error:
            raise AudioError(
                f"{self.path}: is damaged or cannot be read any more "
                f"({' '.join(str(error).split())}); copy it again"
            ) from None
        if interleaved.shape != (stop - start, self.shape[0]):
            raise AudioError(
                f"{self.path}: is truncated: {self.shape[1]} samples are stated, "
                f"{start + len(interleaved)} are there; copy it again, or export it again as WAV"
            )
        samples = np.ascontiguousarray(interleaved.T)
        check_finite(self.path, samples, self.sample_rate, start)
        return samples


def is_long(source: BlockSource) -> bool:
    """Whether a recording is processed in blocks: by its samples alone, so always alike."""
    return source.shape[1] * 2 * 4 > LONG_BYTES


def in_memory(source: BlockSource) -> tuple[np.ndarray, int]:
    """Return a recording whole, as :func:`diffconsole.audio.read_audio` does."""
    if isinstance(source, ArraySource):
        return source.samples, source.sample_rate
    return source.part(0, source.shape[1]), source.sample_rate


def open_source(path: Path) -> BlockSource:
    """Open a recording: in memory, but for a long one that can be read in parts.

    What is lossy, or does not state its length, is read whole whatever its length.

    Raises
    ------
    AudioError
        As :func:`diffconsole.audio.read_audio`; what lies behind the header shows later.
    """
    long = _long_file(path)
    if long is not None:
        return long
    file = read_audio_file(path)
    return ArraySource(file.samples, file.sample_rate, file.messages, file.time_reference)


def _long_file(path: Path) -> FileSource | None:
    import soundfile

    try:
        with soundfile.SoundFile(file_name(path)) as file:
            source = FileSource(path, int(file.samplerate), (file.channels, int(file.frames)))
            exact = file.subtype in EXACT_SUBTYPES and file.channels <= 2
    except (soundfile.LibsndfileError, OSError, ValueError, TypeError):
        return None  # the ordinary reader says what is wrong, or knows other means
    if not MIN_SAMPLE_RATE <= source.sample_rate <= MAX_SAMPLE_RATE:
        return None
    if not exact or not is_long(source):
        return None
    container = inspect_container(path)
    as_stated = container.stated_seconds is None and container.demuxer is None
    if container.kind not in EXACT_KINDS or container.patches or container.pieces or not as_stated:
        return None
    messages = tuple(f"{path}: {message}" for message in container.messages)
    return replace(source, messages=messages, time_reference=container.time_reference)


def rechunk(blocks: Iterable[np.ndarray], samples: int) -> Iterator[np.ndarray]:
    """Yield the same signal in blocks of so many samples, the last one shorter."""
    kept: list[np.ndarray] = []
    have = 0
    for block in blocks:
        kept.append(block)
        have += block.shape[1]
        while have >= samples:
            whole = kept[0] if len(kept) == 1 else np.concatenate(kept, axis=1)
            yield whole[:, :samples]
            kept = [whole[:, samples:]]
            have -= samples
    if have:
        yield kept[0] if len(kept) == 1 else np.concatenate(kept, axis=1)
