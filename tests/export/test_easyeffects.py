"""EasyEffects' presets: the rules that its 7.x releases read by, and LSP's plug-ins behind them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import scipy.signal
import soundfile

from diffconsole import Preset
from diffconsole.errors import ExportError, OutputError
from diffconsole.export import Strip, export_preset, import_preset
from diffconsole.export.easyeffects import FORMAT
from diffconsole.strip.parameters import BY_KEY, DEFAULT_PARAMETERS, MODULES, PARAMETERS
from diffconsole.strip.preset import factory_presets
from tests import reference
from tests.export.helpers import (
    HOSTILE_NAMES,
    Voice,
    hostile,
    in_float64,
    no_file_escaped,
    same,
    take,
)

PRESETS = factory_presets()
LOST = set(MODULES) - {BY_KEY[m.key].module for m in FORMAT.mapped}


def _number(low: float, high: float) -> dict[str, Any]:
    return {"type": "number", "minimum": low, "maximum": high}


def _object(**rules: dict[str, Any]) -> dict[str, Any]:
    named = {name.rstrip("_").replace("_", "-"): rule for name, rule in rules.items()}
    return {"type": "object", "properties": named, "required": list(named),
            "additionalProperties": False}  # fmt: skip


SWITCH = {"type": "boolean"}
LEVEL, MIX = _number(-36, 36), _number(-100, 20)
PASS = {"enum": ["off", "12 dB/oct", "24 dB/oct", "36 dB/oct"]}
BAND = _object(
    type={"enum": ["Off", "Bell", "Hi-pass", "Hi-shelf", "Lo-pass", "Lo-shelf", "Notch",
                   "Resonance", "Allpass"]},
    mode={"enum": ["RLC (BT)", "RLC (MT)", "BWC (BT)", "BWC (MT)", "LRX (BT)", "LRX (MT)",
                   "APO (DR)"]},
    slope={"enum": ["x1", "x2", "x3", "x4"]}, solo=SWITCH, mute=SWITCH,
    gain=_number(-35, 35), frequency=_number(10, 24000), q=_number(0, 100), width=_number(0, 100),
)  # fmt: skip
SIDE = {"type": "object", "required": [f"band{n}" for n in range(8)],
        "patternProperties": {r"^band\d+$": BAND}, "additionalProperties": False}  # fmt: skip
EQUALIZER = {
    **_object(
        bypass=SWITCH, input_gain=LEVEL, output_gain=LEVEL, split_channels=SWITCH,
        mode={"enum": ["IIR", "FIR", "FFT", "SPM"]}, balance=_number(-100, 100),
        pitch_left=_number(-120, 120), pitch_right=_number(-120, 120), left=SIDE, right=SIDE,
        num_bands={"type": "integer", "minimum": 1, "maximum": 32},
    ),
}  # fmt: skip
SIDECHAIN = _object(
    type={"enum": ["Feed-forward", "Feed-back", "External"]},
    mode={"enum": ["Peak", "RMS", "Low-Pass", "Uniform"]},
    source={"enum": ["Middle", "Side", "Left", "Right", "Min", "Max"]},
    stereo_split_source={"enum": ["Left/Right", "Right/Left", "Mid/Side", "Side/Mid"]},
    preamp=_number(-120, 40), reactivity=_number(0, 250), lookahead=_number(0, 20),
)  # fmt: skip
COMPRESSOR = _object(
    bypass=SWITCH, input_gain=LEVEL, output_gain=LEVEL, dry=MIX, wet=MIX,
    mode={"enum": ["Downward", "Upward", "Boosting"]}, attack=_number(0, 2000),
    release=_number(0, 5000), release_threshold=_number(-100, 0), threshold=_number(-60, 0),
    ratio=_number(1, 100), knee=_number(-23.99, 0), makeup=_number(-60, 60),
    boost_amount=_number(-72, 72), boost_threshold=_number(-120, -60), stereo_split=SWITCH,
    sidechain=SIDECHAIN, hpf_mode=PASS, lpf_mode=PASS, hpf_frequency=_number(10, 20000),
    lpf_frequency=_number(10, 20000),
)  # fmt: skip
GATE = _object(
    bypass=SWITCH, input_gain=LEVEL, output_gain=LEVEL, dry=MIX, wet=MIX, attack=_number(0, 2000),
    release=_number(0, 5000), curve_threshold=_number(-60, 0), curve_zone=_number(-60, 0),
    hysteresis=SWITCH, hysteresis_threshold=_number(-60, 0), hysteresis_zone=_number(-60, 0),
    reduction=_number(-72, 72), makeup=_number(-60, 60), stereo_split=SWITCH,
    sidechain=_object(
        input={"enum": ["Internal", "External"]}, **{
            key.replace("-", "_"): rule for key, rule in SIDECHAIN["properties"].items()
            if key != "type"
        },
    ),
    hpf_mode=PASS, lpf_mode=PASS, hpf_frequency=_number(10, 20000),
    lpf_frequency=_number(10, 20000),
)  # fmt: skip
CONVOLVER = _object(
    bypass=SWITCH, input_gain=LEVEL, output_gain=LEVEL, autogain={"const": False},
    ir_width={"const": 100}, kernel_name={"type": "string", "pattern": r"^[\w-]+$"},
)  # fmt: skip
SCHEMA = {
    "type": "object",
    "required": ["output"],
    "properties": {
        "output": {
            "type": "object",
            "required": ["blocklist", "plugins_order"],
            "properties": {
                "blocklist": {"type": "array", "items": {"type": "string"}},
                "plugins_order": {"type": "array", "uniqueItems": True,
                                  "items": {"pattern": r"^[a-z_]+#\d+$"}},
                "equalizer#0": EQUALIZER,
                "compressor#0": COMPRESSOR,
                "compressor#1": COMPRESSOR,
                "convolver#0": CONVOLVER,
                "gate#0": GATE,
            },
            "additionalProperties": False,
        }
    },
}  # fmt: skip


def written(strip: Strip) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The JSON, checked against the rules, and the files beside it."""
    files = dict(FORMAT.write(strip))
    data = json.loads(files.pop(""))
    jsonschema.validate(data, SCHEMA)
    assert set(data["output"]["plugins_order"]) == set(data["output"]) - {
        "blocklist", "plugins_order",
    }  # fmt: skip
    return data["output"], files


def at_ends(high: bool) -> Preset:
    """All parameters at one end of their ranges."""
    return Preset.from_settings({p.key: p.high if high else p.low for p in DEFAULT_PARAMETERS})


@pytest.mark.parametrize("channels", [1, 2])
def test_factory_presets_follow_the_rules(channels: int) -> None:
    for preset in PRESETS.values():
        for rate in (44100, 48000):
            written(Strip(preset.without(["reverb"]), rate, channels))


@pytest.mark.parametrize("high", [True, False])
def test_ends_of_all_ranges_follow_the_rules_and_read_back(high: bool, tmp_path: Path) -> None:
    preset = at_ends(high).without(["reverb"])
    output, _ = written(Strip(preset, 96000))
    before, compressor = output.get("gate#0", output["equalizer#0"]), output["compressor#0"]
    gain_db = preset.settings()["input_gain.gain_db"]
    assert before["input-gain"] + before["output-gain"] == pytest.approx(gain_db)
    gain_db = preset.settings()["output_gain.gain_db"]
    assert compressor["output-gain"] + compressor["wet"] == pytest.approx(gain_db)
    export_preset(preset, "easyeffects", tmp_path / "a.json", sample_rate=96000)
    back, _ = import_preset(tmp_path / "a.json", "easyeffects")
    same(preset, back, tuple(p.key for p in DEFAULT_PARAMETERS if p.module != "reverb"))


def test_settings_are_lsps(real_voices: list[Voice]) -> None:
    from diffconsole.export.lsp import FILTERS
    from diffconsole.export.lv2 import plugins

    for preset in PRESETS.values():
        strip = Strip(preset.without(["reverb"]), 48000, 2)
        output, _ = written(strip)
        lv2 = plugins(strip)
        ports = lv2["equalizer"][1]
        kinds = {name: number for number, name in FILTERS.values()} | {"Off": 0}
        for place in range(8):
            band = output["equalizer#0"]["left"][f"band{place}"]
            assert kinds[band["type"]] == ports[f"ft_{place}"]
            assert band["frequency"] == ports[f"f_{place}"] and band["q"] == ports[f"q_{place}"]
            assert 10 ** (band["gain"] / 20) == pytest.approx(ports.get(f"g_{place}", 1.0))
        if strip.on("gate"):
            ports, plugin = lv2["gate"][1], output["gate#0"]
            assert plugin["attack"] == ports["at"] and plugin["release"] == ports["rt"]
            for name, port in (("curve-threshold", "gt"), ("curve-zone", "gz"),
                               ("reduction", "gr")):  # fmt: skip
                assert 10 ** (plugin[name] / 20) == pytest.approx(ports[port])
            assert output["plugins_order"][0] == "gate#0"
        ports, plugin = lv2["compressor"][1], output["compressor#0"]
        assert plugin["attack"] == ports["at"] and plugin["release"] == ports["rt"]
        assert plugin["ratio"] == ports["cr"]
        for name, port in (("threshold", "al"), ("knee", "kn"), ("makeup", "mk")):
            assert 10 ** (plugin[name] / 20) == pytest.approx(ports[port])
        assert plugin["sidechain"]["source"] == "Max" and ports["scs"] == 5


@pytest.mark.parametrize("position", [0.0, -0.35])
def test_response_is_pan_and_reverb_of_a_mono_voice(
    real_voices: list[Voice], position: float
) -> None:
    settings = {"pan.position": position, "reverb.decay_s": 0.5, "reverb.wet_db": -9.0}
    strip = Strip(Preset.from_settings(settings))
    output, files = written(strip)
    name, content = next(iter(files.items()))
    assert name == f"{output['convolver#0']['kernel-name']}.irs"
    response, rate = soundfile.read(io.BytesIO(content), always_2d=True)
    assert rate == strip.sample_rate
    voice = take(real_voices[1], rate)
    played = [scipy.signal.oaconvolve(voice[0], side)[: voice.shape[1]] for side in response.T]
    assert reference.error_db(np.stack(played), in_float64(strip, voice)) <= -120.0


def test_bypassed_modules_do_nothing() -> None:
    preset = Preset.from_settings(
        {p.key: p.default for p in PARAMETERS} | {"pan.position": 0.5, "input_gain.gain_db": 9.0},
        bypass=list(MODULES),
    )
    output, files = written(Strip(preset))
    assert not files and output["plugins_order"] == ["equalizer#0", "compressor#0"]
    equalizer, compressor = output["equalizer#0"], output["compressor#0"]
    assert all(band["mute"] for band in equalizer["left"].values())
    assert equalizer["left"] == equalizer["right"]
    assert equalizer["input-gain"] == equalizer["output-gain"] == 0.0
    assert compressor["dry"] == 0.0 and compressor["wet"] == -100.0
    assert compressor["output-gain"] == 0.0


def test_import_gives_the_preset_back(tmp_path: Path) -> None:
    for name in ("rap", "telephone"):
        preset = PRESETS[name]
        settings = {**preset.settings(), "pan.position": 0.25, "input_gain.gain_db": 41.0}
        full = Preset.from_settings(settings, bypass=preset.bypass() - {"pan", "input_gain"},
                                    name=preset.name)  # fmt: skip
        files, losses = export_preset(full, "easyeffects", tmp_path / f"{name}.json")
        assert {file.parent for file in files} == {tmp_path} and len(files) == 2
        assert any(".irs" in line for line in losses)
        back, _ = import_preset(tmp_path / f"{name}.json", "easyeffects")
        on = tuple(p.key for p in PARAMETERS if not {p.section, p.section.split(".")[0]}
                   & (full.bypass() | LOST))  # fmt: skip
        same(full, back, on)
        assert back.name == preset.name
        # A band that is off keeps its place, a module that is off needs none.
        assert Strip(back).off == Strip(full).off | LOST


def test_an_eq_that_is_off_comes_back_with_its_bands(tmp_path: Path) -> None:
    rap = PRESETS["rap"].without(["reverb"])
    for number, off in enumerate((["eq"], ["eq", "eq.peak_1"], ["eq.peak_1"])):
        preset = rap.without(off)
        path = tmp_path / f"{number}.json"
        export_preset(preset, "easyeffects", path)
        back, _ = import_preset(path, "easyeffects")
        same(preset, back, tuple(k for k in BY_KEY if k.startswith("eq.")))
        # A gain of 0 dB is on.
        assert back.bypass() == (preset.bypass() | LOST) - {"input_gain"}


def test_what_is_bypassed_there_is_off_but_kept(tmp_path: Path) -> None:
    preset = PRESETS["rap"].without(["reverb"])
    data = json.loads(FORMAT.write(Strip(preset))[""])
    for name in ("equalizer#0", "compressor#0"):
        data["output"][name]["bypass"] = True
    (tmp_path / "a.json").write_text(json.dumps(data))
    back, _ = import_preset(tmp_path / "a.json", "easyeffects")
    assert back.bypass() >= {"eq", "compressor", "input_gain", "output_gain"}
    same(preset, back, ("eq.peak_1.gain_db", "compressor.ratio", "output_gain.gain_db"))


def test_what_stereo_costs_is_said_for_mono_too() -> None:
    for channels in (1, 2):
        said = FORMAT.losses(Strip(PRESETS["rap"], channels=channels))
        assert any(line.startswith("compressor: ") and "--channels 1" in line for line in said)
        assert any(line.startswith("reverb: ") and "sides' mean" in line for line in said)
    assert {"compressor", "reverb"} <= set(FORMAT.lost)
    *_, condition = FORMAT.conditions
    (note,) = FORMAT.notes(Strip(PRESETS["rap"]))
    assert ".irs" in condition and ".irs" in note


def test_a_convolver_without_its_settings_is_refused(tmp_path: Path) -> None:
    settings = {**PRESETS["rap"].settings(), "pan.position": 0.25}
    full = Preset.from_settings(settings, bypass=PRESETS["rap"].bypass() - {"pan"})
    export_preset(full, "easyeffects", tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_bytes())
    own = data.pop("diffconsole")
    parts = [{k: v for k, v in own.items() if k != "reverb.decay_s"}, {"name": "x"}, [], None]
    for left in parts:
        (tmp_path / "b.json").write_text(json.dumps({**data, "diffconsole": left}))
        with pytest.raises(ExportError, match="put that object back"):
            import_preset(tmp_path / "b.json", "easyeffects")
    # The remedy: the rest comes back without pan and reverb.
    data["output"]["plugins_order"].remove("convolver#0")
    (tmp_path / "b.json").write_text(json.dumps(data))
    back, _ = import_preset(tmp_path / "b.json", "easyeffects")
    assert back.bypass() >= {"pan", "reverb"}
    same(full, back, ("compressor.ratio", "eq.high_pass.freq_hz", "output_gain.gain_db"))


def test_another_response_of_that_name_is_not_overwritten(tmp_path: Path) -> None:
    preset = Preset.from_settings({"pan.position": 0.25})
    export_preset(preset, "easyeffects", tmp_path / "a.json")
    (response,) = tmp_path.glob("*.irs")
    response.write_bytes(b"mine")
    with pytest.raises(OutputError):
        export_preset(preset, "easyeffects", tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()
    assert response.read_bytes() == b"mine"


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_stay_text(name: str, tmp_path: Path) -> None:
    strip = Strip(hostile(Preset.from_settings({"pan.position": 0.5}), name))
    _, files = written(strip)
    assert all(file.endswith(".irs") and "/" not in file for file in files)
    (tmp_path / "a.json").write_bytes(FORMAT.write(strip)[""])
    assert import_preset(tmp_path / "a.json", "easyeffects")[0].name == strip.title
    no_file_escaped(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"output": {}}', b'{"output": {"plugins_order": ["equalizer#0"]}}',
     b'{"output": {"plugins_order": ["compressor#0"], "compressor#0": {"wet": "loud"}}}',
     b"\xff\xfe", b"[" * 100000, b'{"a": "' + b"x" * (1 << 20) + b'"}'],
)  # fmt: skip
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ExportError):
        import_preset(tmp_path / "a.json", "easyeffects")
