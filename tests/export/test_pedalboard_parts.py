"""The gate and the saturation in pedalboard: how close they come, and what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffconsole import Preset
from diffconsole.export import Strip, export_preset, find_format, import_preset
from tests.reference import error_db

from .consumers_pedalboard import load, run_in_phase, run_pedalboard, write
from .gated import GATES, gated_error_db, with_pauses
from .helpers import Voice, in_float64, needs_module, take

needs_module("pedalboard")

FORMAT = find_format("pedalboard")
FIGURES = {figure.part: figure.error_db for figure in FORMAT.figures}
RATE = 48000
SATURATIONS = {
    "symmetric": {"drive_db": 9.0, "bias": 0.0, "mix": 60.0},
    "biased": {"drive_db": 12.0, "bias": 0.25, "mix": 100.0},
    "the other way": {"drive_db": 6.0, "bias": -0.8, "mix": 100.0},
    "hard": {"drive_db": 16.0, "bias": 0.1, "mix": 80.0},
    "barely": {"drive_db": 0.2, "bias": 0.3, "mix": 100.0},
}


@pytest.mark.parametrize("name", GATES)
def test_the_gate_turns_pauses_down_about_as_far(real_voices: list[Voice], name: str) -> None:
    strip = Strip(Preset({"gate": GATES[name]}), RATE)
    audio = with_pauses(real_voices, RATE)
    output, expected = run_pedalboard(strip, audio), in_float64(strip, audio)
    error = gated_error_db(output, expected, audio, RATE)
    assert error <= 0.25 * GATES[name]["range_db"]
    assert error_db(output, expected) <= FIGURES["gate, mono"] <= -40.0
    said = [line for line in FORMAT.losses(strip) if line.startswith("gate")]
    assert any("root mean square" in line for line in said)


@pytest.mark.parametrize("range_db", [1e-300, 1e-16, 1e-9, 1e-5])
def test_a_gate_of_next_to_no_range_leaves_the_voice_as_it_is(
    real_voices: list[Voice], range_db: float
) -> None:
    strip = Strip(Preset({"gate": {**GATES["steep"], "range_db": range_db}}), RATE)
    audio = with_pauses(real_voices, RATE)
    assert error_db(run_pedalboard(strip, audio), audio) <= -100.0


@pytest.mark.parametrize("name", SATURATIONS)
@pytest.mark.parametrize("rate", [44100, 96000])
def test_the_saturation_has_the_same_curve(real_voices: list[Voice], name: str, rate: int) -> None:
    strip = Strip(Preset({"saturation": SATURATIONS[name]}), rate, 2)
    audio = take(real_voices[0], rate, 2, seconds=0.5)
    audio = (0.6 * audio / np.abs(audio).max()).astype(np.float32)
    figure = FIGURES["saturation, but for the filters' phase"]
    assert error_db(run_in_phase(strip, audio), in_float64(strip, audio)) <= figure <= -45.0


def test_it_comes_before_pan_delay_and_reverb(real_voices: list[Voice]) -> None:
    strip = Strip(Preset({
        "input_gain": {"gain_db": 3.0}, "eq": {"high_pass": {"freq_hz": 100.0}},
        "saturation": SATURATIONS["biased"], "pan": {"position": 0.4},
        "delay": {"time_ms": 90.0, "wet_db": -12.0}, "reverb": {"decay_s": 0.4, "wet_db": -14.0},
    }), 44100)  # fmt: skip
    audio = take(real_voices[0], 44100, seconds=0.7)
    assert error_db(run_in_phase(strip, audio), in_float64(strip, audio)) <= -45.0


def test_silence_stays_silent(tmp_path: Path) -> None:
    strip = Strip(Preset({"saturation": SATURATIONS["biased"]}), RATE)
    script = load(write(strip, tmp_path))
    np.testing.assert_allclose(script.process(np.zeros((1, 100)), RATE), 0.0, atol=1e-7)


def test_a_strip_without_it_is_written_without_its_code(tmp_path: Path) -> None:
    text = write(Strip(Preset({"eq": {"peak_1": {"gain_db": 2.0}}})), tmp_path).read_text()
    assert "SATURATION" not in text and "saturated" not in text


def test_there_and_back(tmp_path: Path) -> None:
    preset = Preset({"gate": GATES["podcast"], "saturation": SATURATIONS["biased"]})
    export_preset(preset, "pedalboard", tmp_path / "a")
    back, _ = import_preset(tmp_path / "a")
    for module in ("gate", "saturation"):
        found, wanted = (p.channel_strip.of(module) for p in (back, preset))
        assert found == pytest.approx(wanted)
