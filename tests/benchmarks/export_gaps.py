"""How far off the closest is that other software has: gates, and what has no equal at all.

1. Gates: the level in the frames that a gate turns down, as LSP's, SoX's and pedalboard's gates
   leave it, against the strip in float64; three gates, voices of −20 dBFS RMS over noise of
   −60 dBFS.
2. De-essers: the level above the split where the strip's de-esser turns it down, with the best
   absolute threshold for each voice, by the strip's own filters and detector; and with the best
   settings of Calf's de-esser, which is that of EasyEffects, where it is installed.
3. SoX's overdrive against the saturation, and its echo against the delay, at their best levels.

Run: ``python -m tests.benchmarks.export_gaps [--voices N]``.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from diffconsole import Preset
from diffconsole.audio import resample
from diffconsole.export import Strip
from diffconsole.kernels.envelope import envelope, peak_level
from diffconsole.modules.compressor.process import smoothing
from diffconsole.modules.deesser.process import reduced, split
from diffconsole.strip.preset import find_preset
from tests import reference
from tests.benchmarks.match import VOICES
from tests.export.consumers_ffmpeg import run_sox
from tests.export.consumers_lv2 import run_lv2
from tests.export.consumers_pedalboard import run_pedalboard
from tests.export.gated import GATES, frame_levels_db
from tests.export.helpers import in_float64

RATE = 48000
CALF = "http://calf.sourceforge.net/plugins/Deesser"
DEESSER = {"freq_hz": 5500.0, "threshold_db": -13.0, "range_db": 6.0, "attack_ms": 0.5,
           "release_ms": 40.0}  # fmt: skip
LEAST_DB = 1.0


def voices(count: int, seconds: float = 6.0) -> list[tuple[str, np.ndarray]]:
    """A take of each voice, ``(1, samples)`` of −20 dBFS RMS."""
    found = []
    for folder in sorted(path for path in VOICES.iterdir() if path.is_dir())[:count]:
        path = sorted(folder.glob("*.opus"))[0]
        frames = int(seconds * soundfile.info(path).samplerate)
        samples, own = soundfile.read(path, frames=frames, dtype="float32", always_2d=True)
        audio = resample(samples[:, :1].T, own, RATE)
        audio = audio * (0.1 / np.sqrt(np.mean(audio**2)))
        found.append((folder.name, audio.astype(np.float32)))
    return found


def gates(takes: list[tuple[str, np.ndarray]]) -> None:
    """Print the errors of the gates."""
    random = np.random.default_rng(1)
    programs = {"LSP": run_lv2, "SoX": run_sox, "pedalboard": run_pedalboard}
    print("gate       program      level in turned-down frames, mean error of each voice, dB")
    for name, own in GATES.items():
        strip = Strip(Preset({"gate": own}), RATE)
        found: dict[str, list[float]] = {program: [] for program in programs}
        for _, take in takes:
            noisy = (take + 1e-3 * random.standard_normal(take.shape)).astype(np.float32)
            audio = noisy * np.float32(min(1.0, 0.95 / np.abs(noisy).max()))
            expected = in_float64(strip, audio)
            before, wanted = (frame_levels_db(x, RATE) for x in (audio, expected))
            is_down = before - wanted > LEAST_DB
            if is_down.sum() < 5:
                continue
            for program, run in programs.items():
                level = frame_levels_db(run(strip, audio), RATE)
                found[program].append(float(np.abs(level - wanted)[is_down].mean()))
        for program, errors in found.items():
            shown = " ".join(f"{error:.1f}" for error in errors)
            print(f"{name:<10} {program:<12} {shown}   median {np.median(errors):.1f}")


def above(audio: np.ndarray) -> np.ndarray:
    """Levels above the split, frame by frame."""
    high = scipy.signal.butter(4, DEESSER["freq_hz"], "high", fs=RATE, output="sos")
    return frame_levels_db(scipy.signal.sosfilt(high, audio), RATE)


def absolute(audio: np.ndarray, threshold_db: float) -> np.ndarray:
    """The strip's de-esser with a threshold in dBFS of what lies above the split."""
    given = audio[None].astype(np.float64)
    own = {key: np.array([value]) for key, value in DEESSER.items()}
    parts = split(given, RATE, own["freq_hz"])
    times = (smoothing(own[key], RATE) for key in ("attack_ms", "release_ms"))
    level = envelope(peak_level(parts[1]), *times)
    threshold = np.array([threshold_db])
    return reduced(given, *parts, level, np.ones_like(level), threshold, own["range_db"])[0]


def calf(audio: np.ndarray, threshold_db: float, ratio: float, laxity: float) -> np.ndarray:
    """Calf's de-esser, its band split."""
    ports = {
        "bypass": 0, "detection": 1, "mode": 1, "threshold": 10 ** (threshold_db / 20),
        "ratio": ratio, "laxity": laxity, "makeup": 1, "f1_freq": DEESSER["freq_hz"],
        "f2_freq": DEESSER["freq_hz"], "f1_level": 1, "f2_level": 1, "f2_q": 1, "sc_listen": 0,
    }  # fmt: skip
    controls = [word for key, value in ports.items() for word in ("-c", key, repr(float(value)))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stereo = np.repeat(audio, 2, axis=0)
        soundfile.write(folder / "i.wav", stereo.T, RATE, subtype="FLOAT")
        command = ["lv2apply", "-i", str(folder / "i.wav"), "-o", str(folder / "o.wav")]
        subprocess.run([*command, *controls, CALF], check=True, capture_output=True)
        return soundfile.read(folder / "o.wav", always_2d=True)[0].T[:1]


def deessers(takes: list[tuple[str, np.ndarray]]) -> None:
    """Print how far off de-essers with absolute thresholds are."""
    listed = subprocess.run(["lv2ls"], capture_output=True, text=True, check=False).stdout
    has_calf = CALF in listed
    print(
        "de-esser: voice, turned down by; best absolute threshold is off by; Calf's is off by, dB"
    )
    for name, take in takes:
        wanted, before = above(reference.deess(take.astype(np.float64), RATE, DEESSER)), above(take)
        is_down = before - wanted > LEAST_DB
        tried = {t: above(absolute(take, t)) for t in np.arange(-60.0, -9.0, 1.0)}
        best = min(tried.values(), key=lambda level: float(np.abs(level - wanted).mean()))
        shown = [(before - wanted)[is_down].mean(), np.abs(best - wanted)[is_down].mean()]
        if has_calf:
            places = itertools.product((-45, -40, -35, -30, -25, -20), (2, 4, 10), (1, 5, 15))
            levels = [above(calf(take, *place)) for place in places]
            best = min(levels, key=lambda level: float(np.abs(level - wanted).mean()))
            shown.append(np.abs(best - wanted)[is_down].mean())
        print(f"{name:<20}", " ".join(f"{value:.1f}" for value in shown))


def sox(audio: np.ndarray, *effect: str) -> np.ndarray:
    """One effect of SoX."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        soundfile.write(folder / "i.wav", audio.T, RATE, subtype="FLOAT")
        out = ["-e", "floating-point", "-b", "64", str(folder / "o.wav")]
        command = ["sox", "-D", str(folder / "i.wav"), *out, *effect]
        subprocess.run(command, check=True, capture_output=True)
        return soundfile.read(folder / "o.wav", always_2d=True)[0].T[:, : audio.shape[1]]


def at_best_level(output: np.ndarray, wanted: np.ndarray) -> float:
    """Error of an output at the level at which it is least."""
    return reference.error_db(output * (np.sum(output * wanted) / np.sum(output**2)), wanted)


def saturations_and_echoes(take: np.ndarray) -> None:
    """Print how far off SoX's overdrive and echo are."""
    for preset in ("rock_lead", "telephone"):
        own = find_preset(preset).channel_strip.of("saturation")
        wanted = reference.saturate(take.astype(np.float64), RATE, own)
        places = itertools.product((1, 4, 8, 12, 16, 20), (0, 20, 50, 80))
        outputs = (sox(take, "overdrive", str(gain), str(colour)) for gain, colour in places)
        best = min(at_best_level(reference.between(output, RATE), wanted) for output in outputs)
        plain = at_best_level(reference.between(take.astype(np.float64), RATE), wanted)
        print(f"saturation of {preset}: overdrive {best:.1f} dB, none at all {plain:.1f} dB")
    for preset in ("lead_vocal_pop", "rock_lead", "ballad_plate"):
        own = {**find_preset(preset).channel_strip.of("delay"), "width": 0.0}
        wanted = reference.echo(take[0].astype(np.float64), RATE, own)[:1]
        taps = [
            word
            for k in range(1, 8)
            for word in (f"{own['time_ms'] * k:.5f}", f"{own['feedback'] ** (k - 1):.6f}")
        ]
        soft = take * np.float32(0.1)
        echoes = sox(soft, "echo", "1", "1", *taps) - soft
        print(f"echoes of {preset}: SoX's echo {at_best_level(echoes, wanted):.1f} dB")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voices", type=int, default=5, help="at most so many")
    arguments = parser.parse_args()
    if not VOICES.is_dir():
        print(f"no voices in {VOICES}: nothing to measure on")
        return 2
    takes = voices(arguments.voices)
    gates(takes)
    saturations_and_echoes(takes[0][1])
    deessers(takes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
