"""The pairs of a virtual studio and what `match` finds for them, made once and kept.

A folder a studio, named by everything that its pairs follow from, so that other rules get other
pairs. Labels follow from the search too, which no name tells: measure a new search in a new cache.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
import torch

from diffconsole import Preset
from diffconsole.files import atomic_path
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.training.matching.match import QUICK_TOGETHER, TOGETHER_ON_GPU, MatchOptions, match
from tests.benchmarks.virtual_studios import (
    LEVELS_LUFS,
    MOST_SPEED,
    PASSAGE_SECONDS,
    ROOMS,
    TASTE,
    TEST_PEOPLE,
    TRAIN_PEOPLE,
    VOICES,
    Studio,
    decide,
    mix,
    raw_passages,
)
from tests.benchmarks.voice_measures import measure

__all__ = ["Label", "Materials", "OutOfTime", "digest_of"]

PEOPLE = {"train": TRAIN_PEOPLE, "test": TEST_PEOPLE}
# To be raised when passages or mixes come out otherwise for the same parameters and decisions.
VERSION = 1
# FLAC holds −1…1, mixes peak higher; a power of two costs no exactness.
HEADROOM = 8.0


class OutOfTime(Exception):
    """The time budget is used up; what was made until then is kept."""


@lru_cache
def digest_of(studio: Studio) -> str:
    """Return eight letters for what a studio's pairs follow from: parameters, people, rules.

    The rules are told by what they decide for a dull and a bright signal.
    """
    rng = np.random.default_rng(0)
    pulse = np.exp(-((np.arange(2 * PAIR_RATE) / PAIR_RATE) % 0.4) / 0.06)
    dull = scipy.signal.lfilter([1.0], [1.0, -0.95], rng.standard_normal(len(pulse))) * pulse
    decided = [
        {key: f"{value:.3g}" for key, value in decide(studio, measure(probe[None])).items()}
        for probe in (dull, np.diff(dull))
    ]
    facts = [VERSION, asdict(studio), decided, TASTE, PEOPLE]
    facts += [PASSAGE_SECONDS, LEVELS_LUFS, MOST_SPEED]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Label:
    """What a search found for a pair.

    Attributes
    ----------
    settings : dict of str to float
        Every parameter by key, for the raw as it lies.
    bypass : frozenset of str
        Modules and bands that are off.
    distance : float
        To the mix.
    seconds : float
        That the search took.
    """

    settings: dict[str, float]
    bypass: frozenset[str]
    distance: float
    seconds: float

    def preset(self) -> Preset:
        """Return the strip."""
        return Preset.from_settings(self.settings, bypass=self.bypass)


@dataclass(frozen=True)
class Materials:
    """The pairs and labels of one studio.

    Attributes
    ----------
    studio : Studio
        Whose they are.
    cache : Path
        Folder for the folders of all studios.
    deadline : float
        By :func:`time.monotonic`, when a search starts no more.
    device : str
        That searches run on.
    """

    studio: Studio
    cache: Path
    deadline: float = float("inf")
    device: str = "cpu"

    @property
    def key(self) -> str:
        """Name of the folder: the studio and a digest of what its pairs follow from."""
        return f"{self.studio.name.replace(' ', '-')}-{digest_of(self.studio)}"

    @property
    def folder(self) -> Path:
        """Of this studio, made where it is missing."""
        folder = self.cache / self.key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def pair(self, part: str, number: int) -> Pair:
        """Return a pair of ``"train"`` or ``"test"`` people."""
        path = self.folder / f"{part}-{number:04d}.flac"
        if not path.exists():
            self._make(path, part, number)
        samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
        raw, mixed = HEADROOM * samples.T[:1], HEADROOM * samples.T[1:]
        name = f"{self.studio.name} {part} {number}"
        return Pair(name, np.ascontiguousarray(raw), np.ascontiguousarray(mixed), 0.0, 1, 1.0)

    def _make(self, path: Path, part: str, number: int) -> None:
        # Each part of each studio has its own takes.
        seed = 2 * self.studio.seed + (part == "test")
        (passage,) = raw_passages(VOICES, PEOPLE[part], 1, seed, first=number)
        mixed = mix(self.studio, passage.samples, np.random.default_rng((seed, number, 1)), ROOMS)
        samples = np.concatenate((passage.samples, mixed)) / HEADROOM
        with atomic_path(path, force=True) as place:
            soundfile.write(place, samples.T, PAIR_RATE, subtype="PCM_24", format="FLAC")

    def training_numbers(self, count: int, seed: int) -> range:
        """Numbers of the pairs of a run: other seeds train on other pairs."""
        return range(seed * count, (seed + 1) * count)

    def labels(self, part: str, numbers: Sequence[int], *, quick: bool) -> list[Label]:
        """Return what the search finds for some pairs, each searched once.

        Raises
        ------
        OutOfTime
            At the deadline, with what was found until then kept.
        """
        missing = [n for n in numbers if not self._label_path(part, n, quick).exists()]
        # As many as the search works on at a time.
        if self.device == "cpu":
            together = torch.get_num_threads() * (QUICK_TOGETHER if quick else 1)
        else:
            together = TOGETHER_ON_GPU
        for first in range(0, len(missing), together):
            if time.monotonic() > self.deadline:
                raise OutOfTime
            some = missing[first : first + together]
            pairs = [self.pair(part, n) for n in some]
            options = MatchOptions(quick=quick)
            for number, found in zip(some, match(pairs, options, device=self.device), strict=True):
                if found.stopped:
                    raise KeyboardInterrupt
                label = {
                    "settings": found.settings,
                    "bypass": sorted(found.bypass),
                    "distance": found.distance,
                    "seconds": found.seconds,
                }
                with atomic_path(self._label_path(part, number, quick), force=True) as place:
                    place.write_text(json.dumps(label, indent=1))
        return [self._read(self._label_path(part, n, quick)) for n in numbers]

    def _label_path(self, part: str, number: int, quick: bool) -> Path:
        return self.folder / f"{part}-{number:04d}.{'quick' if quick else 'full'}.json"

    @staticmethod
    def _read(path: Path) -> Label:
        data = json.loads(path.read_text())
        return Label(**{**data, "bypass": frozenset(data["bypass"])})
