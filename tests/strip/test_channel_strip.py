"""One type for a strip: what is on, what it does at a rate, and as tensors."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import settings as configure
from hypothesis import strategies as st

from diffconsole import Console, Preset
from diffconsole.errors import PresetError, SettingsError
from diffconsole.strip.channel_strip import ChannelStrip, checked_switches
from diffconsole.strip.parameters import (
    BY_KEY,
    EQ_BANDS,
    MODULES,
    PARAMETERS,
    SWITCHES,
    default_settings,
)

from .. import strategies

quick = configure(max_examples=40, deadline=None)


@quick
@given(preset=strategies.presets())
def test_it_holds_what_the_preset_says(preset: Preset):
    strip = preset.channel_strip
    assert dict(strip.settings) == preset.settings()
    assert list(strip.settings) == [p.key for p in PARAMETERS]
    assert strip.off == preset.bypass()
    for switch in SWITCHES:
        module = switch.partition(".")[0]
        assert strip.on(switch) == (switch not in strip.off and module not in strip.off)
    assert strip.is_bypassed == (not any(map(strip.on, MODULES)))
    assert strip.makes_stereo == any(map(strip.on, ("pan", "delay", "reverb")))


def test_it_cannot_be_changed_and_keeps_a_copy():
    settings = default_settings()
    strip = ChannelStrip(settings, {"pan"})
    settings["pan.position"] = 1.0
    assert strip.settings["pan.position"] == 0.0
    with pytest.raises(TypeError):
        strip.settings["pan.position"] = 1.0  # type: ignore[index]
    with pytest.raises(AttributeError):
        strip.off = frozenset()  # type: ignore[misc]


@quick
@given(preset=strategies.presets())
def test_equal_strips_are_equal_and_copies_are(preset: Preset):
    strip = preset.channel_strip
    for other in (
        ChannelStrip(dict(reversed(strip.settings.items())), set(strip.off)),
        copy.deepcopy(strip),
        pickle.loads(pickle.dumps(strip)),
    ):
        assert other == strip
        assert hash(other) == hash(strip)
    assert strip != ChannelStrip({**strip.settings, "pan.position": 0.123}, strip.off)


def test_what_is_off_needs_no_settings_and_what_is_on_does():
    off = set(MODULES) - {"compressor"}
    settings = {p.key: p.default for p in PARAMETERS if p.section == "compressor"}
    assert dict(ChannelStrip(settings, off).settings) == default_settings()
    with pytest.raises(SettingsError, match=r"'pan.position' is missing; bypass 'pan'\?"):
        ChannelStrip(settings, off - {"pan"})
    with pytest.raises(SettingsError, match="unknown setting 'pan.place'"):
        ChannelStrip({**settings, "pan.place": 1.0}, off)


def test_settings_of_a_module_and_of_a_band():
    strip = ChannelStrip({**default_settings(), "eq.peak_1.q": 2.0})
    assert strip.of("eq.peak_1") == {"freq_hz": 320.0, "gain_db": 0.0, "q": 2.0}
    assert strip.of("eq")["peak_1.q"] == 2.0
    assert list(strip.of("reverb"))[-1] == "wet_db"
    assert strip.of("input_gain") == {"gain_db": 0.0}


def test_bands_that_are_on():
    strip = ChannelStrip(default_settings(), {"eq.peak_1", "eq.low_pass"})
    assert strip.bands("eq") == tuple(b for b in EQ_BANDS if b not in ("peak_1", "low_pass"))
    assert strip.without("eq").bands("eq") == ()
    assert strip.bands("pan") == ()


def test_what_does_nothing_is_off():
    bands = {f"eq.{band}" for band in EQ_BANDS}
    assert ChannelStrip(default_settings()).effective().off == {"pan"}
    assert ChannelStrip(default_settings(), bands).effective().off == {"pan", "eq", *bands}
    aside = ChannelStrip({**default_settings(), "pan.position": -0.001}, bands - {"eq.peak_4"})
    assert aside.effective() == aside


@quick
@given(preset=strategies.presets(), rate=st.integers(16000, 192000))
def test_frequencies_are_held_at_a_rate_and_said_where_they_act(preset: Preset, rate: int):
    strip = preset.channel_strip
    held = strip.at_rate(rate)
    assert held.off == strip.off
    for key, value in held.settings.items():
        before = strip.settings[key]
        assert value == (min(before, 0.49 * rate) if BY_KEY[key].unit == "Hz" else before)
    said = [line.split(" ")[0] for line in strip.clamped(rate)]
    changed = [key for key, value in held.settings.items() if value != strip.settings[key]]
    assert set(said) >= {key for key in changed if strip.on(BY_KEY[key].section)}
    assert all(strip.on(BY_KEY[key].section) for key in said)
    assert held.at_rate(rate) == held


def test_the_words_of_a_clamped_frequency():
    strip = ChannelStrip(default_settings())
    said = "eq.low_pass.freq_hz 18000 Hz is above what 32000 Hz can hold; 15680 Hz is used"
    assert strip.clamped(32000) == (said,)
    assert strip.without({"eq"}).clamped(32000) == ()


def test_tensors_are_what_the_console_takes():
    strip = ChannelStrip({**default_settings(), "output_gain.gain_db": -6.0}, {"reverb"})
    tensors = strip.tensors()
    assert {(t.dtype, tuple(t.shape)) for t in tensors.values()} == {(torch.float64, (1,))}
    assert {key: float(t) for key, t in tensors.items()} == dict(strip.settings)
    assert strip.tensors(torch.float32)["pan.position"].dtype == torch.float32
    alone = strip.without(set(MODULES) - {"output_gain"})
    loud = Console(44100, bypass=alone.off)(torch.ones(1, 1, 8), tensors)
    torch.testing.assert_close(loud, torch.full((1, 1, 8), 10 ** (-6.0 / 20)))


@pytest.mark.parametrize(
    ("name", "whole"),
    [("revrb", "reverb"), ("peak_1", "eq.peak_1"), ("low-pass", "eq.low_pass"), ("EQ", "eq")],
)
def test_every_check_of_names_to_bypass_says_the_same(name, whole):
    said = rf"cannot bypass '{name}': not one of input_gain, .*; did you mean '{whole}'\?$"
    with pytest.raises(SettingsError, match=f"^{said}"):
        ChannelStrip(default_settings()).without({name})
    with pytest.raises(SettingsError, match=f"^{said}"):
        Console(44100, bypass=name)
    with pytest.raises(PresetError, match=f"^{said}"):
        Preset().without({name})
    with pytest.raises(SettingsError, match=f"^here: {said}"):
        checked_switches([name], subject="here: ")


def test_whether_something_unknown_is_on_is_refused():
    strip = ChannelStrip(default_settings())
    assert strip.on("reverb") and strip.on("eq.peak_1")
    with pytest.raises(SettingsError, match=r"'peak_1' is no module or band.*mean 'eq.peak_1'\?$"):
        strip.on("peak_1")
    with pytest.raises(SettingsError, match=r"'nothing' is no module or band: not one of input_"):
        strip.on("nothing")


def test_a_name_that_is_like_no_other_gets_no_hint():
    with pytest.raises(SettingsError) as caught:
        checked_switches({"xyz"})
    assert str(caught.value).endswith(f"not one of {', '.join(SWITCHES)}")


def test_strips_need_no_torch():
    code = (
        "import sys; from diffconsole import Preset; "
        "from diffconsole.strip.preset import find_preset; "
        "strip = find_preset('rap').channel_strip.effective().at_rate(16000); "
        "strip.clamped(16000); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
