"""Ogg files, walked page by page: whole to the last page, and how many recordings they chain.

Source: RFC 3533. A stream begins with a page that says so; a file may hold several streams one
after the other (a chain, as recorded radio and joined files are), of which a decoder reads only
the first, or none.
"""

from __future__ import annotations

from typing import BinaryIO

__all__ = ["LARGEST_PAGE", "OggError", "check_end", "links_of"]

LARGEST_PAGE = 65307
_HEADER_BYTES = 27
_BEGINS, _ENDS = 2, 4
_MOST_LINKS = 10_000
_AGAIN = "copy or export it again"


class OggError(Exception):
    """What is wrong with a file, without its name."""


def check_end(file: BinaryIO, size: int) -> None:
    """Look at the last page: it must be complete and carry the end-of-stream flag.

    Raises
    ------
    OggError
        It is not.
    """
    tail_size = min(size, 2 * LARGEST_PAGE)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    page = tail.rfind(b"OggS\0")
    header = tail[page : page + _HEADER_BYTES] if page >= 0 else b""
    lengths = tail[page + 27 : page + 27 + header[26]] if len(header) == _HEADER_BYTES else b""
    if (
        len(header) < _HEADER_BYTES
        or len(lengths) < header[26]
        or page + _HEADER_BYTES + len(lengths) + sum(lengths) > len(tail)
    ):
        raise OggError(f"it is truncated within a page; {_AGAIN}")
    if not header[5] & _ENDS:
        raise OggError(f"it is truncated: its last page is not the end of the stream; {_AGAIN}")


def links_of(file: BinaryIO, size: int) -> tuple[tuple[int, int], ...]:
    """Find where each recording of a chain begins and ends; one is a file of its own.

    Streams that begin together (sound and picture) are one recording. Where the walk loses its
    way, what follows counts to the recording before it.

    Raises
    ------
    OggError
        More recordings than any file has.
    """
    starts = [0]
    position = 0
    beginning = True
    while position + _HEADER_BYTES <= size:
        file.seek(position)
        header = file.read(_HEADER_BYTES)
        if header[:5] != b"OggS\0":
            break
        begins = bool(header[5] & _BEGINS)
        if begins and not beginning:
            starts.append(position)
            if len(starts) > _MOST_LINKS:
                raise OggError(f"chains more than {_MOST_LINKS} recordings; convert it to WAV")
        beginning = begins
        position += _HEADER_BYTES + header[26] + sum(file.read(header[26]))
    return tuple(zip(starts, (*starts[1:], size), strict=True))
