"""The delay in programs that convolve: its echoes stand in the response beside the reverb's."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
import soundfile

from diffconsole import Preset
from diffconsole.export import Strip, export_preset, find_format, import_preset
from diffconsole.strip.parameters import BY_KEY
from tests.reference import error_db

from .consumers_lv2 import needs_lsp, run_lv2
from .consumers_pedalboard import run_pedalboard
from .helpers import Voice, in_float64, needs_module, take

DELAY = {"time_ms": 137.3, "feedback": 0.4, "low_cut_hz": 300.0, "high_cut_hz": 4500.0,
         "width": 0.6, "wet_db": -9.0}  # fmt: skip
REVERB = {"decay_s": 0.5, "wet_db": -12.0}
STRIPS: dict[str, dict[str, Any]] = {
    "delay": {"delay": DELAY},
    "beside the reverb": {"delay": DELAY, "reverb": REVERB, "output_gain": {"gain_db": -3.0}},
    "into the reverb, panned": {
        "delay": {**DELAY, "reverb_send_db": -2.0}, "reverb": REVERB, "pan": {"position": -0.4},
    },
}  # fmt: skip
PROGRAMS = {
    "lv2": (needs_lsp, run_lv2),
    "pedalboard": (partial(needs_module, "pedalboard"), run_pedalboard),
}
CARRYING = {"lv2": 10.0, "easyeffects": 10.0, "pedalboard": 60.0}
"""Programs that convolve, and how much of a response they get, in seconds."""


@pytest.mark.parametrize("key", PROGRAMS)
@pytest.mark.parametrize("name", STRIPS)
@pytest.mark.parametrize("channels", [1, 2])
def test_they_are_played(real_voices: list[Voice], key: str, name: str, channels: int) -> None:
    needs, run = PROGRAMS[key]
    needs()
    strip = Strip(Preset(STRIPS[name]), 44100, channels)
    audio = take(real_voices[0], 44100, channels, seconds=1.0)
    output, expected = run(strip, audio), in_float64(strip, audio)
    assert error_db(output, expected) <= -90.0
    dry = in_float64(Strip(strip.preset.without(["delay"]), 44100, channels), audio)
    assert error_db(np.broadcast_to(dry, expected.shape), expected) >= -30.0, "it is there"


@pytest.mark.parametrize("name", STRIPS)
def test_easyeffects_convolver_has_the_dry_signal_too(real_voices: list[Voice], name: str) -> None:
    strip = Strip(Preset({k: v for k, v in STRIPS[name].items() if k != "output_gain"}), 44100)
    files = dict(find_format("easyeffects").write(strip))
    (content,) = (data for file, data in files.items() if file.endswith(".irs"))
    response, _ = soundfile.read(io.BytesIO(content))
    audio = take(real_voices[0], 44100, seconds=1.0)
    played = [scipy.signal.oaconvolve(audio[0], side)[: audio.shape[1]] for side in response.T]
    assert error_db(np.stack(played), in_float64(strip, audio)) <= -100.0


@pytest.mark.parametrize("key", CARRYING)
@pytest.mark.parametrize("name", STRIPS)
def test_there_and_back(tmp_path: Path, key: str, name: str) -> None:
    preset = Preset(STRIPS[name])
    out = tmp_path / f"out{find_format(key).ending}"
    _, lost = export_preset(preset, key, out, channels=2)
    assert not [line for line in lost if "left out" in line]
    back, _ = import_preset(out)
    for module in ("delay", "reverb"):
        assert back.channel_strip.on(module) == preset.channel_strip.on(module)
        found, wanted = (p.channel_strip.of(module) for p in (back, preset))
        if preset.channel_strip.on(module):
            assert found == pytest.approx(wanted, rel=1e-6), module


@pytest.mark.parametrize("key", CARRYING)
def test_where_echoes_are_cut_is_said(key: str) -> None:
    long = {**DELAY, "time_ms": 1500.0, "feedback": 0.9}
    form = find_format(key)
    says = {
        name: [line for line in form.losses(Strip(Preset({"delay": own}))) if "end after" in line]
        for name, own in (("short", DELAY), ("long", long))
    }
    most = CARRYING[key]
    assert not says["short"] and says["long"] == [f"delay: its echoes end after {most:g} s"]
    files = form.write(Strip(Preset({"delay": long}), 8000))
    (response,) = (data for name, data in files.items() if name.endswith((".wav", ".irs")))
    assert soundfile.info(io.BytesIO(response)).duration == pytest.approx(most)


def test_a_reverb_alone_is_written_as_before() -> None:
    """Its level stays beside the response, where it can be turned."""
    strip = Strip(Preset({"reverb": REVERB}))
    files = find_format("lv2").write(strip)
    (response,) = (data for name, data in files.items() if name.endswith(".wav"))
    samples, _ = soundfile.read(io.BytesIO(response))
    np.testing.assert_allclose(samples.T, strip.impulse_response().astype(np.float32))
    assert {m.key for m in find_format("lv2").mapped} >= {
        key for key in BY_KEY if key.startswith("delay.")
    }
