"""REAPER: the effect's own code on a real voice, the chain as rpp parses it, and back."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from diffconsole import Preset
from diffconsole.errors import DiffconsoleError
from diffconsole.export import Strip, export_preset, import_preset
from diffconsole.export.effect import NUMBERS, RESPONSE, effect_text, slider_name
from diffconsole.export.reaper import EFFECT, FOLDER, FORMAT, LONGEST_RESPONSE
from diffconsole.strip.parameters import BY_KEY, PARAMETERS, SWITCHES
from diffconsole.strip.preset import factory_presets
from diffconsole.strip.versions import is_spare
from tests.reference import error_db

from .helpers import (
    HOSTILE_NAMES,
    hostile,
    in_float64,
    needs_module,
    no_file_escaped,
    same,
    take,
)
from .jsfx import Effect, sliders

PRESETS = factory_presets()
WITHOUT_REVERB, WHOLE = (figure.error_db for figure in FORMAT.figures)
KEYS = tuple(m.key for m in FORMAT.mapped)
BLOCK = 2048


@cache
def effect() -> Effect:
    # The tests that need its folder's files give the folder.
    return Effect(effect_text(), Path())


def slider_values(chain: str) -> dict[int, float]:
    """The sliders that a chain sets, as rpp reads it."""
    rpp = needs_module("rpp")
    root = rpp.loads(f"<FXCHAIN\n{chain}>\n")
    values = root.find("JS").children[0]
    return {place: float(value) for place, value in enumerate(values, 1) if value != "-"}


def chain_of(strip: Strip) -> str:
    files = FORMAT.write(strip)
    (name,) = (name for name in files if name.endswith(".RfxChain"))
    return files[name].decode()


def both(audio: np.ndarray) -> np.ndarray:
    """What a track of REAPER carries: two channels, the same for a mono recording."""
    return np.repeat(audio, 2, axis=0) if len(audio) == 1 else audio


def without_reverb(preset: Preset) -> Preset:
    return preset.without({"reverb"}) if "reverb" not in preset.bypass() else preset


def test_sliders_are_the_table():
    told = sliders(effect_text())
    assert sorted(told) == list(range(1, len(NUMBERS) + 1)) == list(NUMBERS.values())
    assert len(NUMBERS) == len(PARAMETERS) + len(SWITCHES) + len(RESPONSE)
    for key, place in NUMBERS.items():
        default, low, high, rest, name = told[place]
        if key in RESPONSE:
            continue
        assert name == slider_name(key)
        if key in BY_KEY:
            table = BY_KEY[key]
            assert (default, low, high) == (table.default, table.low, table.high), key
            assert rest.endswith(":log") == (table.scale == "log"), key
        else:
            assert (low, high, rest) == (0.0, 1.0, "1{off,on}"), key


def test_numbers_stay_as_projects_hold_them():
    """Automation and saved projects name sliders by number."""
    known = {
        "input_gain": 1, "input_gain.gain_db": 2, "eq": 3, "eq.high_pass": 4,
        "eq.high_pass.freq_hz": 5, "eq.low_shelf": 7, "eq.peak_1": 11, "eq.peak_4.q": 26,
        "eq.high_shelf": 27, "eq.low_pass": 31, "eq.low_pass.q": 33, "compressor": 34,
        "compressor.threshold_db": 35, "compressor.makeup_db": 40, "pan": 41, "pan.position": 42,
        "reverb": 43, "reverb.pre_delay_ms": 44, "reverb.wet_db": 51, "output_gain": 52,
        "output_gain.gain_db": 53, "response_number": 54, "response_rate": 55,
        "gate": 56, "gate.threshold_db": 57, "gate.release_ms": 62, "deesser": 63,
        "deesser.freq_hz": 64, "deesser.release_ms": 68, "compressor.mix": 69,
    }  # fmt: skip
    assert {key: NUMBERS[key] for key in known} == known
    told = sliders(effect_text())
    on = [key for key, place in NUMBERS.items() if key in SWITCHES and told[place][0] == 1.0]
    peaks = [f"eq.peak_{n}" for n in range(1, 5)]
    assert on == [
        "input_gain", "eq", "eq.low_shelf", *peaks, "eq.high_shelf", "pan", "output_gain"
    ]  # fmt: skip


def test_inserted_by_hand_it_does_nothing():
    noise = np.random.default_rng(1).standard_normal((2, 2000))
    output = effect().run(noise, 48000, {})
    # Bells and shelves at 0 dB are on: their arithmetic remains.
    assert error_db(output, noise) < -280
    off = {place: 0.0 for key, place in NUMBERS.items() if key in SWITCHES}
    assert np.array_equal(effect().run(noise, 48000, off), noise)
    assert effect().variables["v_pdc_delay"] == 0


@pytest.mark.parametrize("channels", [1, 2], ids=["mono", "stereo"])
@pytest.mark.parametrize("rate", [44100, 48000])
def test_strip_without_reverb(real_voices, rate, channels):
    audio = take(real_voices[0], rate, channels, seconds=0.5)
    # From where it is loud, so that the compressors work.
    audio = 0.5 * audio / np.abs(audio).max()
    worst = -400.0
    for name, preset in PRESETS.items():
        strip = Strip(without_reverb(preset), rate, channels)
        output = effect().run(both(audio), rate, slider_values(chain_of(strip)))
        error = error_db(output, both(in_float64(strip, audio)))
        print(f"{name} {error:.1f} dB")
        worst = max(worst, error)
    assert worst <= WITHOUT_REVERB <= -120


@pytest.mark.parametrize("channels", [1, 2], ids=["mono", "stereo"])
@pytest.mark.parametrize("rate", [44100, 96000])
@pytest.mark.parametrize(
    "strip",
    [
        {"gate": {"threshold_db": -20.0, "hold_ms": 3.21, "release_ms": 30.0}},
        {"gate": {"threshold_db": -25.0, "ratio": 20.0, "range_db": 60.0, "hold_ms": 0.0}},
        {"deesser": {"threshold_db": -30.0, "range_db": 24.0, "freq_hz": 3000.0}},
        {"gate": {"threshold_db": -30.0}, "compressor": {}, "deesser": {"threshold_db": -20.0}},
        {"saturation": {"drive_db": 20.0, "bias": -0.6, "mix": 70.0}},
    ],
    ids=["gate", "gate without hold", "deesser", "both", "saturation"],
)
def test_gate_deesser_and_saturation(real_voices, strip, rate, channels):
    audio = take(real_voices[0], rate, channels, seconds=0.5)
    audio = 0.5 * audio / np.abs(audio).max()
    strip = Strip(Preset(strip), rate, channels)
    output = effect().run(both(audio), rate, slider_values(chain_of(strip)))
    expected = in_float64(strip, audio)
    assert error_db(output, both(expected)) <= WITHOUT_REVERB
    off = Strip(strip.preset.without({"gate", "deesser", "saturation"}), rate, channels)
    assert error_db(expected, in_float64(off, audio)) > -50.0, "they act"


ECHOES = {"time_ms": 23.456, "feedback": 0.7, "width": 0.6, "wet_db": -6.0}


@pytest.mark.parametrize("channels", [1, 2], ids=["mono", "stereo"])
@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("width", [0.0, 0.6])
def test_delay(real_voices, width, rate, channels):
    audio = take(real_voices[0], rate, channels, seconds=0.25)
    preset = Preset({"delay": {**ECHOES, "width": width}, "output_gain": {"gain_db": -2.0}})
    strip = Strip(preset, rate, channels)
    output = effect().run(both(audio), rate, slider_values(chain_of(strip)))
    expected = in_float64(strip, audio)
    assert error_db(output, both(expected)) <= -200.0
    off = in_float64(Strip(preset.without({"delay"}), rate, channels), audio)
    assert error_db(both(off), expected) > -20.0, "it acts"


@pytest.mark.parametrize("sent_db", [-60.0, -3.0])
def test_delay_beside_a_reverb_and_into_it(tmp_path, real_voices, sent_db):
    room = {"decay_s": 0.12, "pre_delay_ms": 5.0, "low_ratio": 1.0, "wet_db": -6.0}
    preset = Preset({"delay": {**ECHOES, "reverb_send_db": sent_db}, "pan": {"position": 0.4},
                     "reverb": room})  # fmt: skip
    strip = Strip(preset, 44100, 2)
    export_preset(preset, "reaper", tmp_path / "out", sample_rate=44100)
    audio = take(real_voices[2], 44100, 2, seconds=0.25)
    output = effect().run(
        np.pad(audio, ((0, 0), (0, BLOCK))), 44100, slider_values(chain_of(strip)),
        tmp_path / "out" / FOLDER,
    )  # fmt: skip
    # The response is float32, and here the return is louder than in any factory preset.
    assert error_db(output[:, BLOCK:], in_float64(strip, audio)) <= -150.0


def test_the_delay_is_switched_without_a_click_and_forgets(real_voices):
    """Faded out by its switch and by its level, it starts from silence when it is on again."""
    audio = both(take(real_voices[0], 44100, seconds=0.4))
    values = slider_values(chain_of(Strip(Preset({"delay": ECHOES}), 44100)))
    switch, wet = NUMBERS["delay"], NUMBERS["delay.wet_db"]
    silent = audio.copy()
    silent[:, 6000:] = 0.0
    changes = {6000: {switch: 0.0}, 8000: {switch: 1.0}, 9000: {wet: -60.0}, 11000: {wet: -6.0}}
    output = effect().run(silent, 44100, values, changes=changes)
    assert np.abs(output[:, 5000:6000] - silent[:, 5000:6000]).max() > 1e-3
    assert not output[:, 6500:].any()
    steps = np.abs(np.diff(output[:, 6000:6500], axis=1)).max()
    assert steps < 1.5 * np.abs(np.diff(output[:, 5000:6000], axis=1)).max()


@pytest.mark.parametrize("knee_db", [0.0, 24.0])
def test_extremes(real_voices, knee_db):
    audio = 0.9 * take(real_voices[1], 44100, 2, seconds=0.4)
    settings = {p.key: p.high if p.unit == "Hz" else p.low for p in PARAMETERS}
    settings |= {"compressor.threshold_db": -40.0, "compressor.ratio": 20.0}
    settings |= {"compressor.mix": 100.0}
    settings |= {"compressor.knee_db": knee_db, "input_gain.gain_db": 20.0, "pan.position": -0.9}
    strip = Strip(without_reverb(Preset.from_settings(settings)), 44100, 2)
    output = effect().run(audio, 44100, slider_values(chain_of(strip)))
    assert error_db(output, in_float64(strip, audio)) <= WITHOUT_REVERB


def test_the_detector_starts_at_rest_and_hears_both_sides():
    """The louder channel turns both down, by the same gain."""
    quiet, loud = np.full(3000, 0.01), np.full(3000, 0.9)
    preset = Preset.from_settings({"compressor.threshold_db": -30.0, "compressor.ratio": 10.0})
    strip = Strip(preset, 48000, 2)
    output = effect().run(np.stack((quiet, loud)), 48000, slider_values(chain_of(strip)))
    assert output[0] / quiet == pytest.approx(output[1] / loud, rel=1e-12)
    assert output[1, 0] / output[0, 0] == pytest.approx(90.0)
    assert output[1, -1] < 0.5 * output[1, 0]


@pytest.mark.parametrize("channels", [1, 2], ids=["mono", "stereo"])
def test_whole_chain_with_reverb(tmp_path, real_voices, channels):
    """Written to a folder, the response is found by its number; late by what the effect reports."""
    preset = PRESETS["rap"]
    settings = {**preset.settings(), "pan.position": 0.4, "reverb.wet_db": -6.0}
    settings |= {"reverb.decay_s": 0.15, "reverb.pre_delay_ms": 12.0, "reverb.low_ratio": 1.0}
    strip = Strip(Preset.from_settings(settings, bypass=()), 44100, channels)
    written, _ = export_preset(strip.preset, "reaper", tmp_path / "out", sample_rate=44100)
    (chain,) = (file for file in written if file.suffix == ".RfxChain")
    audio = take(real_voices[2], 44100, channels, seconds=0.6)
    output = effect().run(
        np.pad(both(audio), ((0, 0), (0, BLOCK))), 44100,
        slider_values(chain.read_text("utf-8")), tmp_path / "out" / FOLDER,
    )  # fmt: skip
    assert effect().variables["v_partitions"] > 3
    assert effect().variables["v_pdc_delay"] == BLOCK
    assert not np.any(output[:, :BLOCK])
    expected = in_float64(strip, audio)
    error = error_db(output[:, BLOCK:], expected)
    print(f"whole chain {error:.1f} dB")
    assert error <= WHOLE <= -120
    dry = in_float64(Strip(strip.preset.without({"reverb"}), 44100, channels), audio)
    assert error_db(dry, expected) > -30, "the reverb is heard"


@pytest.mark.slow
def test_whole_chain_of_every_factory_preset(tmp_path, real_voices):
    audio = take(real_voices[3], 44100, seconds=0.3)
    padded = np.pad(both(audio), ((0, 0), (0, BLOCK)))
    worst = -400.0
    for name, preset in PRESETS.items():
        strip = Strip(preset, 44100)
        if not strip.on("reverb"):
            continue
        export_preset(preset, "reaper", tmp_path / name, sample_rate=44100)
        output = effect().run(
            padded, 44100, slider_values(chain_of(strip)), tmp_path / name / FOLDER
        )
        error = error_db(output[:, BLOCK:], both(in_float64(strip, audio)))
        print(f"{name} {error:.1f} dB")
        worst = max(worst, error)
    assert worst <= WHOLE


def test_without_the_response_file_the_rest_goes_on(tmp_path, real_voices):
    audio = both(take(real_voices[0], 48000, seconds=0.1))
    strip = Strip(PRESETS["ballad_plate"], 48000)
    output = effect().run(audio, 48000, slider_values(chain_of(strip)), tmp_path)
    dry = Strip(without_reverb(strip.preset), 48000)
    assert error_db(output, in_float64(dry, audio)) <= WITHOUT_REVERB
    assert effect().variables["v_pdc_delay"] == 0


@pytest.mark.parametrize("name", PRESETS)
def test_chain_and_back(tmp_path, name):
    strip = Strip(PRESETS[name], 48000)
    values = slider_values(chain_of(strip))
    for key, place in NUMBERS.items():
        if place not in values:
            is_off = not strip.on(key.partition(".")[0])
            assert place > 64 and (is_off or is_spare(key, strip[key])), "it is off"
        elif key in BY_KEY:
            assert values[place] == pytest.approx(strip.preset.settings()[key], rel=1e-9)
        elif key in SWITCHES:
            assert values[place] == (key not in strip.preset.bypass())
    file = tmp_path / "take.RfxChain"
    file.write_text(chain_of(strip), "utf-8")
    back, found = import_preset(file)
    assert found == "reaper"
    same(strip.preset, back, KEYS)
    assert back.bypass() == strip.preset.bypass()
    assert back.name == strip.preset.name


def test_every_parameter_and_switch_comes_back(tmp_path):
    settings = {p.key: p.to_physical(0.123456789) for p in PARAMETERS}
    bypass = {"eq.peak_2", "pan", "input_gain"}
    preset = Preset.from_settings(settings, bypass=bypass, name="all of it")
    export_preset(preset, "reaper", tmp_path / "out")
    back, _ = import_preset(tmp_path / "out", "reaper")
    same(preset, back, KEYS)
    assert back.bypass() == bypass


def test_read_among_other_effects(tmp_path):
    chain = chain_of(Strip(PRESETS["rap"]))
    other = 'BYPASS 0 0 0\n<JS utility/volume ""\n  0 - -\n>\nWAK 0 0\n'
    file = tmp_path / "several.RfxChain"
    file.write_text(other + chain.replace("\n", "\r\n") + other)
    same(PRESETS["rap"], import_preset(file)[0], KEYS)


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_names_stay_inside(tmp_path, name):
    rpp = needs_module("rpp")
    preset = hostile(PRESETS["dry_controlled"], name)
    files = FORMAT.write(Strip(preset))
    written, _ = export_preset(preset, "reaper", tmp_path / "a" / "b" / "out")
    root = tmp_path / "a" / "b" / "out"
    assert {str(p.relative_to(root)) for p in written} == set(files)
    assert all(root.resolve() in p.resolve().parents for p in written)
    no_file_escaped(root)
    assert files[f"{FOLDER}/{EFFECT}"] == effect_text().encode()
    parsed = rpp.loads(f"<FXCHAIN\n{chain_of(Strip(preset))}>\n")
    others = [item[0] for item in parsed if isinstance(item, list)]
    assert others == ["BYPASS", "FLOATPOS", "WAK"]
    assert len(parsed) == 4
    (strip,) = parsed.findall("JS")
    assert strip.attrib[0] == f"diffconsole/{EFFECT}"
    assert strip.attrib[1] == Strip(preset).title.replace("`", "'" if _all_marks(preset) else "`")
    assert len(strip.children) == 1
    assert len(strip.children[0]) == 64, "the de-esser, whose sliders lie beyond, is off"


def test_a_chain_has_more_than_64_values_only_where_they_are_used(tmp_path):
    for strip, count in (
        ({"gate": {"range_db": 20.0}}, 64),
        ({"deesser": {"enabled": False, "range_db": 9.0}}, 64),
        ({"deesser": {"range_db": 9.0, "release_ms": 70.0}}, 256),
    ):
        preset = Preset(strip)
        values = chain_of(Strip(preset)).splitlines()[2].split()
        assert len(values) == count, strip
        written = tmp_path / f"{len(str(strip))}.RfxChain"
        written.write_text(chain_of(Strip(preset)), "utf-8")
        back = import_preset(written)[0]
        on = [module for module in ("gate", "deesser") if module not in back.bypass()]
        assert on == [module for module in strip if strip[module].get("enabled", True)]
        for module in on:
            assert (
                back.settings().items()
                >= {f"{module}.{name}": value for name, value in strip[module].items()}.items()
            )


def _all_marks(preset: Preset) -> bool:
    return all(mark in Strip(preset).title for mark in "\"'`")


@pytest.mark.parametrize(
    "text",
    ["", "BYPASS 0 0 0\n", "<JS diffconsole/diffconsole_strip.jsfx\n  1 2 3\n>\n",
     "<JS diffconsole/diffconsole_strip.jsfx \"\"\n  " + "1e9 " * 64 + "\n>\n",
     "<JS diffconsole/diffconsole_strip.jsfx \"\"\n  " + "nan " * 64, "x" * (1 << 21)],
    ids=["empty", "no effect", "too few", "out of range", "not numbers", "too long"],
)  # fmt: skip
def test_what_is_not_ours_is_refused(tmp_path, text):
    file = tmp_path / "x.RfxChain"
    file.write_text(text)
    with pytest.raises(DiffconsoleError):
        import_preset(file)


def test_losses():
    strip = Strip(PRESETS["ballad_plate"])
    assert all(line.startswith("reverb:") for line in FORMAT.losses(strip))
    assert not FORMAT.losses(Strip(without_reverb(PRESETS["rap"])))


def test_a_response_that_the_effect_cannot_hold_is_told():
    long = Preset.from_settings({"reverb.decay_s": 8.0, "reverb.low_ratio": 4.0})
    noted = FORMAT.losses(Strip(long, 192000))
    assert any("first 21 s" in line for line in noted)
    assert len(FORMAT.conditions) == len(noted), "the listing has a line for each"
    assert f"{LONGEST_RESPONSE / 44100:.0f} s at 44.1 kHz" in FORMAT.conditions[-1]
    assert not any("first" in line for line in FORMAT.losses(Strip(long, 96000)))


def test_an_empty_preset_leaves_the_samples_as_they_are(real_voices):
    audio = both(take(real_voices[0], 48000, seconds=0.1))
    output = effect().run(audio, 48000, slider_values(chain_of(Strip(Preset()))))
    assert np.array_equal(output, audio)


def test_frequencies_stop_below_half_the_rate(real_voices):
    """At 16 kHz the chain keeps the preset's own values, the effect stops where the strip does."""
    audio = take(real_voices[0], 16000, 2, seconds=0.3)
    preset = Preset.from_settings({"eq.low_pass.freq_hz": 18000.0, "eq.peak_4.freq_hz": 12000.0,
                                   "eq.peak_4.gain_db": 6.0})  # fmt: skip
    strip = Strip(preset, 16000, 2)
    values = slider_values(chain_of(strip))
    assert values[NUMBERS["eq.low_pass.freq_hz"]] == 18000.0
    assert error_db(effect().run(audio, 16000, values), in_float64(strip, audio)) <= WITHOUT_REVERB
