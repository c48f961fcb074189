"""Read takes: in memory or in blocks, and enhanced first if asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..audio import AudioFile, read_audio_file
from ..audio.blocks import ArraySource, BlockSource, in_memory, open_source
from ..errors import AudioError
from .enhance import Enhancer, enhance

__all__ = ["enhanced", "open_take", "read_take", "read_take_file"]


def read_take(raw: Path) -> tuple[np.ndarray, int]:
    """Read a take.

    Raises
    ------
    AudioError
        As :func:`diffconsole.audio.read_audio`; a folder, with what to give instead.
    """
    file = read_take_file(raw)
    return file.samples, file.sample_rate


def read_take_file(raw: Path) -> AudioFile:
    """Read a take as :func:`read_take` does, with what the user should know of its file.

    Raises
    ------
    AudioError
        As :func:`read_take`.
    """
    if raw.is_dir():
        raise AudioError(f"{raw}: is a folder; give the files in it, as {raw / '*.wav'}")
    return read_audio_file(raw)


def open_take(raw: Path) -> BlockSource:
    """Open a take: in memory, or to be gone through in blocks where :func:`is_long` says so.

    Raises
    ------
    AudioError
        As :func:`read_take`.
    """
    if raw.is_dir():
        read_take(raw)
    return open_source(raw)


def enhanced(source: BlockSource, enhancer: Enhancer | None) -> tuple[BlockSource, tuple[str, ...]]:
    """What an enhancer makes of a take, at its rate and place in time; and what it said."""
    if enhancer is None:
        return source, ()
    samples, rate = in_memory(source)
    samples, notices = enhance(samples, rate, enhancer)
    return ArraySource(samples, rate, source.messages, source.time_reference), notices
