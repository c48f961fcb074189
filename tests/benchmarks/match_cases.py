"""Pairs whose right settings are known, and how far found settings are from them.

Raw vocals are cut from the clips of many people, one after the other, and lie at various levels;
the settings are drawn from the statistics of real mixes, which are for vocals at −18 LUFS. The
mix is the raw vocal through our console, or through pedalboard's plug-ins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffconsole import Preset
from diffconsole.audio import read_audio, resample
from diffconsole.console.render import render
from diffconsole.model.predictor import level_gain_db
from diffconsole.modules.equalizer.process import equalizer_sections, response
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.strip import statistics
from diffconsole.strip.later import first_settings
from diffconsole.strip.parameters import BY_KEY
from tests.reference import error_db

TOLERANCES: dict[str, tuple[str, float]] = {
    "compressor.threshold_db": ("add", 2.0),
    "compressor.ratio": ("times", 1.25),
    "compressor.attack_ms": ("times", 1.6),
    "compressor.release_ms": ("times", 1.6),
    "reverb.decay_s": ("times", 1.2),
    "reverb.wet_db": ("add", 1.5),
}
"""How far each setting may be off: dB, or a factor. It is also the change that must be heard for
a setting to count at all."""

AUDIBLE_DB = -40.0
LEVELS_DB = (-18.0, 12.0)
"""Gains between which the levelled raw vocals lie in their files."""

ECHO_SECONDS, ECHO_FEEDBACK, ECHO_MIX = (0.15, 0.5), (0.2, 0.5), 0.15

# pedalboard's reverb, JUCE's, doubles its dry level.
UNITY_DRY = 0.5


@dataclass(frozen=True)
class Case:
    """A pair with its settings.

    Attributes
    ----------
    pair : Pair
        Raw as the file lies, and mix.
    settings : dict of str to float
        Every parameter by key.
    bypass : frozenset of str
        What the mix does without; in a pedalboard case also what cannot be compared.
    """

    pair: Pair
    settings: dict[str, float]
    bypass: frozenset[str] = field(default_factory=frozenset)

    def preset(self) -> Preset:
        return Preset.from_settings(self.settings, bypass=self.bypass)

    def is_heard(self, key: str) -> bool:
        """Whether the mix changes by more than −40 dB when this setting moves by its tolerance."""
        if key.split(".")[0] in self.bypass:
            return False
        kind, step = TOLERANCES[key]
        value, parameter = self.settings[key], BY_KEY[key]
        moved = value + step if kind == "add" else value * step
        if moved > parameter.high:
            moved = value - step if kind == "add" else value / step
        changed = Preset.from_settings({**self.settings, key: moved}, bypass=self.bypass)
        before, after = (rendered(self.pair.raw, preset) for preset in (self.preset(), changed))
        return error_db(after, before) > AUDIBLE_DB

    def errors(self, found: Preset) -> dict[str, float]:
        """How far found settings are off.

        Returns
        -------
        dict of str to float
            ``rendered_db``; ``eq_db`` without and ``eq_with_level_db`` with the mean difference;
            each of `TOLERANCES` that is heard, in dB or as a factor above 1. A setting of a module
            that was not found at all is off by infinity.
        """
        ours, known = found.settings(), self.settings
        difference = eq_curve_db(ours, found.bypass()) - eq_curve_db(known, self.bypass)
        off = {
            "rendered_db": error_db(rendered(self.pair.raw, found), self.pair.mixed),
            "eq_db": float(np.std(difference)),
            "eq_with_level_db": float(np.sqrt(np.mean(difference**2))),
        }
        for key, (kind, _) in TOLERANCES.items():
            if not self.is_heard(key):
                continue
            a, b = ours[key], known[key]
            if key == "compressor.threshold_db":
                a, b = (s[key] - s["input_gain.gain_db"] for s in (ours, known))
            off[key] = abs(a - b) if kind == "add" else max(a / b, b / a)
            if key.split(".")[0] in found.bypass():
                off[key] = math.inf
        return off


def rendered(raw: np.ndarray, preset: Preset) -> np.ndarray:
    """``(2, samples)``, without a tail."""
    result = render(raw, PAIR_RATE, preset, tail_seconds=0.0).samples
    return np.broadcast_to(result, (2, result.shape[1]))


def eq_curve_db(settings: Mapping[str, float], bypass: frozenset[str]) -> np.ndarray:
    """The EQ's curve from 60 Hz to 12 kHz, at 200 points of equal ratios."""
    freq_hz = torch.from_numpy(np.geomspace(60.0, 12000.0, 200))
    if "eq" in bypass:
        return np.zeros(len(freq_hz))
    tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in settings.items()}
    sections = equalizer_sections(PAIR_RATE, tensors, bypass)
    return (20.0 * response(sections, PAIR_RATE, freq_hz)[0].abs().log10()).sum(dim=0).numpy()


def raw_vocals(voices: Path, seconds: tuple[float, float], seed: int) -> Iterator[np.ndarray]:
    """Yield ``(1, samples)`` at −18 LUFS without end, each of the next person."""
    rng = np.random.default_rng(seed)
    people = sorted(p for p in voices.iterdir() if p.is_dir())
    rng.shuffle(people)
    while True:
        for person in people:
            need = int(rng.uniform(*seconds) * PAIR_RATE)
            clips = sorted(person.glob("*.opus"))
            at = int(rng.integers(len(clips)))
            parts: list[np.ndarray] = []
            while sum(part.shape[1] for part in parts) < need:
                samples, rate = read_audio(clips[at % len(clips)])
                parts.append(resample(samples[:1], rate, PAIR_RATE))
                at += 1
            raw = np.concatenate(parts, axis=1)[:, :need]
            gain_db, _ = level_gain_db(raw, PAIR_RATE)
            yield (raw * 10.0 ** (gain_db / 20.0)).astype(np.float32)


def known_cases(voices: Path, count: int, seconds: tuple[float, float], seed: int) -> list[Case]:
    """Cases by our console."""
    rng, table = np.random.default_rng((seed, 1)), statistics.load()
    cases = []
    for number, raw in zip(range(count), raw_vocals(voices, seconds, seed), strict=False):
        settings = first_settings(table.sample(rng)[0])
        raw, settings = _at_some_level(raw, settings, rng)
        mix = np.array(rendered(raw, Preset.from_settings(settings)))
        cases.append(Case(Pair(f"known {number}", raw, mix, 0.0, 1, 1.0), settings))
    return cases


def _at_some_level(
    raw: np.ndarray, settings: dict[str, float], rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, float]]:
    level_db = float(rng.uniform(*LEVELS_DB))
    louder = (raw * 10.0 ** (level_db / 20.0)).astype(np.float32)
    return louder, {**settings, "input_gain.gain_db": -level_db}


def pedalboard_cases(
    voices: Path, count: int, seconds: tuple[float, float], *, echoes: bool = False
) -> list[Case]:
    """Cases by pedalboard: its shelves, bells and compressor; a reverb that has no equal here.

    With `echoes` its delay lies before the reverb; ``delay.time_ms`` and ``delay.feedback`` of the
    settings are this one's.
    """
    import pedalboard

    rng, table = np.random.default_rng(3), statistics.load()
    cases = []
    for number, raw in zip(range(count), raw_vocals(voices, seconds, 3), strict=False):
        settings, _ = table.sample(rng)
        # JUCE's compressor has a hard knee; its cuts are of first order and left out.
        settings["compressor.knee_db"] = 0.0
        raw, settings = _at_some_level(raw, settings, rng)
        plugins = _strip(settings)
        if echoes:
            seconds_apart, feedback = rng.uniform(*ECHO_SECONDS), rng.uniform(*ECHO_FEEDBACK)
            plugins.append(pedalboard.Delay(seconds_apart, feedback, ECHO_MIX))
            settings["delay.time_ms"], settings["delay.feedback"] = seconds_apart * 1e3, feedback
        board = pedalboard.Pedalboard([*plugins, _reverb(rng)])
        mix = board(np.repeat(raw, 2, axis=0), PAIR_RATE, reset=True)
        off = frozenset({"eq.high_pass", "eq.low_pass", "reverb"})
        cases.append(Case(Pair(f"pedalboard {number}", raw, mix, 0.0, 1, 1.0), settings, off))
    return cases


def _strip(settings: Mapping[str, float]) -> list[Any]:
    import pedalboard

    plugins: list[Any] = [pedalboard.Gain(settings["input_gain.gain_db"])]
    kinds = {"low_shelf": pedalboard.LowShelfFilter, "high_shelf": pedalboard.HighShelfFilter}
    bands = ("low_shelf", "peak_1", "peak_2", "peak_3", "peak_4", "high_shelf")
    for band in bands:
        freq_hz, gain_db, q = (settings[f"eq.{band}.{n}"] for n in ("freq_hz", "gain_db", "q"))
        kind = kinds.get(band, pedalboard.PeakFilter)
        plugins.append(kind(cutoff_frequency_hz=freq_hz, gain_db=gain_db, q=q))
    names = ("threshold_db", "ratio", "attack_ms", "release_ms")
    threshold_db, ratio, attack_ms, release_ms = (settings[f"compressor.{n}"] for n in names)
    # JUCE's times are 2π of ours.
    compressor = pedalboard.Compressor(
        threshold_db, ratio, 2.0 * np.pi * attack_ms, 2.0 * np.pi * release_ms
    )
    return [*plugins, compressor, pedalboard.Gain(settings["compressor.makeup_db"])]


def _reverb(rng: np.random.Generator) -> Any:
    import pedalboard

    return pedalboard.Reverb(
        room_size=rng.uniform(0.2, 0.8),
        damping=rng.uniform(0.2, 0.8),
        wet_level=float(10.0 ** rng.uniform(-2.0, -1.0)),
        dry_level=UNITY_DRY,
        width=1.0,
    )
