"""The strip's gate in LSP's: its curve, its times, and what it lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffconsole import Preset
from diffconsole.export import Strip, export_preset, find_format, import_preset
from diffconsole.export.lsp_gate import gate_of, settings_of
from diffconsole.export.lv2 import plugins
from tests.reference import error_db

from .consumers_lv2 import needs_lsp, run_lv2
from .gated import GATES, gated_error_db, with_pauses
from .helpers import Voice, in_float64

FORMAT = find_format("lv2")
RATE = 48000
FIGURES = {figure.part: figure.error_db for figure in FORMAT.figures}


def steps(levels_db: np.ndarray) -> np.ndarray:
    """A constant for 0.1 s at each level."""
    return np.repeat(10.0 ** (levels_db / 20.0), RATE // 10)[None].astype(np.float32)


@pytest.mark.parametrize(
    ("threshold_db", "ratio", "range_db"),
    [(-36.0, 2.5, 12.0), (-50.0, 2.0, 30.0), (-80.0, 4.0, 24.0), (-10.0, 1.5, 6.0),
     (-40.0, 20.0, 60.0)],
)  # fmt: skip
def test_its_curve_is_within_4_percent_of_the_range(
    threshold_db: float, ratio: float, range_db: float
) -> None:
    needs_lsp()
    own = {"threshold_db": threshold_db, "ratio": ratio, "range_db": range_db,
           "attack_ms": 0.1, "hold_ms": 0.0, "release_ms": 3.0}  # fmt: skip
    strip = Strip(Preset({"gate": own}), RATE)
    # The console's detector ends at −120 dBFS.
    levels_db = np.arange(min(threshold_db + 30.0, -1.0), max(threshold_db - 50.0, -115.0), -1.5)
    audio = steps(levels_db)
    found = run_lv2(strip, audio)[0, RATE // 10 - 1 :: RATE // 10]
    gains_db = 20.0 * np.log10(found / audio[0, RATE // 10 - 1 :: RATE // 10])
    wanted_db = -np.minimum((ratio - 1.0) * np.maximum(threshold_db - levels_db, 0.0), range_db)
    assert gains_db[levels_db >= threshold_db + 0.2 * range_db / (ratio - 1.0)] == pytest.approx(
        0.0, abs=0.01
    )
    assert np.abs(gains_db - wanted_db).max() <= 0.042 * range_db
    assert gains_db.min() == pytest.approx(-range_db, abs=0.01)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_voice_is_turned_down_in_its_pauses_as_by_ours(
    real_voices: list[Voice], name: str, channels: int
) -> None:
    needs_lsp()
    strip = Strip(Preset({"gate": GATES[name]}), RATE, channels)
    audio = with_pauses(real_voices, RATE, channels)
    output, expected = run_lv2(strip, audio), in_float64(strip, audio)
    assert gated_error_db(output, expected, audio, RATE) <= (1.0 if name == "steep" else 3.0)
    assert error_db(output, expected) <= FIGURES["gate"] <= -40.0
    held = any(line.startswith("gate.hold_ms: ") for line in FORMAT.losses(strip))
    assert held == (name != "steep")


def test_it_is_the_first_and_has_the_input_gain(real_voices: list[Voice]) -> None:
    needs_lsp()
    settings = {"gate": {**GATES["podcast"], "hold_ms": 0.0}, "input_gain": {"gain_db": 9.0},
                "eq": {"high_pass": {"freq_hz": 300.0}}, "compressor": {"ratio": 3.0}}  # fmt: skip
    strip = Strip(Preset(settings), RATE)
    assert list(plugins(strip)) == ["gate", "equalizer", "compressor"]
    audio = with_pauses(real_voices, RATE)
    assert error_db(run_lv2(strip, audio), in_float64(strip, audio)) <= FIGURES["gate"]


def test_a_flat_curve_keeps_its_slope_and_its_end_is_said() -> None:
    own = {**GATES["gentle"], "ratio": 1.2, "range_db": 60.0}
    gate = gate_of(own)
    assert gate.zone_db == pytest.approx(-60.0)
    back = settings_of(gate)
    assert back["gate.ratio"] == pytest.approx(1.2)
    assert back["gate.range_db"] == pytest.approx(0.2 * 60.0 / 1.32)
    lines = FORMAT.losses(Strip(Preset({"gate": own})))
    assert [line for line in lines if line.startswith("gate.range_db: ") and "9.1 dB" in line]


@pytest.mark.parametrize("threshold_db", [-80.0, -61.0, -36.0, -10.0])
@pytest.mark.parametrize("key", ["lv2", "easyeffects"])
def test_there_and_back(tmp_path: Path, key: str, threshold_db: float) -> None:
    own = {**GATES["steep"], "threshold_db": threshold_db}
    preset = Preset({"gate": own, "input_gain": {"gain_db": 45.0}, "output_gain": {"gain_db": -3}})
    out = tmp_path / f"out{find_format(key).ending}"
    export_preset(preset, key, out)
    back, _ = import_preset(out)
    assert back.channel_strip.on("gate")
    assert back.channel_strip.of("gate") == pytest.approx(own, rel=1e-6, abs=1e-6)
    for gain in ("input_gain.gain_db", "output_gain.gain_db"):
        assert back.settings()[gain] == pytest.approx(preset.settings()[gain], abs=1e-6)


@pytest.mark.parametrize("range_db", [1e-300, 1e-12])
@pytest.mark.parametrize("key", ["lv2", "easyeffects"])
def test_a_gate_of_next_to_no_range_comes_back_as_one(
    tmp_path: Path, key: str, range_db: float
) -> None:
    out = tmp_path / f"out{find_format(key).ending}"
    export_preset(Preset({"gate": {**GATES["steep"], "range_db": range_db}}), key, out)
    assert import_preset(out)[0].settings()["gate.range_db"] == pytest.approx(0.0, abs=1e-11)


def test_a_hold_comes_back_as_a_longer_release(tmp_path: Path) -> None:
    export_preset(Preset({"gate": GATES["podcast"]}), "lv2", tmp_path / "a")
    back = import_preset(tmp_path / "a")[0].channel_strip.of("gate")
    assert (back["hold_ms"], back["release_ms"]) == pytest.approx((0.0, 150.0))
