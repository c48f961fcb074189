"""Gate and compressors as SoX's compand: by its own detector, with every knee and mix."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffconsole import Preset
from diffconsole.errors import ExportError
from diffconsole.export import Strip, export_preset, find_format, import_preset
from tests.reference import decibels, error_db, expand

from .consumers_ffmpeg import run_sox
from .gated import with_pauses
from .helpers import Voice, in_float64, needs

SOX = find_format("sox")
FIGURES = {figure.part: figure.error_db for figure in SOX.figures}
GATE = {
    "threshold_db": -36.0, "ratio": 2.5, "range_db": 12.0, "attack_ms": 1.0, "hold_ms": 0.0,
    "release_ms": 120.0,
}  # fmt: skip
COMPRESSOR = {"threshold_db": -28.0, "ratio": 4.0, "knee_db": 9.0, "makeup_db": 5.0}
STRIPS: dict[str, dict[str, Any]] = {
    "gate": {"gate": GATE},
    "deep gate": {"gate": {**GATE, "ratio": 20.0, "range_db": 60.0}},
    "barely": {"gate": {**GATE, "ratio": 1.05, "range_db": 60.0}},
    "knee": {"compressor": COMPRESSOR},
    "no knee": {"compressor": {**COMPRESSOR, "knee_db": 0.0}},
    "knee up to full scale": {"compressor": {**COMPRESSOR, "threshold_db": 0.0, "knee_db": 24.0}},
    "make-up beyond full scale": {
        "compressor": {**COMPRESSOR, "threshold_db": -6.0, "makeup_db": 18.0},
        "input_gain": {"gain_db": -48.0},
    },
    "parallel": {"compressor_2": {**COMPRESSOR, "mix": 35.0}},
    "all": {
        "input_gain": {"gain_db": 7.0}, "gate": GATE,
        "eq": {"high_pass": {"freq_hz": 90.0}, "peak_2": {"gain_db": 5.0}},
        "compressor": COMPRESSOR, "compressor_2": {**COMPRESSOR, "mix": 60.0},
        "pan": {"position": -0.4}, "output_gain": {"gain_db": -21.0},
    },
}  # fmt: skip


@pytest.fixture
def sox() -> str:
    return needs(shutil.which("sox"), "sox")


@pytest.mark.parametrize("name", STRIPS)
@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (48000, 2)])
def test_they_are_within_their_figure(
    real_voices: list[Voice], sox: str, name: str, rate: int, channels: int
) -> None:
    strip = Strip(Preset(STRIPS[name]), rate, channels)
    audio = with_pauses(real_voices, rate, channels, 1.5)
    output = run_sox(strip, audio, bits=64)
    assert (
        error_db(output, in_float64(strip, audio))
        <= FIGURES["compressors, and a gate without hold"]
        <= -90.0
    )
    if name != "knee up to full scale":
        assert error_db(audio, in_float64(strip, audio)[:channels]) > -60.0, "it does something"


@pytest.mark.parametrize("hold_ms", [40.0, 100.0])
def test_a_hold_is_a_longer_release(real_voices: list[Voice], sox: str, hold_ms: float) -> None:
    strip = Strip(Preset({"gate": {**GATE, "hold_ms": hold_ms}}), 48000)
    audio = with_pauses(real_voices, 48000, seconds=1.5)
    expected = in_float64(strip, audio)
    error = error_db(run_sox(strip, audio, bits=64), expected)
    without = expand(audio.astype(np.float64), 48000, {**GATE, "hold_ms": 0.0})
    assert error <= -45.0 and error < error_db(without, expected) - 2.0
    assert decibels(np.sum((audio - expected) ** 2) / np.sum(expected**2)) > error + 6.0
    assert any(line.startswith("gate.hold_ms: ") for line in SOX.losses(strip))
    held = Strip(Preset({"gate": GATE}), 48000)
    assert not any(line.startswith("gate") for line in SOX.losses(held))


@pytest.mark.parametrize("name", STRIPS)
def test_there_and_back(tmp_path: Path, name: str) -> None:
    preset = Preset(STRIPS[name])
    export_preset(preset, "sox", tmp_path / "a.sh", sample_rate=44100, channels=2)
    back, key = import_preset(tmp_path / "a.sh")
    assert key == "sox"
    for module in ("gate", "compressor", "compressor_2"):
        assert back.channel_strip.on(module) == preset.channel_strip.on(module)
    for module in ("input_gain", "gate", "compressor", "compressor_2", "output_gain"):
        found, wanted = (p.channel_strip.of(module) for p in (back, preset))
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6), module


@pytest.mark.parametrize("own", [
    {"compressor": {**COMPRESSOR, "mix": 99.999999999999}},
    {"compressor_2": {**COMPRESSOR, "ratio": 20.0, "knee_db": 0.0, "mix": 99.99999999999}},
    {"gate": {**GATE, "ratio": 1.000000000001}},
])  # fmt: skip
def test_what_nearly_stands_at_an_end_comes_back_as_it_was(
    tmp_path: Path, own: dict[str, dict[str, float]]
) -> None:
    export_preset(Preset(own), "sox", tmp_path / "a.sh")
    back, _ = import_preset(tmp_path / "a.sh")
    for module in own:
        found, wanted = (p.channel_strip.of(module) for p in (back, Preset(own)))
        assert found == wanted


@pytest.mark.parametrize("edit", [
    ("compand 0.001,0.12", "compand 0.001,0.14"), ("ratio 2.5", "ratio 3"),
    ("# gate", "# gat"), ("ratio 2.5", "slope 2.5"), ("ratio 2.5", "ratio steep"),
    ("ratio 2.5", "ratio"), ("ratio 2.5", "ratio 1"),
])  # fmt: skip
def test_what_is_edited_is_refused(tmp_path: Path, edit: tuple[str, str]) -> None:
    text = SOX.write(Strip(Preset({"gate": GATE})))[""].decode()
    assert edit[0] in text
    (tmp_path / "a.sh").write_text(text.replace(*edit))
    with pytest.raises(ExportError, match=r"a\.sh"):
        import_preset(tmp_path / "a.sh")


def test_a_time_below_a_sample_is_said() -> None:
    preset = Preset({"compressor": {"attack_ms": 0.05}})
    said = {rate: " ".join(SOX.losses(Strip(preset, rate))) for rate in (16000, 44100)}
    assert "compressor.attack_ms: below one sample" in said[16000]
    assert "attack_ms" not in said[44100]


def test_a_strip_without_them_is_written_as_before() -> None:
    strip = Strip(Preset({"input_gain": {"gain_db": 3.0}, "eq": {"peak_1": {"gain_db": 2.0}}}))
    text = SOX.write(strip)[""].decode()
    assert "compand" not in text and "# input_gain" not in text
    assert any(line.startswith("input_gain.gain_db: ") for line in SOX.losses(strip))
