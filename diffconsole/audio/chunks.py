"""Chunks of WAV, RF64, BW64, W64, AIFF and CAF files: what they state, and what lies behind.

Sources: RIFF/WAVE (Microsoft, IBM 1991), EBU Tech 3285 (bext) and 3306 (RF64), ITU-R BS.2088
(BW64), Sony Wave64, Apple AIFF-C and CAF specifications.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

__all__ = ["NAMES", "ChunkError", "Chunks", "check_chunks", "is_audio_form", "locate_chunk"]

_AGAIN = "copy or export it again"

# Layout of a chunk's header for each family: struct, whether the size counts the header itself,
# alignment of the next chunk, offset of the first chunk.
_LAYOUTS: dict[bytes, tuple[struct.Struct, bool, int, int]] = {
    b"RIFF": (struct.Struct("<4sI"), False, 2, 12),
    b"RIFX": (struct.Struct(">4sI"), False, 2, 12),
    b"RF64": (struct.Struct("<4sI"), False, 2, 12),
    b"BW64": (struct.Struct("<4sI"), False, 2, 12),
    b"FORM": (struct.Struct(">4sI"), False, 2, 12),
    b"riff": (struct.Struct("<16sQ"), True, 8, 40),
    b"caff": (struct.Struct(">4sq"), False, 1, 8),
}
NAMES = {
    b"RIFF": "WAV",
    b"RIFX": "WAV",
    b"RF64": "RF64",
    b"BW64": "BW64",
    b"FORM": "AIFF",
    b"riff": "W64",
    b"caff": "CAF",
}
"""Of each family, by its first four bytes."""

_WAVES = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_LONG = (b"RF64", b"BW64")
_SIZES_32 = (b"RIFF", b"RIFX", b"FORM")

# Sizes that programs write when they stream into a pipe and cannot come back to fill them in:
# 0, "all ones" and the largest signed numbers, sometimes less or more a header's length.
_PLACEHOLDERS = ((0, 0), (0x7F000000, 0x7F0000FF), (0x7FFFF000, 0x800000FF), (2**32 - 256, 2**32))
_ALL_ONES = 0xFFFFFFFF

# More chunks than any file has: a walk through zeros would not end.
_MOST_CHUNKS = 10_000
# What stands behind samples in files that programs wrote.
_KNOWN_BEHIND = (
    b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"cue ", b"smpl", b"fact", b"PEAK", b"JUNK",
    b"junk", b"FLLR", b"PAD ", b"minf", b"elm1", b"regn", b"umid", b"acid", b"inst", b"_PMX",
    b"axml", b"chna", b"afsp", b"plst", b"DISP", b"MD5 ", b"ovwf", b"AFAn", b"TAG", b"APETAGEX",
    b"ID3\2", b"ID3\3", b"ID3\4", b"RIFF",
)  # fmt: skip
_SHORTEST_BEHIND_S = 0.02
_PROBES, _PROBE_BYTES = 64, 1 << 14

_MP3_TAG = 0x55
# PCM, MS and IMA ADPCM, float, A-law, µ-law, GSM 6.10, G.721, G.723, and what an extension names.
_TAGS_READ = {1, 2, 3, 6, 7, 0x11, 0x31, 0x40, 0x41, 0x42, 0x43, 0x45, 0xFFFE}
_CAF_READ = (b"lpcm", b"alac", b"ulaw", b"alaw")
# Of a bext chunk: the texts before the time reference.
_TIME_REFERENCE_AT = 338


class ChunkError(Exception):
    """What is wrong with a file, without its name."""


class _Chunk(NamedTuple):
    name: bytes
    body: int
    length: int


class _Wave(NamedTuple):
    """Of a ``fmt`` chunk."""

    tag: int
    bytes_per_second: int


@dataclass(frozen=True)
class Chunks:
    """What the chunks of a file say beyond what a decoder sees.

    Attributes
    ----------
    patches : tuple of (int, bytes)
        Offsets in the file, and what a decoder should find there instead.
    stated_seconds : float or None
        What the header states, where more lies behind it that may be samples.
    mp3 : tuple of int or None
        Start and end of the MP3 stream that a WAV file holds.
    foreign : bool
        Whether the samples are coded in a way that only other programs decode.
    time_reference : int or None
        Samples since midnight at which the recording begins.
    """

    patches: tuple[tuple[int, bytes], ...] = ()
    stated_seconds: float | None = None
    mp3: tuple[int, int] | None = None
    foreign: bool = False
    time_reference: int | None = None


def is_audio_form(head: bytes) -> bool:
    """Whether a RIFF or FORM holds sound, not a film or a picture, by its first 16 bytes."""
    family, form = head[:4], head[8:12]
    if family == b"FORM":
        return form in (b"AIFF", b"AIFC")
    return form == b"WAVE" if family in _WAVES else family in _LAYOUTS


def locate_chunk(path: Path, name: bytes) -> int | None:
    """Offset of the contents of a chunk in a WAV or AIFF file, or None without such a chunk."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        for chunk in _chunks(file, size, file.read(4)):
            if chunk.name == name:
                return chunk.body
    return None


def check_chunks(file: BinaryIO, size: int, family: bytes) -> Chunks:
    """Hold the stated size of the samples against the file.

    Trailing chunks behind complete samples (markers, names) may be short: no sound is lost.

    Raises
    ------
    ChunkError
        The file is truncated, or is nothing but chunks.
    """
    long_size: tuple[int, int] | None = None
    wave = sound = None
    time_reference = None
    foreign = False
    count = 0
    for chunk in _chunks(file, size, family):
        count += 1
        if chunk.name == b"ds64":
            file.seek(chunk.body + 8)
            long_size = chunk.body + 8, struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
        elif chunk.name == b"fmt " and family in _WAVES and wave is None:
            wave = _wave(file, chunk, family)
        elif chunk.name == b"desc" and family == b"caff":
            file.seek(chunk.body + 8)
            foreign = file.read(4) not in _CAF_READ
        elif chunk.name == b"bext" and family in _WAVES:
            time_reference = _time_reference(file, chunk) or time_reference
        elif chunk.name[:4] in (b"data", b"SSND") and sound is None:
            sound = chunk
    patches: tuple[tuple[int, bytes], ...] = ((0, b"RF64"),) if family == b"BW64" else ()
    if sound is None:
        if count == _MOST_CHUNKS:
            raise ChunkError(f"its header is damaged (more than {count} chunks); {_AGAIN}")
        _check_start(file, size, family)
        return Chunks(patches, time_reference=time_reference)
    stated, size_field = sound.length, (sound.body - 4, struct.pack("<I", _ALL_ONES))
    there = size - sound.body
    if family in _LONG and stated == _ALL_ONES:
        if long_size is None:
            raise ChunkError(f"its header is damaged (a size is missing); {_AGAIN}")
        at, stated = long_size
        size_field = at, struct.pack("<Q", there)
    if stated > there and not (family in _SIZES_32 and _is_placeholder(stated)):
        raise ChunkError(
            f"it is truncated: its header states {stated} bytes of samples, {there} are there; "
            f"{_AGAIN}"
        )
    if wave is not None and wave.tag == _MP3_TAG:
        end = size if stated == 0 or stated > there else sound.body + stated
        return Chunks(mp3=(sound.body, end), time_reference=time_reference)
    foreign = foreign or (wave is not None and wave.tag not in _TAGS_READ)
    stated_seconds = None
    if family in _WAVES and 0 <= stated < there:
        more = _reads_on(file, size, family, sound.body + stated, stated, wave)
        if more:
            patches += (size_field,)
            if stated > 0 and wave is not None:
                stated_seconds = stated / wave.bytes_per_second
    return Chunks(patches, stated_seconds, None, foreign, time_reference)


def _chunks(file: BinaryIO, size: int, family: bytes) -> Iterator[_Chunk]:
    """Walk over chunks: identifier, offset of the contents, stated length of the contents."""
    layout, inclusive, align, position = _LAYOUTS[family]
    long_size = 0
    for _ in range(_MOST_CHUNKS):
        if position + layout.size > size:
            return
        file.seek(position)
        ident, length = layout.unpack(file.read(layout.size))
        if inclusive:
            length -= layout.size
        body = position + layout.size
        yield _Chunk(ident, body, length)
        if length < 0:
            return
        if family in _LONG and ident == b"ds64":
            file.seek(body + 8)
            long_size = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
        if family in _LONG and ident == b"data" and length == _ALL_ONES:
            length = long_size
        position = -(-(body + length) // align) * align


def _check_start(file: BinaryIO, size: int, family: bytes) -> None:
    """Refuse a file that ends before its samples."""
    if family in _SIZES_32:
        file.seek(4)
        stated = struct.unpack("<I" if family == b"RIFF" else ">I", file.read(4))[0]
        if stated + 8 > size and not _is_placeholder(stated):
            raise ChunkError(f"it is truncated before its samples begin; {_AGAIN}")


def _wave(file: BinaryIO, chunk: _Chunk, family: bytes) -> _Wave | None:
    file.seek(chunk.body)
    content = file.read(16)
    if len(content) < 16:
        return None
    order = ">" if family == b"RIFX" else "<"
    tag, _, rate, bytes_per_second, align = struct.unpack(f"{order}HHIIH", content[:14])
    return _Wave(tag, max(1, bytes_per_second or rate * align))


def _time_reference(file: BinaryIO, chunk: _Chunk) -> int | None:
    file.seek(chunk.body + _TIME_REFERENCE_AT)
    content = file.read(8)
    if chunk.length < _TIME_REFERENCE_AT + 8 or len(content) < 8:
        return None
    return int(struct.unpack("<Q", content)[0]) or None


def _reads_on(
    file: BinaryIO, size: int, family: bytes, end: int, stated: int, wave: _Wave | None
) -> bool:
    """Whether what lies behind the stated samples may be samples, not chunks, tags or nothing."""
    if stated == 0:
        return not _chains_to_end(file, size, family, end)
    seconds = (size - end) / wave.bytes_per_second if wave else 0.0
    if seconds < _SHORTEST_BEHIND_S:
        return False
    for start in (end, end + end % 2):
        file.seek(start)
        if file.read(8).startswith(_KNOWN_BEHIND) or _chains_to_end(file, size, family, start):
            return False
    # Recorders reserve room ahead: zeros to the end are no samples.
    for probe in range(_PROBES):
        file.seek(end + (size - end) * probe // _PROBES)
        if any(file.read(_PROBE_BYTES)):
            return True
    return False


def _chains_to_end(file: BinaryIO, size: int, family: bytes, start: int) -> bool:
    """Whether chunks, not samples, fill the file from here: each names itself in letters."""
    layout = _LAYOUTS[family][0]
    for _ in range(_MOST_CHUNKS):
        if start + layout.size > size:
            break
        file.seek(start)
        ident, length = layout.unpack(file.read(layout.size))
        if not (ident.isascii() and ident.decode("ascii").isprintable()):
            return False
        start += layout.size + length + length % 2
    return size <= start <= size + 1


def _is_placeholder(length: int) -> bool:
    return any(low <= length <= high for low, high in _PLACEHOLDERS)
