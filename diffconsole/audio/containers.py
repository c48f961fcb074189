"""What the headers of an audio file promise, held against the bytes that are there.

The decoder reads a truncated WAV, AIFF, Ogg or W64 without a word and returns what is left; only
the container itself shows that something is missing. Each check reads a few kilobytes (an MP3 is
walked frame by frame, an Ogg file page by page) and decodes nothing. No length that a header
states is trusted before it was compared with the file's.

Sources: RFC 9639 (FLAC); of the other formats, :mod:`~diffconsole.audio.chunks`,
:mod:`~diffconsole.audio.mpeg`, :mod:`~diffconsole.audio.ogg` and :mod:`~diffconsole.audio.foreign`.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import AudioError
from .chunks import NAMES, ChunkError, check_chunks, is_audio_form, locate_chunk
from .endings import MPEG_SUFFIXES
from .foreign import demuxer_of
from .mpeg import MpegError, Piece, begins_mpeg, find_mpeg, id3_length, walk_mpeg
from .ogg import OggError, check_end, links_of

__all__ = ["Container", "inspect_container", "locate_chunk"]

_AGAIN = "copy or export it again"
_MOST_TAGS = 100
# A channel: longer than any recording that fits into memory; the walk over an MP3 ends there.
_MOST_SAMPLES = 2**31
# A foreign tail shorter than this is a tag that nobody knows, and no sound.
_LEAST_IGNORED = 1 << 13


class _Problem(Exception):
    """What is wrong with a file, without its name."""


@dataclass(frozen=True)
class Container:
    """What is known of a file before it is decoded.

    Attributes
    ----------
    kind : str
        ``"WAV"``, ``"RF64"``, ``"BW64"``, ``"W64"``, ``"AIFF"``, ``"CAF"``, ``"FLAC"``,
        ``"Ogg"``, ``"MP3"``, or what ffmpeg calls it.
    samples : int or None
        Samples a channel of an MP3 that is decoded in pieces, counted frame by frame.
    patches : tuple of (int, bytes)
        Offsets in the file, and what a decoder should find there instead: sizes of samples that
        were never filled in.
    pieces : tuple of Piece
        What is decoded one after another; empty where the file is decoded as it is.
    stated_seconds : float or None
        What a WAV header states, where more lies behind it that may be samples.
    demuxer : str or None
        The name that ffmpeg has for the format, where only ffmpeg decodes it.
    time_reference : int or None
        Samples since midnight at which the recording begins (BWF).
    messages : tuple of str
        What the user should know.
    """

    kind: str
    samples: int | None = None
    patches: tuple[tuple[int, bytes], ...] = ()
    pieces: tuple[Piece, ...] = ()
    stated_seconds: float | None = None
    demuxer: str | None = None
    time_reference: int | None = None
    messages: tuple[str, ...] = ()


def inspect_container(path: Path) -> Container:
    """Identify an audio file by its first bytes and refuse it when bytes are missing.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Container
        What it is.

    Raises
    ------
    AudioError
        It is missing, a folder, not readable, empty, none of the accepted formats, or truncated.
    """
    _check_source(path)
    try:
        with path.open("rb") as file:
            return _inspect(file, file.seek(0, 2), path.suffix.lower())
    except (_Problem, ChunkError, MpegError, OggError) as problem:
        raise AudioError(f"{path}: {problem}") from None


def _check_source(path: Path) -> None:
    """Refuse what is not an ordinary, readable file with something in it."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(f"{path}: is a folder; give an audio file")
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{path}: is not an ordinary file; save the audio as a file first")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; check the name and the folder") from None
    except PermissionError:
        raise AudioError(f"{path}: no permission to read it; change its permissions") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{path}: cannot be opened ({reason}); check the name") from None
    if status.st_size == 0:
        raise AudioError(f"{path}: is empty (0 bytes); copy or export it again")


def _inspect(file: BinaryIO, size: int, suffix: str) -> Container:
    """Find the format by its first bytes, and check it."""
    start = _skip_id3(file, size)
    file.seek(start)
    head = file.read(64)
    if start > 0 and start >= size:
        raise _Problem(f"it is truncated within its ID3 tag; {_AGAIN}")
    if is_audio_form(head):
        return _of_chunks(file, size, head[:4])
    if head[:4] == b"fLaC":
        _check_flac(file, start)
        return Container("FLAC")
    if head[:4] == b"OggS":
        check_end(file, size)
        links = links_of(file, size)
        chained = len(links) > 1
        return Container("Ogg", pieces=tuple(Piece(b"", (link,)) for link in links if chained))
    if begins_mpeg(file, start):
        return _of_mpeg(file, start, size)
    demuxer = demuxer_of(head)
    if demuxer is not None:
        return Container(demuxer, demuxer=demuxer)
    # A recording of a stream begins in the middle of a frame.
    first = find_mpeg(file, start) if suffix in MPEG_SUFFIXES else None
    if first is not None:
        return _of_mpeg(file, first, size, whole=False)
    raise _Problem(
        "is not an audio file that can be read (WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF); "
        "export the audio as WAV"
    )


def _skip_id3(file: BinaryIO, size: int) -> int:
    """Offset behind the ID3v2 tags at the start."""
    start = 0
    for _ in range(_MOST_TAGS):
        file.seek(start)
        tag = file.read(10)
        if start >= size or len(tag) < 10 or tag[:3] != b"ID3":
            break
        start += id3_length(tag)
    return start


def _of_chunks(file: BinaryIO, size: int, family: bytes) -> Container:
    found = check_chunks(file, size, family)
    name = NAMES[family]
    if found.mp3 is not None:
        start, end = found.mp3
        first = start if begins_mpeg(file, start) else find_mpeg(file, start)
        if first is None or first >= end:
            raise _Problem(f"its header states MP3, of which no frame is there; {_AGAIN}")
        return _of_mpeg(file, first, end, whole=False, time_reference=found.time_reference)
    return Container(
        name,
        patches=found.patches,
        stated_seconds=found.stated_seconds,
        demuxer={"CAF": "caf"}.get(name, "wav") if found.foreign else None,
        time_reference=found.time_reference,
    )


def _of_mpeg(
    file: BinaryIO, start: int, end: int, whole: bool = True, time_reference: int | None = None
) -> Container:
    """Count an MP3 stream; `whole` says whether it is a file of its own."""
    found = walk_mpeg(file, start, end, _MOST_SAMPLES)
    if not found.alike:
        raise _Problem(
            "this MP3 is joined from parts with different sample rates or channel counts; convert "
            "the parts to WAV"
        )
    large = found.ignored > _LEAST_IGNORED
    messages = (f"{found.ignored} bytes of this MP3 are no sound and were left out",) * large
    messages += ("ends in the middle of an MP3 frame, which was left out",) * found.cut
    pieces = found.pieces
    if not pieces and (large or not whole):
        pieces = found.as_one
    return Container(
        "MP3",
        samples=found.samples if pieces else None,
        pieces=pieces,
        time_reference=time_reference,
        messages=messages,
    )


def _check_flac(file: BinaryIO, start: int) -> None:
    """Refuse a FLAC stream of unknown length; a short one is found when its frames are decoded."""
    file.seek(start + 8)
    info = file.read(34)
    if len(info) < 34:
        raise _Problem(f"it is truncated within its header; {_AGAIN}")
    # STREAMINFO: the total number of samples is the low 36 bits of its first 18 bytes.
    if int.from_bytes(info[13:18], "big") & (2**36 - 1) == 0:
        raise _Problem(
            "its FLAC header does not state a length (a stream, or nothing was recorded); "
            "convert it to WAV"
        )
