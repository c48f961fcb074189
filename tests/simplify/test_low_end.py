"""Nothing below the voice is lifted, and the curve stays where the voice is."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from diffconsole.audio import read_audio
from diffconsole.model.predictor import Predictor
from diffconsole.modules.equalizer.process import equalizer_sections, response
from diffconsole.simplify.low_end import LowEnd, curve_db, hold_low_end, low_end_of
from diffconsole.strip.later import start_settings
from diffconsole.strip.parameters import BY_KEY, DEFAULT_PARAMETERS, PARAMETERS

from ..synthetic import RATE, small_model, voice

EXAMPLE = Path(__file__).parents[2] / "examples" / "vocal.wav"
ALLOWED_DB = 0.1


def tone(pitch_hz: float, seconds: float = 3.0, rate: int = RATE) -> np.ndarray:
    """Glide from this pitch up by a fifth and back, twelve partials, with pauses."""
    times = np.arange(int(seconds * rate)) / rate
    pitch = pitch_hz * 1.5 ** np.sin(0.5 * np.pi * np.clip(np.sin(4.0 * times), 0.0, 1.0)) ** 2
    phase = 2.0 * np.pi * np.cumsum(pitch) / rate
    sound = sum(np.sin(k * phase) / k for k in range(1, 13))
    return (0.05 * sound * (times % 1.0 < 0.8)).astype(np.float32)


def reach_hz(lowest_hz: float) -> np.ndarray:
    return np.geomspace(5.0, lowest_hz, 200)


def held(settings: dict[str, float], lowest_hz: float) -> dict[str, float]:
    freq_hz = np.geomspace(lowest_hz, 3500.0, 60)
    return hold_low_end(settings, LowEnd(lowest_hz, freq_hz, np.ones(60)))


def test_the_curve_is_the_consoles() -> None:
    rng = np.random.default_rng(0)
    freq_hz = np.geomspace(10.0, 20000.0, 50)
    for _ in range(5):
        settings = {p.key: float(p.to_physical(rng.uniform())) for p in PARAMETERS}
        tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in settings.items()}
        sections = response(equalizer_sections(48000, tensors), 48000, torch.tensor(freq_hz))
        expected = 20.0 * sections.abs().log10().sum(dim=1)[0].numpy()
        np.testing.assert_allclose(curve_db(settings, freq_hz), expected, atol=1e-4)


@pytest.mark.parametrize("pitch_hz", [75.0, 110.0, 200.0, 440.0])
@pytest.mark.parametrize("rate", [16000, 48000, 192000])
def test_the_lowest_partial_is_found(pitch_hz: float, rate: int) -> None:
    found = low_end_of(tone(pitch_hz, rate=rate), rate)
    assert found is not None
    assert found.lowest_hz == pytest.approx(pitch_hz, rel=0.04)


def test_hum_noise_rumble_and_pops_are_no_voice() -> None:
    rng = np.random.default_rng(3)
    times = np.arange(3 * RATE) / RATE
    sung = tone(180.0)
    hum = 0.003 * np.sin(2.0 * np.pi * 50.0 * times)
    pops = sum(0.3 * np.exp(-(((times - at) / 0.02) ** 2)) for at in (0.4, 1.7))
    for extra in (hum, pops, 0.001 * rng.standard_normal(len(sung))):
        found = low_end_of((sung + extra).astype(np.float32), RATE)
        assert found is not None
        assert found.lowest_hz == pytest.approx(180.0, rel=0.04)


def test_whispering_and_short_takes_pass() -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.1, RATE).astype(np.float32)
    assert low_end_of(noise, RATE) is not None
    assert low_end_of(noise[:100], RATE) is None
    assert low_end_of(np.zeros(RATE, np.float32), RATE) is None


def test_settings_that_lift_nothing_below_stay() -> None:
    settings = start_settings() | {"eq.peak_2.gain_db": 4.0, "eq.low_shelf.gain_db": -3.0}
    assert held(settings, 150.0) == settings


def test_a_resonant_high_pass_and_a_shelf_below_the_voice_are_held() -> None:
    """As in the report: 20 Hz with resonance and a shelf of +8.4 dB lift 22 Hz by 12 dB."""
    settings = start_settings() | {
        "eq.high_pass.freq_hz": 20.0, "eq.high_pass.q": 1.5,
        "eq.low_shelf.freq_hz": 100.0, "eq.low_shelf.gain_db": 8.4,
    }  # fmt: skip
    assert curve_db(settings, reach_hz(200.0)).max() > 10.0
    found = held(settings, 200.0)
    assert curve_db(found, reach_hz(200.0)).max() <= ALLOWED_DB
    voiced = np.geomspace(240.0, 5000.0, 50)
    change = curve_db(found, voiced) - curve_db(settings, voiced)
    assert np.abs(change).max() < 0.5


@pytest.mark.parametrize("lowest_hz", [60.0, 130.0, 300.0, 900.0])
def test_no_curve_lifts_what_lies_below(lowest_hz: float) -> None:
    rng = np.random.default_rng(int(lowest_hz))
    for _ in range(4):
        # The others are no part of the curve, and later ones change nothing of what is drawn.
        drawn = {p.key: float(p.to_physical(rng.uniform())) for p in DEFAULT_PARAMETERS}
        settings = {**start_settings(), **drawn}
        found = held(settings, lowest_hz)
        assert curve_db(found, reach_hz(lowest_hz)).max() <= ALLOWED_DB + 0.02
        assert all(p.low <= found[p.key] <= p.high for p in PARAMETERS)
        untouched = [k for k in found if not k.startswith("eq.")]
        assert all(found[k] == settings[k] for k in untouched)


def test_nearly_the_same_voice_gets_nearly_the_same_settings() -> None:
    settings = start_settings() | {"eq.low_shelf.gain_db": 8.0, "eq.high_pass.freq_hz": 25.0}
    here, there = held(settings, 140.0), held(settings, 140.4)
    for key, value in here.items():
        p = BY_KEY[key]
        assert abs(p.to_normalised(value) - p.to_normalised(there[key])) < 0.01, key


def test_a_prediction_lifts_nothing_below_its_voice() -> None:
    model = small_model(3)
    with torch.no_grad():
        model.head.mean.bias[[p.key for p in PARAMETERS].index("eq.low_shelf.gain_db")] = 3.0
    take = voice(3.0, 1)
    found = model.predict(take[None], RATE)
    low_end = low_end_of(take, RATE)
    assert low_end is not None
    assert found.held_below_hz == pytest.approx(low_end.lowest_hz)
    assert curve_db(found.settings, reach_hz(low_end.lowest_hz)).max() <= ALLOWED_DB
    for key, (low, high) in found.uncertainty.items():
        assert low <= found.settings[key] <= high


def test_the_example_is_not_lifted_where_it_has_nothing() -> None:
    samples, rate = read_audio(EXAMPLE)
    found = Predictor.load().predict(samples, rate)
    assert curve_db(found.settings, reach_hz(195.0)).max() <= ALLOWED_DB


def test_bands_do_not_work_against_each_other() -> None:
    """A shelf below the voice has no boost left for a high-pass, or its resonance, to undo."""
    settings = start_settings() | {
        "eq.high_pass.freq_hz": 88.0, "eq.high_pass.q": 1.07,
        "eq.low_shelf.freq_hz": 149.0, "eq.low_shelf.gain_db": 7.8,
        "eq.peak_1.freq_hz": 365.0, "eq.peak_1.gain_db": -1.1, "eq.peak_1.q": 2.3,
    }  # fmt: skip
    found = held(settings, 244.0)
    assert found["eq.low_shelf.gain_db"] == 0.0
    assert found["eq.high_pass.q"] <= 0.72
    assert found["eq.high_pass.freq_hz"] < 150.0
    voiced = np.geomspace(300.0, 3500.0, 50)
    change = curve_db(found, voiced) - curve_db(settings, voiced)
    assert np.abs(change).max() < 0.6


def test_a_shelf_within_the_voice_stays_one() -> None:
    settings = start_settings() | {
        "eq.low_shelf.freq_hz": 300.0, "eq.low_shelf.gain_db": 4.0,
    }  # fmt: skip
    found = held(settings, 120.0)
    assert found["eq.low_shelf.gain_db"] > 2.0
    assert curve_db(found, reach_hz(120.0)).max() <= ALLOWED_DB
    voiced = np.geomspace(180.0, 3500.0, 50)
    change = curve_db(found, voiced) - curve_db(settings, voiced)
    assert np.sqrt(np.mean(change**2)) < 0.8


@pytest.mark.parametrize("boost_db", [0.11, 0.5, 0.9, 1.1])
def test_settings_move_with_what_is_lifted_without_a_jump(boost_db: float) -> None:
    base = start_settings() | {"eq.high_pass.freq_hz": 60.0, "eq.high_pass.q": 0.71}
    shelf = base | {"eq.low_shelf.freq_hz": 120.0, "eq.low_shelf.gain_db": 2.0 + boost_db}
    here, there = held(shelf, 180.0), held(shelf | {"eq.low_shelf.gain_db": 2.02 + boost_db}, 180.0)
    for key, value in here.items():
        p = BY_KEY[key]
        assert abs(p.to_normalised(value) - p.to_normalised(there[key])) < 0.01, key


@pytest.mark.parametrize(
    "person",
    ["makam_idil", "makam_goekhan", "kathleen", "kerstin", "tofugu_male", "tofugu_female",
     "msc_story", "librivox_sonnet", "berklee_male", "scottpoid"],
)  # fmt: skip
def test_real_voices_are_not_lifted_below_their_pitch(data_folder: Path, person: str) -> None:
    with open(data_folder / "voices" / "manifest.csv", newline="", encoding="utf-8") as file:
        name = next(row["file"] for row in csv.DictReader(file) if row["person"] == person)
    samples, rate = read_audio(data_folder / "voices" / name)
    found = Predictor.load().predict(samples, rate)
    low_end = low_end_of(samples[0], rate)
    assert low_end is not None
    assert curve_db(found.settings, reach_hz(low_end.lowest_hz)).max() <= ALLOWED_DB
