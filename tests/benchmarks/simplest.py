"""How many bands the strip has that is written, and how far its result is from the full strip's.

The vocals are the nine raws of the real pairs, whole, and takes joined out of the clips of fourteen
speakers and singers. For each: bands of the EQ before and after, modules that were switched off,
the bounded distance between the results of both strips on the whole vocal as it lies in its file,
the largest gain of the simplified EQ below the voice's lowest partial, and the CPU's seconds.

``--towards`` also simplifies strips half-way (on the table's scale) between what the model predicts
and a strip with few moves: curves as smooth as those of a model that departs from one strip.

Run: ``python -m tests.benchmarks.simplest [--towards] [--model FOLDER] [--voices N]``. Exits with 1
where the median is above four bands, a distance above 0.05 or a gain below the voice above 0.1 dB.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from diffconsole.audio import read_audio_file
from diffconsole.audio.take import take_of
from diffconsole.console.render import render
from diffconsole.losses import MixTarget
from diffconsole.model.predictor import Predictor
from diffconsole.simplify import SAME, Simplified, bands_of, simplify_take
from diffconsole.simplify.low_end import below_of, curve_db, hold_low_end, low_end_of
from diffconsole.strip.parameters import BY_KEY, EQ_BANDS, PARAMETERS, default_settings
from diffconsole.strip.preset import Preset

from .takes import PEOPLE, clips_of

PAIRS = Path(__file__).resolve().parents[3] / "shared" / "data" / "real_pairs"
VOICES = (*PEOPLE, "makam_guelcin", "makam_guelen", "yuki", "erithacus")
MOST_BANDS, LIFTED_DB = 4, 0.1

FEW_MOVES = {
    "eq.high_pass.freq_hz": 70.0, "eq.low_shelf.freq_hz": 120.0, "eq.low_shelf.gain_db": -1.0,
    "eq.peak_4.freq_hz": 6500.0, "eq.peak_4.gain_db": 2.0, "eq.peak_4.q": 1.0,
    "eq.high_shelf.freq_hz": 9500.0, "eq.high_shelf.gain_db": 1.5, "eq.low_pass.freq_hz": 20000.0,
    "compressor.threshold_db": -16.0, "compressor.ratio": 2.0, "compressor.attack_ms": 1.5,
    "compressor.release_ms": 120.0, "reverb.wet_db": -22.0, "reverb.decay_s": 2.0,
    "reverb.high_cut_hz": 5000.0,
}  # fmt: skip


def vocals(people: int) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield name, ``(channels, samples)`` and rate of each vocal that is there."""
    for path in sorted(PAIRS.glob("*/raw.*")):
        file = read_audio_file(path)
        yield path.parent.name, file.samples, file.sample_rate
    for person in VOICES[:people]:
        clips, rate = clips_of(person)
        yield person, np.concatenate(clips)[None], rate


def half_way(settings: Mapping[str, float]) -> dict[str, float]:
    """Return the strip half-way to the one with few moves, at this input gain."""
    few = {**default_settings(), **FEW_MOVES}
    few["input_gain.gain_db"] = settings["input_gain.gain_db"]
    points = {
        p.key: (p.to_normalised(few[p.key]), settings[p.key])
        for p in PARAMETERS
        if p.key in settings
    }
    return {
        key: BY_KEY[key].clip(
            float(BY_KEY[key].to_physical(0.5 * (few_at + BY_KEY[key].to_normalised(value))))
        )
        for key, (few_at, value) in points.items()
    }


def distance(full: Mapping[str, float], found: Simplified, samples: np.ndarray, rate: int) -> float:
    """Return the bounded distance between both results on the whole vocal."""
    presets = Preset.from_settings(full), Preset.from_settings(found.settings, bypass=found.bypass)
    before, after = (
        torch.from_numpy(render(samples, rate, preset, tail_seconds=0.0).samples)[None]
        for preset in presets
    )
    return float(MixTarget(before, rate, bounded=True).distance(after))


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--towards", action="store_true")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--voices", type=int, default=len(VOICES))
    arguments = parser.parse_args()
    model = Predictor.load(arguments.model)
    rows: dict[str, list[tuple[int, float, float, float]]] = {}
    for name, samples, rate in vocals(arguments.voices):
        take = take_of(samples, rate)
        low_end = low_end_of(take.mono[0], take.sample_rate)
        strips = {"predicted": model.predict_take(take).settings}
        if arguments.towards:
            between = half_way(strips["predicted"])
            strips["half-way"] = between if low_end is None else hold_low_end(between, low_end)
        for kind, full in strips.items():
            began = time.process_time()
            found = simplify_take(full, take)
            seconds = time.process_time() - began
            bands = [band for band in EQ_BANDS if f"eq.{band}" not in found.bypass]
            below_hz = np.array([20.0]) if low_end is None else below_of(low_end.lowest_hz)
            lifted_db = float(curve_db(found.settings, below_hz, bands).max())
            apart = distance(full, found, samples, rate)
            rows.setdefault(kind, []).append((bands_of(found.bypass), apart, lifted_db, seconds))
            modules = sorted(switch for switch in found.bypass if not switch.startswith("eq."))
            print(
                f"{name:24} {kind:9} bands 8 → {bands_of(found.bypass)}, distance {apart:.3f}, "
                f"below the voice {lifted_db:+.2f} dB, {seconds:.2f} s, off: {', '.join(modules)}; "
                f"{', '.join(bands)}",
                flush=True,
            )
    met = True
    for kind, measured in rows.items():
        bands, apart, lifted_db, seconds = (
            np.array(column) for column in zip(*measured, strict=True)
        )
        met &= np.median(bands) <= MOST_BANDS and apart.max() <= SAME
        met &= lifted_db.max() <= LIFTED_DB
        print(
            f"{kind}, {len(bands)} vocals: median {np.median(bands):.0f} bands (bar {MOST_BANDS}), "
            f"mean {bands.mean():.2f}, most {bands.max()}; distance median {np.median(apart):.3f}, "
            f"largest {apart.max():.3f} (bar {SAME}); lifted below the voice at most "
            f"{lifted_db.max():+.2f} dB; {np.median(seconds):.2f} s, most {seconds.max():.2f} s"
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
