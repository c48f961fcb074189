"""What a frozen encoder's features tell of a voice's processing, on people never heard.

Voices go through strips of a low shelf, a bell, a high shelf, compressor, reverb and gain, each
setting drawn for itself. A ridge regression from the mean and deviation of an encoder's frames to
the settings is fitted on people of the pretraining and judged on people that no training heard:
R² a setting, and the mean. Its penalty is chosen by people left out, not by passages of people
that it knows.

A dull recording cannot be told from a shelf that makes it dull. So every person's recordings are
brought to one long-term spectrum before the strip, and to −18 LUFS; ``--as-recorded`` leaves their
spectra alone and shows how much of the error that is.

- EQ low, mid and high: the mean of the EQ's curve over 60–250 Hz, 400–2500 Hz and 5–12 kHz, dB;
- ratio and decay on their logarithms, wet level and output gain in dB.

Beside our encoder stand log-mel statistics (the same spectrogram's mean and deviation, without the
network) and, where the package's files are given, aiSFX (PyPI ``aisfx`` 0.1.2, CC BY 4.0).

Passages are five seconds long, as an encoder's window is; with ``--seconds 20`` they are as long
as a verse, and the features' mean and deviation are taken over all of it. ``--voices`` takes a
folder that :mod:`tests.benchmarks.more_voices` wrote: the regression knows more people then, and
those that it is judged on stay the same.

Run: ``python -m tests.benchmarks.encoder_probe [--model FOLDER] [--aisfx WHEEL] [--voices FOLDER]
[--train N] [--test N] [--seconds S] [--as-recorded] [--cache FILE] [--json]``. Exits with 1 where
the bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import torch
from torch import Tensor

from diffconsole.console import Console
from diffconsole.encoders import open_encoder
from diffconsole.encoders.base import Encoder
from diffconsole.encoders.logmel import LogMel
from diffconsole.model.predictor import Predictor
from diffconsole.strip.parameters import default_settings
from diffconsole.training.pretraining.simulate import (
    SAMPLE_RATE,
    SECONDS,
    crop,
    levelled,
    load_voices,
)
from diffconsole.training.pretraining.targets import eq_curve_db
from tests.benchmarks.virtual_studios import TEST_PEOPLE, TRAIN_PEOPLE

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
BANDS_HZ = {"EQ low": (60.0, 250.0), "EQ mid": (400.0, 2500.0), "EQ high": (5000.0, 12000.0)}
TARGETS = (*BANDS_HZ, "ratio", "decay", "wet", "gain")
BAR = 0.80
PENALTIES = np.geomspace(1.0, 1e7, 22)
FOLDS, FURTHEST = 6, 5.0
BATCH = 16
REFERENCE = ("makam_goekhan", "kathleen")
"""Whose long-term spectrum all are brought to, as in the pretraining."""

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
        "reverb.wet_db": rng.uniform(-30.0, 0.0),
        "output_gain.gain_db": rng.uniform(-12.0, 12.0),
    }


@dataclass(frozen=True)
class Kind:
    """What the passages are.

    Attributes
    ----------
    voices : Path
        Folder of people.
    seconds : float
        Of a passage.
    as_recorded : bool
        Whether spectra are left as they are.
    """

    voices: Path
    seconds: float
    as_recorded: bool

    def facts(self) -> str:
        """What tells one kind from another."""
        clips = sorted(str(p.relative_to(self.voices)) for p in self.voices.glob("*/*"))
        return json.dumps([clips, self.seconds, self.as_recorded])


def examples(
    people: tuple[str, ...], count: int, seed: int, kind: Kind
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(count, samples)`` heard, ``(count, 7)`` targets and ``(count,)`` number of the person."""
    voices = load_voices(kind.voices, REFERENCE).of(people)
    length = int(kind.seconds * SAMPLE_RATE)
    console = Console(SAMPLE_RATE, bypass=("input_gain", "pan"), reverb_seconds=4.0)
    heard, targets, who = [], [], []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        person = int(rng.integers(len(people)))
        passage = crop(voices.clips[people[person]], length, rng)
        if not kind.as_recorded:
            correction = voices.corrections[people[person]]
            passage = scipy.signal.oaconvolve(passage, correction, mode="same")
        passage = levelled(np.asarray(passage, np.float32))
        strip = probe_strip(rng)
        tensors = {key: torch.tensor([value]) for key, value in strip.items()}
        with torch.inference_mode():
            mixed = console(torch.from_numpy(passage)[None, None].float(), tensors)
        heard.append(mixed[0].mean(dim=0).numpy().astype(np.float16))
        targets.append(target_of(strip))
        who.append(person)
    return np.stack(heard), np.array(targets), np.array(who)


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
    batch = max(1, int(BATCH * SECONDS * SAMPLE_RATE / audio.shape[-1]))
    return torch.cat([features(some.float()) for some in audio.split(batch)]).double().numpy()


def r_squared(
    train: tuple[np.ndarray, np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """R² a target on the test set; the penalty of the ridge chosen by training people left out."""
    x, y, who = train
    middle, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    x = (x - middle) / spread
    # Features of a voice unlike all others are held where the ridge was fitted.
    x_test = ((test[0] - middle) / spread).clip(-FURTHEST, FURTHEST)
    people = np.random.default_rng(0).permutation(np.unique(who))
    wrong = np.zeros((len(PENALTIES), y.shape[1]))
    for fold in np.array_split(people, min(FOLDS, len(people))):
        out = np.isin(who, fold)
        for place, (weights, mean) in enumerate(_fits(x[~out], y[~out])):
            wrong[place] += ((x[out] @ weights + mean - y[out]) ** 2).sum(axis=0)
    fits = list(_fits(x, y))
    found = np.empty(y.shape[1])
    for target, place in enumerate(wrong.argmin(axis=0)):
        weights, mean = fits[place]
        left = x_test @ weights[:, target] + mean[target] - test[1][:, target]
        right = test[1][:, target] - test[1][:, target].mean()
        found[target] = 1.0 - (left @ left) / (right @ right)
    return found


def _fits(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weights and mean of the ridge, for every penalty."""
    mean = y.mean(axis=0)
    values, vectors = np.linalg.eigh(x.T @ x)
    turned = vectors.T @ (x.T @ (y - mean))
    for penalty in PENALTIES:
        yield vectors @ (turned / (values.clip(0.0) + penalty)[:, None]), mean


def material(train: int, test: int, kind: Kind, cache: Path | None) -> dict[str, np.ndarray]:
    """Both sets, from the cache if it holds them."""
    if cache is not None and cache.exists():
        kept = dict(np.load(cache, allow_pickle=False))
        same = (len(kept["train_y"]), len(kept["test_y"]), str(kept.get("kind")))
        if same == (train, test, kind.facts()):
            return kept
    apart = {*TEST_PEOPLE, *TRAIN_PEOPLE}
    everybody = sorted(p.name for p in kind.voices.iterdir() if p.is_dir())
    people = tuple(p for p in everybody if p not in apart)
    found = {"kind": np.array(kind.facts())}
    for name, who, count, seed in (("train", people, train, 11), ("test", TEST_PEOPLE, test, 12)):
        made = examples(who, count, seed, kind)
        found |= dict(zip((f"{name}_x", f"{name}_y", f"{name}_who"), made, strict=True))
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
    parser.add_argument("--voices", type=Path, default=DATA / "voices", help="people to fit on")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a passage")
    parser.add_argument("--train", type=int, default=2400)
    parser.add_argument("--test", type=int, default=600)
    parser.add_argument("--as-recorded", action="store_true", help="leave spectra as they are")
    parser.add_argument("--cache", type=Path, help=".npz that keeps the sounds")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.voices.is_dir():
        print(f"no voices in {arguments.voices}: nothing to measure on")
        return 2
    if not arguments.seconds > 0.0:
        parser.error(f"--seconds {arguments.seconds:g}: not a length")
    kind = Kind(arguments.voices, arguments.seconds, arguments.as_recorded)
    sets = material(arguments.train, arguments.test, kind, arguments.cache)
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
        scores = r_squared(
            (x["train"], sets["train_y"], sets["train_who"]), (x["test"], sets["test_y"])
        )
        data[name] = {**dict(zip(TARGETS, scores.tolist(), strict=True)), "mean": scores.mean()}
        print(f"{name:<32}" + "".join(f"{s:9.3f}" for s in (*scores, scores.mean())), flush=True)
    missed = not data["our encoder"]["mean"] >= BAR
    print(f"bar for our encoder: {BAR}, {'MISSED' if missed else 'ok'}")
    if arguments.json:
        print(json.dumps(data, indent=2))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
