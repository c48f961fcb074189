"""Voices made by a few lines of source and filter, pairs mixed by the console, small models."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import soundfile
import torch

from diffconsole.console import Console
from diffconsole.encoders.logmel import LogMelEncoder
from diffconsole.model.predictor import Predictor
from diffconsole.pairs import Pair
from diffconsole.strip.later import LATER, first_settings, rest_settings, start_settings
from diffconsole.strip.parameters import BY_KEY, PARAMETERS

RATE = 44100
VOWELS_HZ = ((700, 1200, 2600), (330, 2200, 3000), (380, 900, 2400))
STUDIO = {
    "eq.high_pass.freq_hz": 120.0,
    "eq.peak_1.gain_db": -6.0,
    "eq.peak_3.gain_db": 5.0,
    "eq.high_shelf.gain_db": 8.0,
    "compressor.threshold_db": -30.0,
    "compressor.ratio": 5.0,
    "compressor.makeup_db": 6.0,
    "reverb.wet_db": -12.0,
}
"""The sound of a studio that does the same to every vocal."""


def voice(seconds: float, seed: int = 0, rate: int = RATE, level: float = 0.1) -> np.ndarray:
    """Sing nonsense: ``(samples,)`` float32, with `level` as its root mean square.

    Another seed has other syllables at other times: another performance.
    """
    rng = np.random.default_rng((seed, 77))
    samples = int(seconds * rate)
    gates = np.zeros((len(VOWELS_HZ), samples))
    hiss, pitch = np.zeros(samples), np.full(samples, 200.0)
    at = int(rng.uniform(0.02, 0.1) * rate)
    while at < samples:
        length = int(rng.uniform(0.12, 0.45) * rate)
        place = slice(at, min(at + length, samples))
        arch = np.sin(np.pi * np.arange(length) / length) ** 0.5
        effort = 10.0 ** (rng.uniform(-16.0, 0.0) / 20.0)
        gates[rng.integers(len(gates)), place] += (effort * arch)[: place.stop - at]
        pitch[at:] = 110.0 * 2.0 ** rng.uniform(0.0, 1.5)
        if rng.uniform() < 0.5:
            burst = slice(max(at - int(0.06 * rate), 0), at)
            hiss[burst] = 0.3 * effort
        at += length + int(rng.choice([0.02, 0.15, 0.4], p=[0.6, 0.3, 0.1]) * rate)
    seconds_at = np.arange(samples) / rate
    pitch = scipy.signal.sosfiltfilt(scipy.signal.butter(1, 8.0, fs=rate, output="sos"), pitch) * (
        1.0 + 0.01 * np.sin(2.0 * np.pi * 5.5 * seconds_at)
    )
    source = scipy.signal.sawtooth(2.0 * np.pi * np.cumsum(pitch) / rate)
    sung = np.zeros(samples)
    for gate, formants_hz in zip(gates, VOWELS_HZ, strict=True):
        for strength, freq_hz in zip((1.0, 0.5, 0.3), formants_hz, strict=True):
            band = scipy.signal.butter(
                1, (freq_hz / 1.12, freq_hz * 1.12), "bandpass", fs=rate, output="sos"
            )
            sung += strength * scipy.signal.sosfilt(band, source * gate)
    high = scipy.signal.butter(2, 4500.0, "highpass", fs=rate, output="sos")
    sung += scipy.signal.sosfilt(high, rng.standard_normal(samples) * hiss)
    sung *= level / np.sqrt(np.mean(sung**2))
    return (sung + 2e-4 * level * rng.standard_normal(samples)).astype(np.float32)


def mixed(raw: np.ndarray, settings: Mapping[str, float], rate: int = RATE) -> np.ndarray:
    """Run ``(samples,)`` through the console with these settings over the defaults: two sides.

    Modules that came later are off where none of their settings is given.
    """
    every = {**first_settings(start_settings()), **settings}
    for module in LATER & {BY_KEY[key].module for key in settings}:
        every = {**rest_settings({module}), **every}
    tensors = {key: torch.tensor([value], dtype=torch.float64) for key, value in every.items()}
    with torch.inference_mode():
        audio = torch.from_numpy(np.ascontiguousarray(raw, np.float32))[None, None]
        return Console(rate)(audio, tensors)[0].numpy()


def pair(
    seed: int, settings: Mapping[str, float] = STUDIO, seconds: float = 2.0, name: str = ""
) -> Pair:
    """A synthetic voice and its mix by the console, aligned as they are."""
    raw = voice(seconds, seed)
    return Pair(name or f"take_{seed}", raw[None], mixed(raw, settings), 0.0, 1, 1.0)


def nearly_mono(whole: Pair, side_db: float = -65.0) -> Pair:
    """The pair with the side of its mix far below the mid."""
    mid, side = (0.5 * (whole.mixed[0] + sign * whole.mixed[1]) for sign in (1.0, -1.0))
    gain = np.sqrt(np.mean(mid**2) / np.mean(side**2)) * 10.0 ** (side_db / 20.0)
    return replace(whole, mixed=np.stack([mid + gain * side, mid - gain * side]).astype(np.float32))


def small_model(seed: int = 0) -> Predictor:
    """An untrained predictor with a hundredth of the usual weights, in evaluation mode.

    A parameter's weights are drawn by its key: those that come later change no other's.
    """
    torch.manual_seed(seed)
    encoder = LogMelEncoder(widths=(16, 16), features=8, mels=32, n_fft=2048, hop=1024)
    model = Predictor(encoder, hidden=16)
    with torch.no_grad():
        for row, parameter in enumerate(PARAMETERS):
            drawn = torch.Generator().manual_seed(zlib.crc32(f"{seed} {parameter.key}".encode()))
            for layer in (model.head.mean, model.head.log_variance):
                # As torch does for the whole layer.
                bound = layer.in_features**-0.5
                for weights in (layer.weight[row], layer.bias[row]):
                    weights.uniform_(-bound, bound, generator=drawn)
    return model.eval()


def small_encoders(patch: Callable[[Any, str, Any], None]) -> None:
    """Let a new log-mel encoder have a hundredth of the usual weights."""
    patch(LogMelEncoder.__init__, "__defaults__", ((16, 32), 16, 32, 4096, 2048, 1024))


def write_people(folder: Path, people: Mapping[str, int], seconds: float = 6.0) -> Path:
    """Write one clip for each person, name to seed, as training on voices wants them."""
    for name, seed in people.items():
        (folder / name).mkdir(parents=True)
        soundfile.write(folder / name / "clip.wav", voice(seconds, seed), RATE)
    return folder
