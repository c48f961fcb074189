"""How near ``match`` comes to mixes, and to the settings behind them where these are known.

- ``real``: raw and mixed vocals of real engineers. The written preset is read back and applied to
  the raw file as it lies; the distance is that of ``../shared/tools/mixscore.py``, to the mix in
  the timing and polarity that were found. Beside it stand the published figures of that folder's
  README: raw at the mix's level, and the best published fit without its delay.
- ``quick``: the quick mode in one batch, 10 s a pair, mixed by our console.
- ``known``: settings drawn from the statistics of real mixes, mixed by our console. An error is
  the median over the cases where that setting is heard: where moving it by its bar changes the
  mix by more than −40 dB of the mix's energy. The threshold counts against the level that enters
  the strip (threshold − input gain); the EQ's curve from 60 Hz to 12 kHz, the mean difference
  removed, since a level that the EQ has too much another gain takes back.
- ``pedalboard``: the same, mixed by pedalboard's filters, compressor and reverb: figures, no bars.
- ``long``: vocals of 40 s, so that the part that is searched has something before it, mixed by
  pedalboard's plug-ins with a delay before the reverb: how far the whole mix is, and how many times
  of echoes are found within 2 ms. No bars.

Run: ``python -m tests.benchmarks.match [--only real,quick,known,pedalboard,long] [--cases N]
[--songs A,B] [--seconds S] [--json]``. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from diffconsole import Preset
from diffconsole.audio import read_audio
from diffconsole.console.render import render
from diffconsole.pairs import PAIR_RATE, PairFiles, load_pair
from diffconsole.training.matching.match import Match, MatchOptions, match
from tests.benchmarks.match_cases import Case, known_cases, pedalboard_cases

SHARED = Path(__file__).resolve().parents[3] / "shared"
REAL, VOICES, SCORE = (
    SHARED / place for place in ("data/real_pairs", "data/voices", "tools/mixscore.py")
)
PARTS = ("real", "quick", "known", "pedalboard", "long")
COUNTS = {"real": 9, "quick": 100, "known": 50, "pedalboard": 20, "long": 5}
QUICK_SECONDS, KNOWN_SECONDS, WHOLE_SECONDS = (10.0, 10.0), (8.0, 12.0), (40.0, 45.0)
SAME_TIME_MS = 2.0
DEFAULT_BAR, LONG_BAR, LONG_SECONDS = 1.12, 1.188, 600.0
"""Mean distances to reach: with default effort; with 600 s a pair, as the peer without delay."""

MOST_SECONDS, MOST_QUICK_SECONDS = 60.0, 3.0
BARS: dict[str, tuple[str, float | None]] = {
    "rendered_db": ("rendered against the target, dB", -25.0),
    "eq_db": ("EQ curve, dB rms, mean removed", 1.0),
    "eq_with_level_db": ("EQ curve, dB rms, with the mean", None),
    "compressor.threshold_db": ("threshold − input gain, dB", 2.0),
    "compressor.ratio": ("ratio, factor", 1.25),
    "compressor.attack_ms": ("attack, factor", 1.6),
    "compressor.release_ms": ("release, factor", 1.6),
    "reverb.decay_s": ("decay, factor", 1.2),
    "reverb.wet_db": ("wet, dB", 1.5),
}


@dataclass
class Row:
    """One figure; missed where it is above its bar."""

    part: str
    name: str
    cases: int
    value: float
    bar: float | None = None

    @property
    def missed(self) -> bool:
        return self.bar is not None and not self.value <= self.bar

    def as_json(self) -> dict[str, Any]:
        value = self.value if np.isfinite(self.value) else None
        return {**asdict(self), "value": value, "missed": self.missed}

    def __str__(self) -> str:
        bar = "" if self.bar is None else f"{self.bar:g}"
        verdict = "" if self.bar is None else "MISSED" if self.missed else "ok"
        name = f"{self.part}: {self.name}"
        return f"{name:<52} {self.cases:>5} {self.value:>9.3f} {bar:>7}  {verdict}"


class Talk:
    """Progress, at once: to stdout, or to stderr where stdout is for JSON."""

    def __init__(self, as_json: bool) -> None:
        self.stream = sys.stderr if as_json else sys.stdout

    def __call__(self, line: object) -> None:
        print(line, file=self.stream, flush=True)


def written(found: Match) -> Preset:
    """The preset as its file holds it."""
    return Preset.from_json(found.preset().to_json())


# Real pairs


def mixscore() -> ModuleType:
    """The distance's own module, which lies beside the data."""
    spec = importlib.util.spec_from_file_location("mixscore", SCORE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def published() -> dict[str, tuple[float, float]]:
    """By song, from the README's table: raw at the mix's level, and the peer without delay."""
    rows = re.findall(r"^\| (\w+) \|(.*)\|$", (REAL / "README.md").read_text(), re.MULTILINE)
    found = {}
    for song, cells in rows:
        figures = re.findall(r"-?\d+\.\d+", cells)
        if len(figures) == 4:
            found[song] = float(figures[1]), float(figures[2])
    return found


def score_of(folder: Path, found: Match, score: ModuleType) -> float:
    """Distance of the written preset on the raw file to the mix, moved and turned as found."""
    (raw, rate), (mix, _) = (read_audio(folder / f"{n}.mp3") for n in ("raw", "mixed"))
    assert rate == PAIR_RATE
    result = render(raw, rate, written(found), tail_seconds=0.0).samples
    lag = round(found.lag_seconds * rate)
    moved = found.polarity * np.pad(mix, ((0, 0), (max(-lag, 0), 0)))[:, max(lag, 0) :]
    return float(score.score(result, moved)["total"])


def real_songs(names: str | None) -> list[Path]:
    """Folders of the real pairs; with names, by commas, those that end so."""
    songs = sorted(p for p in REAL.glob("*") if (p / "raw.mp3").exists())
    if names is None:
        return songs
    return [p for p in songs if p.name.endswith(tuple(names.split(",")))]


def real(songs: list[Path], options: MatchOptions, say: Talk) -> list[Row]:
    score, theirs = mixscore(), published()
    ours, seconds = [], []
    say(f"{'song':<24}{'level':>8}{'peer':>8}{'ours':>8}{'seconds':>9}")
    for folder in songs:
        pair = load_pair(PairFiles(folder.name, folder / "raw.mp3", folder / "mixed.mp3"))
        began = time.monotonic()
        (found,) = match([pair], options)
        seconds.append(time.monotonic() - began)
        ours.append(score_of(folder, found, score))
        level, peer = theirs[folder.name]
        say(f"{folder.name:<24}{level:8.3f}{peer:8.3f}{ours[-1]:8.3f}{seconds[-1]:9.1f}")
    level, peer = np.mean([theirs[folder.name] for folder in songs], axis=0)
    budget = options.seconds
    bar = LONG_BAR if budget is not None and budget >= LONG_SECONDS else DEFAULT_BAR
    most = MOST_SECONDS if budget is None else budget * 1.05
    return [
        Row("real", "raw at the mix's level, mean distance", len(songs), float(level)),
        Row("real", "best published fit, no delay, mean distance", len(songs), float(peer)),
        Row("real", "match, mean distance", len(songs), float(np.mean(ours)), bar),
        Row("real", "match, seconds a pair", len(songs), float(np.mean(seconds)), most),
    ]


# Pairs whose settings are known


def quick(count: int, _: MatchOptions, say: Talk) -> list[Row]:
    pairs = [case.pair for case in known_cases(VOICES, count, QUICK_SECONDS, seed=2)]
    began = time.monotonic()
    found = []
    for result in match(pairs, MatchOptions(quick=True)):
        found.append(result)
        say(f"{result.name}: {result.distance:.3f}, level only {result.level_distance:.3f}")
    seconds = (time.monotonic() - began) / len(pairs)
    level = float(np.mean([f.level_distance for f in found]))
    distance = float(np.mean([f.distance for f in found]))
    return [
        Row("quick", "seconds a pair", len(pairs), seconds, MOST_QUICK_SECONDS),
        Row("quick", "raw at the mix's level, mean distance", len(pairs), level),
        Row("quick", "match, mean distance", len(pairs), distance),
    ]


def compared(
    part: str, cases: list[Case], options: MatchOptions, say: Talk, *, bars: bool
) -> list[Row]:
    """Match each case and compare the settings."""
    errors: dict[str, list[float]] = {key: [] for key in BARS}
    distances, levels = [], []
    results = match([case.pair for case in cases], options)
    for case, found in zip(cases, results, strict=True):
        off = case.errors(written(found))
        for key, value in off.items():
            errors[key].append(value)
        distances.append(found.distance)
        levels.append(found.level_distance)
        told = ", ".join(f"{key.split('.')[-1]} {value:.2f}" for key, value in off.items())
        say(f"{found.name}: {found.distance:.3f} of {found.level_distance:.3f}; {told}")
    rows = [
        Row(part, name, len(errors[key]), float(np.median(errors[key])), bar if bars else None)
        for key, (name, bar) in BARS.items()
        if errors[key]
    ]
    mean = float(np.mean(levels)), float(np.mean(distances))
    rows.append(Row(part, "raw at the mix's level, mean distance", len(cases), mean[0]))
    rows.append(Row(part, "match, mean distance", len(cases), mean[1]))
    return rows


def known(count: int, options: MatchOptions, say: Talk) -> list[Row]:
    cases = known_cases(VOICES, count, KNOWN_SECONDS, seed=1)
    return compared("known", cases, options, say, bars=True)


def by_pedalboard(count: int, options: MatchOptions, say: Talk) -> list[Row]:
    cases = pedalboard_cases(VOICES, count, KNOWN_SECONDS)
    return compared("pedalboard", cases, options, say, bars=False)


def whole_vocals(count: int, options: MatchOptions, say: Talk) -> list[Row]:
    cases = pedalboard_cases(VOICES, count, WHOLE_SECONDS, echoes=True)
    distances, are_found = [], []
    for case in cases:
        (found,) = match([case.pair], options)
        distances.append(found.distance)
        wanted_ms, time_ms = case.settings["delay.time_ms"], found.settings.get("delay.time_ms")
        is_on = time_ms is not None and "delay" not in found.bypass
        are_found.append(is_on and abs(time_ms - wanted_ms) < SAME_TIME_MS)
        shown = f"{time_ms:.2f} ms" if is_on else "none"
        say(f"{found.name}: {found.distance:.3f} of {found.level_distance:.3f}; echo {shown} "
            f"({wanted_ms:.2f} ms)")  # fmt: skip
    return [
        Row("long", "match, mean distance", count, float(np.mean(distances))),
        Row("long", "times of echoes found, share", count, float(np.mean(are_found))),
    ]


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    parser.add_argument("--cases", type=int, help="at most so many in each part")
    parser.add_argument("--songs", help="real pairs whose names end so, by commas")
    parser.add_argument("--seconds", type=float, help="time budget a pair, but for quick")
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if not set(parts) <= set(PARTS):
        parser.error(f"--only {arguments.only}: not of {', '.join(PARTS)}")
    missing = [place for place in (REAL, VOICES, SCORE) if not place.exists()]
    if missing:
        print(f"no {missing[0]}: nothing to measure on")
        return 2
    say = Talk(arguments.json)
    options = MatchOptions(seconds=arguments.seconds)
    rows: list[Row] = []
    run = {"quick": quick, "known": known, "pedalboard": by_pedalboard, "long": whole_vocals}
    for part in PARTS:
        if part not in parts:
            continue
        say(f"\n{part}")
        count = min(arguments.cases or COUNTS[part], COUNTS[part])
        if part == "real":
            rows += real(real_songs(arguments.songs)[:count], options, say)
        else:
            rows += run[part](count, options, say)
    say(f"\n{'':<52} {'cases':>5} {'figure':>9} {'bar':>7}")
    for row in rows:
        say(row)
    if arguments.json:
        print(json.dumps([row.as_json() for row in rows], indent=2))
    return int(any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
