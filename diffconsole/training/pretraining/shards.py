"""Voices in shards: tar archives as WebDataset has them, on disks or in a store.

A clip is a member ``KEY.ext`` with audio; its speaker is what ``"speaker"`` says in ``KEY.json``,
else the folder in the key (``anna/0001.flac``). The members of a key follow each other. Archives
are read as they are, uncompressed: no member is unpacked to a disk, the headers are read within
bounds, and names are labels, never paths.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from ...audio.endings import FOREIGN_SUFFIXES, has_audio_ending
from ...errors import AudioError
from ..distributed import SINGLE_PROCESS, Workers

__all__ = ["ShardTable", "open_shard", "read_table", "shards_of"]

MOST_SHARDS, MOST_CLIPS = 100_000, 20_000_000
LARGEST_CLIP_BYTES = 128 << 20
LARGEST_HEADER_BYTES, LARGEST_JSON_BYTES = 1 << 20, 1 << 16
LONGEST_NAME = 200
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")


def shards_of(voices: str) -> list[str] | None:
    """Return the shards that a folder, a pattern or an address names, in order.

    Parameters
    ----------
    voices : str
        A folder with ``.tar`` files, one such file, a pattern with braces
        (``voices-{000..127}.tar``, ``{train,more}.tar``), or an address that fsspec opens
        (``s3://bucket/voices-{000..127}.tar``, ``s3://bucket/voices/``).

    Returns
    -------
    list of str or None
        None where it is none of these: a folder with a folder per speaker.

    Raises
    ------
    AudioError
        A pattern of no or too many names, an address without shards or that cannot be opened.
    """
    if "{" in voices:
        return _expanded(voices)
    if "://" in voices:
        if voices.endswith(".tar"):
            return [voices]
        return _listed(voices)
    path = Path(voices)
    if path.is_dir():
        found = [str(p) for p in path.iterdir() if p.suffix == ".tar" and p.name[0] != "."]
        return sorted(found) or None
    return [voices] if path.suffix == ".tar" else None


def _expanded(pattern: str) -> list[str]:
    """Every name of a pattern with braces, as a shell expands it."""
    pieces, end = [], 0
    count = 1
    for match in BRACES.finditer(pattern):
        inside = RANGE.fullmatch(match[1])
        if inside:
            first, last = int(inside[1]), int(inside[2])
            width = len(inside[1]) if inside[1][0] == "0" else 1
            numbers = range(first, min(last, first + MOST_SHARDS) + 1)
            choices = [f"{number:0{width}d}" for number in numbers]
        else:
            choices = match[1].split(",")
        pieces += [[pattern[end : match.start()]], choices]
        end = match.end()
        count *= len(choices)
        if not 1 <= count <= MOST_SHARDS:
            raise AudioError(
                f"{pattern}: stands for {count} shards or more; name 1 to {MOST_SHARDS}"
            )
    names = ["".join(chosen) for chosen in itertools.product(*pieces, [pattern[end:]])]
    if "{" in names[0] or "}" in names[0]:
        raise AudioError(f"{pattern}: its braces do not close; write {{000..127}} or {{a,b}}")
    return names


def _listed(address: str) -> list[str]:
    """The shards under an address of a store."""
    fsspec = _fsspec(address)
    try:
        system, path = fsspec.core.url_to_fs(address)
        found = sorted(str(p) for p in system.glob(path.rstrip("/") + "/*.tar"))
        names = [str(system.unstrip_protocol(p)) for p in found[: MOST_SHARDS + 1]]
    except Exception as error:  # whatever a store's own library raises
        raise _unreachable(address, error) from None
    if not 1 <= len(names) <= MOST_SHARDS:
        raise AudioError(f"{address}: holds {len(names)} .tar files; name 1 to {MOST_SHARDS}")
    return names


def open_shard(name: str) -> IO[bytes]:
    """Open a shard for reading, wherever it lies.

    Raises
    ------
    AudioError
        It cannot be opened, or what opens such addresses is not installed.
    """
    if "://" in name:
        fsspec = _fsspec(name)
        try:
            return cast("IO[bytes]", fsspec.open(name, "rb", compression=None).open())
        except Exception as error:  # whatever a store's own library raises
            raise _unreachable(name, error) from None
    try:
        # Not opened before: opening a pipe or a device may never end.
        if not stat.S_ISREG(Path(name).stat().st_mode):
            raise AudioError(f"{name}: is not an ordinary file; give tar archives")
        return open(name, "rb")
    except OSError as error:
        raise AudioError(
            f"{name}: cannot be read ({error.strerror}); name shards that exist"
        ) from None


def _fsspec(address: str) -> Any:
    try:
        import fsspec
    except ImportError:
        raise AudioError(
            f"{address}: addresses need the package fsspec, and what it opens them with, such as "
            "s3fs; install both, or copy the shards to a disk"
        ) from None
    return fsspec


def _unreachable(address: str, error: Exception) -> AudioError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return AudioError(f"{address}: cannot be opened ({reason}); mend the address or the access")


@dataclass(frozen=True)
class ShardTable:
    """Where every clip of some shards lies, in the order of the shards.

    Attributes
    ----------
    names : list of str
        The shards.
    speakers : list of str
        Everybody, by name.
    shard, offset, size, speaker : ndarray
        ``(clips,)`` each: places in `names` and `speakers`, and bytes.
    """

    names: list[str]
    speakers: list[str]
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    speaker: np.ndarray

    def clips_of(self, people: Sequence[str]) -> np.ndarray:
        """Return the places of some speakers' clips, in order."""
        chosen = set(people)
        mine = np.array([name in chosen for name in self.speakers], bool)
        return np.flatnonzero(mine[self.speaker])

    def digest(self) -> str:
        """Return what distinguishes these shards from others, wherever they lie."""
        found = hashlib.blake2b(digest_size=16)
        names = [name.replace("\\", "/").rpartition("/")[2] for name in self.names]
        found.update(json.dumps([names, self.speakers]).encode())
        for part in (self.shard, self.offset, self.size, self.speaker):
            found.update(part.astype("<i8").tobytes())
        return found.hexdigest()


def read_table(names: Sequence[str], workers: Workers = SINGLE_PROCESS) -> ShardTable:
    """Find every clip by the archives' headers; several processes take turns, a shard each.

    Raises
    ------
    AudioError
        A shard cannot be read, is compressed or damaged, holds what is too large, or a clip
        without a speaker; there is no clip at all.
    """
    mine = {i: list(_clips(names[i])) for i in range(workers.rank, len(names), workers.size)}
    found: dict[int, list[tuple[str, int, int]]] = {}
    for part in workers.gather(mine):
        found.update(part)
    rows = [(i, *clip) for i in range(len(names)) for clip in found[i]]
    if not rows:
        raise AudioError(f"{names[0]}: no audio in the shards; give tar archives with clips")
    if len(rows) > MOST_CLIPS:
        raise AudioError(f"{names[0]}: over {MOST_CLIPS} clips; name fewer shards")
    speakers = sorted({row[1] for row in rows})
    place = {name: i for i, name in enumerate(speakers)}
    shard, offset, size, speaker = np.array(
        [(i, at, size, place[name]) for i, name, at, size in rows], np.int64
    ).T
    return ShardTable(list(names), speakers, shard, offset, size, speaker)


class _Bounded(io.RawIOBase):
    """A shard's headers: what is read at once is bounded, since they state sizes themselves."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= LARGEST_HEADER_BYTES:
            raise tarfile.ReadError("a header is over 1 MB")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _clips(name: str) -> Iterator[tuple[str, int, int]]:
    """Speaker, offset and size of each clip of a shard."""
    group: dict[str, tarfile.TarInfo] = {}
    key: str | None = None
    with open_shard(name) as file:
        for member in _members(name, file):
            folder, _, base = member.name.rpartition("/")
            if base.startswith((".", "__")):
                continue
            stem, _, ending = base.partition(".")
            if (here := f"{folder}/{stem}") != key:
                yield from _clip(name, file, group)
                group, key = {}, here
            group[ending.lower()] = member
        yield from _clip(name, file, group)


def _members(name: str, file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """The ordinary files in an archive, in order."""
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", _Bounded(file)), mode="r:") as archive:
            end = -1
            while (member := archive.next()) is not None:
                # An archive may state sizes that lead back.
                if member.offset_data <= end or member.size < 0:
                    raise tarfile.ReadError("its members overlap")
                end = member.offset_data + max(member.size - 1, 0)
                # The list would grow with the archive.
                archive.members = []  # type: ignore[attr-defined]
                if member.isreg() and not member.issparse():
                    yield member
    except (tarfile.TarError, EOFError, RecursionError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:100]
        raise AudioError(
            f"{name}: not an uncompressed tar archive, or damaged ({reason}); write it again"
        ) from None
    except OSError as error:
        raise AudioError(f"{name}: cannot be read ({error.strerror}); copy it again") from None


def _clip(
    name: str, file: IO[bytes], group: dict[str, tarfile.TarInfo]
) -> Iterator[tuple[str, int, int]]:
    """The clip of a key, if there is audio among its members."""
    for member in group.values():
        path = Path(member.name)
        if not has_audio_ending(path):
            continue
        shown = ascii(member.name[:LONGEST_NAME])
        if path.suffix.lower() in FOREIGN_SUFFIXES:
            raise AudioError(f"{name}: {shown} is of a kind that no shard holds; write it as FLAC")
        if member.size > LARGEST_CLIP_BYTES:
            raise AudioError(
                f"{name}: {shown} has {member.size >> 20} MB, {LARGEST_CLIP_BYTES >> 20} are "
                "allowed; cut it into shorter clips"
            )
        speaker = _speaker(name, file, group.get("json")) or member.name.rpartition("/")[0]
        speaker = speaker.rpartition("/")[2]
        if not (0 < len(speaker) <= LONGEST_NAME and speaker.isprintable()):
            raise AudioError(
                f"{name}: {shown} names no speaker; put it into a folder of the speaker's name, or "
                'a .json with "speaker" beside it'
            )
        yield speaker, member.offset_data, member.size
        return


def _speaker(name: str, file: IO[bytes], member: tarfile.TarInfo | None) -> str:
    """Whom a clip's JSON names, if it names anybody."""
    if member is None or member.size > LARGEST_JSON_BYTES:
        return ""
    file.seek(member.offset_data)
    try:
        content = json.loads(file.read(member.size))
    except (ValueError, RecursionError):
        shown = ascii(member.name[:LONGEST_NAME])
        raise AudioError(f"{name}: {shown} is no JSON; write the shard again") from None
    speaker = content.get("speaker") if isinstance(content, dict) else None
    return speaker if isinstance(speaker, str) else ""
