"""Presets: the round trip, the errors, what is on and off, and the amount."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as configure
from hypothesis import strategies as st

from diffconsole import Preset
from diffconsole.errors import OutputError, PresetError
from diffconsole.strip.later import LATER
from diffconsole.strip.parameters import (
    BY_KEY,
    EQ_BANDS,
    MODULES,
    PARAMETERS,
    SWITCHES,
    default_settings,
    is_on,
)
from diffconsole.strip.preset import find_preset

from .. import strategies

HEAD = {"format": "diffconsole.channel-strip", "version": "1.0"}
quick = configure(max_examples=40, deadline=None)
IN_FOLDER = configure(quick, suppress_health_check=[HealthCheck.function_scoped_fixture])


# --- the round trip


@IN_FOLDER
@given(preset=strategies.presets())
def test_round_trip(tmp_path: Path, preset: Preset):
    path = tmp_path / "p.json"
    preset.write(path, force=True)
    again = Preset.read(path)
    assert (again.name, again.provenance) == (preset.name, preset.provenance)
    assert again.bypass() == preset.bypass()
    before, after = preset.settings(), again.settings()
    for key, value in before.items():
        if BY_KEY[key].is_decibel:
            assert abs(after[key] - value) <= 0.0005 + 1e-12
        elif (decimals := BY_KEY[key].decimals) is not None:
            assert abs(after[key] - value) <= 0.5 * 10.0**-decimals + 1e-12
        else:
            assert abs(after[key] - value) <= 0.5e-4 * abs(value) + 1e-12
    first = path.read_bytes()
    again.write(path, force=True)
    assert path.read_bytes() == first


def is_kept(key: str, off: set[str]) -> bool:
    return BY_KEY[key].module not in LATER or is_on(BY_KEY[key].section, off)


@quick
@given(chosen=strategies.settings(), off=st.sets(st.sampled_from(SWITCHES)))
def test_settings_make_a_preset_and_come_back_exactly(chosen, off):
    preset = Preset.from_settings(chosen, bypass=off)
    # Of a module that came later and is off, settings that do nothing are not written.
    kept = {key: value for key, value in chosen.items() if is_kept(key, off)}
    assert preset.settings().items() >= kept.items()
    assert preset.bypass() == off
    assert Preset.from_dict(preset.to_dict(rounded=False)).settings() == preset.settings()


@quick
@given(preset=strategies.presets())
def test_numbers_are_written_short_and_keys_in_chain_order(preset: Preset):
    data = json.loads(preset.to_json())
    assert list(data)[:3] == ["$schema", "format", "version"]
    assert [key for key in data if key in MODULES] == [m for m in MODULES if m in preset.strip]
    assert [b for b in data.get("eq", {}) if b in EQ_BANDS] == [
        b for b in EQ_BANDS if b in data.get("eq", {})
    ]
    for parameter in PARAMETERS:
        place = data
        for part in parameter.section.split("."):
            place = place.get(part, {})
        value = place.get(parameter.name)
        if value is not None and parameter.is_decibel:
            assert len(repr(value).partition(".")[2].rstrip("0")) <= 3 or abs(value) < 1e-3
            assert value == round(value, 3)
        elif value is not None and parameter.decimals is not None:
            assert value == round(value, parameter.decimals)
        elif value is not None:
            assert value == float(f"{value:.5g}")
        if value == 0:
            assert math.copysign(1.0, value) == 1.0  # "-0.0" would puzzle people


def test_the_written_text():
    preset = Preset({"output_gain": {"gain_db": -3.00049}, "eq": {"peak_1": {"q": 1.234567}}}, "ä")
    assert preset.to_json() == (
        '{\n  "$schema": "channel-strip-1.schema.json",\n'
        '  "format": "diffconsole.channel-strip",\n  "version": "1.0",\n  "name": "ä",\n'
        '  "eq": {\n    "peak_1": {\n      "q": 1.2346\n    }\n  },\n'
        '  "output_gain": {\n    "gain_db": -3.0\n  }\n}\n'
    )


def test_readers_do_not_round():
    text = json.dumps({**HEAD, "input_gain": {"gain_db": 1.23456789}})
    assert Preset.from_json(text).settings()["input_gain.gain_db"] == 1.23456789


def test_a_byte_order_mark_is_no_hindrance(tmp_path: Path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(HEAD), encoding="utf-8-sig")
    assert Preset.read(path).bypass() == frozenset(SWITCHES)


def test_existing_files_are_kept(tmp_path: Path):
    path = tmp_path / "p.json"
    path.write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        Preset().write(path)
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["p.json"]


def test_a_file_name_that_is_no_utf8_can_be_its_source(tmp_path: Path):
    source = os.fsdecode(b"raw\xff.wav")
    path = tmp_path / "p.json"
    Preset(provenance={"source": source}).write(path)
    assert Preset.read(path).provenance["source"] == source
    path.read_bytes().decode("utf-8")


# --- errors


def refusal(data: object) -> str:
    with pytest.raises(PresetError) as caught:
        Preset.from_json(data if isinstance(data, str) else json.dumps(data))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _with(section: str, name: str, value: object) -> dict:
    inner: dict = {name: value}
    for part in reversed(section.split(".")):
        inner = {part: inner}
    return {**HEAD, **inner}


@pytest.mark.parametrize("key", list(BY_KEY))
@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, "3 dB", True, None, [1.0], {}, "low", "high"]
)
def test_a_bad_value_is_named_with_its_path_and_range(key, value):
    p = BY_KEY[key]
    if value in ("low", "high"):
        value = p.low - 0.01 if value == "low" else p.high * 1.001 + 0.01
    message = refusal(_with(p.section, p.name, value))
    assert message.startswith(f"$.{key} is {json.dumps(value)}; ")
    assert f"{p.low:g} to {p.high:g}" in message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"version": "1.0"}, ["$.format is missing"]),
        ({"format": HEAD["format"]}, ["$.version is missing"]),
        ({**HEAD, "format": "other"}, ['$.format is "other"', HEAD["format"]]),
        ({**HEAD, "version": "2.0", "odd": 1}, ['$.version is "2.0"', '"1.0"', 'below "2"']),
        ({**HEAD, "version": "0.9"}, ['$.version is "0.9"']),
        ({**HEAD, "version": 1.0}, ["$.version is 1.0; write it as text in quotes, as \"1.0\""]),
        (
            {**HEAD, "version": "1.01"},
            ['$.version is "1.01"; write it as two numbers without leading zeros, as "1.1"'],
        ),
        ({**HEAD, "version": "v1.0"}, ['as "1.0"']),
        ({**HEAD, "version": "1.0.0"}, ['as "1.0"']),
        ({**HEAD, "version": "1.x"}, ['is "1.x"; this program reads']),
        ({**HEAD, "compresor": {}}, ["$.compresor", "did you mean 'compressor'?"]),
        ({**HEAD, "eq": {"peak1": {}}}, ["$.eq.peak1", "did you mean 'peak_1'?"]),
        (_with("reverb", "decay_ms", 900), ["$.reverb.decay_ms", "900", "decay_s", "0.1 to 8 s"]),
        (_with("eq.peak_1", "gain", 3), ["$.eq.peak_1.gain", "gain_db", "-15 to 15 dB"]),
        (_with("pan", "zzz", 3), ["$.pan.zzz", "allowed: enabled, position"]),
        (_with("eq", "enabled", 1), ["$.eq.enabled is 1", "true or false"]),
        ({**HEAD, "eq": 3}, ["$.eq is 3", "object"]),
        ({**HEAD, "name": 3}, ["$.name is 3", "text"]),
        ({**HEAD, "provenance": []}, ["$.provenance is []", "object"]),
        ({**HEAD, "provenance": {"lags": [1, math.nan]}}, ["$.provenance.lags[1] is NaN"]),
        ({**HEAD, "a\nb": 1}, ['$["a\\nb"]']),
        ([], ["$ is []", "format"]),
        (3, ["$ is 3"]),
        ("", ["not JSON", "line 1, column 1"]),
        ('{"format": }', ["not JSON", "line 1, column 12"]),
        ('{"eq": {"peak_1": {"q": 1, "q": 2}}}', ["$.eq.peak_1.q stands twice"]),
        ('{"version": "1.0", "version": "1.0"}', ["$.version stands twice"]),
        ('{"provenance": {"a": [{"b": 1, "b": 1}]}}', ["$.provenance.a[0].b stands twice"]),
        ('{"pan": {"position": 1e999}}', ["$.pan.position is Infinity", "-1 to 1"]),
        ("[" * 100_000, ["nested too deeply"]),
        ('{"provenance": ' + "[" * 500 + "]" * 500 + "}", ["$.provenance", "nested too deeply"]),
        ("1" * 5000, ["digits"]),
    ],
)  # fmt: skip
def test_what_is_no_preset_is_refused_in_words(data, words):
    message = refusal(data)
    for word in words:
        assert word in message


def test_long_values_are_shortened():
    assert len(refusal(_with("pan", "position", "x" * 10_000))) < 200


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.12"])
def test_every_version_1_is_read(version):
    assert Preset.from_dict({**HEAD, "version": version}) == Preset()


def test_files_that_are_no_presets(tmp_path: Path):
    def reading(path: Path) -> str:
        with pytest.raises(PresetError) as caught:
            Preset.read(path)
        assert str(caught.value).startswith(f"{path}: ")
        return str(caught.value)

    assert "is a folder" in reading(tmp_path)
    assert "no such file" in reading(tmp_path / "none.json")
    assert "presets list" in reading(tmp_path / "none.json")
    path = tmp_path / "p.json"
    path.write_bytes(bytes(range(256)))
    assert "not a text file" in reading(path)
    path.write_bytes(b" " * ((1 << 20) + 1))
    assert "over 1 MB" in reading(path)
    path.write_text("")
    assert "not JSON" in reading(path)
    path.write_text(json.dumps({**HEAD, "pan": {"position": 2}}))
    assert "$.pan.position is 2; allowed: -1 to 1" in reading(path)
    assert "cannot be read" in reading(path / "below.json")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all files")
def test_a_file_without_permission(tmp_path: Path):
    path = tmp_path / "p.json"
    path.write_text("{}")
    path.chmod(0)
    with pytest.raises(PresetError, match="cannot be read"):
        Preset.read(path)


def test_a_preset_is_valid_from_the_start():
    with pytest.raises(PresetError, match=r"\$\.eq\.peak_1\.freq_hz is 5\.0; allowed: 60 to 1000"):
        Preset({"eq": {"peak_1": {"freq_hz": 5.0}}})
    with pytest.raises(PresetError, match=r"\$\.equaliser"):
        Preset({"equaliser": {}})
    with pytest.raises(PresetError, match=r"gain_db is 99\.0; allowed: -48 to 48 dB"):
        Preset.from_settings({"input_gain.gain_db": 99.0})
    with pytest.raises(PresetError, match="unknown setting 'eq.peak_1.gain'.*eq.peak_1.gain_db"):
        Preset.from_settings({"eq.peak_1.gain": 1.0})
    with pytest.raises(PresetError, match="cannot bypass 'revrb'"):
        Preset.from_settings({}, bypass={"revrb"})
    with pytest.raises(PresetError, match=r"\$\.provenance holds what JSON cannot"):
        Preset(provenance={"path": Path("x")})


def test_single_numbers_of_other_libraries_are_numbers():
    strip = {"input_gain": {"gain_db": np.float32(1.5)}, "pan": {"position": torch.tensor(0.5)}}
    preset = Preset(strip, provenance={"lag": np.int64(3)})
    assert json.loads(preset.to_json())["pan"] == {"position": 0.5}
    assert Preset.from_json(preset.to_json()) == preset


def test_a_preset_keeps_a_copy():
    strip = {"eq": {"peak_1": {"gain_db": 1.0}}}
    preset = Preset(strip)
    strip["eq"]["peak_1"]["gain_db"] = 99.0
    assert preset.settings()["eq.peak_1.gain_db"] == 1.0


# --- on, off, defaults


def test_missing_keys_take_the_tables_defaults():
    strip: dict = {module: {} for module in MODULES}
    strip["eq"] = {band: {} for band in EQ_BANDS}
    preset = Preset(strip)
    assert preset.settings() == default_settings()
    assert preset.bypass() == frozenset()


@pytest.mark.parametrize("switch", SWITCHES)
def test_present_is_on_absent_is_off_and_enabled_decides(switch):
    place: dict = {}
    strip: dict = place
    for part in switch.split("."):
        place[part] = {}
        place = place[part]
    assert switch in Preset().bypass()
    assert switch not in Preset(strip).bypass()
    place["enabled"] = False
    assert switch in Preset(strip).bypass()
    place["enabled"] = True
    assert switch not in Preset(strip).bypass()
    assert switch in Preset(strip).without([switch]).bypass()
    assert switch in Preset(strip).without(switch).bypass()


def test_a_band_may_be_on_in_an_eq_that_is_off():
    preset = Preset({"eq": {"enabled": False, "peak_1": {"gain_db": 3.0}}})
    assert "eq" in preset.bypass()
    assert "eq.peak_1" not in preset.bypass()


def test_from_settings_leaves_out_what_it_was_not_told():
    assert Preset.from_settings({"output_gain.gain_db": -3.0}).strip == {
        "output_gain": {"gain_db": -3.0}
    }


@quick
@given(preset=strategies.presets(), off=st.sets(st.sampled_from(SWITCHES)))
def test_without_switches_off_and_changes_nothing_else(preset: Preset, off):
    changed = preset.without(off)
    assert changed.bypass() == preset.bypass() | off
    assert changed.settings() == preset.settings()


def test_without_refuses_unknown_names():
    with pytest.raises(PresetError, match="cannot bypass 'peak_1': not one of .*eq.peak_1"):
        Preset().without({"peak_1"})


# --- amount


@quick
@given(preset=strategies.presets(), amount=st.floats(0.0, 1.5))
def test_any_amount_gives_a_valid_preset(preset: Preset, amount: float):
    scaled = preset.at_amount(amount)
    for key, value in scaled.settings().items():
        assert BY_KEY[key].low <= value <= BY_KEY[key].high
    Preset.from_json(scaled.to_json())
    if amount > 0:
        assert scaled.bypass() == preset.bypass()
    assert (scaled.name, scaled.provenance) == (preset.name, preset.provenance)


@quick
@given(preset=strategies.presets())
def test_amount_0_is_nothing_and_1_is_itself(preset: Preset):
    assert preset.at_amount(0.0).bypass() == frozenset(SWITCHES)
    assert preset.at_amount(1.0) == preset


@quick
@given(chosen=strategies.settings(), amounts=st.tuples(st.floats(0.01, 1.5), st.floats(0.01, 1.5)))
def test_more_amount_does_more(chosen, amounts):
    """Gains, pan, ratio and wet level grow; the cuts move inwards."""
    preset = Preset.from_settings(chosen)
    less, more = (preset.at_amount(a).settings() for a in sorted(amounts))
    for key in chosen:
        name = BY_KEY[key].name
        if name in ("gain_db", "makeup_db", "position"):
            assert abs(less[key]) <= abs(more[key]) + 1e-12
            assert less[key] * more[key] >= 0.0
            wanted = BY_KEY[key].clip(max(amounts) * chosen[key])
            assert more[key] == pytest.approx(wanted, abs=1e-12)
    assert less["compressor.ratio"] <= more["compressor.ratio"] * (1 + 1e-12)
    assert less["reverb.wet_db"] <= more["reverb.wet_db"]
    assert less["eq.high_pass.freq_hz"] <= more["eq.high_pass.freq_hz"] * (1 + 1e-12)
    assert less["eq.low_pass.freq_hz"] >= more["eq.low_pass.freq_hz"] * (1 - 1e-12)


@quick
@given(chosen=strategies.settings(), amount=st.floats(0.01, 1.5))
def test_the_ratio_scales_on_the_logarithm_and_the_threshold_follows(chosen, amount):
    after = Preset.from_settings(chosen).at_amount(amount).settings()
    ratio = min(chosen["compressor.ratio"] ** amount, 20.0)
    assert after["compressor.ratio"] == pytest.approx(ratio, rel=1e-9)
    moved = after["input_gain.gain_db"] - chosen["input_gain.gain_db"]
    threshold = min(max(chosen["compressor.threshold_db"] + moved, -60.0), 0.0)
    assert after["compressor.threshold_db"] == pytest.approx(threshold, abs=1e-9)
    wet = chosen["reverb.wet_db"] + 20 * math.log10(amount)
    assert after["reverb.wet_db"] == pytest.approx(min(max(wet, -60.0), 6.0), abs=1e-9)
    for key in ("compressor.attack_ms", "eq.peak_1.freq_hz", "eq.peak_1.q", "reverb.decay_s"):
        assert after[key] == chosen[key]


@pytest.mark.parametrize(
    ("ratio", "amount", "expected"),
    [(4.0, 1.5, 8.0), (4.0, 0.5, 2.0), (2.73, 1.5, 4.511), (6.0, 1.5, 14.697), (10.0, 1.5, 20.0)],
)
def test_ratios_stay_apart_at_any_amount(ratio, amount, expected):
    preset = Preset({"compressor": {"ratio": ratio}}).at_amount(amount)
    assert preset.settings()["compressor.ratio"] == pytest.approx(expected, abs=1e-3)


@quick
@given(chosen=strategies.settings(), amount=st.floats(0.01, 1.5))
def test_cuts_lose_their_resonance_below_the_whole_amount(chosen, amount):
    after = Preset.from_settings(chosen).at_amount(amount).settings()
    for key in ("eq.high_pass.q", "eq.low_pass.q"):
        before, now = (abs(math.log(s[key] / math.sqrt(0.5))) for s in (chosen, after))
        assert now == pytest.approx(min(amount, 1.0) * before, abs=1e-9)


def test_the_threshold_stays_when_the_input_gain_is_off():
    preset = Preset({"input_gain": {"enabled": False, "gain_db": 20.0}, "compressor": {}})
    assert preset.at_amount(0.5).settings()["compressor.threshold_db"] == -22.0


@pytest.mark.parametrize("amount", [-0.01, 1.51, math.nan, math.inf])
def test_an_amount_out_of_range(amount):
    with pytest.raises(PresetError, match=f"amount {amount}; it goes from 0 to 1.5"):
        Preset().at_amount(amount)


# --- finding


def test_a_file_goes_before_a_factory_preset_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    factory = find_preset("podcast")
    Path("podcast").mkdir()
    assert find_preset("podcast") == factory
    Path("podcast").rmdir()
    Preset(name="mine").write("podcast")
    assert find_preset("podcast").name == "mine"
    assert find_preset(tmp_path / "podcast").name == "mine"


def test_a_wrong_name_gets_a_hint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PresetError, match="did you mean 'podcast'"):
        find_preset("podcst")
    with pytest.raises(PresetError, match="no such file.*presets list"):
        find_preset("qqq")
    with pytest.raises(PresetError, match="no such file"):
        find_preset("podcast.json")


def test_settings_at_the_ends_of_the_ranges_survive_float32():
    for parameter in PARAMETERS:
        for end in (0.0, 1.0):
            value = float(np.float32(parameter.to_physical(np.float32(end))))
            preset = Preset.from_settings({parameter.key: value})
            assert parameter.low <= preset.settings()[parameter.key] <= parameter.high
    with pytest.raises(PresetError, match="allowed: -60 to 0"):
        Preset.from_settings({"compressor.threshold_db": 0.001})
