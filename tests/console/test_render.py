"""A preset on a file's samples: channels, tail, notices, and the sound itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diffconsole import Preset
from diffconsole.console import render as render_module
from diffconsole.console.render import OneVocal, clamped_frequencies, render
from diffconsole.errors import SettingsError
from diffconsole.strip.parameters import EQ_BANDS, MODULES, PARAMETERS
from diffconsole.strip.preset import factory_presets

from .. import reference

RATE = 44100
ALL_ON = {module: {} for module in MODULES} | {"eq": {band: {} for band in EQ_BANDS}}
REVERB = {"pre_delay_ms": 30.0, "decay_s": 0.6, "low_ratio": 1.5, "high_ratio": 0.5}


def voice(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """A sung vowel, crudely: harmonics of 160 Hz falling by 6 dB/oct, 4 swells a second."""
    time = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 160 * k * time + k * k) / k for k in range(1, 40))
    noise = np.random.default_rng(1).normal(0.0, 0.01, (channels, len(time)))
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * time)
    return (0.2 * swell * tone + noise).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    "preset",
    [
        Preset(),
        Preset(ALL_ON).without(MODULES),
        Preset(ALL_ON).at_amount(0.0),
        Preset({"eq": {}}),
        Preset({"eq": {"peak_1": {"enabled": False, "gain_db": 9.0}}}),
        Preset({"eq": {"enabled": False, "peak_1": {"gain_db": 9.0}}}),
        Preset({"pan": {"position": 0.0}}),
    ],
    ids=["empty", "bypassed", "amount 0", "no band", "bands off", "eq off", "centred"],
)
def test_a_strip_that_does_nothing_is_bit_identical(preset, channels):
    samples = voice(0.05, channels=channels)
    samples[0, :4] = [-0.0, 1e-42, 3.5, -1.0]  # negative zero, denormal, beyond full scale
    result = render(samples, RATE, preset)
    assert result.samples.dtype == np.float32
    assert result.samples.tobytes() == samples.tobytes()
    assert result.notices == ()


@pytest.mark.parametrize(
    ("strip", "channels"),
    [
        ({"input_gain": {"gain_db": 1.0}}, 1),
        ({"compressor": {}, "pan": {"position": 0.0}}, 1),
        ({"compressor": {}, "pan": {"position": -0.0}}, 1),
        ({"compressor": {}, "pan": {"enabled": False, "position": 0.5}}, 1),
        ({"compressor": {}, "reverb": {"enabled": False}}, 1),
        ({"pan": {"position": 1e-9}}, 2),
        ({"compressor": {}, "pan": {"position": 0.5}}, 2),
        ({"reverb": {"wet_db": -60.0}}, 2),
        ({"reverb": {"width": 0.0}, "pan": {"position": 0.0}}, 2),
    ],
)
def test_mono_stays_mono_only_without_reverb_and_with_the_pan_at_0(strip, channels):
    samples = voice(0.02)
    assert render(samples, RATE, Preset(strip), tail_seconds=0).samples.shape[0] == channels
    stereo = np.concatenate((samples, samples))
    assert render(stereo, RATE, Preset(strip), tail_seconds=0).samples.shape[0] == 2


@pytest.mark.parametrize("position", [-1.0, -0.3, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_pan_has_constant_power_and_keeps_a_stereo_files_sides(position, channels):
    samples = voice(0.02, channels=channels)
    result = render(samples, RATE, Preset({"pan": {"position": position}})).samples
    left, right = np.broadcast_to(result, (2, result.shape[1]))
    angle = math.pi / 4 * (1 + position)
    assert left == pytest.approx(samples[0] * math.sqrt(2) * math.cos(angle), abs=1e-6)
    assert right == pytest.approx(samples[-1] * math.sqrt(2) * math.sin(angle), abs=1e-6)


@pytest.mark.parametrize("rate", [16000, 44100, 96000])
def test_the_tail_lasts_until_the_reverb_has_fallen_by_60_db(rate):
    samples = np.zeros((1, 1000), np.float32)
    samples[0, 999] = 1.0
    preset = Preset({"reverb": {**REVERB, "low_cut_hz": 20.0, "wet_db": 0.0}})
    result = render(samples, rate, preset).samples
    # 60 dB in the longest band: 1.5 · 0.6 s after the pre-delay, and no more than 0.15 s on top
    longest = round((0.030 + 0.9) * rate)
    added = result.shape[1] - 1000
    assert longest <= added <= longest + 0.15 * rate
    wet = result[0, 1000:].astype(float)
    start = round(0.030 * rate)

    def energy(seconds: float) -> float:
        first = start + round(seconds * rate)
        return reference.decibels(np.mean(wet[first : first + round(0.05 * rate)] ** 2))

    assert np.max(np.abs(wet[: start - round(0.005 * rate)])) < 0.02 * np.max(np.abs(wet))
    assert energy(0.9 - 0.05) < energy(0.0) - 50.0
    assert energy(0.45) > energy(0.0) - 45.0


def test_a_tail_of_0_keeps_the_length_and_the_beginning():
    samples, preset = voice(0.2), Preset({"compressor": {}, "reverb": REVERB})
    whole = render(samples, RATE, preset).samples
    short = render(samples, RATE, preset, tail_seconds=0.0).samples
    assert short.shape == (2, samples.shape[1])
    assert reference.error_db(short, whole[:, : samples.shape[1]]) < -110.0
    longer = render(samples, RATE, preset, tail_seconds=0.25).samples
    assert longer.shape[1] == samples.shape[1] + round(0.25 * RATE)
    assert reference.error_db(longer, whole[:, : longer.shape[1]]) < -110.0


@pytest.mark.parametrize("tail", [None, 0.0, 2.0])
def test_without_reverb_nothing_is_added(tail):
    samples = voice(0.02)
    preset = Preset({"compressor": {}, "reverb": {**REVERB, "enabled": False}})
    assert render(samples, RATE, preset, tail_seconds=tail).samples.shape == samples.shape


@pytest.mark.parametrize("tail", [-0.1, math.nan, math.inf])
def test_a_tail_that_cannot_be(tail):
    with pytest.raises(SettingsError, match="tail"):
        render(voice(0.01), RATE, Preset({"reverb": {}}), tail_seconds=tail)


def test_clamped_frequencies_are_told_once_each_and_only_where_they_act():
    preset = Preset(ALL_ON)
    notices = render(voice(0.02, 16000), 16000, preset).notices
    assert [notice.split()[0] for notice in notices] == [
        "eq.high_shelf.freq_hz", "eq.low_pass.freq_hz", "reverb.high_cut_hz",
    ]  # fmt: skip
    assert all("16000 Hz" in n and "7840 Hz is used" in n for n in notices)
    assert "18000 Hz" in notices[1]
    assert clamped_frequencies(preset, 48000) == ()
    assert clamped_frequencies(preset.without(["eq", "reverb"]), 16000) == ()
    assert len(clamped_frequencies(preset.without(["eq.low_pass"]), 16000)) == 2


def test_a_clamped_frequency_sounds_like_the_limit():
    samples = voice(0.1, 16000)
    high, limit = (
        render(samples, 16000, Preset({"eq": {"low_pass": {"freq_hz": f}}})).samples
        for f in (18000.0, 7840.0)
    )
    assert np.array_equal(high, limit)


@pytest.mark.parametrize("key", sorted(factory_presets()))
@pytest.mark.parametrize("channels", [1, 2])
def test_factory_presets_against_the_independent_reference(key, channels):
    preset = factory_presets()[key].without(["delay", "reverb"])
    samples = voice(0.25, channels=channels)
    expected = reference.strip(samples, RATE, preset.settings(), preset.bypass())
    result = render(samples, RATE, preset).samples
    assert reference.error_db(result, expected) < -90.0


def test_the_same_preset_gives_the_same_samples():
    samples, preset = voice(0.2, channels=2), Preset(ALL_ON)
    first = render(samples, RATE, preset).samples
    render(voice(0.1), 48000, Preset({"reverb": {"decay_s": 4.0}}))
    assert np.array_equal(render(samples, RATE, preset).samples, first)


def test_the_input_is_left_alone_and_may_be_read_only_or_a_view(recwarn):
    samples = voice(0.05, channels=2)
    before = samples.copy()
    samples.flags.writeable = False
    preset = Preset({"input_gain": {"gain_db": 6.0}, "compressor": {}})
    result = render(samples, RATE, preset).samples
    assert np.array_equal(samples, before)
    assert np.array_equal(render(np.asfortranarray(samples), RATE, preset).samples, result)
    backwards = render(samples[:, ::-1], RATE, preset).samples
    assert backwards.shape == result.shape
    assert np.all(np.isfinite(backwards))
    assert not [w for w in recwarn if "writable" in str(w.message)]


@pytest.mark.parametrize("strip", [{"compressor": {}}, ALL_ON], ids=["mono", "stereo"])
def test_one_sample(strip):
    result = render(np.full((1, 1), 0.5, np.float32), RATE, Preset(strip), tail_seconds=0).samples
    assert result.shape[1] == 1
    assert np.all(np.isfinite(result))


def test_more_amount_is_further_from_the_raw_vocal():
    samples = voice(0.5)
    preset = factory_presets()["lead_vocal_pop"].without(["delay", "reverb", "output_gain"])
    distances = [
        np.sum((render(samples, RATE, preset.at_amount(a)).samples - samples) ** 2)
        for a in (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
    ]
    assert distances[0] == 0.0
    assert np.all(np.diff(distances) > 0.0)


@pytest.mark.parametrize("band", ["high_pass", "low_pass"])
def test_a_small_amount_of_a_resonant_cut_is_as_good_as_none(band):
    strip = {"eq": {band: {"freq_hz": {"high_pass": 180.0, "low_pass": 7000.0}[band], "q": 6.0}}}
    impulse = np.zeros((1, RATE), np.float32)
    impulse[0, 0] = 1.0
    result = render(impulse, RATE, Preset(strip).at_amount(0.01)).samples[0]
    gains_db = 20.0 * np.log10(np.abs(np.fft.rfft(result)) + 1e-9)
    assert gains_db.max() < 0.5
    assert np.abs(gains_db[60:9000]).max() < 0.5


def _drawn(seed: int) -> dict[str, float]:
    draw = np.random.default_rng(seed).random(len(PARAMETERS))
    return {p.key: float(p.to_physical(u)) for p, u in zip(PARAMETERS, draw, strict=True)}


@pytest.mark.parametrize("seed", range(8))
def test_rounding_to_the_file_is_not_heard_in_eq_compressor_and_gains(seed):
    preset = Preset.from_settings(_drawn(seed), bypass=["reverb"])
    written = Preset.from_json(preset.to_json())
    assert written != preset
    samples = voice(0.5)
    exact, rounded = (render(samples, RATE, p).samples for p in (preset, written))
    assert reference.error_db(rounded, exact) < -60.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_rounding_to_the_file_is_not_heard_in_the_reverb(seed):
    chosen = _drawn(seed) | {"reverb.pre_delay_ms": 112.3456789 - 11 * seed, "reverb.wet_db": 5.5}
    preset = Preset.from_settings(chosen, bypass=["eq", "compressor", "input_gain"])
    written = Preset.from_json(preset.to_json())
    assert written != preset
    samples = voice(0.5)
    exact, rounded = (render(samples, RATE, p, tail_seconds=1).samples for p in (preset, written))
    assert reference.error_db(rounded, exact) < -60.0


def test_one_vocal_is_not_rendered_again_by_a_strip_that_does_the_same(monkeypatch):
    samples, made = voice(0.3), []
    plain = render_module.run_strip

    def counted(*arguments):
        made.append(1)
        return plain(*arguments)

    monkeypatch.setattr(render_module, "run_strip", counted)
    vocal = OneVocal(samples, RATE)
    for gain_db, pan, times in ((3.0, 0.0, 1), (3.0, 0.5, 1), (2.0, 0.5, 2), (3.0, 0.0, 3)):
        # A pan that is off may lie anywhere.
        preset = Preset(
            {
                "eq": {"peak_1": {"gain_db": gain_db}},
                "pan": {"enabled": False, "position": pan},
                "reverb": REVERB,
            }
        )
        found = vocal.render(preset).samples
        assert len(made) == times
        np.testing.assert_array_equal(found, render(samples, RATE, preset).samples)
        made.pop()
