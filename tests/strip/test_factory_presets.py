"""The factory presets: valid, described, different, and right in level and character."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import signal

from diffconsole import Preset
from diffconsole.audio import loudness_lufs
from diffconsole.console.render import render
from diffconsole.strip.parameters import EQ_BANDS
from diffconsole.strip.preset import factory_folder, factory_presets, find_preset

from .. import reference

EXPECTED = {
    "lead_vocal_pop", "warm_intimate", "rap", "backing_vocals", "broadcast_voice", "podcast",
    "ballad_plate", "telephone", "rock_lead", "airy_female", "dry_controlled", "radio_announcer",
    "folk_natural", "dream_wash",
}  # fmt: skip
PRESETS = factory_presets()
FREQUENCIES = np.geomspace(40.0, 16000.0, 240)
DRY_PEOPLE = ("makam_idil", "kathleen", "tofugu_male")


def response_db(preset: Preset, freq_hz: np.ndarray) -> np.ndarray:
    rows = reference.sections(48000, preset.settings(), preset.bypass())
    _, response = signal.sosfreqz(rows, freq_hz, fs=48000)
    return 20 * np.log10(np.abs(response) + 1e-9)


def test_they_are_all_there_and_listed_in_order():
    assert set(PRESETS) == EXPECTED
    assert list(PRESETS) == sorted(PRESETS)
    assert {path.name for path in factory_folder().iterdir()} == {f"{k}.json" for k in PRESETS}


@pytest.mark.parametrize("key", sorted(EXPECTED))
def test_each_is_canonical_named_and_described_in_one_line(key):
    preset = PRESETS[key]
    path = factory_folder() / f"{key}.json"
    assert path.read_bytes() == preset.to_json().encode("utf-8")
    assert find_preset(key) == preset
    assert preset.name
    assert preset.name != key
    description = preset.provenance["description"]
    assert 30 <= len(description) <= 120
    assert "\n" not in description


def test_names_and_descriptions_are_different():
    for found in (
        [p.name for p in PRESETS.values()],
        [p.provenance["description"] for p in PRESETS.values()],
    ):
        assert len(set(found)) == len(PRESETS)


def test_equalizers_and_compressors_differ():
    curves = {k: np.maximum(response_db(p, FREQUENCIES), -30.0) for k, p in PRESETS.items()}
    for one, other in itertools.combinations(PRESETS, 2):
        assert np.sqrt(np.mean((curves[one] - curves[other]) ** 2)) > 0.4, (one, other)
        first, second = (
            {k: v for k, v in PRESETS[name].settings().items() if k.startswith("compressor.")}
            for name in (one, other)
        )
        assert sum(first[k] != second[k] for k in first) >= 2, (one, other)


def test_what_is_off_is_left_out():
    for preset in PRESETS.values():
        bands = preset.strip["eq"]
        assert all("gain_db" not in bands.get(b, {}) or bands[b]["gain_db"] for b in EQ_BANDS)
        assert "input_gain" not in preset.strip
        assert "pan" not in preset.strip


def test_the_telephone_holds_300_to_3400_hz():
    at_1000 = response_db(PRESETS["telephone"], np.array([1000.0]))[0]
    within = np.geomspace(320.0, 3400.0, 100)
    assert np.max(np.abs(response_db(PRESETS["telephone"], within) - at_1000)) < 3.0
    edges = response_db(PRESETS["telephone"], np.array([250.0, 4000.0])) - at_1000
    assert np.all(edges < -5.0)
    outside = np.concatenate((np.geomspace(40, 150, 50), np.geomspace(5500, 16000, 50)))
    assert np.max(response_db(PRESETS["telephone"], outside) - at_1000) < -20.0


def test_the_dry_ones_are_dry_and_the_dream_is_long():
    for key in ("telephone", "podcast", "broadcast_voice", "radio_announcer", "dry_controlled"):
        assert "reverb" in PRESETS[key].bypass()
        assert render(np.zeros((1, 9), np.float32), 48000, PRESETS[key]).samples.shape == (1, 9)
    decays = {
        k: p.settings()["reverb.decay_s"] for k, p in PRESETS.items() if "reverb" not in p.bypass()
    }
    assert max(decays, key=decays.__getitem__) == "dream_wash"
    assert decays["rap"] < decays["rock_lead"] < decays["lead_vocal_pop"] < decays["ballad_plate"]
    assert len(decays) == 9


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(EXPECTED))
def test_on_dry_voices_at_minus_18_lufs(real_voices, key):
    """Level held, peaks no higher than the raw ones, and 2 to 9 dB of gain reduction."""
    preset = PRESETS[key]
    settings = preset.settings()
    name = "compressor."
    detector = (settings[f"{name}attack_ms"], settings[f"{name}release_ms"])
    curve = tuple(settings[f"{name}{k}"] for k in ("threshold_db", "ratio", "knee_db"))
    loudness = []
    for person, clip, rate in real_voices:
        if not person.startswith(DRY_PEOPLE):
            continue
        raw = clip[None] * np.float32(10 ** ((-18 - loudness_lufs(clip[None], rate)) / 20))
        result = render(raw, rate, preset).samples
        loudness.append(loudness_lufs(np.broadcast_to(result, (2, result.shape[1])), rate))
        assert np.max(np.abs(result)) < max(0.9, 1.06 * np.max(np.abs(raw)))
        into = render(raw, rate, preset.without(["compressor", "reverb", "output_gain"])).samples
        level = reference.detect(np.abs(into[0]), rate, *detector)
        level = 20 * np.log10(np.maximum(level, 1e-6))
        sounding = level[level > -45]
        assert 2.0 < np.mean(sounding - reference.curve_db(sounding, *curve)) < 9.0
    assert len(loudness) == 3
    assert np.mean(loudness) == pytest.approx(-18.0, abs=1.5)
    assert np.max(np.abs(np.array(loudness) + 18.0)) < 3.5
