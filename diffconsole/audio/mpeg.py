"""MPEG layer III streams, walked frame by frame: what can be decoded, and in which pieces.

A decoder trusts the frame count that the first frame states. That count is wrong where files were
joined end to end, and missing where a stream was recorded; each part of such a file is decoded by
itself, behind a header frame that states what was counted here.

Sources: ISO/IEC 11172-3 and 13818-3 (MPEG audio), the Xing and LAME header frame, Fraunhofer's
VBRI header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

__all__ = [
    "FRAME_SAMPLES",
    "Mpeg",
    "MpegError",
    "Piece",
    "begins_mpeg",
    "find_mpeg",
    "id3_length",
    "walk_mpeg",
]

FRAME_SAMPLES = 1152

# Bit rates in kbit/s of MPEG layer III: version 1, and versions 2 and 2.5.
_BITRATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}

# How far the first frame may lie behind a cut, and the next one behind damage or a foreign tag.
_LONGEST_GAP = 1 << 16
# Frames of one kind in a row that no other file has by chance.
_CERTAIN_FRAMES = 6
_MOST_PARTS = 10_000
_MOST_FOREIGN = 1 << 22
_HEADER_BYTES = 192
# Of a Xing header with all flags: where the encoder's delay and padding are, 12 bits each.
_ALL_FLAGS = b"\0\0\0\x0f"
_GAPS_AT = 141
_DECODER_DELAY = 529
# A frame count may differ by the header frame itself and by one frame that tags cut off.
_TOLERANCE = 2


class MpegError(Exception):
    """What is wrong with a stream, without the file's name."""


class _Frame(NamedTuple):
    """A layer III frame: its bytes and samples, the bytes of its side information, its rate."""

    length: int
    samples: int
    side_bytes: int
    rate: int
    channels: int


class _Stated(NamedTuple):
    """What a header frame states: frames and bytes (0: not stated), and where its tag begins."""

    frames: int
    size: int
    at: int


@dataclass(frozen=True)
class Piece:
    """Bytes that a decoder is given as one file.

    Attributes
    ----------
    front : bytes
        What stands before them.
    ranges : tuple of tuple of int
        Start and end of each stretch in the file.
    skip : int
        Samples at the start that come of what stands before.
    """

    front: bytes
    ranges: tuple[tuple[int, int], ...]
    skip: int = 0


@dataclass(frozen=True)
class Mpeg:
    """An MP3 stream.

    Attributes
    ----------
    samples : int
        A channel, counted.
    channels, sample_rate : int
        Of the first part.
    alike : bool
        Whether all parts have that rate and these channels.
    pieces : tuple of Piece
        What is decoded one after another; empty where the decoder reads the file right as it is.
    as_one : tuple of Piece
        The frames alone as one piece, with the first part's header frame.
    ignored : int
        Bytes that are neither frames nor tags.
    cut : bool
        Whether it ends in the middle of a frame, which is left out.
    """

    samples: int
    channels: int
    sample_rate: int
    alike: bool
    pieces: tuple[Piece, ...]
    as_one: tuple[Piece, ...]
    ignored: int
    cut: bool


@dataclass
class _Part:
    """Frames up to the next header frame."""

    head: bytes
    frame: _Frame
    stated: _Stated | None
    ranges: list[tuple[int, int]] = field(default_factory=list)
    frames: int = 0
    alike: bool = True

    def add(self, start: int, end: int) -> None:
        if self.ranges and self.ranges[-1][1] == start:
            start = self.ranges.pop()[0]
        self.ranges.append((start, end))


def begins_mpeg(file: BinaryIO, start: int) -> bool:
    """Whether two layer III frames follow each other here, or one fills the file.

    Eleven set bits alone turn up in any file, UTF-16 text for one.
    """
    file.seek(start)
    frame = _frame(file.read(4))
    if frame is None:
        return False
    file.seek(start + frame.length)
    following = file.read(4)
    return len(following) < 4 or following[:3] == b"TAG" or _frame(following) is not None


def find_mpeg(file: BinaryIO, start: int) -> int | None:
    """Find the first whole frame of a stream that begins in the middle of one; None without."""
    file.seek(start)
    window = file.read(_LONGEST_GAP)
    at = window.find(b"\xff")
    while at >= 0:
        if _frames_from(file, start + at):
            return start + at
        at = window.find(b"\xff", at + 1)
    return None


def walk_mpeg(file: BinaryIO, start: int, end: int, most_samples: int) -> Mpeg:
    """Walk over all frames between two offsets.

    A frame that the end cuts off is left out.

    Parameters
    ----------
    file : BinaryIO
        The file.
    start, end : int
        Offsets; a frame begins at `start`.
    most_samples : int
        A channel; the walk ends once there are more.

    Raises
    ------
    MpegError
        More than a frame of what the header frame states is missing, or the stream is far too
        long to be read.
    """
    parts: list[_Part] = []
    samples = ignored = 0
    position, cut = start, False
    while position < end and samples <= most_samples:
        file.seek(position)
        head = file.read(_HEADER_BYTES)
        frame = _frame(head)
        if frame is None:
            following = _behind_gap(file, position, end, head)
            ignored += _foreign(head, following - position)
            if following < end and ignored > _MOST_FOREIGN:
                raise MpegError(
                    f"is damaged: more than {_MOST_FOREIGN >> 20} MiB of it are no MP3; copy it "
                    "again, or convert it to WAV"
                )
            position = following
            continue
        cut = position + frame.length > end
        if cut:
            break
        stated = _stated(head, frame)
        if not parts or stated is not None:
            parts.append(_Part(head, frame, stated))
            if len(parts) > _MOST_PARTS:
                raise MpegError(f"has more than {_MOST_PARTS} parts; convert it to WAV")
        part = parts[-1]
        if part.stated is None or part.frames:
            samples += frame.samples
        part.frames += 1
        part.alike &= (frame.rate, frame.channels) == (part.frame.rate, part.frame.channels)
        part.add(position, position + frame.length)
        position += frame.length
    if not parts:
        raise MpegError("it is truncated: it holds no whole frame of MP3; copy or export it again")
    if len(parts) == 1:
        _check_whole(parts[0], start, end)
    else:
        _check_last(parts[-1])
    if samples == 0:
        raise MpegError("has 0 samples; export it again as WAV")
    # A header frame without sound behind it gives a decoder nothing.
    parts = [part for part in parts if part.frames > (part.stated is not None)]
    kind = (parts[0].frame.rate, parts[0].frame.channels)
    alike = all(p.alike and (p.frame.rate, p.frame.channels) == kind for p in parts)
    right = len(parts) == 1 and parts[0].stated is not None and not _states_less(parts[0])
    pieces = () if right else tuple(_piece(part) for part in parts)
    as_one = (Piece(b"", tuple(parts[0].ranges)),)
    return Mpeg(samples, kind[1], kind[0], alike, pieces, as_one, ignored, cut)


def _check_whole(part: _Part, start: int, end: int) -> None:
    """Hold the bytes that the header frame states against the file.

    As much as one frame may be missing: encoders count the first one, and tags at the end that
    others remove, differently.
    """
    stated = part.stated
    if stated is None or not stated.frames:
        return
    there = end - start
    if stated.size and stated.size - there > max(stated.size / stated.frames, 256):
        raise MpegError(
            f"it is truncated: its header states {stated.size} bytes of MP3, {there} are there; "
            "copy or export it again"
        )


def _check_last(part: _Part) -> None:
    """Refuse parts that are joined where the last is cut by more than a frame."""
    missing = 0 if part.stated is None else part.stated.frames - (part.frames - 1)
    if missing > _TOLERANCE:
        raise MpegError(
            f"it is truncated: {missing} frames of its last part are missing; copy or export it "
            "again"
        )


def _states_less(part: _Part) -> bool:
    """Whether more frames follow than a header frame states, or it states none."""
    assert part.stated is not None
    return not 0 < part.frames - 1 <= part.stated.frames + _TOLERANCE


def _piece(part: _Part) -> Piece:
    """What is decoded of a part: with its own header frame if that is right, else with another."""
    ranges = tuple(part.ranges)
    if part.stated is None:
        # Behind a header frame decoders leave out their own delay, which they keep in a file
        # without one: a frame of silence is there to be left out.
        silence = _header_frame(part.head)
        size = len(silence) + sum(last - first for first, last in ranges)
        front = _header_frame(part.head, part.frames + 1, size) + silence
        return Piece(front, ranges, part.frame.samples - _DECODER_DELAY)
    if not _states_less(part):
        return Piece(b"", ranges)
    (first, last), *rest = ranges
    body = ((first + part.frame.length, last), *rest)
    size = sum(last - first for first, last in body)
    front = _header_frame(part.head, part.frames - 1, size)
    gaps = part.head[part.stated.at + _GAPS_AT : part.stated.at + _GAPS_AT + 3]
    if part.head[part.stated.at + 4 : part.stated.at + 8] == _ALL_FLAGS and len(gaps) == 3:
        # The encoder's delay stays as stated; its padding was that of an end that is none.
        tag = bytearray(part.head)
        tag[part.stated.at + 8 : part.stated.at + 16] = struct.pack(
            ">II", part.frames - 1, size + part.frame.length
        )
        tag[part.stated.at + _GAPS_AT + 1] &= 0xF0
        tag[part.stated.at + _GAPS_AT + 2] = 0
        front = bytes(tag[: part.frame.length]).ljust(part.frame.length, b"\0")
    return Piece(front, body)


def _header_frame(head: bytes, frames: int | None = None, size: int = 0) -> bytes:
    """Make a frame of silence of the same kind as a frame; it may state frames and bytes."""
    # No checksum, no padding; 0x0C keeps the sampling rate.
    kinds = [
        bytes([0xFF, head[1] | 1, rate << 4 | (head[2] & 0x0C), head[3]]) for rate in range(15)
    ]
    fitting = [(kind, frame) for kind in kinds if (frame := _frame(kind)) is not None]
    kind, frame = next(each for each in fitting if each[1].length >= _HEADER_BYTES)
    tag = b""
    if frames is not None:
        tag = b"Xing" + struct.pack(">III", 3, frames, size + frame.length)
    return (kind + bytes(frame.side_bytes) + tag).ljust(frame.length, b"\0")


def _stated(head: bytes, frame: _Frame) -> _Stated | None:
    """What a frame states of those behind it; None if it is one of sound."""
    at = 4 + frame.side_bytes
    tag = head[at:]
    if tag[:4] in (b"Xing", b"Info") and len(tag) >= 16:
        # The first flag says whether frames are counted, the second whether bytes are.
        flags, counts = tag[7], struct.unpack(">II", tag[8:16])
        frames = counts[0] if flags & 1 else 0
        size = counts[flags & 1] if flags & 2 else 0
        return _Stated(frames, size, at)
    if head[36:40] == b"VBRI" and len(head) >= 54:
        size, frames = struct.unpack(">II", head[46:54])
        return _Stated(frames, size, 36)
    return None


def _foreign(head: bytes, length: int) -> int:
    """Of bytes that are no frame, those that are no tag either."""
    known = head[:3] in (b"ID3", b"TAG") or head[:8] == b"APETAGEX" or head[:4] == b"LYRI"
    return 0 if known else length


def _behind_gap(file: BinaryIO, position: int, end: int, head: bytes) -> int:
    """Offset of the next frame behind a tag or damage; `end` where none is near."""
    if head[:3] == b"ID3" and len(head) >= 10:
        return min(position + id3_length(head), end)
    if head[:3] == b"TAG":
        return min(position + 128, end)
    if head[:8] == b"APETAGEX" and len(head) >= 32:
        length, flags = struct.unpack("<I4xI", head[12:24])
        # The size counts the items and the footer, not the header.
        return min(position + 32 + (length if flags & 1 << 29 else 0), end)
    file.seek(position)
    window = file.read(min(_LONGEST_GAP, end - position))
    at = 1
    while 0 < at < len(window):
        at = window.find(b"\xff", at)
        tag = window.find(b"ID3", 1, at if at > 0 else len(window))
        if tag > 0:
            return position + tag
        if at > 0 and _frames_from(file, position + at, 2):
            return position + at
        at += 1
    return end


def id3_length(tag: bytes) -> int:
    """Bytes of an ID3v2 tag by its first ten: four of 7 bits say how long it is."""
    length = (tag[6] & 127) << 21 | (tag[7] & 127) << 14 | (tag[8] & 127) << 7 | tag[9] & 127
    return 10 + length + (10 if tag[5] & 0x10 else 0)


def _frames_from(file: BinaryIO, position: int, count: int = _CERTAIN_FRAMES) -> bool:
    """Whether so many frames of one kind follow each other here."""
    kind = None
    for _ in range(count):
        file.seek(position)
        head = file.read(4)
        frame = _frame(head)
        if frame is None or kind not in (None, (head[1], frame.rate)):
            return False
        kind = (head[1], frame.rate)
        position += frame.length
    return True


def _frame(head: bytes) -> _Frame | None:
    """Read the four bytes before a layer III frame; None if they are something else."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, bitrate, rate = (head[1] >> 3) & 3, head[2] >> 4, (head[2] >> 2) & 3
    if version == 1 or not 0 < bitrate < 15 or rate == 3:
        return None
    mono = head[3] >> 6 == 3
    kilobits = (_BITRATES_1 if version == 3 else _BITRATES_2)[bitrate]
    samples = FRAME_SAMPLES if version == 3 else FRAME_SAMPLES // 2
    hertz = _RATES[version][rate]
    length = samples // 8 * kilobits * 1000 // hertz + ((head[2] >> 1) & 1)
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return _Frame(length, samples, side, hertz, 1 if mono else 2)
