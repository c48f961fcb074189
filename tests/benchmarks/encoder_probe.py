"""What a frozen encoder's features tell of a voice's processing, on people never heard.

Voices as they were recorded go through strips of a low shelf, a bell, a high shelf, compressor,
reverb and gain, each setting drawn for itself. A ridge regression from the mean and deviation of
an encoder's frames to the settings is fitted on people of the pretraining and judged on people
that no training heard: R² a setting, and the mean.

- EQ low, mid and high: the mean of the EQ's curve over 60–250 Hz, 400–2500 Hz and 5–12 kHz, dB;
- ratio and decay on their logarithms, wet level and output gain in dB.

Beside our encoder stand log-mel statistics (the same spectrogram's mean and deviation, without the
network) and, where the package's files are given, aiSFX (PyPI ``aisfx`` 0.1.2, CC BY 4.0).

Run: ``python -m tests.benchmarks.encoder_probe [--model FOLDER] [--aisfx WHEEL] [--train N]
[--test N] [--cache FILE] [--json]``. Exits with 1 where the bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffconsole.console import Console
from diffconsole.encoders import open_encoder
from diffconsole.encoders.base import Encoder
from diffconsole.encoders.logmel import LogMel
from diffconsole.parameters import default_settings
from diffconsole.predictor import Predictor
from diffconsole.training.simulate import SAMPLE_RATE, SECONDS, crop, load_voices
from diffconsole.training.targets import eq_curve_db
from tests.benchmarks.virtual_studios import TEST_PEOPLE, TRAIN_PEOPLE

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
BANDS_HZ = {"EQ low": (60.0, 250.0), "EQ mid": (400.0, 2500.0), "EQ high": (5000.0, 12000.0)}
TARGETS = (*BANDS_HZ, "ratio", "decay", "wet", "gain")
BAR = 0.80
LENGTH = int(SECONDS * SAMPLE_RATE)
PENALTIES = np.geomspace(1.0, 1e6, 19)
BATCH = 16

Features = Callable[[Tensor], Tensor]


def target_of(settings: dict[str, float]) -> np.ndarray:
    """The seven settings that are asked for."""
    curve_db = eq_curve_db({k: torch.tensor([v]) for k, v in settings.items()})[0].numpy()
    freq_hz = np.geomspace(40.0, 18000.0, len(curve_db))
    bands = [curve_db[(freq_hz >= a) & (freq_hz <= b)].mean() for a, b in BANDS_HZ.values()]
    rest = [
        np.log(settings["compressor.ratio"]),
        np.log(settings["reverb.decay_s"]),
        settings["reverb.wet_db"],
        settings["output_gain.gain_db"],
    ]
    return np.array([*bands, *rest], np.float32)


def probe_strip(rng: np.random.Generator) -> dict[str, float]:
    """Seven settings at random, the rest as usual."""
    return {
        **default_settings(),
        "eq.low_shelf.gain_db": rng.uniform(-12.0, 12.0),
        "eq.peak_2.freq_hz": 1200.0,
        "eq.peak_2.q": 0.5,
        "eq.peak_2.gain_db": rng.uniform(-12.0, 12.0),
        "eq.high_shelf.freq_hz": 5000.0,
        "eq.high_shelf.gain_db": rng.uniform(-12.0, 12.0),
        "compressor.threshold_db": -35.0,
        "compressor.ratio": 10.0 ** rng.uniform(0.0, 1.0),
        "compressor.makeup_db": 0.0,
        "reverb.decay_s": 0.3 * 10.0 ** rng.uniform(0.0, 1.1),
        "reverb.wet_db": rng.uniform(-36.0, -3.0),
        "output_gain.gain_db": rng.uniform(-12.0, 12.0),
    }


def examples(people: tuple[str, ...], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``(count, samples)`` heard and ``(count, 7)`` targets."""
    voices = load_voices(DATA / "voices").of(people)
    console = Console(SAMPLE_RATE, bypass=("input_gain", "pan"), reverb_seconds=4.0)
    heard, targets = [], []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        passage = crop(voices.clips[people[int(rng.integers(len(people)))]], LENGTH, rng)
        strip = probe_strip(rng)
        tensors = {key: torch.tensor([value]) for key, value in strip.items()}
        with torch.inference_mode():
            mixed = console(torch.from_numpy(passage)[None, None].float(), tensors)
        heard.append(mixed[0].mean(dim=0).numpy().astype(np.float16))
        targets.append(target_of(strip))
    return np.stack(heard), np.array(targets)


def pooled(frames: Tensor) -> Tensor:
    """Mean and deviation over the frames: ``(batch, frames, dim)`` → ``(batch, 2·dim)``."""
    return torch.cat((frames.mean(dim=1), frames.std(dim=1, unbiased=False)), dim=-1)


def log_mel() -> Features:
    mel = LogMel(SAMPLE_RATE, 4096, 2048, 1024, 128)
    return lambda audio: pooled(mel(audio[:, 0]).transpose(1, 2))


def frozen(encoder: Encoder) -> Features:
    """Mean and deviation of an encoder's frames."""
    return lambda audio: pooled(encoder(audio))


@torch.inference_mode()
def features_of(heard: np.ndarray, features: Features) -> np.ndarray:
    audio = torch.from_numpy(heard)[:, None]
    return torch.cat([features(some.float()) for some in audio.split(BATCH)]).double().numpy()


def r_squared(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """R² a target on the test set, the ridge's penalty chosen by a fifth of the training set."""
    x, y = train
    middle, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    x, x_test = (x - middle) / spread, (test[0] - middle) / spread
    cut = len(x) * 4 // 5

    def fit(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        mean = y.mean(axis=0)
        normal = x.T @ x + penalty * np.eye(x.shape[1])
        return np.linalg.solve(normal, x.T @ (y - mean)), mean

    def score(weights: tuple[np.ndarray, np.ndarray], x: np.ndarray, y: np.ndarray) -> np.ndarray:
        left = ((x @ weights[0] + weights[1] - y) ** 2).sum(axis=0)
        return 1.0 - left / ((y - y.mean(axis=0)) ** 2).sum(axis=0)

    tried = np.array([score(fit(x[:cut], y[:cut], p), x[cut:], y[cut:]) for p in PENALTIES])
    best = tried.argmax(axis=0)
    found = np.empty(y.shape[1])
    for target, place in enumerate(best):
        weights = fit(x, y[:, target : target + 1], PENALTIES[place])
        found[target] = score(weights, x_test, test[1][:, target : target + 1])[0]
    return found


def material(train: int, test: int, cache: Path | None) -> dict[str, np.ndarray]:
    """Both sets, from the cache if it holds them."""
    if cache is not None and cache.exists():
        kept = np.load(cache, allow_pickle=False)
        if len(kept["train_y"]) == train and len(kept["test_y"]) == test:
            return dict(kept)
    apart = {*TEST_PEOPLE, *TRAIN_PEOPLE}
    everybody = sorted(p.name for p in (DATA / "voices").iterdir() if p.is_dir())
    people = tuple(p for p in everybody if p not in apart)
    found = {}
    for name, (who, count, seed) in {
        "train": (people, train, 11), "test": (TEST_PEOPLE, test, 12),
    }.items():  # fmt: skip
        found[f"{name}_x"], found[f"{name}_y"] = examples(who, count, seed)
    if cache is not None:
        np.savez(cache, **found)  # type: ignore[arg-type]
    return found


def main() -> int:
    """Measure and print; 1 if the bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="model folder; by default the shipped one")
    parser.add_argument("--aisfx", type=Path, help="the package's wheel or folder")
    parser.add_argument("--train", type=int, default=2400)
    parser.add_argument("--test", type=int, default=600)
    parser.add_argument("--cache", type=Path, help=".npz that keeps the sounds")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not DATA.exists():
        print(f"no {DATA}: nothing to measure on")
        return 2
    sets = material(arguments.train, arguments.test, arguments.cache)
    encoder = Predictor.load(arguments.model).encoder.eval()
    probed: dict[str, Features] = {
        "log-mel statistics": log_mel(),
        "our encoder": frozen(encoder),
    }
    if arguments.aisfx is not None:
        probed["aiSFX"] = frozen(open_encoder("aisfx", str(arguments.aisfx)))
    found = {
        name: {part: features_of(sets[f"{part}_x"], features) for part in ("train", "test")}
        for name, features in probed.items()
    }
    if "aiSFX" in found:
        for other in ("log-mel statistics", "our encoder"):
            found[f"aiSFX and {other}"] = {
                part: np.hstack((found["aiSFX"][part], found[other][part]))
                for part in ("train", "test")
            }
    print(f"{'R² on unheard people':<32}" + "".join(f"{t:>9}" for t in (*TARGETS, "mean")))
    data: dict[str, Any] = {}
    for name, x in found.items():
        scores = r_squared((x["train"], sets["train_y"]), (x["test"], sets["test_y"]))
        data[name] = {**dict(zip(TARGETS, scores.tolist(), strict=True)), "mean": scores.mean()}
        print(f"{name:<32}" + "".join(f"{s:9.3f}" for s in (*scores, scores.mean())), flush=True)
    missed = not data["our encoder"]["mean"] >= BAR
    print(f"bar for our encoder: {BAR}, {'MISSED' if missed else 'ok'}")
    if arguments.json:
        print(json.dumps(data, indent=2))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
