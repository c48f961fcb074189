"""Shards of voices: tar archives for WebDataset, of a folder with one folder of clips per speaker.

The clips of all speakers are shuffled, so that a part of a shard is like the whole, and copied as
they are; ``manifest.csv`` comes along. ``pretrain`` reads the result, and so does WebDataset: the
members are ``SPEAKER/NUMBER.ext``. The same voices and seed give the same bytes.

Run: ``python -m diffconsole.training.pretraining.write_shards VOICES -o SHARDS [--megabytes 500]
[--seed 0]``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from ...audio.endings import FOREIGN_SUFFIXES
from ...errors import AudioError, DiffconsoleError, OutputError, SettingsError
from ...files import atomic_path, results_folder
from ...progress import bar
from .card import MANIFEST
from .shards import LARGEST_CLIP_BYTES
from .simulate import audio_files

__all__ = ["write_shards"]

MEGABYTES = 500


def write_shards(
    voices: Path,
    folder: Path,
    megabytes: float = MEGABYTES,
    seed: int = 0,
    report_progress: Callable[[float], None] = lambda _: None,
) -> list[Path]:
    """Write the clips of a folder of voices into shards.

    Parameters
    ----------
    voices : Path
        Holds one folder of clips per speaker.
    folder : Path
        Gets ``voices-000000.tar`` and so on; without any ``.tar`` file yet.
    megabytes : float
        Size of a shard, in 10⁶ bytes; the last clip of each goes beyond it.
    seed : int
        Of the order.
    report_progress : callable
        Called after each clip with the share that is done.

    Returns
    -------
    list of Path
        The shards.

    Raises
    ------
    AudioError
        No clips there, or one that no shard can hold.
    SettingsError
        No size above 0.
    OutputError
        The folder holds shards, or they cannot be written.
    """
    if not megabytes > 0.0:
        raise SettingsError(f"--megabytes {megabytes:g}: give the size of a shard, above 0")
    if not voices.is_dir():
        raise AudioError(f"{voices}: not a folder; give one with a folder of clips per speaker")
    people = sorted(p for p in voices.iterdir() if p.is_dir())
    clips = [(person.name, path) for person in people for path in audio_files(person)]
    if not clips:
        raise AudioError(f"{voices}: no audio in the folders below it; one folder per speaker")
    for name, path in clips:
        _check(name, path)
    with results_folder(folder):
        if any(folder.glob("*.tar")):
            raise OutputError(f"{folder}: holds .tar files already; choose another folder")
        order = np.random.default_rng(seed).permutation(len(clips)).tolist()
        shards: list[Path] = []
        done = 0
        while done < len(order):
            target = folder / f"voices-{len(shards):06d}.tar"
            with atomic_path(target) as temporary, tarfile.open(temporary, "w:") as archive:
                size = 0
                while done < len(order) and size < megabytes * 1e6:
                    name, path = clips[order[done]]
                    size += _add(archive, f"{name}/{done:08d}{path.suffix.lower()}", path)
                    done += 1
                    report_progress(done / len(order))
            shards.append(target)
        if (voices / MANIFEST).is_file():
            with atomic_path(folder / MANIFEST, force=True) as temporary:
                shutil.copyfile(voices / MANIFEST, temporary)
    return shards


def _check(name: str, path: Path) -> None:
    """Refuse what cannot be read out of a shard."""
    if not name.isprintable():
        raise AudioError(f"{path.parent}: its name cannot be printed; rename it")
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        raise AudioError(f"{path}: is of a kind that no shard holds; convert it to FLAC")
    if path.stat().st_size > LARGEST_CLIP_BYTES:
        raise AudioError(
            f"{path}: over {LARGEST_CLIP_BYTES >> 20} MB, which a shard may not hold; cut it into "
            "shorter clips"
        )


def _add(archive: tarfile.TarFile, name: str, path: Path) -> int:
    """Add a file without its owner and time, and return its size."""
    member = tarfile.TarInfo(name)
    try:
        with open(path, "rb") as file:
            member.size = os.fstat(file.fileno()).st_size
            archive.addfile(member, file)
    except OSError as error:
        if error.filename != str(path):
            raise
        raise AudioError(f"{path}: cannot be read ({error.strerror}); mend or remove it") from None
    return member.size


def main() -> int:
    """Write shards; 1 where the folders do not serve."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("voices", type=Path, help="holds one folder of clips per speaker")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--megabytes", type=float, default=MEGABYTES, help="of a shard")
    parser.add_argument("--seed", type=int, default=0, help="of the order")
    arguments = parser.parse_args()
    try:
        with bar("shards", silent=False) as show:
            shards = write_shards(
                arguments.voices, arguments.output, arguments.megabytes, arguments.seed,
                lambda share: show(share, ""),
            )  # fmt: skip
    except DiffconsoleError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    one = len(shards) == 1
    names = f"{shards[0]}" if one else f"{shards[0]} … {shards[-1].name}"
    click.echo(f"→ {names}: {len(shards)} {'shard' if one else 'shards'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
