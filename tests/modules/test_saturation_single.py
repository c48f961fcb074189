"""Saturation of float32 audio: filters and curve run in float32, as exact as is promised."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from diffconsole.kernels.operators import use
from diffconsole.modules.saturation.process import curve_settings, saturation
from tests.reference import error_db, saturate
from tests.synthetic import voice

from .helpers import RATES, noise, values

pytest.importorskip("numba", reason="float32 filters are those of the compiled loops")

from diffconsole.modules.saturation.cpu_saturation import (
    BLOCK,
    new_states,
    saturate_forward,
    saturate_from,
)

SETTINGS = (
    {"drive_db": 6.0, "bias": 0.0, "mix": 100.0},
    {"drive_db": 12.0, "bias": 0.3, "mix": 80.0},
    {"drive_db": 20.0, "bias": -0.8, "mix": 100.0},
    {"drive_db": 20.0, "bias": 0.8, "mix": 50.0},
    {"drive_db": 0.003, "bias": 0.5, "mix": 100.0},
)
WORST_DB, WORST_TONE_DB = -110.0, -100.0


@pytest.fixture(autouse=True)
def compiled_loops():
    """Nothing here is promised of other kernels."""
    with use("cpu"):
        yield


def run(audio: Tensor, rate: float, settings: dict[str, float]) -> Tensor:
    own = {name: values(*[value] * len(audio)) for name, value in settings.items()}
    return saturation(audio, rate, **own)


def worst_db(samples: np.ndarray, rate: float) -> float:
    """The largest error of all settings; the reference gets the same float32 samples."""
    audio = np.asarray(samples, np.float32)
    found = []
    for settings in SETTINGS:
        ours = run(torch.from_numpy(audio)[None, None], rate, settings)
        want = saturate(audio.astype(np.float64)[None], rate, settings)
        found.append(error_db(ours[0].numpy(), want))
    return max(found)


@pytest.mark.parametrize("level_db", [0.0, -40.0, -80.0])
@pytest.mark.parametrize("rate", RATES)
def test_it_is_exact_at_every_rate_and_level(rate, level_db):
    sung = voice(1.0, 2, rate)
    assert worst_db(10.0 ** (level_db / 20.0) * sung / np.abs(sung).max(), rate) <= WORST_DB


@pytest.mark.parametrize("level", [1.0, 1e-4])
def test_it_is_exact_on_real_voices(real_voices, level):
    for name, samples, rate in real_voices:
        assert worst_db(level * samples, rate) <= WORST_DB, name


@pytest.mark.parametrize("share", [0.0, 1e-3, 0.2, 0.9, 0.999])
def test_it_is_exact_at_every_frequency(share):
    """A constant, low and high tones; the filters' poles lie at half the sample rate."""
    phase = math.pi * share * np.arange(44100)
    assert worst_db(0.5 * np.cos(phase + 0.3), 44100) <= WORST_DB


@pytest.mark.parametrize("period", [4, 6, 10, 20])
@pytest.mark.parametrize("level", [0.1, 1.0])
def test_it_is_exact_for_tones_whose_rounding_repeats(level, period):
    """Of an even period: in part at half the sample rate, where the filters amplify it."""
    phase = 2.0 * math.pi / period * np.arange(20000)
    for start in (0.3, 1.639, 1.776, 2.322):
        assert worst_db(level * np.cos(phase + start), 44100) <= WORST_TONE_DB


@pytest.mark.parametrize("bias", [0.0, 0.5, -0.8])
def test_aliases_are_80_db_below_a_5_khz_tone_and_nothing_is_at_0_hz(bias):
    rate = 48000
    place = torch.arange(3 * rate // 2, dtype=torch.float64) / rate
    tone = torch.sin(2.0 * math.pi * 5000.0 * place + 0.3).float()[None, None]
    shaped = run(tone, rate, {"drive_db": 20.0, "bias": bias, "mix": 100.0})
    found = np.abs(np.fft.rfft(shaped[0, 0, -rate:].double().numpy())) / (0.5 * rate)
    first, constant = found[5000], found[0]
    found[::5000] = 0.0
    assert found.max() <= 1e-4 * first
    assert constant < 1e-4


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_its_gradients_are_those_of_float64(settings):
    audio, weights = 0.3 * noise(1, 2, 4000), noise(1, 2, 4000, seed=1)
    found = []
    for kind in (torch.float64, torch.float32):
        own = {name: values(v).requires_grad_() for name, v in settings.items()}
        x = audio.to(kind).clone().requires_grad_()
        (saturation(x, 44100, **own) * weights.to(kind)).sum().backward()
        found.append((x.grad.double().numpy(), torch.cat([s.grad for s in own.values()])))
    assert error_db(found[1][0], found[0][0]) <= WORST_DB
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-4, atol=1e-5)


def curve() -> np.ndarray:
    return curve_settings(*(np.array([value] * 2) for value in SETTINGS[1].values()))


@pytest.mark.parametrize("block", [1, 7, 127, 129, 1000])
def test_blocks_of_any_length_give_the_same_samples(block):
    audio = noise(2, 2, 3001).float().numpy()
    whole, _ = saturate_forward(audio, curve(), None, 44100.0, False)
    states = new_states(4)
    parts = [
        saturate_from(audio[..., n : n + block], curve(), 44100.0, states)
        for n in range(0, 3001, block)
    ]
    assert np.array_equal(np.concatenate(parts, axis=-1), whole)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_the_gradient_needs_changes_no_sample(kind):
    audio = noise(2, 2, 3001).numpy().astype(kind)
    kept, states = saturate_forward(audio, curve(), None, 44100.0, True)
    alone, none = saturate_forward(audio, curve(), None, 44100.0, False)
    assert np.array_equal(kept, alone)
    assert states.shape[1] == -(-3001 // BLOCK) and none.shape[1] == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_stays_in_its_item_and_comes_no_earlier(value):
    audio = noise(3, 1, 2000).float()
    want = run(audio, 44100, SETTINGS[1])
    broken = audio.clone()
    broken[1, 0, 700] = value
    found = run(broken, 44100, SETTINGS[1])
    assert torch.equal(found[[0, 2]], want[[0, 2]])
    assert torch.equal(found[1, 0, :700], want[1, 0, :700])
    assert not torch.isfinite(found[1, 0, 700:]).any()


@pytest.mark.parametrize(
    "fading",
    [
        lambda n: n < 2000,
        lambda n: n % 3000 == 0,
        lambda n: np.exp(-(n % 3000) / 20.0),
        lambda n: np.exp(-(n % 100_000) / 800.0),
    ],
    ids=["silence", "pauses", "short tails", "long tails"],
)
def test_silence_after_sound_is_not_slow(fading):
    """States that decay into subnormal numbers cost forty times the time on most processors."""
    sound = noise(1, 1, 500_000).float()
    quiet = sound * torch.from_numpy(np.asarray(fading(np.arange(500_000)), np.float32))

    def seconds(audio: Tensor) -> float:
        found = []
        for _ in range(3):
            start = time.perf_counter()
            run(audio, 44100, SETTINGS[1])
            found.append(time.perf_counter() - start)
        return min(found)

    seconds(sound[..., :10])
    assert seconds(quiet) < 6.0 * seconds(sound) + 0.02
    assert not run(quiet, 44100, SETTINGS[0])[..., 80_000:90_000].isnan().any()


def test_silence_becomes_silent_again():
    audio = noise(1, 1, 60_000).float()
    audio[..., 2000:] = 0.0
    tail = saturation(audio, 44100, values(6.0), values(0.0), values(100.0))[0, 0, -10_000:]
    # What is left is the section that blocks 0 Hz: it falls by 43 dB in 0.16 s.
    assert float(tail.abs().max()) < 1e-9
