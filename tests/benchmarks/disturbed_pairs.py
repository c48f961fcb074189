"""How far pairs with known lag and settings are misread when they are disturbed.

Voices of several people are mixed by two strips of the console; then the mix, or the file, is
disturbed: offsets, excerpts, clocks, other rates, MP3, tuning, moved syllables, doubling, noise.
For each the error of the lag, the polarity, and the distance that ``match --quick`` ends at,
relative to the undisturbed pair where only the file is disturbed, else to the same search at the
true lag. Bars: lag within 1 ms, polarity right, distance within 10 %, unless the pair says that
its lag is uncertain or is refused with a cause.

Run: ``python -m tests.benchmarks.disturbed_pairs [--quick] [--no-match] [--people NAME …]
[--cases NAME …] [--json FILE]``. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from diffconsole.audio import read_audio, resample
from diffconsole.errors import DiffconsoleError
from diffconsole.pairs import PAIR_RATE, Pair, PairFiles, load_pair
from diffconsole.training.matching.match import MatchOptions, match
from tests.benchmarks.disturbances import SAME_TIME, at_other_speed, later, through_mp3
from tests.synthetic import mixed

VOICES = Path(__file__).resolve().parents[3] / "shared" / "data" / "voices"
PEOPLE = (
    "makam_guelen", "kerstin", "erithacus", "msc_vUdcLk4R", "makam_barbaros", "gcompris_gd",
    "tofugu_female", "makam_idil", "kathleen", "yuki",
)  # fmt: skip
FEW = 2
SECONDS = 16.0
MOST_LAG_MS, MOST_DISTANCE = 1.0, 1.10
STRIPS = (
    {
        "eq.high_pass.freq_hz": 110.0, "eq.peak_1.gain_db": -5.0, "eq.high_shelf.gain_db": 6.0,
        "compressor.threshold_db": -30.0, "compressor.ratio": 4.0, "compressor.attack_ms": 5.0,
        "compressor.makeup_db": 6.0, "reverb.wet_db": -14.0,
    },
    {
        "eq.high_pass.freq_hz": 180.0, "eq.peak_2.gain_db": -8.0, "eq.peak_3.gain_db": 6.0,
        "eq.high_shelf.gain_db": 10.0, "compressor.threshold_db": -40.0, "compressor.ratio": 8.0,
        "compressor.attack_ms": 1.0, "compressor.makeup_db": 12.0, "reverb.decay_s": 2.0,
        "reverb.wet_db": -8.0,
    },
)  # fmt: skip


@dataclass(frozen=True)
class File:
    """A mixed file and what is known of it.

    Attributes
    ----------
    mix : ndarray
        ``(2, samples)``.
    lag_seconds : float
        Where it lies.
    polarity : int
        −1 if it is inverted.
    rate : int
        Hz.
    plain : bool
        Whether the mix itself is the undisturbed one.
    """

    mix: np.ndarray
    lag_seconds: float = 0.0
    polarity: int = 1
    rate: int = PAIR_RATE
    plain: bool = True


@dataclass(frozen=True)
class Row:
    """One pair; missed where it is wrong without a word."""

    person: str
    case: str
    lag_error_ms: float | None = None
    uncertain_ms: float = 0.0
    drift_ppm: float = 0.0
    polarity_right: bool | None = None
    relative_distance: float | None = None
    said: str = ""

    @property
    def missed(self) -> bool:
        if self.lag_error_ms is None:
            return not self.said
        if self.uncertain_ms:
            return False
        far = self.relative_distance is not None and self.relative_distance > MOST_DISTANCE
        return abs(self.lag_error_ms) > MOST_LAG_MS or not self.polarity_right or far


Maker = Callable[[np.ndarray, int], File]


def _moved(kind: str, seconds: float) -> Maker:
    def make(mix: np.ndarray, seed: int) -> File:
        return File(later(SAME_TIME[kind](mix, seed), seconds), seconds, plain=False)

    return make


def _drifting(ppm: float, seconds: float) -> Maker:
    return lambda mix, seed: File(later(at_other_speed(mix, ppm), seconds), seconds)


def _excerpt(mix: np.ndarray, seed: int) -> File:
    return File(mix[:, 4 * PAIR_RATE : 13 * PAIR_RATE], -4.0)


def _in_silence(mix: np.ndarray, seed: int) -> File:
    part = np.zeros_like(mix)
    part[:, 4 * PAIR_RATE : 13 * PAIR_RATE] = mix[:, 4 * PAIR_RATE : 13 * PAIR_RATE]
    return File(part)


def cases() -> Iterator[tuple[str, Maker]]:
    """Yield names and what makes the mixed file of an undisturbed mix; that itself is first."""
    yield "undisturbed", lambda mix, seed: File(mix)
    for seconds in (0.007, -0.9, 3.0):
        yield f"{seconds:+g} s", lambda mix, seed, s=seconds: File(later(mix, s), s)
    yield "inverted", lambda mix, seed: File(-later(mix, 0.002), 0.002, -1)
    yield "excerpt", _excerpt
    yield "excerpt in silence", _in_silence
    for ppm, seconds in ((30.0, 0.0), (100.0, 0.007), (-300.0, -0.9), (1000.0, 0.0)):
        yield f"{ppm:+g} ppm, {seconds:+g} s", _drifting(ppm, seconds)
    for rate in (48000, 96000):
        yield f"{rate} Hz", lambda mix, seed, r=rate: File(resample(mix, PAIR_RATE, r), rate=r)
    # The encoder changes what it keeps: the search at the true lag has the same mix to reach.
    yield "MP3", lambda mix, seed: File(through_mp3(mix), plain=False)
    for kind in SAME_TIME:
        if kind != "undisturbed":
            for seconds in (0.0, 0.007, -0.9):
                yield f"{kind}, {seconds:+g} s", _moved(kind, seconds)


def person_sings(person: str) -> np.ndarray:
    """``(1, samples)`` of clips of a person, one after the other."""
    parts: list[np.ndarray] = []
    for clip in sorted((VOICES / person).glob("*.opus")):
        samples, rate = read_audio(clip)
        parts.append(resample(samples[:1], rate, PAIR_RATE))
        if sum(part.shape[1] for part in parts) >= SECONDS * PAIR_RATE:
            break
    raw = np.concatenate(parts, axis=1)[:, : int(SECONDS * PAIR_RATE)]
    return (0.1 / np.sqrt(np.mean(raw**2)) * raw).astype(np.float32)


def quick_distance(pair: Pair) -> float:
    """Distance at which ``match --quick`` ends."""
    return next(match([pair], MatchOptions(quick=True))).distance


def at_true_lag(pair: Pair, file: File) -> Pair:
    """The same part of a pair, its mix moved to where it belongs."""
    error = round((file.lag_seconds - pair.lag_seconds) * PAIR_RATE)
    moved = np.roll(pair.mixed, -error, axis=1) * pair.polarity * file.polarity
    return replace(pair, mixed=np.ascontiguousarray(moved))


def measure(
    person: str, number: int, with_match: bool, wanted: Sequence[str] = ()
) -> Iterator[Row]:
    """Yield a line for each case of a person, or for those that begin like one that is wanted."""
    raw = person_sings(person)
    mix = mixed(raw[0], STRIPS[number % len(STRIPS)])
    undisturbed = None
    for name, make in cases():
        if wanted and not name.startswith(("undisturbed", *wanted)):
            continue
        file = make(mix, number)
        try:
            with tempfile.TemporaryDirectory() as folder:
                pair = _load(Path(folder), raw, file)
        except DiffconsoleError as error:
            yield Row(person, name, said=str(error).rsplit("; ", 1)[-1])
            continue
        relative = None
        if with_match:
            found = quick_distance(pair)
            undisturbed = found if undisturbed is None else undisturbed
            relative = found / (
                undisturbed if file.plain else quick_distance(at_true_lag(pair, file))
            )
        yield Row(
            person, name,
            lag_error_ms=1000.0 * (pair.lag_seconds - file.lag_seconds),
            uncertain_ms=1000.0 * pair.lag_uncertain_seconds,
            drift_ppm=pair.drift_ppm,
            polarity_right=pair.polarity == file.polarity,
            relative_distance=relative,
            said="; ".join(pair.messages),
        )  # fmt: skip


def _load(folder: Path, raw: np.ndarray, file: File) -> Pair:
    paths = folder / "raw.wav", folder / "mix.wav"
    soundfile.write(paths[0], raw.T, PAIR_RATE, subtype="FLOAT")
    soundfile.write(paths[1], file.mix.T, file.rate, subtype="FLOAT")
    return load_pair(PairFiles("take", *paths))


def main() -> int:
    parser = argparse.ArgumentParser(description="Pairs that are disturbed in known ways.")
    parser.add_argument("--quick", action="store_true", help=f"{FEW} voices instead of all")
    parser.add_argument("--no-match", action="store_true", help="leave the search out")
    parser.add_argument("--people", nargs="+", choices=PEOPLE, help="only these voices")
    parser.add_argument("--cases", nargs="+", default=(), help="only cases that begin like this")
    parser.add_argument("--json", type=Path, help="write every line here")
    options = parser.parse_args()
    if not VOICES.is_dir():
        print(f"{VOICES}: not there")
        return 2
    rows = []
    for number, person in enumerate(PEOPLE[: FEW if options.quick else None]):
        if options.people and person not in options.people:
            continue
        for row in measure(person, number, not options.no_match, options.cases):
            rows.append(row)
            lag = "refused" if row.lag_error_ms is None else f"{row.lag_error_ms:+8.2f} ms"
            sure = f"±{row.uncertain_ms:.0f}" if row.uncertain_ms else ""
            far = "" if row.relative_distance is None else f"×{row.relative_distance:.3f}"
            sign = "" if row.polarity_right in (True, None) else "polarity wrong"
            mark = "MISSED" if row.missed else ""
            print(
                f"{row.person:14s} {row.case:48s} {lag:>11s} {sure:>4s} {far:>7s} {sign} {mark}",
                flush=True,
            )
    certain = [r for r in rows if r.lag_error_ms is not None and not r.uncertain_ms]
    worst = max((abs(r.lag_error_ms or 0.0) for r in certain), default=0.0)
    missed = sum(r.missed for r in rows)
    print(
        f"{len(rows)} pairs: {len(certain)} with a certain lag, at most {worst:.2f} ms off; "
        f"{missed} missed"
    )
    if options.json:
        lines = [{**asdict(row), "missed": row.missed} for row in rows]
        options.json.write_text(json.dumps(lines, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
