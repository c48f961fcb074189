"""How near other software comes to a strip in float64, by what ``export`` writes for it.

Each program is run on a real voice, with every factory preset: with the EQ alone (gains, pan and
bands, nothing else), with the compressor alone, with the gate alone, and with the whole strip; at
44.1 and 48 kHz, mono and stereo; modules that a format leaves out are left out of the strip. An
error is the energy of the difference over the energy of the strip in float64, computed apart from
the console; of all cases the worst and the median are shown, and beside them how near
``diffconsole apply`` is to the same. REAPER's effect is run by the tests alone
(``tests/export/test_reaper.py``): its own code, translated. So are single filters and short
releases in pedalboard.

Run: ``python -m tests.benchmarks.export [--only ffmpeg,lv2] [--presets N] [--seconds S] [--json]``.
Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import soundfile

from diffconsole.console.render import render
from diffconsole.export import Strip, find_format
from diffconsole.strip.parameters import MODULES
from diffconsole.strip.preset import factory_presets
from tests.benchmarks.match import VOICES, Talk
from tests.export.consumers_ffmpeg import bundled_ffmpeg, run_ffmpeg, run_sox, system_ffmpeg
from tests.export.consumers_lv2 import LSP, run_lv2
from tests.export.consumers_pedalboard import run_in_phase
from tests.export.helpers import carried, in_float64, take
from tests.reference import error_db

PERSON = "makam_idil"
LATER_INSERTS = {"gate", "compressor_2", "deesser", "saturation"}
PARTS = {
    "EQ": {"compressor", "delay", "reverb", *LATER_INSERTS},
    "compressor": set(MODULES) - {"compressor"},
    "gate": set(MODULES) - {"gate"},
    "whole strip": set[str](),
}

Run = Callable[[Strip, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Program:
    """Software that opens what is exported.

    Attributes
    ----------
    name : str
        Of the program.
    format : str
        Key of what is exported for it; modules that it leaves out are left out of the strip.
    run : callable
        A strip and ``(channels, samples)`` → what comes out.
    bars : dict of str to float
        By part, dB; what has none is told only.
    channels : tuple of int
        That its figures are for.
    """

    name: str
    format: str
    run: Run
    bars: dict[str, float]
    channels: tuple[int, ...] = (1, 2)


def programs() -> list[Program]:
    """Those that are installed."""
    exact = {"EQ": -120.0, "compressor": -120.0, "whole strip": -120.0}
    found = []
    for place in (system_ffmpeg(), bundled_ffmpeg()):
        if place is not None:
            run = partial(run_ffmpeg, program=place)
            found.append(Program(f"ffmpeg {version(place)}", "ffmpeg", run, exact))
    if shutil.which("sox"):
        found.append(Program("sox", "sox", run_sox, {"EQ": -100.0}))
    if shutil.which("lv2apply") and LSP.exists():
        found.append(Program("lv2 (LSP)", "lv2", run_lv2, {"EQ": -55.0, "compressor": -65.0}))
    # Its detector is per channel, and it has no knee: that bar is for mono without one.
    found.append(Program("pedalboard, mono", "pedalboard", run_in_phase, {"EQ": -50.0}, (1,)))
    flat = Program("pedalboard, mono, no knee", "pedalboard", partial(without_knee, run_in_phase),
                   {"compressor": -65.0}, (1,))  # fmt: skip
    return [*found, flat]


def version(program: str) -> str:
    """The version that ffmpeg tells of itself."""
    import subprocess

    told = subprocess.run([program, "-version"], capture_output=True, text=True, check=True)
    return told.stdout.split()[2]


def without_knee(run: Run, strip: Strip, audio: np.ndarray) -> np.ndarray:
    """Run a strip whose compressor has no knee; what is added is the knee's own effect."""
    hard = hardened(strip)
    return run(hard, audio) - in_float64(hard, audio) + in_float64(strip, audio)


def hardened(strip: Strip) -> Strip:
    """The strip with a knee of 0 dB."""
    modules = {**strip.preset.strip}
    if "compressor" in modules:
        modules["compressor"] = {**modules["compressor"], "knee_db": 0.0}
    return Strip(type(strip.preset)(modules, strip.preset.name), strip.sample_rate, strip.channels)


def measured(program: Program, part: str, count: int, seconds: float) -> list[float]:
    """Errors of a part, preset by preset, rate by rate."""
    path = sorted((VOICES / PERSON).glob("*.opus"))[0]
    samples, own = soundfile.read(path, dtype="float32", frames=8 * 48000)
    voice = (PERSON, samples, own)
    errors = []
    for preset in list(factory_presets().values())[:count]:
        wanted = carried(preset.without(PARTS[part]), find_format(program.format))
        for rate in (44100, 48000):
            for channels in program.channels:
                strip = Strip(wanted, rate, channels)
                if not any(strip.on(module) for module in MODULES):
                    continue
                audio = take(voice, rate, channels, seconds)
                expected = in_float64(strip, audio)
                output = program.run(strip, audio)[:, : expected.shape[1]]
                errors.append(error_db(np.broadcast_to(output, expected.shape), expected))
    return errors


def by_apply(strip: Strip, audio: np.ndarray) -> np.ndarray:
    """What ``diffconsole apply`` writes."""
    return render(audio, strip.sample_rate, strip.preset, tail_seconds=0.0).samples


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="programs whose names begin so, by commas")
    parser.add_argument("--presets", type=int, default=99, help="at most so many")
    parser.add_argument("--seconds", type=float, default=3.0, help="of the voice")
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    arguments = parser.parse_args()
    if not VOICES.is_dir():
        print(f"no voices in {VOICES}: nothing to measure on")
        return 2
    say = Talk(arguments.json)
    starts = tuple(arguments.only.split(",")) if arguments.only else ("",)
    chosen = [p for p in programs() if p.name.startswith(starts)]
    rows: list[dict[str, Any]] = []
    say(f"{'program':<28}{'part':<14}{'cases':>6}{'worst':>10}{'median':>10}{'bar':>8}")
    for program in [Program("diffconsole apply", "ffmpeg", by_apply, {}), *chosen]:
        for part in PARTS:
            if program.name.endswith("no knee") and part != "compressor":
                continue
            if program.name == "sox" and part not in ("EQ", "gate"):
                continue
            errors = measured(program, part, arguments.presets, arguments.seconds)
            if not errors:
                continue
            worst, bar = max(errors), program.bars.get(part)
            missed = bar is not None and not worst <= bar
            told = "" if bar is None else f"{bar:g} {'MISSED' if missed else 'ok'}"
            say(
                f"{program.name:<28}{part:<14}{len(errors):>6}{worst:>10.1f}"
                f"{np.median(errors):>10.1f}  {told}"
            )
            rows.append({"program": program.name, "part": part, "cases": len(errors),
                         "worst_db": worst, "median_db": float(np.median(errors)), "bar_db": bar,
                         "missed": missed})  # fmt: skip
    if arguments.json:
        print(json.dumps(rows, indent=2))
    return int(any(row["missed"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
