"""The impulse response: another convolver gives the same reverb, and the same delay."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.signal
import soundfile

from diffconsole.console.render import render
from diffconsole.export import Strip, find_format
from diffconsole.strip.preset import factory_presets, find_preset
from tests.export.helpers import in_float64, take
from tests.reference import error_db

FORM = find_format("ir")
(FIGURE,) = FORM.figures
WET = [name for name, preset in factory_presets().items() if "reverb" not in preset.bypass()]

SENDS = ("delay", "reverb")


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("name", WET)
def test_the_file_convolved_is_what_the_sends_return(name, rate, real_voices):
    preset, channels = find_preset(name), 1 + (rate == 48000)
    strip = Strip(preset, rate, channels)
    audio = take(real_voices[0], rate, channels)
    response, its_rate = soundfile.read(io.BytesIO(FORM.write(strip)[""]), always_2d=True)
    assert its_rate == rate
    dry = in_float64(Strip(preset.without(SENDS), rate, channels), audio)
    both = in_float64(strip, audio)
    expected = both - (dry if len(dry) == 2 else np.repeat(dry, 2, axis=0))
    send = in_float64(Strip(preset.without([*SENDS, "pan"]), rate, channels), audio).mean(axis=0)
    # Beside a delay, the levels of both are in the response.
    gain = 1.0 if strip.on("delay") else 10.0 ** (strip["reverb.wet_db"] / 20.0)
    returned = np.stack([scipy.signal.oaconvolve(send, side) for side in response.T])
    assert error_db(gain * returned[:, : len(send)], expected) <= FIGURE.error_db
    # And the reference that all formats are measured against is what apply writes.
    applied = render(audio, rate, preset, tail_seconds=0.0).samples
    assert error_db(applied, both) <= -120.0


def test_the_wet_level_is_told():
    (line,) = (words for words in FORM.losses(Strip(find_preset(WET[0]))) if "wet_db" in words)
    assert f"{find_preset(WET[0]).settings()['reverb.wet_db']:.2f} dB" in line
