"""EasyEffects presets as people publish them: every release's names, orders, types and extras."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffconsole import Preset
from diffconsole.errors import ExportError
from diffconsole.export import import_preset
from diffconsole.export.fit import Filter, fit_bands
from tests.commands import call

NAMES = ("freq_hz", "gain_db", "q")
Row = tuple[str, float, float, float]
GRAPHIC: list[Row] = [
    ("Bell", 32.0 * 2.0**n, gain_db, 1.4)
    for n, gain_db in enumerate((0.5, 1.0, -3.0, 4.0, -1.0, 0.0, 6.0, 1.5, -5.0, 0.5))
]


def bands(rows: list[Row], mode: str = "APO (DR)", **more: Any) -> dict[str, dict[str, Any]]:
    fixed = {"mode": mode, "slope": "x1", "solo": False, "mute": False, **more}
    return {
        f"band{place}": {"type": kind, "frequency": freq_hz, "gain": gain_db, "q": q, **fixed}
        for place, (kind, freq_hz, gain_db, q) in enumerate(rows)
    }


def equalizer(rows: list[Row], mode: str = "APO (DR)", **more: Any) -> dict[str, Any]:
    return {
        "input-gain": 0.0, "output-gain": 0.0, "mode": "IIR", "num-bands": len(rows),
        "split-channels": False, "left": bands(rows, mode), "right": bands(rows, mode), **more,
    }  # fmt: skip


def as_text(value: Any) -> Any:
    """Values as the first releases wrote them: numbers and switches as text."""
    if isinstance(value, dict):
        return {key: as_text(inner) for key, inner in value.items()}
    return str(value).lower() if isinstance(value, bool) else str(value)


def take_in(folder: Path, data: dict[str, Any], name: str = "My voice") -> Preset:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(data))
    return import_preset(path, "easyeffects")[0]


COMPRESSOR = {
    "mode": "Downward", "attack": 12.28, "release": 122.8, "threshold": -20.0, "ratio": 3.0,
    "knee": -6.0, "makeup": 2.0, "input-gain": 0.0, "output-gain": 0.0,
    "sidechain": {"mode": "Peak", "preamp": 0.0},
}  # fmt: skip
ANY_ORDER: list[Row] = [
    ("Hi-shelf", 9000.0, 2.0, 0.7), ("Bell", 3000.0, 3.0, 1.2), ("Lo-shelf", 150.0, -2.0, 0.7),
    ("Hi-pass", 80.0, 0.0, 0.8), ("Bell", 350.0, -2.5, 1.0),
]  # fmt: skip
EXPECTED = {
    "eq.high_shelf.freq_hz": 9000.0, "eq.high_shelf.gain_db": 2.0, "eq.low_shelf.gain_db": -2.0,
    "eq.high_pass.freq_hz": 80.0, "eq.high_pass.q": 0.8, "eq.peak_1.freq_hz": 350.0,
    "eq.peak_3.freq_hz": 3000.0, "eq.peak_3.gain_db": 3.0, "eq.peak_3.q": 1.2,
    "compressor.threshold_db": -20.0, "compressor.ratio": 3.0, "compressor.knee_db": 12.0,
    "compressor.makeup_db": 2.0, "compressor.attack_ms": 10.0, "compressor.release_ms": 100.0,
}  # fmt: skip


def chains() -> dict[str, dict[str, Any]]:
    """One strip in the shapes of four releases and of hand-written presets."""
    plain = {"equalizer": equalizer(ANY_ORDER), "compressor": COMPRESSOR}
    numbered = {f"{name}#0": {"bypass": False, **values} for name, values in plain.items()}
    order = ["equalizer#0", "compressor#0"]
    state = {name: {"state": True, **values} for name, values in plain.items()}
    return {
        "numbered": {"output": {"blocklist": [], **numbered, "plugins_order": order}},
        "plain": {"output": {"blocklist": [], **plain, "plugins_order": list(plain)}},
        "text": {
            "spectrum": {"show": "true"},
            "output": {"blacklist": "", **as_text(state), "plugins_order": list(plain)},
        },
        "input": {"input": {"blocklist": [], **numbered, "plugins_order": order}},
        "without an order": {"output": numbered},
        "of both, the input acts": {
            "output": {"equalizer": {"state": "false"}, "plugins_order": ["equalizer"]},
            "input": {**plain, "plugins_order": list(plain)},
        },
    }


@pytest.mark.parametrize("shape", chains())
def test_every_release_is_read(shape: str, tmp_path: Path) -> None:
    preset = take_in(tmp_path, chains()[shape])
    settings = preset.settings()
    for key, value in EXPECTED.items():
        assert settings[key] == pytest.approx(value, rel=1e-3), key
    assert not {"eq", "compressor", "eq.high_pass", "eq.peak_3"} & preset.bypass()
    assert {"eq.peak_2", "eq.peak_4", "eq.low_pass", "reverb"} <= preset.bypass()
    assert preset.name == "My voice"
    assert "import" not in preset.provenance


def test_more_bells_than_a_strip_has(tmp_path: Path) -> None:
    """The strongest are taken as they are, the rest is named, and so is the error."""
    data = {"output": {"equalizer": equalizer(GRAPHIC), "plugins_order": ["equalizer"]}}
    preset = take_in(tmp_path, data)
    settings = preset.settings()
    taken = {
        settings[f"eq.peak_{n}.freq_hz"]: settings[f"eq.peak_{n}.gain_db"] for n in range(1, 5)
    }
    assert taken == {128.0: -3.0, 256.0: 4.0, 2048.0: 6.0, 8192.0: -5.0}
    left, off = preset.provenance["import"]
    assert left.startswith("left out: ") and "4096 Hz +1.5 dB" in left
    assert off.startswith("the EQ's curve is off by up to 1.")


def test_what_is_taken_leaves_the_least_of_the_curve() -> None:
    """No other choice of bells for these places leaves less."""
    rng = np.random.default_rng(3)
    freqs_hz, gains_db = np.geomspace(250.0, 2900.0, 6), rng.uniform(-9.0, 9.0, 6)
    bells = [
        Filter("bell", float(freq_hz), float(gain_db), 1.5)
        for freq_hz, gain_db in zip(freqs_hz, gains_db, strict=True)
    ]
    fitted = fit_bands([*bells, Filter("high_shelf", 8000.0, 3.0, 0.7)])
    assert fitted.settings["eq.high_shelf.gain_db"] == 3.0
    whole = sum(bell.curve_db() for bell in bells)

    def rest(taken: Sequence[Filter]) -> float:
        return float(np.sum((whole - sum(bell.curve_db() for bell in taken)) ** 2))

    taken = [
        Filter("bell", *(fitted.settings[f"eq.peak_{n}.{name}"] for name in NAMES))
        for n in range(1, 5)
        if f"eq.peak_{n}.q" in fitted.settings
    ]
    ranges = ((60.0, 1000.0), (200.0, 3000.0), (800.0, 8000.0), (2000.0, 18000.0))
    for count in range(5):
        for other in itertools.combinations(bells, count):
            for places in itertools.combinations(ranges, count):
                pairs = zip(other, places, strict=True)
                if all(low <= bell.freq_hz <= high for bell, (low, high) in pairs):
                    assert rest(taken) <= rest(other) + 1e-6


def test_the_q_of_another_filter_mode_is_converted(tmp_path: Path) -> None:
    """As measured of LSP 1.2.5: the cookbook's Q with the same curve."""
    rows = [("Bell", 500.0, 6.0, 2.0), ("Bell", 1000.0, -4.0, 4.36), ("Lo-shelf", 100.0, 3.0, 0.7)]
    data = {"output": {"equalizer": equalizer(rows, "RLC (BT)"), "plugins_order": ["equalizer"]}}
    settings = take_in(tmp_path, data).settings()
    assert settings["eq.peak_1.q"] == pytest.approx(1.582, abs=2e-3)
    assert settings["eq.peak_2.q"] == pytest.approx(3.265, abs=2e-3)
    assert settings["eq.low_shelf.q"] == pytest.approx(0.85)


def test_gains_around_a_compressor_keep_what_it_does(tmp_path: Path) -> None:
    """A gain before a compressor is a lower threshold and as much makeup."""
    compressor = COMPRESSOR | {"input-gain": 9.0, "output-gain": -1.0}
    compressor["sidechain"] = {"mode": "RMS", "preamp": 3.0}
    data = {"input": {"compressor#0": compressor, "limiter#0": {}, "rnnoise#0": {"bypass": True},
                      "plugins_order": ["rnnoise#0", "compressor#0", "limiter#0"]}}  # fmt: skip
    preset = take_in(tmp_path, data)
    settings = preset.settings()
    assert settings["compressor.threshold_db"] == pytest.approx(-32.0)
    assert settings["compressor.makeup_db"] == pytest.approx(11.0)
    assert settings["output_gain.gain_db"] == pytest.approx(-1.0)
    assert preset.provenance["import"] == [
        "left out: limiter", "the compressor's detector is RMS, ours peak"
    ]  # fmt: skip


def test_what_a_strip_lacks_is_named(tmp_path: Path) -> None:
    rows = [("Notch", 50.0, 0.0, 8.0), ("Allpass", 300.0, 0.0, 1.0), ("Bell", 1000.0, 2.0, 1.0)]
    output = {
        "equalizer#0": equalizer(rows), "equalizer#1": equalizer([("Bell", 5000.0, 30.0, 1.0)]),
        "compressor#0": COMPRESSOR | {"mode": "Upward"}, "convolver#0": {"kernel-name": "Hall"},
        "bass_enhancer#0": {"bypass": False}, "exciter#0": {"bypass": True},
        "filter#0": {"type": "High-pass", "mode": "RLC (BT)", "slope": "x2", "frequency": 90.0,
                     "quality": 0.4},
    }  # fmt: skip
    preset = take_in(tmp_path, {"output": {**output, "plugins_order": list(output)}})
    said = preset.provenance["import"]
    parts = (
        "type Notch", "compressor of mode upward", "convolver", "bass enhancer",
        "slope x2 is taken with x1", "+30 dB Q 1 is taken as", "curve is off",
    )  # fmt: skip
    for part in parts:
        assert any(part in line for line in said), part
    assert not any("exciter" in line or "Allpass" in line for line in said)
    settings = preset.settings()
    bells = {settings[f"eq.peak_{n}.freq_hz"]: settings[f"eq.peak_{n}.gain_db"] for n in (2, 3, 4)}
    assert bells[5000.0] == 15.0 and bells[1000.0] == 2.0, "both equalizers make one curve"
    assert (settings["eq.high_pass.freq_hz"], settings["eq.high_pass.q"]) == (90.0, 0.7)
    assert "compressor" in preset.bypass()


def test_bands_of_pulseeffects_have_a_width_in_hertz(tmp_path: Path) -> None:
    old = {"state": "true", "num-bands": "2"}
    for place, (freq_hz, width_hz) in enumerate(((300, 200), (2000, 1000))):
        old[f"band{place}"] = {"gain": "2", "frequency": str(freq_hz), "width": str(width_hz),
                               "type": "peak"}  # fmt: skip
    settings = take_in(tmp_path, {"output": {"plugins_order": ["equalizer"], "equalizer": old}})
    assert settings.settings()["eq.peak_1.q"] == pytest.approx(1.5)
    assert settings.settings()["eq.peak_3.q"] == pytest.approx(2.0)


def test_muted_and_soloed_bands(tmp_path: Path) -> None:
    rows = [("Bell", 300.0, 2.0, 1.0), ("Bell", 1000.0, 4.0, 1.0), ("Bell", 5000.0, 3.0, 1.0)]
    values = equalizer(rows)
    values["left"]["band1"]["mute"] = True
    preset = take_in(tmp_path, {"output": {"equalizer": values}})
    assert "eq.peak_2" in preset.bypass() and "eq.peak_1" not in preset.bypass()
    values["left"]["band0"]["solo"] = True
    preset = take_in(tmp_path, {"output": {"equalizer": values}})
    assert {"eq.peak_2", "eq.peak_3", "eq.peak_4"} <= preset.bypass()


def test_the_command_says_what_is_left_out(tmp_path: Path) -> None:
    data = {"output": {"equalizer": equalizer(GRAPHIC), "plugins_order": ["equalizer", "gate#0"],
                       "gate#0": {}}}  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(data))
    result = call("import", tmp_path / "a.json", "-o", tmp_path / "b.preset.json")
    assert result.exit_code == 0
    assert "Note: left out: gate" in result.stderr
    assert "Note: left out: bell" in result.stderr


@pytest.mark.parametrize("values", [
    {"frequency": "x"}, {"frequency": 0.0}, {"gain": None}, {"q": True}, {"frequency": 1e400},
])  # fmt: skip
def test_values_that_are_none_are_one_line(values: dict[str, Any], tmp_path: Path) -> None:
    broken = equalizer([("Bell", 500.0, 1.0, 1.0)])
    broken["left"]["band0"] |= values
    with pytest.raises(ExportError) as error:
        take_in(tmp_path, {"output": {"equalizer": broken}})
    assert "\n" not in str(error.value)


def test_a_preset_without_equalizer_and_compressor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="neither an equalizer nor a compressor"):
        take_in(tmp_path, {"output": {"limiter#0": {}, "plugins_order": ["limiter#0"]}})
