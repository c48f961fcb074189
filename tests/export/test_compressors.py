"""Two compressors, and dry signal beside them, in every program that has compressors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffconsole import Preset
from diffconsole.export import Strip, export_preset, find_format, import_preset
from diffconsole.export.effect import effect_text
from tests.reference import error_db

from .consumers_ffmpeg import bundled_ffmpeg, run_ffmpeg, system_ffmpeg
from .consumers_lv2 import needs_lsp, run_lv2
from .consumers_pedalboard import run_pedalboard
from .helpers import Voice, in_float64, needs, take
from .jsfx import Effect
from .test_reaper import both, chain_of, slider_values

FIRST = {"threshold_db": -28.0, "ratio": 5.0, "knee_db": 0.0, "makeup_db": 4.0}
SECOND = {"threshold_db": -30.0, "ratio": 2.5, "knee_db": 0.0}
STRIPS: dict[str, dict[str, Any]] = {
    "second alone": {"compressor_2": SECOND, "output_gain": {"gain_db": -3.0}},
    "in series": {
        "input_gain": {"gain_db": 4.0}, "compressor": FIRST, "compressor_2": SECOND,
        "output_gain": {"gain_db": 2.5},
    },
    "parallel": {"compressor": {**FIRST, "mix": 35.0}, "output_gain": {"gain_db": -2.0}},
    "both parallel": {
        "compressor": {**FIRST, "makeup_db": -6.0, "mix": 80.0},
        "compressor_2": {**SECOND, "makeup_db": 9.0, "mix": 12.5},
    },
}  # fmt: skip
WIDE = {
    "compressor": {**FIRST, "knee_db": 24.0, "mix": 60.0},
    "compressor_2": {**SECOND, "knee_db": 24.0},
}


def loud(voices: list[Voice], rate: int, channels: int) -> np.ndarray:
    audio = take(voices[0], rate, channels, seconds=0.5)
    return 0.5 * audio / np.abs(audio).max()


@pytest.mark.parametrize("name", STRIPS)
@pytest.mark.parametrize("channels", [1, 2], ids=["mono", "stereo"])
def test_in_reapers_effect(real_voices: list[Voice], name: str, channels: int) -> None:
    audio = loud(real_voices, 44100, channels)
    strip = Strip(Preset(STRIPS[name]), 44100, channels)
    output = Effect(effect_text(), Path()).run(both(audio), 44100, slider_values(chain_of(strip)))
    assert error_db(output, both(in_float64(strip, audio))) <= -120.0


def test_reapers_effect_defines_their_function_once() -> None:
    text = effect_text()
    assert text.count("function compress()") == 1
    assert text.count(".compress();") == 2


def test_a_chain_of_before_is_written_as_it_was() -> None:
    """A mix that stands at its default needs no slider beyond those of older versions."""
    strips = [Preset({"compressor": FIRST}), Preset({"compressor": {**FIRST, "mix": 50.0}})]
    first, parallel = (len(slider_values(chain_of(Strip(preset)))) for preset in strips)
    assert first < parallel


@pytest.mark.parametrize("finder", [system_ffmpeg, bundled_ffmpeg], ids=["system", "bundled"])
@pytest.mark.parametrize("name", [*STRIPS, "wide knees"])
@pytest.mark.parametrize("channels", [1, 2], ids=["mono", "stereo"])
def test_in_ffmpeg(real_voices: list[Voice], finder: Any, name: str, channels: int) -> None:
    program = needs(finder, finder.__name__.replace("_", " "))
    audio = loud(real_voices, 48000, channels).astype(np.float32)
    strip = Strip(Preset(STRIPS.get(name, WIDE)), 48000, channels)
    assert error_db(run_ffmpeg(strip, audio, program), in_float64(strip, audio)) <= -120.0


@pytest.mark.parametrize("name", STRIPS)
@pytest.mark.parametrize("channels", [1, 2], ids=["mono", "stereo"])
def test_in_lsps_compressors(real_voices: list[Voice], name: str, channels: int) -> None:
    needs_lsp()
    audio = loud(real_voices, 44100, channels).astype(np.float32)
    strip = Strip(Preset(STRIPS[name]), 44100, channels)
    assert error_db(run_lv2(strip, audio), in_float64(strip, audio)) <= -90.0


@pytest.mark.parametrize("name", STRIPS)
def test_in_pedalboard(real_voices: list[Voice], name: str) -> None:
    """Without knees, which its compressor lacks, and in mono, since it links no channels."""
    audio = loud(real_voices, 44100, 1).astype(np.float32)
    strip = Strip(Preset(STRIPS[name]), 44100, 1)
    assert error_db(run_pedalboard(strip, audio), in_float64(strip, audio)) <= -90.0


@pytest.mark.parametrize(
    "key", ["ffmpeg", "lv2", "easyeffects", "pedalboard", "reaper", "sox", "csv"]
)
@pytest.mark.parametrize("name", [*STRIPS, "wide knees"])
def test_there_and_back(tmp_path: Path, key: str, name: str) -> None:
    preset = Preset(STRIPS.get(name, WIDE))
    out = tmp_path / f"out{find_format(key).ending}"
    _, lost = export_preset(preset, key, out, sample_rate=44100, channels=2)
    back, _ = import_preset(out, key)
    assert not [line for line in lost if ".mix" in line or "left out" in line]
    for module in ("compressor", "compressor_2"):
        assert back.channel_strip.on(module) == preset.channel_strip.on(module)
        if preset.channel_strip.on(module):
            found, wanted = (p.channel_strip.of(module) for p in (back, preset))
            assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9)
    for gain in ("input_gain.gain_db", "output_gain.gain_db"):
        assert back.settings()[gain] == pytest.approx(preset.settings()[gain], abs=1e-6)


def test_in_dawproject_a_second_device_stands_behind_the_first(tmp_path: Path) -> None:
    preset = Preset(STRIPS["both parallel"])
    _, lost = export_preset(preset, "dawproject", tmp_path / "a.dawproject")
    back, _ = import_preset(tmp_path / "a.dawproject")
    for module in ("compressor", "compressor_2"):
        found, wanted = (p.channel_strip.of(module) for p in (back, preset))
        for name in ("threshold_db", "ratio", "attack_ms", "release_ms", "makeup_db"):
            assert found[name] == pytest.approx(wanted[name], rel=1e-9), (module, name)
        assert any(line.startswith(f"{module}.mix: the format has none") for line in lost)
    _, lost = export_preset(Preset(STRIPS["in series"]), "dawproject", tmp_path / "b.dawproject")
    assert not [line for line in lost if ".mix" in line]


def test_what_has_no_compressor_says_what_is_missing(tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    _, lost = export_preset(Preset(STRIPS["in series"]), "equalizerapo", out)
    assert any(line.startswith("compressor: ") for line in lost)
    assert any(
        line.startswith("compressor_2: is left out (second compressor 2.5:1 above") for line in lost
    )
