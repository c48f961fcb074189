"""How near ``match`` comes to settings that are known, with every module of the strip.

Raw vocals are those of :mod:`.match_cases`. EQ, compressor, pan and reverb are drawn from the
statistics of real mixes, every module that came later from the ranges below. An error counts where
the setting is audible: where moving it by its bar changes the mix by more than −40 dB of the mix's
energy. A module that was not found is off by infinity. ``--drawn`` says which modules are on;
with ``none`` every module that a match switches on is one too many.

Run: ``python -m tests.benchmarks.match_modules [--cases N] [--drawn delay,gate|none]
[--seconds-long S] [--kept FILE] [--json]``. Fifty cases take an hour and a half: ``--kept`` writes
each result to a file and does not search for what is in it already, so that a run that was stopped
goes on. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffconsole import Preset
from diffconsole.pairs import Pair
from diffconsole.strip import statistics
from diffconsole.strip.later import LATER
from diffconsole.strip.parameters import BY_KEY
from diffconsole.training.matching.match import Match, MatchOptions, match
from tests.benchmarks.match import VOICES, Row, Talk, written
from tests.benchmarks.match_cases import raw_vocals, rendered
from tests.reference import error_db

COUNT, LONG_SECONDS = 50, 10.0
AUDIBLE_DB = -40.0

Draw = Callable[[np.random.Generator], float]


def between(low: float, high: float) -> Draw:
    return lambda rng: float(rng.uniform(low, high))


def log_between(low: float, high: float) -> Draw:
    return lambda rng: float(np.exp(rng.uniform(np.log(low), np.log(high))))


DRAWN: dict[str, dict[str, Draw]] = {
    "gate": {
        "threshold_db": between(-45.0, -28.0), "ratio": log_between(1.5, 6.0),
        "range_db": between(6.0, 30.0), "attack_ms": log_between(0.5, 4.0),
        "hold_ms": between(0.0, 80.0), "release_ms": log_between(50.0, 400.0),
    },
    "compressor_2": {
        "threshold_db": between(-26.0, -16.0), "ratio": log_between(1.5, 4.0),
        "attack_ms": log_between(5.0, 50.0), "release_ms": log_between(150.0, 1000.0),
        "knee_db": between(0.0, 12.0), "makeup_db": between(0.0, 4.0),
    },
    "deesser": {
        "freq_hz": log_between(4000.0, 8000.0), "threshold_db": between(-24.0, -10.0),
        "range_db": between(4.0, 12.0), "attack_ms": log_between(0.3, 2.0),
        "release_ms": log_between(20.0, 100.0),
    },
    "saturation": {
        "drive_db": between(3.0, 15.0), "bias": between(-0.3, 0.3), "mix": between(30.0, 100.0),
    },
    "delay": {
        "time_ms": log_between(80.0, 650.0), "feedback": between(0.1, 0.6),
        "low_cut_hz": log_between(50.0, 400.0), "high_cut_hz": log_between(2500.0, 12000.0),
        "width": between(0.0, 1.0), "wet_db": between(-24.0, -9.0),
    },
}  # fmt: skip
"""By module, for vocals at −18 LUFS."""

BARS: dict[str, tuple[str, str, float]] = {
    "delay.time_ms": ("delay's time, ms", "add", 2.0),
    "delay.feedback": ("delay's feedback, share", "share", 0.15),
    "delay.wet_db": ("delay's level, dB", "add", 1.5),
    "deesser.range_db": ("de-esser's range, dB", "add", 2.0),
    "gate.threshold_db": ("gate's threshold − input gain, dB", "add", 3.0),
}
RENDERED_BAR_DB = -25.0


@dataclass(frozen=True)
class Case:
    """A pair and the strip behind its mix."""

    pair: Pair
    settings: dict[str, float]

    def is_audible(self, key: str) -> bool:
        _, kind, step = BARS[key]
        value, parameter = self.settings[key], BY_KEY[key]
        change = step * value if kind == "share" else step
        moved = value + change if value + change <= parameter.high else value - change
        other = rendered(self.pair.raw, Preset.from_settings({**self.settings, key: moved}))
        return error_db(other, self.pair.mixed) > AUDIBLE_DB

    def errors(self, found: Preset) -> dict[str, float]:
        off = {"rendered_db": error_db(rendered(self.pair.raw, found), self.pair.mixed)}
        ours = found.settings()
        for key, (_, kind, _) in BARS.items():
            if key not in self.settings or not self.is_audible(key):
                continue
            a, b = ours[key], self.settings[key]
            if key == "gate.threshold_db":
                a -= ours["input_gain.gain_db"]
                b -= self.settings["input_gain.gain_db"]
            off[key] = abs(a - b) / (b if kind == "share" else 1.0)
            if key.partition(".")[0] in found.bypass():
                off[key] = math.inf
        return off


def cases(count: int, drawn: list[str], seconds: float) -> list[Case]:
    rng, table = np.random.default_rng(4), statistics.load()
    found = []
    for number, raw in zip(range(count), raw_vocals(VOICES, (8.0, seconds + 2.0), 4), strict=False):
        settings, _ = table.sample(rng)
        settings = {k: v for k, v in settings.items() if BY_KEY[k].module not in LATER}
        for module, draws in DRAWN.items():
            own = {f"{module}.{name}": draw(rng) for name, draw in draws.items()}
            if module in drawn:
                settings |= own
        mix = np.array(rendered(raw, Preset.from_settings(settings)))
        found.append(Case(Pair(f"known {number}", raw, mix, 0.0, 1, 1.0), settings))
    return found


def measured(case: Case, result: Match) -> dict[str, Any]:
    """Return what is kept of a result, as JSON holds it; infinity is none there."""
    preset = written(result)
    return {
        "name": result.name, "distance": result.distance, "seconds": result.seconds,
        "on": sorted(LATER - preset.bypass()),
        "errors": {key: off if math.isfinite(off) else None
                   for key, off in case.errors(preset).items()},
    }  # fmt: skip


def search(
    known: list[Case], kept: Path | None, conditions: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield each case's result, from the file where it is there already."""
    before = []
    if kept is not None and kept.exists():
        first, *before = map(json.loads, kept.read_text("utf-8").splitlines())
        if first != conditions:
            raise SystemExit(f"{kept}: of a run with {first}, not with {conditions}")
    elif kept is not None:
        kept.write_text(json.dumps(conditions) + "\n", "utf-8")
    yield from before[: len(known)]
    rest = known[len(before) :]
    found = match([case.pair for case in rest], MatchOptions())
    for case, result in zip(rest, found, strict=True):
        each = measured(case, result)
        if kept is not None:
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(each) + "\n")
        yield each


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=COUNT)
    parser.add_argument("--drawn", default=",".join(DRAWN), help="modules by commas, or none")
    parser.add_argument("--seconds-long", type=float, default=LONG_SECONDS)
    parser.add_argument("--kept", type=Path, metavar="FILE", help="results, to go on from")
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    arguments = parser.parse_args()
    drawn = [] if arguments.drawn == "none" else arguments.drawn.split(",")
    if not set(drawn) <= set(DRAWN):
        parser.error(f"--drawn {arguments.drawn}: not of {', '.join(DRAWN)}")
    if not VOICES.exists():
        print(f"no {VOICES}: nothing to measure on")
        return 2
    say = Talk(arguments.json)
    known = cases(arguments.cases, drawn, arguments.seconds_long)
    errors: dict[str, list[float]] = {"rendered_db": [], **{key: [] for key in BARS}}
    right, wrong = 0, 0
    conditions = {"drawn": drawn, "seconds": arguments.seconds_long}
    for result in search(known, arguments.kept, conditions):
        on = result["on"]
        right += len(set(on) & set(drawn))
        wrong += len(set(on) - set(drawn))
        off = {k: math.inf if value is None else value for k, value in result["errors"].items()}
        for key, value in off.items():
            errors[key].append(value)
        listed = ", ".join(f"{key} {value:.2f}" for key, value in off.items())
        took, distance = result["seconds"], result["distance"]
        say(f"{result['name']}: {distance:.3f} in {took:.0f} s; on {on}; {listed}")
    rows = [Row("modules", "rendered, dB", len(known), float(np.median(errors["rendered_db"])),
                RENDERED_BAR_DB)]  # fmt: skip
    rows += [
        Row("modules", name, len(errors[key]), float(np.median(errors[key])), bar)
        for key, (name, _, bar) in BARS.items()
        if errors[key]
    ]
    share = right / max(len(drawn) * len(known), 1)
    rows.append(Row("modules", "modules found, share of those drawn", len(known), share))
    rows.append(Row("modules", "modules too many, a case", len(known), wrong / len(known)))
    say(f"\n{'':<52} {'cases':>5} {'figure':>9} {'bar':>7}")
    for row in rows:
        say(row)
    if arguments.json:
        print(json.dumps([row.as_json() for row in rows], indent=2))
    return int(any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
