"""More people to pretrain on: voices from Debian's packages, and one that sings from a score.

Writes a folder that ``diffconsole pretrain`` reads: the people of ``../shared/data/voices`` as
links, and beside them

- what Debian's GPL packages of spoken words hold, one person a language and package. Words are
  joined to clips of about eight seconds, with the short pauses of somebody who reads a list;
- the singing voice of ``pysinsy`` (CC BY 3.0), which sings seeded melodies over all of its range.

A ``manifest.csv`` names licence and source of each, so that the model's card does. Packages are
unpacked by ``dpkg -x PACKAGE.deb FOLDER``, not installed; ``pysinsy`` 0.0.5 builds with
``setuptools<80``, and is best kept in an environment of its own, whose Python ``--sinsy`` names.

Run: ``python -m tests.benchmarks.more_voices FOLDER [--packages UNPACKED] [--sinsy PYTHON]``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from diffconsole.audio import read_audio, resample
from diffconsole.errors import DiffconsoleError
from diffconsole.training.pretraining.card import MANIFEST
from diffconsole.training.pretraining.simulate import SHORTEST_SECONDS
from tests.benchmarks.first_model import DATA

RATE = 44100
CLIP_SECONDS, MOST_SECONDS, LEAST_SECONDS = 8.0, 150.0, 12.0
PAUSES_SECONDS = (0.1, 0.5)
LEAST_RATE, FLOOR_DB, EDGE_SECONDS = 32000, -40.0, 0.03
PACKAGES = {
    "tuxpaint": re.compile(r"/tuxpaint/stamps/.*_desc_(?P<who>[a-z]{2,3})\.ogg$"),
    "klettres": re.compile(r"/klettres/(?P<who>\w+)/(?:alpha|syllab)/[^/]+\.ogg$"),
    "ktuberling": re.compile(r"/ktuberling/sounds/(?P<who>[\w@]+)/[^/]+\.(?:ogg|wav)$"),
}
"""How each package's files lie, and which part of the name tells the person."""
SINGER, SONGS, MEASURES = "sinsy_f001", 10, 8
RHYTHMS = ((4, 4, 4, 4), (8, 8), (4, 4, 8), (2, 2, 4, 8), (16,), (6, 2, 4, 4))
REST = "<note><rest/><duration>16</duration></note>"
LYRICS = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわ"
SING = """
import sys, numpy, pysinsy
for score in sys.argv[1:]:
    samples, rate = pysinsy.synthesize(score)
    numpy.savez(score + ".npz", samples=numpy.asarray(samples, "float32"), rate=rate)
"""


def main() -> int:
    """Write the folder and tell who is in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="does not exist yet")
    parser.add_argument("--packages", type=Path, help="where Debian's packages were unpacked")
    parser.add_argument("--sinsy", help="Python of an environment with pysinsy")
    arguments = parser.parse_args()
    folder, known = arguments.folder, DATA / "voices"
    if not known.is_dir():
        print(f"no voices in {known}")
        return 2
    if folder.exists():
        parser.error(f"{folder}: exists; name a folder that does not")
    if arguments.packages is not None and not arguments.packages.is_dir():
        parser.error(f"--packages {arguments.packages}: not a folder")
    songs = [] if arguments.sinsy is None else list(sung(arguments.sinsy))
    folder.mkdir(parents=True)
    with open(known / MANIFEST, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for person in sorted(p for p in known.iterdir() if p.is_dir()):
        (folder / person.name).symlink_to(person.resolve(), target_is_directory=True)
    if arguments.packages is not None:
        for person, licence, source, words in spoken(arguments.packages):
            rows += written(folder, person, licence, source, joined(words))
    if songs:
        rows += written(
            folder, SINGER, "CC BY 3.0", "pysinsy 0.0.5 (nitech_jp_song070)", iter(songs)
        )
    with open(folder / MANIFEST, "w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(rows[0]), restval="", extrasaction="ignore")
        out.writeheader()
        out.writerows(rows)
    for person in sorted({row["person"] for row in rows}):
        seconds = sum(float(row["seconds"]) for row in rows if row["person"] == person)
        print(f"{person:<28}{seconds:7.0f} s")
    return 0


def spoken(packages: Path) -> Iterator[tuple[str, str, str, list[np.ndarray]]]:
    """Each person of the packages, with the words that are good enough, in order of their names."""
    files = sorted(path for path in packages.rglob("*") if path.suffix in (".ogg", ".wav"))
    for package, pattern in PACKAGES.items():
        people: dict[str, list[Path]] = {}
        said: set[bytes] = set()
        for path in files:
            if found := pattern.search(path.as_posix()):
                # Some words stand under several names, some people under several languages.
                digest = hashlib.sha256(path.read_bytes()).digest()
                if digest not in said:
                    people.setdefault(found["who"], []).append(path)
                said.add(digest)
        for who, paths in sorted(people.items()):
            words = [word for path in paths if len(word := trimmed(path))]
            if sum(map(len, words)) >= LEAST_SECONDS * RATE:
                yield f"{package}_{who}", "GPL-2.0-or-later", f"Debian {package}", words


def trimmed(path: Path) -> np.ndarray:
    """A word at 44.1 kHz without the silence around it; nothing of what is dull or unreadable."""
    try:
        samples, rate = read_audio(path)
    except DiffconsoleError:
        return np.empty(0, np.float32)
    if rate < LEAST_RATE:
        return np.empty(0, np.float32)
    mono = resample(samples.mean(axis=0, keepdims=True), rate, RATE)[0]
    envelope = np.abs(mono)
    heard = np.flatnonzero(envelope > envelope.max(initial=0.0) * 10.0 ** (FLOOR_DB / 20.0))
    if not len(heard) or envelope.max() < 1e-3:
        return np.empty(0, np.float32)
    edge = int(EDGE_SECONDS * RATE)
    return mono[max(heard[0] - edge, 0) : heard[-1] + edge]


def joined(words: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Clips of words with pauses between them, in a seeded order, as many as are of use."""
    rng = np.random.default_rng(0)
    clip: list[np.ndarray] = []
    total = 0
    for i in rng.permutation(len(words)):
        clip += [words[i], np.zeros(int(rng.uniform(*PAUSES_SECONDS) * RATE), np.float32)]
        if sum(map(len, clip)) >= CLIP_SECONDS * RATE:
            yield np.concatenate(clip)
            total += sum(map(len, clip))
            clip = []
            if total >= MOST_SECONDS * RATE:
                return
    if sum(map(len, clip)) >= SHORTEST_SECONDS * RATE:
        yield np.concatenate(clip)


def sung(python: str) -> Iterator[np.ndarray]:
    """Seeded melodies, sung."""
    with tempfile.TemporaryDirectory() as folder:
        scores = [Path(folder) / f"{number}.xml" for number in range(SONGS)]
        for number, score in enumerate(scores):
            score.write_text(melody(np.random.default_rng(number)), encoding="utf-8")
        subprocess.run([python, "-c", SING, *map(str, scores)], check=True)
        for score in scores:
            with np.load(f"{score}.npz") as made:
                mono, rate = made["samples"], int(made["rate"])
            peak = float(np.max(np.abs(mono)))
            yield resample((mono / peak * 0.5)[None].astype(np.float32), rate, RATE)[0]


def melody(rng: np.random.Generator) -> str:
    """A score in MusicXML: a walk over a scale, one syllable a note, a rest after each phrase."""
    steps = ("C", "D", "E", "F", "G", "A", "B")
    lowest = int(rng.integers(0, 4))
    place = lowest + 7
    measures = [REST]
    for number in range(MEASURES):
        notes = []
        for length in RHYTHMS[int(rng.integers(len(RHYTHMS)))]:
            place = int(np.clip(place + rng.integers(-3, 4), lowest, lowest + 14))
            octave, degree = divmod(place, len(steps))
            syllable = LYRICS[int(rng.integers(len(LYRICS)))]
            notes.append(
                f"<note><pitch><step>{steps[degree]}</step><octave>{octave + 3}</octave></pitch>"
                f"<duration>{length}</duration>"
                f"<lyric><syllabic>single</syllabic><text>{syllable}</text></lyric></note>"
            )
        measures.append("".join(notes))
        if number % 4 == 3:
            measures.append(REST)
    tempo = int(rng.integers(70, 130))
    beginning = (
        "<attributes><divisions>4</divisions><key><fifths>0</fifths></key>"
        "<time><beats>4</beats><beat-type>4</beat-type></time></attributes>"
        f'<direction><sound tempo="{tempo}"/></direction>'
    )
    measures[0] = beginning + measures[0]
    numbered = "".join(
        f'<measure number="{number}">{measure}</measure>'
        for number, measure in enumerate(measures, 1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><score-partwise version="3.0"><part-list>'
        '<score-part id="P1"><part-name>voice</part-name></score-part></part-list>'
        f'<part id="P1">{numbered}</part></score-partwise>'
    )


def written(
    folder: Path, person: str, licence: str, source: str, clips: Iterator[np.ndarray]
) -> list[dict[str, str]]:
    """Write the clips of a person, and return their lines of the manifest."""
    (folder / person).mkdir()
    rows = []
    for number, clip in enumerate(clips):
        path = folder / person / f"{number:03d}.flac"
        soundfile.write(path, clip, RATE, subtype="PCM_16")
        rows.append(
            {
                "file": f"{person}/{path.name}",
                "person": person,
                "licence": licence,
                "source_repo": source,
                "seconds": f"{len(clip) / RATE:.2f}",
            }
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
