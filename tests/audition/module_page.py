"""A page with presets of the module that a file tests: what it plays and saves, what it should."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from diffconsole import Preset
from diffconsole.audition import Vocal, write_page
from diffconsole.console.render import render
from tests.reference import error_db
from tests.synthetic import voice

from .browsing import Opened, open_page
from .test_browser import LIVE_FROM_SECONDS, downloaded, live

RATE = 44100


@dataclass
class ModulePage:
    """A page that is open, its raw vocal, and its presets by name."""

    opened: Opened
    raw: np.ndarray
    presets: Mapping[str, Preset]

    def place(self, name: str) -> int:
        """Position of a preset's version; the raw vocal is the first."""
        return list(self.presets).index(name) + 1

    def select(self, name: str) -> None:
        """Make a preset's version the one that is edited and saved."""
        self.opened.run("(i) => audition.session.select(i)", self.place(name))

    def render(self, preset: Preset, **options: Any) -> np.ndarray:
        """What the package makes of the raw vocal."""
        return render(self.raw, RATE, preset, **options).samples

    def saved_audio(self, folder: Path) -> np.ndarray:
        """``(channels, samples)`` that the page saves."""
        path = downloaded(self.opened, "#download-audio", folder)
        return soundfile.read(path, dtype="float32", always_2d=True)[0].T

    def saved_preset(self, folder: Path) -> dict[str, Any]:
        """The preset that the page saves."""
        return json.loads(downloaded(self.opened, "#download-preset", folder).read_text("utf-8"))

    def worst_error_db(self, name: str, folder: Path) -> float:
        """How far the version that was selected, saved and live, is from what it should be."""
        expected = self.render(self.presets[name])
        start = int(LIVE_FROM_SECONDS * RATE)
        wanted = np.repeat(expected, 3 - len(expected), axis=0)[:, start:]
        saved = error_db(self.saved_audio(folder), expected)
        played = live(self.opened, self.place(name))[:, start : expected.shape[1]]
        played_db = error_db(played, wanted[:, : played.shape[1]])
        print(f"{name}: saved {saved:.1f} dB, live {played_db:.1f} dB")
        return max(saved, played_db)


@contextmanager
def open_presets(
    context: Any, folder: Path, presets: Mapping[str, Preset], channels: int
) -> Iterator[ModulePage]:
    """Open a page of presets on a voice of whole 16-bit values, as a file has them."""
    raw = np.stack([voice(2.0, seed, RATE) for seed in range(channels)])
    raw = (np.round(raw * 2.0**15) / 2.0**15).astype(np.float32)
    path = folder / "a.html"
    write_page(path, [Vocal("take", raw, RATE, list(presets.items()))])
    with open_page(context, path.as_uri()) as opened:
        opened.ready()
        opened.rendered()
        yield ModulePage(opened, raw, presets)
        assert opened.words == []
