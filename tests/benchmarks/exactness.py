"""How exact the console is: against a float64 reference, and against pedalboard, on real voices.

Run as ``python -m tests.benchmarks.exactness`` from the project's root, with the real recordings
at ``../shared/data``. Every figure is 10·log10 of the error's energy over the signal's. Exits
with 1 where a bar is missed.

What limits the comparison with pedalboard is pedalboard's single precision: JUCE computes its
filters' coefficients and states in float32, which shows in low shelves of much gain and high Q,
mostly at low frequencies (its own formula in float32 comes 15 to 25 dB closer to it than any exact
filter can). Where its bar is missed, the distance of both from the float64 reference is printed
too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import signal

from diffconsole import Console
from diffconsole.console import compressor, high_shelf, low_shelf, peak
from diffconsole.kernels import operators as kernels
from diffconsole.strip.parameters import BY_KEY, EQ_BANDS, PARAMETERS, default_settings
from tests.reference import compress, error_db, section, strip

ROOT = Path(__file__).resolve().parents[2]
VOICES = ROOT.parent / "shared" / "data" / "voices"
PEOPLE = ("makam_idil", "kathleen", "makam_goekhan", "tofugu_male", "msc_story")
RATES = (44100, 48000)
# The generic kernel is the slow one on a CPU.
GENERIC_PEOPLE = 2
REFERENCE_BAR_DB = -90.0
PEER_BAR_DB = -60.0


@dataclass
class Row:
    """The errors of one comparison, in dB, with what was compared."""

    name: str
    bar_db: float
    errors: list[float] = field(default_factory=list)
    cases: list[str] = field(default_factory=list)
    blame: list[tuple[float, float]] = field(default_factory=list)

    def add(self, error: float, case: str) -> None:
        self.errors.append(error)
        self.cases.append(case)

    @property
    def missed(self) -> bool:
        return max(self.errors) > self.bar_db

    @property
    def explanation(self) -> str:
        """Whose error it is, where a peer's bar is missed."""
        ours, theirs = (max(column) for column in zip(*self.blame, strict=True))
        return (
            f"    {len(self.blame)} of {len(self.errors)} cases over the bar; in these, against "
            f"the float64 reference: ours at most {ours:.1f} dB, pedalboard up to {theirs:.1f} dB"
        )

    def __str__(self) -> str:
        worst = int(np.argmax(self.errors))
        verdict = "MISSED" if self.missed else "ok"
        return (
            f"{self.name:<34} {len(self.errors):>5} {np.median(self.errors):>9.1f} "
            f"{self.errors[worst]:>8.1f} {self.bar_db:>6.0f}  {verdict:<6}  {self.cases[worst]}"
        )


def clips(seconds: float, people: tuple[str, ...]) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield name, rate in Hz and mono float32 samples, at both rates."""
    import soundfile
    import soxr

    for person in people:
        path = sorted((VOICES / person).glob("*.opus"))[0]
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = samples[: int(seconds * rate), 0]
        for target in RATES:
            yield person, target, soxr.resample(mono, rate, target, quality="VHQ")


# --- against the float64 reference ---------------------------------------------------------------


def preset_settings(document: dict[str, Any]) -> tuple[dict[str, float], set[str]]:
    """Read a preset as plain JSON: every setting, and what is off."""
    settings = default_settings()
    for parameter in PARAMETERS:
        part: Any = document
        for key in parameter.section.split("."):
            part = part.get(key, {}) if isinstance(part, dict) else {}
        settings[parameter.key] = float(part.get(parameter.name, parameter.default))
    eq = document.get("eq", {})
    off = {m for m in ("input_gain", "eq", "compressor", "output_gain") if not _on(document, m)}
    off |= {f"eq.{band}" for band in EQ_BANDS if not _on(eq, band)}
    return settings, off


def _on(parent: dict[str, Any], name: str) -> bool:
    return name in parent and bool(parent[name].get("enabled", True))


def all_presets(random: int) -> Iterator[tuple[str, dict[str, float], set[str]]]:
    """Yield the factory presets, then random settings from the table."""
    for path in sorted((ROOT / "presets").glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("format") == "diffconsole.channel-strip":
            yield path.stem, *preset_settings(document)
    generator = np.random.default_rng(0)
    for number in range(random):
        settings = {p.key: p.clip(float(p.to_physical(generator.random()))) for p in PARAMETERS}
        yield f"random {number}", settings, set()


def kernel_names() -> list[str]:
    """All that run here at full speed; in Triton's interpreter the tests check the GPU's."""
    return [n for n in kernels.NAMES if n != "gpu" or torch.cuda.is_available()]


def against_reference(voices: list[tuple[str, int, np.ndarray]], random: int) -> list[Row]:
    """EQ, compressor and gains, float32 console against float64 NumPy."""
    rows = {
        (kind, kernel): Row(f"reference, {kind}, {kernel}", REFERENCE_BAR_DB)
        for kind in ("presets", "random settings")
        for kernel in kernel_names()
    }
    for name, settings, off in all_presets(random):
        tensors = {key: torch.tensor([value]) for key, value in settings.items()}
        for person, rate, samples in voices:
            console = Console(rate, bypass={"pan", "reverb"} | off)
            expected = strip(samples[None], rate, settings, off)
            for kernel in kernel_names():
                if kernel == "generic" and person not in PEOPLE[:GENERIC_PEOPLE]:
                    continue
                device = "cuda" if kernel == "gpu" else "cpu"
                audio = torch.from_numpy(samples)[None, None].to(device)
                with kernels.use(kernel), torch.no_grad():
                    output = console(audio, tensors)[0].cpu()
                kind = "random settings" if name.startswith("random ") else "presets"
                rows[kind, kernel].add(error_db(output, expected), f"{name}, {person}, {rate} Hz")
    return [row for row in rows.values() if row.errors]


# --- against pedalboard --------------------------------------------------------------------------


def value(number: float) -> torch.Tensor:
    """One setting for a batch of one."""
    return torch.tensor([number], dtype=torch.float64)


@dataclass
class Peer:
    """A plug-in of pedalboard, the same of ours, and the float64 reference, on (audio, rate)."""

    name: str
    settings: dict[str, float]
    theirs: Any
    ours: Callable[..., torch.Tensor]
    reference: Callable[[np.ndarray, float], np.ndarray]


def peer_cases(count: int) -> Iterator[Peer]:
    """Yield `count` random settings from the table for each of pedalboard's plug-ins."""
    import pedalboard

    generator = np.random.default_rng(1)

    def draw(key: str) -> float:
        parameter = BY_KEY[key]
        return float(parameter.clip(float(parameter.to_physical(generator.random()))))

    for _ in range(count):
        s = {
            name: draw(f"compressor.{name}")
            for name in ("threshold_db", "ratio", "attack_ms", "release_ms")
        }
        # JUCE's ballistics are exp(−2π/(t·fs)): its time is 2π of our time constant
        theirs = pedalboard.Compressor(
            threshold_db=s["threshold_db"],
            ratio=s["ratio"],
            attack_ms=2 * np.pi * s["attack_ms"],
            release_ms=2 * np.pi * s["release_ms"],
        )
        yield Peer(
            "Compressor",
            s,
            theirs,
            lambda x, fs, s=s: compressor(x, fs, *map(value, (*s.values(), 0.0, 0.0))),
            lambda x, fs, s=s: compress(x[None], fs, s | {"knee_db": 0.0, "makeup_db": 0.0})[0],
        )

    bands = {
        "PeakFilter": (pedalboard.PeakFilter, peak, ("peak_1", "peak_2", "peak_3", "peak_4")),
        "LowShelfFilter": (pedalboard.LowShelfFilter, low_shelf, ("low_shelf",)),
        "HighShelfFilter": (pedalboard.HighShelfFilter, high_shelf, ("high_shelf",)),
    }
    for name, (plugin, function, places) in bands.items():
        for number in range(count):
            band = places[number % len(places)]
            s = {key: draw(f"eq.{band}.{key}") for key in ("freq_hz", "gain_db", "q")}
            theirs = plugin(cutoff_frequency_hz=s["freq_hz"], gain_db=s["gain_db"], q=s["q"])
            yield Peer(
                name,
                s,
                theirs,
                lambda x, fs, f=function, s=s: f(x, fs, *map(value, s.values())),
                lambda x, fs, band=band, s=s: signal.sosfilt(
                    section(band, fs, s["freq_hz"], s["q"], s["gain_db"])[None], x
                ),
            )


def against_pedalboard(voices: list[tuple[str, int, np.ndarray]], count: int) -> list[Row]:
    """Forward, each plug-in of theirs on each voice."""
    rows: dict[str, Row] = {}
    for peer in peer_cases(count):
        row = rows.setdefault(peer.name, Row(f"pedalboard {peer.name}", PEER_BAR_DB))
        text = " ".join(f"{key}={number:.4g}" for key, number in peer.settings.items())
        for person, rate, samples in voices:
            theirs = peer.theirs.process(samples, float(rate))
            with torch.no_grad():
                ours = peer.ours(torch.from_numpy(samples)[None, None], rate)[0, 0].numpy()
            error = error_db(ours, theirs)
            row.add(error, f"{person}, {rate} Hz, {text}")
            if error > PEER_BAR_DB:
                exact = peer.reference(samples.astype(np.float64), rate)
                row.blame.append((error_db(ours, exact), error_db(theirs, exact)))
    return list(rows.values())


def main() -> int:
    """Print the table; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.exactness")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each clip")
    parser.add_argument("--people", type=int, default=len(PEOPLE), help="how many voices")
    parser.add_argument("--random", type=int, default=6, help="random settings from the table")
    parser.add_argument("--peer-settings", type=int, default=16, help="settings a plug-in")
    options = parser.parse_args()
    if not VOICES.is_dir():
        print("no ../shared/data/voices beside the project: nothing to measure on")
        return 1
    voices = list(clips(options.seconds, PEOPLE[: options.people]))
    print(f"{len(voices)} clips, {options.seconds:g} s each, at {' and '.join(map(str, RATES))} Hz")
    print(f"{'comparison':<34} {'cases':>5} {'median dB':>9} {'worst dB':>8} {'bar':>6}")
    rows = against_reference(voices, options.random)
    rows += against_pedalboard(voices, options.peer_settings)
    for row in rows:
        print(row)
        if row.blame:
            print(row.explanation)
    return int(any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
