"""Switches of the REAPER effect that are moved while it plays: no click and no old sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffconsole import Preset
from diffconsole.export import Strip, export_preset
from diffconsole.export.effect import NUMBERS
from diffconsole.export.reaper import FOLDER
from diffconsole.strip.parameters import EQ_BANDS, SWITCHES

from .test_reaper import BLOCK, chain_of, effect, slider_values

RATE = 44100
LENGTH = 9000
OFF, ON = 2500, 5000
SETTINGS = {
    "eq.high_pass.freq_hz": 400.0, "eq.high_pass.q": 4.0, "eq.low_pass.freq_hz": 4000.0,
    "eq.low_pass.q": 4.0, "eq.low_shelf.gain_db": 12.0, "eq.high_shelf.gain_db": 12.0,
    "eq.high_shelf.freq_hz": 750.0, **{f"eq.peak_{n}.gain_db": 12.0 for n in range(1, 5)},
    "eq.peak_2.freq_hz": 300.0, "eq.peak_3.freq_hz": 800.0, "eq.peak_4.freq_hz": 2000.0,
    "compressor.threshold_db": -40.0, "compressor.release_ms": 2000.0,
}  # fmt: skip


def place_of(switch: str) -> int:
    return NUMBERS[switch]


def only(switch: str) -> dict[int, float]:
    """Slider values with all modules and bands off but one."""
    strip = Strip(Preset.from_settings(SETTINGS), RATE, 2)
    values = slider_values(chain_of(strip))
    values |= {place_of(other): 0.0 for other in SWITCHES}
    return values | {place_of(switch.split(".")[0]): 1.0, place_of(switch): 1.0}


def toggled(switch: str) -> dict[int, dict[int, float]]:
    return {OFF: {place_of(switch): 0.0}, ON: {place_of(switch): 1.0}}


def largest_step(audio: np.ndarray, start: int) -> float:
    """The largest difference of neighbouring samples around a place: a click is a larger one."""
    return float(np.abs(np.diff(audio[:, start - 8 : start + 600], axis=1)).max())


@pytest.mark.parametrize("switch", [*(f"eq.{band}" for band in EQ_BANDS), "eq", "compressor"])
def test_a_switch_makes_no_click(switch: str) -> None:
    if switch == "eq":
        values = only("eq.high_pass") | {place_of("eq.low_shelf"): 1.0}
    else:
        values = only(switch)
    tone = 0.5 * np.sin(2.0 * np.pi * 300.0 / RATE * np.arange(LENGTH))
    audio = np.stack((tone, -0.7 * tone))
    output = effect().run(audio, RATE, values, changes=toggled(switch))
    steady = effect().run(audio, RATE, values)
    for place in (OFF, ON):
        allowed = max(largest_step(steady, place), largest_step(audio, place)) + 0.008
        assert largest_step(output, place) < allowed
    # It really is off in between, exactly, and as if it had never been off at the end.
    assert np.array_equal(output[:, OFF + 600 : ON], audio[:, OFF + 600 : ON])
    assert output[:, -200:] == pytest.approx(steady[:, -200:], abs=1e-6)


@pytest.mark.parametrize("switch", [*(f"eq.{band}" for band in EQ_BANDS), "compressor"])
def test_nothing_of_before_comes_back(switch: str) -> None:
    """A loud passage, then silence with the switch off: switched on again it stays silent."""
    audio = np.zeros((2, 2 * LENGTH))
    audio[:, :OFF] = 0.9 * np.sin(0.3 * np.arange(OFF))
    on_again = {OFF: {place_of(switch): 0.0}, LENGTH: {place_of(switch): 1.0}}
    if switch == "compressor":
        audio[:, LENGTH:] = 0.001
    output = effect().run(audio, RATE, only(switch), changes=on_again)
    if switch == "compressor":
        # The level of the loud passage has run down as it would have with the switch on.
        steady = effect().run(audio, RATE, only(switch))
        assert output[:, -100:] == pytest.approx(steady[:, -100:], rel=1e-9)
    else:
        assert np.abs(output[:, LENGTH:]).max() < 1e-6


def test_the_reverb_fades_and_starts_from_silence(tmp_path: Path) -> None:
    settings = {"reverb.decay_s": 0.3, "reverb.wet_db": 0.0, "reverb.pre_delay_ms": 0.0}
    preset = Preset.from_settings(settings)
    export_preset(preset, "reaper", tmp_path, sample_rate=RATE)
    values = slider_values(chain_of(Strip(preset, RATE, 2)))
    off, on = 6 * BLOCK, 9 * BLOCK
    tone = 0.5 * np.sin(2.0 * np.pi * 300.0 / RATE * np.arange(14 * BLOCK))
    tone[off - 2 * BLOCK :] = 0.0
    audio = np.stack((tone, tone))
    place = place_of("reverb")
    changes = {off: {place: 0.0}, on: {place: 1.0}}
    output = effect().run(audio, RATE, values, tmp_path / FOLDER, changes)
    before = np.abs(output[:, off - 200 : off]).max()
    assert before > 0.01, "the return sounds when it is switched off"
    steps = np.abs(np.diff(output[:, off - 200 : off + 600], axis=1))
    assert steps[:, 199:].max() <= 1.2 * steps[:, :199].max()
    assert not np.any(output[:, off + 600 :]), "nothing of the old return comes back"


def test_the_delays_time_glides(tmp_path: Path) -> None:
    """A time that is moved twice: no click, then the new echoes."""
    own = {"delay.time_ms": 60.0, "delay.wet_db": 0.0, "delay.feedback": 0.3}
    settings = [{**own, "delay.time_ms": ms} for ms in (60.0, 41.3, 25.0)]
    values, between, end = (
        slider_values(chain_of(Strip(Preset.from_settings(s), RATE, 2))) for s in settings
    )
    place = next(n for n in values if values[n] != end[n])
    tone = 0.5 * np.sin(2.0 * np.pi * 100.0 / RATE * np.arange(24000))
    audio = np.stack((tone, tone))
    # At the borders of blocks: sliders are read there.
    first, second = 3 * BLOCK, 3 * BLOCK + BLOCK
    changes = {first: {place: between[place]}, second: {place: end[place]}}
    output = effect().run(audio, RATE, values, changes=changes)
    before, after = effect().run(audio[:, :second], RATE, values), effect().run(audio, RATE, end)
    np.testing.assert_array_equal(output[:, :first], before[:, :first])
    fade = int(0.011 * RATE)
    allowed = 1.5 * max(np.abs(np.diff(x)).max() for x in (before, after))
    assert np.abs(np.diff(output[:, first - 8 : second + 3 * fade])).max() < allowed
    np.testing.assert_allclose(output[:, -2000:], after[:, -2000:], atol=1e-4)
