"""The factory presets on six real voices at −18 LUFS: what each module of theirs does, in figures.

Singing and speech, close and dry up to a laptop's microphone, ten seconds of each. Columns, the
mean over the voices:

- LUFS, peak (of four times as many samples) and crest of the result;
- tilt: how much brighter the result is than the raw vocal, dB per octave from 100 Hz to 10 kHz;
- comp., comp. 2: gain reduction while the detector is within 30 dB of its loudest, mean and 95th
  percentile; of a parallel one with what passes beside it;
- gate: how much it turns down words (frames within 30 dB of the loud ones) and what lies between
  them (40 dB below);
- de-esser: how much it turns down what lies above its split, on esses (frames with more power above
  4 kHz than below) and on vowels (20 dB less power there);
- echoes: what the delay adds, by itself and through the reverb, against the dry signal;
- harmonics: of a sine of 220 Hz, as loud as the voice at the saturation's input, 2nd and 3rd
  against the first.

Run: ``python -m tests.benchmarks.factory_presets [--each] [--presets FOLDER] [KEY ...]``. With
``--each`` it prints every voice, ``--presets`` measures those of another folder. Exits with 1 where
a preset is not level, or a module of it does what it must not: gate on words, de-esser on vowels.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.signal
import torch

from diffconsole.audio import loudness_lufs
from diffconsole.console.render import render
from diffconsole.kernels.envelope import envelope, peak_level
from diffconsole.modules.compressor.process import mixed_curve_db, smoothing
from diffconsole.modules.deesser import process as deesser
from diffconsole.modules.gate import process as gate
from diffconsole.modules.saturation.process import saturation
from diffconsole.strip.parameters import CHAIN
from diffconsole.strip.preset import Preset, factory_folder
from tests.benchmarks.first_model import DATA

VOICES = ("makam_idil", "makam_goekhan", "kathleen", "kerstin", "tofugu_male", "msc_story")
SECONDS, LUFS = 10.0, -18.0
FRAME_S = 0.01
WORDS_DB, BETWEEN_DB, LEAST_FRAMES = 30.0, 40.0, 8
ESS_HZ, ESS_DB, VOWEL_DB = 4000.0, 0.0, -20.0
SINE_HZ = 220.0
COMPRESSORS = ("compressor", "compressor_2")
LEVEL_BAR_LU, WORDS_BAR_DB, VOWELS_BAR_DB = 1.5, 0.5, 0.5

COLUMNS = {
    "LUFS": "{:6.1f}", "peak": "{:6.1f}", "crest": "{:5.1f}", "tilt": "{:+5.2f}",
    "comp.": "{:5.1f}", "p95": "{:5.1f}", "comp. 2": "{:7.1f}", "p95 2": "{:5.1f}",
    "words": "{:5.2f}", "between": "{:7.1f}", "esses": "{:5.1f}", "vowels": "{:6.2f}",
    "echoes": "{:6.1f}", "2nd": "{:5.0f}", "3rd": "{:5.0f}",
}  # fmt: skip
"""The figures of a preset on a voice, in the order of the table."""


def load_voices(folder: Path) -> dict[str, tuple[np.ndarray, int]]:
    """Return ten seconds of each voice at −18 LUFS, ``(1, samples)``, with its rate in Hz."""
    import soundfile

    found = {}
    for person in VOICES:
        parts, length = [], 0.0
        for path in sorted((folder / person).glob("*.opus")):
            samples, rate = soundfile.read(path, dtype="float32")
            parts.append(samples)
            length += len(samples) / rate
            if length >= SECONDS:
                break
        raw = np.concatenate(parts)[None, : round(SECONDS * rate)]
        gain_db = LUFS - loudness_lufs(raw, rate)
        found[person] = (raw * np.float32(10.0 ** (gain_db / 20.0)), rate)
    return found


def frame_means(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return the mean of each frame of 10 ms."""
    length = round(FRAME_S * rate)
    return samples[: len(samples) // length * length].reshape(-1, length).mean(axis=1)


def masks(raw: np.ndarray, rate: int) -> dict[str, np.ndarray]:
    """Return which frames of a raw vocal are words, between them, esses and vowels."""
    above, below = (
        10.0 * np.log10(frame_means(part**2, rate) + 1e-12)
        for part in (
            scipy.signal.sosfilt(
                scipy.signal.butter(4, ESS_HZ, kind, fs=rate, output="sos"), raw[0]
            )
            for kind in ("highpass", "lowpass")
        )
    )
    level_db = np.maximum(above, below)
    top_db = np.percentile(level_db, 95)
    words = level_db > top_db - WORDS_DB
    return {
        "words": words,
        "between": level_db < top_db - BETWEEN_DB,
        "esses": words & (above - below > ESS_DB),
        "vowels": words & (above - below < VOWEL_DB),
    }


def before(preset: Preset, module: str) -> Preset:
    """Return the strip up to a module's input."""
    keys = [m.key for m in CHAIN]
    return preset.without(keys[keys.index(module) :])


def own(settings: Mapping[str, float], module: str) -> dict[str, torch.Tensor]:
    """Return a module's settings by name, each ``(1,)`` float64."""
    return {
        k.split(".", 1)[1]: torch.tensor([v], dtype=torch.float64)
        for k, v in settings.items()
        if k.startswith(f"{module}.")
    }


def turned_down_db(audio: np.ndarray, rate: int, preset: Preset, module: str) -> np.ndarray:
    """Return by how much a module turns down each sample, from its own detector and curve, dB."""
    settings = own(preset.settings(), module)
    x = torch.from_numpy(np.array(audio))[None]
    columns = {k: v[:, None] for k, v in settings.items()}
    quick = (settings["attack_ms"], settings["release_ms"])
    if module == "gate":
        times = (settings[k] for k in ("attack_ms", "hold_ms", "release_ms"))
        level = envelope(peak_level(x), *gate.gate_settings(rate, *times))
        names = ("threshold_db", "ratio", "range_db")
        return -gate.change_db(level, *(columns[k] for k in names))[0].numpy()
    if module == "deesser":
        _, upper = deesser.split(x, rate, settings["freq_hz"])
        slow = (torch.tensor([t], dtype=torch.float64) for t in deesser.REFERENCE_MS)
        levels = (
            envelope(peak_level(upper), *(smoothing(t, rate) for t in quick)),
            envelope(peak_level(x), *(smoothing(t, rate) for t in slow)),
        )
        names = ("threshold_db", "range_db")
        return -deesser.change_db(*levels, *(columns[k] for k in names))[0].numpy()
    times = (smoothing(t, rate) for t in quick)
    level_db = 20.0 * torch.log10(envelope(peak_level(x), *times).clamp(min=1e-6))
    names = ("threshold_db", "ratio", "knee_db", "makeup_db", "mix")
    change = level_db - mixed_curve_db(level_db, *(columns[k] for k in names))
    return change[0][level_db[0] > level_db.max() - WORDS_DB].numpy()


def harmonics_db(settings: Mapping[str, float], level_db: float) -> tuple[float, float]:
    """Return the second and the third harmonic of a sine of this RMS, against the first."""
    rate = 48000
    places = np.arange(rate) * (2.0 * np.pi * SINE_HZ / rate)
    sine = math.sqrt(2.0) * 10.0 ** (level_db / 20.0) * np.sin(places)
    made = saturation(torch.from_numpy(sine)[None, None], rate, **own(settings, "saturation"))
    # A second of whole periods: the bin is the frequency in Hz.
    size = np.abs(np.fft.rfft(made[0, 0].numpy()))
    first, second, third = (size[round(SINE_HZ) * n] for n in (1, 2, 3))
    return tuple(20.0 * math.log10(max(s, 1e-9) / first) for s in (second, third))


def tilt_db(raw: np.ndarray, result: np.ndarray, rate: int) -> float:
    """Return the slope of the spectrum's change over octaves, from 100 Hz to 10 kHz."""
    edges = np.geomspace(100.0, 10000.0, 21)
    change = []
    freq_hz, of_raw = scipy.signal.welch(raw, rate, nperseg=4096)
    _, of_result = scipy.signal.welch(result, rate, nperseg=4096)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (freq_hz >= low - 6.0) & (freq_hz < high + 6.0)
        change.append(10.0 * np.log10(of_result[inside].sum() / of_raw[inside].sum()))
    return float(np.polyfit(np.log2(edges[:-1]), change, 1)[0])


def energy(audio: np.ndarray) -> float:
    """Return the energy of both channels; mono counts twice."""
    return float(np.sum(audio.astype(np.float64) ** 2)) * (2.0 if len(audio) == 1 else 1.0)


def measure(preset: Preset, raw: np.ndarray, rate: int) -> dict[str, float]:
    """Return the figures of a preset on a voice; those of modules that are off are left out."""
    settings, off = preset.settings(), preset.bypass()
    full = render(raw, rate, preset).samples
    sides = np.broadcast_to(full, (2, full.shape[1]))
    loudness = loudness_lufs(sides, rate)
    peak = float(np.max(np.abs(scipy.signal.resample_poly(full, 4, 1, axis=1))))
    peak_db = 20.0 * math.log10(peak)
    power = np.mean(full[:, : raw.shape[1]].astype(np.float64) ** 2)
    found = {
        "LUFS": loudness,
        "peak": peak_db,
        "crest": peak_db - 10.0 * math.log10(power),
        "tilt": tilt_db(raw[0], full[:, : raw.shape[1]].mean(axis=0), rate),
    }
    frames = masks(raw, rate)
    for module in ("gate", *COMPRESSORS, "deesser"):
        if module in off:
            continue
        into = render(raw, rate, before(preset, module)).samples
        change = turned_down_db(into, rate, preset, module)
        if module in COMPRESSORS:
            names = ("comp.", "p95") if module == "compressor" else ("comp. 2", "p95 2")
            found |= dict(zip(names, (change.mean(), np.percentile(change, 95)), strict=True))
            continue
        by_frame = frame_means(change, rate)
        for name in ("words", "between") if module == "gate" else ("esses", "vowels"):
            if frames[name].sum() >= LEAST_FRAMES:
                found[name] = float(by_frame[frames[name]].mean())
    if "saturation" not in off:
        into = render(raw, rate, before(preset, "saturation")).samples
        words = frame_means(into[0] ** 2, rate)[frames["words"]].mean()
        found["2nd"], found["3rd"] = harmonics_db(settings, 10.0 * math.log10(words))
    if "delay" not in off:
        tail = full.shape[1] / rate - raw.shape[1] / rate
        without = render(raw, rate, preset.without(["delay"]), tail_seconds=tail).samples
        dry = render(raw, rate, preset.without(["delay", "reverb"])).samples
        length = min(full.shape[1], without.shape[1])
        added = energy(full[:, :length] - without[:, :length])
        found["echoes"] = 10.0 * math.log10(added / energy(dry))
    return found


def misses(mean: Mapping[str, float]) -> list[str]:
    """Return what of a preset's means is not as it must be."""
    found = []
    if abs(mean["LUFS"] - LUFS) > LEVEL_BAR_LU:
        found.append(f"{mean['LUFS']:.1f} LUFS")
    if mean.get("words", 0.0) > WORDS_BAR_DB:
        found.append(f"its gate turns words down by {mean['words']:.2f} dB")
    if mean.get("vowels", 0.0) > VOWELS_BAR_DB:
        found.append(f"its de-esser turns vowels down by {mean['vowels']:.2f} dB")
    return found


def line(name: str, figures: Mapping[str, float]) -> str:
    """Return a row of the table."""
    cells = (
        form.format(figures[k]) if k in figures else "–".rjust(len(form.format(0.0)))
        for k, form in COLUMNS.items()
    )
    return f"{name:18s} " + " ".join(cells)


def main() -> int:
    """Print the table; return 1 where a preset misses a bar."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("keys", nargs="*", metavar="KEY", help="of the presets; by default all")
    parser.add_argument("--presets", type=Path, default=factory_folder(), metavar="FOLDER")
    parser.add_argument("--each", action="store_true", help="print every voice")
    options = parser.parse_args()
    if not (DATA / "voices").is_dir():
        print(f"{DATA / 'voices'} is absent: real recordings are not in the repo", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    voices, failed = load_voices(DATA / "voices"), []
    heads = (k.rjust(len(f.format(0.0))) for k, f in COLUMNS.items())
    print(f"{'':18s} " + " ".join(heads))
    for path in sorted(options.presets.glob("*.json")):
        if options.keys and path.stem not in options.keys:
            continue
        preset = Preset.read(path)
        found = {name: measure(preset, *voice) for name, voice in voices.items()}
        mean = {
            k: float(np.mean([f[k] for f in found.values() if k in f]))
            for k in COLUMNS
            if any(k in f for f in found.values())
        }
        print(line(path.stem, mean), flush=True)
        if options.each:
            for name, figures in found.items():
                print(line(f"  {name}", figures), flush=True)
        failed += [f"{path.stem}: {text}" for text in misses(mean)]
    for text in failed:
        print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
