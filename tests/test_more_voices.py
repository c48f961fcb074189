"""The people brought together to pretrain on: who is taken from a package, and how."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from diffconsole.training.pretraining.simulate import load_voices
from tests.benchmarks import more_voices

from .synthetic import RATE, voice, write_people


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Words of two people who say enough and one who does not, and what is no word."""
    folder = tmp_path / "unpacked"
    words = {
        "klettres/usr/share/klettres/de/alpha/{}.ogg": (16, RATE),
        "ktuberling/usr/share/ktuberling/sounds/fr/{}.ogg": (16, RATE),
        "klettres/usr/share/klettres/cs/syllab/{}.ogg": (3, RATE),
        "klettres/usr/share/klettres/id/syllab/{}.ogg": (16, 22050),
        "tuxpaint/usr/share/tuxpaint/stamps/animals/{}_desc_es.ogg": (16, RATE),
        "tuxpaint/usr/share/tuxpaint/stamps/animals/{}.ogg": (16, RATE),
    }
    for name, (count, rate) in words.items():
        for number in range(count):
            path = folder / name.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            word = np.pad(voice(1.0, number % 2, rate), rate // 2)
            soundfile.write(path, word, rate)
    (folder / "klettres/usr/share/klettres/de/alpha/damaged.ogg").write_bytes(b"OggS, but no more")
    return folder


def test_people_of_packages_stand_beside_those_at_hand(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    write_people(data / "voices", {"anna": 1})
    with open(data / "voices" / "manifest.csv", "w", newline="") as file:
        out = csv.DictWriter(file, ["file", "person", "kind", "seconds", "licence", "source_repo"])
        out.writeheader()
        out.writerow({"file": "anna/0", "person": "anna", "seconds": "3", "licence": "CC0"})
    monkeypatch.setattr(more_voices, "DATA", data)
    folder = tmp_path / "more"
    monkeypatch.setattr(sys, "argv", ["more_voices", str(folder), "--packages", str(packages)])
    assert more_voices.main() == 0
    voices = load_voices(folder)
    people = {"anna", "klettres_de", "ktuberling_fr", "tuxpaint_es"}
    assert set(voices.clips) == people
    with open(folder / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["person"]: row["licence"] for row in rows} == {
        person: "CC0" if person == "anna" else "GPL-2.0-or-later" for person in people
    }
    for person in people - {"anna"}:
        clips = voices.clips[person]
        # Silence around the words is gone, short pauses are between them.
        seconds = sum(map(len, clips)) / RATE
        assert 16 * 0.9 < seconds < 16 * 1.6
        told = sum(float(row["seconds"]) for row in rows if row["person"] == person)
        assert told == pytest.approx(seconds, abs=0.1)


def test_melodies_are_scores_of_full_measures() -> None:
    scores = [more_voices.melody(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]
    for score in scores:
        measures = ElementTree.fromstring(score.partition("?>")[2]).findall("part/measure")
        lengths = [
            sum(int(found.text or "") for found in measure.findall("note/duration"))
            for measure in measures
        ]
        assert set(lengths) == {16}
        assert measures[0].find("note/rest") is not None
        assert measures[-1].find("note/rest") is not None
        octaves = [int(o.text or "") for m in measures for o in m.findall("note/pitch/octave")]
        assert min(octaves) >= 3 and max(octaves) <= 5
