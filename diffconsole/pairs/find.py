"""Files that belong together: two folders paired by name, or a list."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from ..audio.endings import has_audio_ending
from ..errors import PairError

__all__ = ["PairFiles", "find_pairs", "pair_key", "read_pair_list"]

NAME_ENDINGS = ("raw", "dry", "mix", "mixed", "wet", "processed")
MOST_LINES = 20
"""For files of a folder that are no audio; of more than these, their number is given."""


@dataclass(frozen=True)
class PairFiles:
    """Two files that belong together by name.

    Attributes
    ----------
    name : str
        Of the raw file, without its suffix.
    raw, mixed : Path
        The files.
    """

    name: str
    raw: Path
    mixed: Path


def pair_key(path: Path) -> str:
    """Return a file's name without its suffix and without endings such as ``_raw`` or ``-mix``.

    Examples
    --------
    >>> pair_key(Path("Song 1_Raw.wav")) == pair_key(Path("song 1 (mixed).flac"))
    True
    """
    # Some systems write é as two characters, some as one.
    key = unicodedata.normalize("NFC", path.stem).casefold()
    ending = re.compile(rf"[\s_\-.()\[\]]+(?:{'|'.join(NAME_ENDINGS)})[\s_\-.()\[\]]*$")
    while (shorter := ending.sub("", key)) and shorter != key:
        key = shorter
    return key.strip(" _-.()[]")


def find_pairs(
    raw_folder: str | Path, mixed_folder: str | Path
) -> tuple[list[PairFiles], list[str]]:
    """Pair the audio files of two folders by name.

    Parameters
    ----------
    raw_folder, mixed_folder : str or Path
        Folders; their subfolders are not searched.

    Returns
    -------
    pairs : list of PairFiles
        In order of the name.
    left_over : list of str
        One line for each file that is left out, with the reason; hidden files get none.

    Raises
    ------
    PairError
        Not a folder, no pair at all, or two files of one folder with the same name.
    """
    raw, no_raw = _by_key(Path(raw_folder))
    mixed, no_mixed = _by_key(Path(mixed_folder))
    shared = sorted(set(raw) & set(mixed))
    if not shared:
        raise PairError(
            f"no file of {raw_folder} has a partner of the same name in {mixed_folder} "
            f"(endings {', '.join(NAME_ENDINGS)} are ignored); "
            + (
                "there is audio in the folders below: match and evaluate search them by --recursive"
                if not (raw and mixed) and any(map(_has_audio_below, (raw_folder, mixed_folder)))
                else "or give --pairs CSV"
            )
        )
    left_over = [f"{raw[k]}: no partner in {mixed_folder}" for k in sorted(set(raw) - set(mixed))]
    left_over += [f"{mixed[k]}: no partner in {raw_folder}" for k in sorted(set(mixed) - set(raw))]
    for folder, others in ((raw_folder, no_raw), (mixed_folder, no_mixed)):
        left_over += [f"{path}: not an audio file by its ending" for path in others[:MOST_LINES]]
        if len(others) > MOST_LINES:
            left_over.append(
                f"{folder}: {len(others) - MOST_LINES} more files are not audio files by their "
                "endings"
            )
    return [PairFiles(raw[k].stem, raw[k], mixed[k]) for k in shared], left_over


def _has_audio_below(folder: str | Path) -> bool:
    """Whether a folder in the folder, or one deeper, has an audio file that is not hidden."""
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        audio = (n for n in names if not n.startswith(".") and has_audio_ending(Path(n)))
        if Path(place) != Path(folder) and any(True for _ in audio):
            return True
    return False


def _by_key(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """Audio files by the key of their names, and the other files; hidden ones are in neither."""
    if not folder.is_dir():
        raise PairError(f"{folder}: not a folder; give the folder that holds the files")
    found: dict[str, Path] = {}
    others = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        if not has_audio_ending(path):
            others.append(path)
            continue
        key = pair_key(path)
        if key in found:
            raise PairError(
                f"{folder}: {found[key].name} and {path.name} have the same name for pairing; "
                "rename one, or give --pairs CSV"
            )
        found[key] = path
    return found, others


def read_pair_list(table: str | Path) -> list[PairFiles]:
    """Read pairs from a CSV with the columns ``raw`` and ``mixed``.

    Relative paths start at the folder of the CSV.

    Raises
    ------
    PairError
        Missing, without these columns, or without a row.
    """
    table = Path(table)
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise PairError(f"{table}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PairError(f"{table}: cannot be read as CSV ({error})") from None
    if not rows or not {"raw", "mixed"} <= set(rows[0]):
        raise PairError(f"{table}: needs a header with 'raw' and 'mixed' and a row for each pair")
    pairs = []
    for number, row in enumerate(rows, start=2):
        if not row["raw"] or not row["mixed"]:
            raise PairError(f"{table}: line {number} lacks a raw or a mixed file")
        raw, mixed = (table.parent / row[column] for column in ("raw", "mixed"))
        pairs.append(PairFiles(raw.stem, raw, mixed))
    return pairs
