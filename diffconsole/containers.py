"""What the headers of an audio file promise, held against the bytes that are there.

The decoder reads a truncated WAV, AIFF, Ogg or W64 without a word and returns what is left; only
the container itself tells that something is missing. Each check below reads a few kilobytes
(an MP3 without a length header is walked frame by frame) and decodes nothing.

Sources: RIFF/WAVE (Microsoft, IBM 1991), EBU Tech 3306 (RF64), Sony Wave64, Apple AIFF-C and CAF
specifications, RFC 3533 (Ogg), RFC 9639 (FLAC), ISO/IEC 11172-3 and 13818-3 (MPEG audio).
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .errors import AudioError

__all__ = ["Container", "inspect_container", "locate_chunk"]

_AGAIN = "copy or export it again"

# Layout of a chunk's header for each family: struct, whether the size counts the header itself,
# alignment of the next chunk, offset of the first chunk.
_LAYOUTS: dict[bytes, tuple[struct.Struct, bool, int, int]] = {
    b"RIFF": (struct.Struct("<4sI"), False, 2, 12),
    b"RIFX": (struct.Struct(">4sI"), False, 2, 12),
    b"RF64": (struct.Struct("<4sI"), False, 2, 12),
    b"FORM": (struct.Struct(">4sI"), False, 2, 12),
    b"riff": (struct.Struct("<16sQ"), True, 8, 40),
    b"caff": (struct.Struct(">4sq"), False, 1, 8),
}
_NAMES = {
    b"RIFF": "WAV",
    b"RIFX": "WAV",
    b"RF64": "RF64",
    b"FORM": "AIFF",
    b"riff": "W64",
    b"caff": "CAF",
}

_SIZES_32 = (b"RIFF", b"RIFX", b"FORM")

# Sizes that programs write when they stream into a pipe and cannot come back to fill them in:
# 0, "all ones" and the largest signed numbers, sometimes less or more a header's length.
_PLACEHOLDERS = ((0, 0), (0x7F000000, 0x7F0000FF), (0x7FFFF000, 0x800000FF), (2**32 - 256, 2**32))

# Bit rates in kbit/s of MPEG layer III: version 1, and versions 2 and 2.5.
_BITRATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


class _Frame(NamedTuple):
    """A layer III frame: its bytes, its samples, the bytes of its side information."""

    length: int
    samples: int
    side_bytes: int


class _Problem(Exception):
    """What is wrong with a file, without its name."""


@dataclass(frozen=True)
class Container:
    """What is known of a file before it is decoded.

    Attributes
    ----------
    kind : str
        ``"WAV"``, ``"RF64"``, ``"W64"``, ``"AIFF"``, ``"CAF"``, ``"FLAC"``, ``"Ogg"``, ``"MP3"``.
    samples : int or None
        Samples a channel, counted frame by frame, for an MP3 that does not state them.
    unsized_at : int or None
        Where a WAV states 0 bytes of samples although samples follow (a streamed or interrupted
        recording): the offset of that 32-bit size.
    """

    kind: str
    samples: int | None = None
    unsized_at: int | None = None


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
            return _inspect(file, file.seek(0, 2))
    except _Problem as problem:
        raise AudioError(f"{path}: {problem}") from None


def locate_chunk(path: Path, name: bytes) -> int | None:
    """Offset of the contents of a chunk in a WAV or AIFF file, or None without such a chunk."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        for ident, body, _ in _chunks(file, size, file.read(4)):
            if ident == name:
                return body
    return None


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


def _inspect(file: BinaryIO, size: int) -> Container:
    """Tell the format by its first bytes, and check it."""
    start = _skip_id3(file, size)
    file.seek(start)
    head = file.read(16)
    if start > 0 and start >= size:
        raise _Problem(f"it is truncated within its ID3 tag; {_AGAIN}")
    if head[:4] in _LAYOUTS and _is_audio_form(head):
        unsized_at = _check_chunks(file, size, head[:4])
        return Container(_NAMES[head[:4]], unsized_at=unsized_at)
    if head[:4] == b"fLaC":
        _check_flac(file, start)
        return Container("FLAC")
    if head[:4] == b"OggS":
        _check_ogg(file, size)
        return Container("Ogg")
    if _is_mp3(file, size, start):
        return Container("MP3", samples=_check_mp3(file, size, start))
    raise _Problem(
        "is not an audio file that can be read (WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF); "
        "export the audio as WAV"
    )


def _is_audio_form(head: bytes) -> bool:
    """Whether a RIFF or FORM holds sound, not a film or a picture."""
    family, form = head[:4], head[8:12]
    if family == b"FORM":
        return form in (b"AIFF", b"AIFC")
    return form == b"WAVE" if family in (b"RIFF", b"RIFX", b"RF64") else True


def _skip_id3(file: BinaryIO, size: int) -> int:
    """Offset behind the ID3v2 tags at the start: four bytes of 7 bits say how long each is."""
    start = 0
    while start < size:
        file.seek(start)
        tag = file.read(10)
        if len(tag) < 10 or tag[:3] != b"ID3":
            break
        length = (tag[6] & 127) << 21 | (tag[7] & 127) << 14 | (tag[8] & 127) << 7 | tag[9] & 127
        start += 10 + length + (10 if tag[5] & 0x10 else 0)
    return start


def _chunks(file: BinaryIO, size: int, family: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Walk over chunks: identifier, offset of the contents, stated length of the contents."""
    layout, inclusive, align, position = _LAYOUTS[family]
    while position + layout.size <= size:
        file.seek(position)
        ident, length = layout.unpack(file.read(layout.size))
        if inclusive:
            length -= layout.size
        body = position + layout.size
        yield ident, body, length
        if length < 0:
            return
        position = -(-(body + length) // align) * align


def _check_chunks(file: BinaryIO, size: int, family: bytes) -> int | None:
    """Hold the stated size of the samples against the file, for WAV, RF64, W64, AIFF and CAF.

    Trailing chunks behind complete samples (markers, names) may be short: no sound is lost.
    Returns ``unsized_at`` of :class:`Container`.
    """
    stated_64 = 0
    for ident, body, length in _chunks(file, size, family):
        if ident == b"ds64":
            file.seek(body)
            stated_64 = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))[1]
        if ident[:4] not in (b"data", b"SSND"):
            continue
        if family == b"RF64" and length == 0xFFFFFFFF:
            length = stated_64
        there = size - body
        if family in (b"RIFF", b"RIFX") and length == 0 < there:
            return None if _chains_to_end(file, size, family, body) else body - 4
        if length > there and not (family in _SIZES_32 and _is_placeholder(length)):
            raise _Problem(
                f"it is truncated: its header states {length} bytes of samples, {there} are "
                f"there; {_AGAIN}"
            )
        return None
    if family in _SIZES_32:
        file.seek(4)
        stated = struct.unpack("<I" if family == b"RIFF" else ">I", file.read(4))[0]
        if stated + 8 > size and not _is_placeholder(stated):
            raise _Problem(f"it is truncated before its samples begin; {_AGAIN}")
    return None


def _chains_to_end(file: BinaryIO, size: int, family: bytes, start: int) -> bool:
    """Whether chunks, not samples, fill the file from here: each names itself in letters."""
    layout = _LAYOUTS[family][0]
    while start + layout.size <= size:
        file.seek(start)
        ident, length = layout.unpack(file.read(layout.size))
        if not (ident.isascii() and ident.decode("ascii").isprintable()):
            return False
        start += layout.size + length + length % 2
    return size <= start <= size + 1


def _is_placeholder(length: int) -> bool:
    return any(low <= length <= high for low, high in _PLACEHOLDERS)


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


def _check_ogg(file: BinaryIO, size: int) -> None:
    """Look at the last page: it must be complete and carry the end-of-stream flag."""
    tail_size = min(size, 2 * 65307)  # a page has at most 65307 bytes
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    page = tail.rfind(b"OggS\0")
    header = tail[page : page + 27] if page >= 0 else b""
    lengths = tail[page + 27 : page + 27 + header[26]] if len(header) == 27 else b""
    if (
        len(header) < 27
        or len(lengths) < header[26]
        or page + 27 + len(lengths) + sum(lengths) > len(tail)
    ):
        raise _Problem(f"it is truncated within a page; {_AGAIN}")
    if not header[5] & 4:
        raise _Problem(f"it is truncated: its last page is not the end of the stream; {_AGAIN}")


def _is_mp3(file: BinaryIO, size: int, start: int) -> bool:
    """Whether two MPEG layer III frames follow each other here, or one fills the file.

    Eleven set bits alone turn up in any file, UTF-16 text for one.
    """
    file.seek(start)
    frame = _mp3_frame(file.read(4))
    if frame is None:
        return False
    file.seek(start + frame.length)
    following = file.read(4)
    return len(following) < 4 or following[:3] == b"TAG" or _mp3_frame(following) is not None


def _mp3_frame(header: bytes) -> _Frame | None:
    """Read the four bytes before a layer III frame; None if they are something else."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version, bitrate, rate = (header[1] >> 3) & 3, header[2] >> 4, (header[2] >> 2) & 3
    if version == 1 or not 0 < bitrate < 15 or rate == 3:
        return None
    mono = header[3] >> 6 == 3
    kilobits = (_BITRATES_1 if version == 3 else _BITRATES_2)[bitrate]
    samples = 1152 if version == 3 else 576
    length = samples // 8 * kilobits * 1000 // _RATES[version][rate] + ((header[2] >> 1) & 1)
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return _Frame(length, samples, side)


def _check_mp3(file: BinaryIO, size: int, start: int) -> int | None:
    """Hold the bytes that the first frame states against the file, or walk over all frames.

    As much as one frame may be missing: encoders count the first one, and tags at the end that
    others remove, differently. Returns ``samples`` of :class:`Container`.
    """
    file.seek(start)
    first = file.read(192)
    frame = _mp3_frame(first)
    assert frame is not None
    tag = first[4 + frame.side_bytes :]
    frames = total = 0
    if tag[:4] in (b"Xing", b"Info"):
        if tag[7] & 3 == 3:  # both counts are there
            frames, total = struct.unpack(">II", tag[8:16])
    elif first[36:40] == b"VBRI":
        total, frames = struct.unpack(">II", first[46:54])
    else:
        return _count_mp3(file, start)
    there = size - start
    if frames and total - there > max(total / frames, 256):
        raise _Problem(
            f"it is truncated: its header states {total} bytes of MP3, {there} are there; {_AGAIN}"
        )
    return None


def _count_mp3(file: BinaryIO, start: int) -> int | None:
    """Count the samples of an MP3 that does not state them; None where the walk loses its way."""
    file.seek(start)
    data = file.read()
    position = samples = 0
    while frame := _mp3_frame(data[position : position + 4]):
        if position + frame.length > len(data):
            raise _Problem(f"it is truncated: it ends in the middle of a frame; {_AGAIN}")
        position += frame.length
        samples += frame.samples
    ended = position == len(data) or data[position : position + 3] in (b"TAG", b"APE")
    return samples if ended else None
