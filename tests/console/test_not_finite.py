"""Settings that are no finite numbers, where the console needs them as plain numbers."""

from __future__ import annotations

import math
import re

import pytest
import torch

from diffconsole import Console
from diffconsole.console.arrays import ArrayConsole
from diffconsole.console.streaming import StreamingConsole
from diffconsole.errors import SettingsError
from diffconsole.strip.parameters import BY_KEY, PARAMETERS

from ..modules.helpers import noise

RATE = 16000
NUMBERS = ["delay.time_ms", "reverb.decay_s", "reverb.high_ratio", "reverb.pre_delay_ms"]
REFUSED = [*NUMBERS, "delay.feedback", "reverb.low_ratio"]
GAINS = ("input_gain", "output_gain")

ALONE = ["delay.reverb_send_db"]
"""Does nothing without the module that it feeds."""

ON = {"delay", "reverb"}


def settings_with(key: str, value: float, dtype: torch.dtype = torch.float64):
    """Return a batch of two, the second item with the value."""
    found = {p.key: torch.full((2,), p.default, dtype=dtype) for p in PARAMETERS if p.module in ON}
    found[key][1] = value
    return found


def off() -> set[str]:
    return {p.module for p in PARAMETERS} - ON


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize("key", NUMBERS)
def test_it_is_named_with_its_range_on_every_way(key, value):
    audio, settings = noise(2, 1, 600).float(), settings_with(key, value)
    parameter = next(p for p in PARAMETERS if p.key == key)
    message = re.escape(f"setting {key!r} is {value}; it must be finite: give a value from ")
    message += re.escape(f"{parameter.low:g} to {parameter.high:g}")
    with pytest.raises(SettingsError, match=message):
        Console(RATE, bypass=off())(audio, settings)
    with pytest.raises(SettingsError, match=message):
        learnt = {k: v.clone().requires_grad_() for k, v in settings.items()}
        Console(RATE, bypass=off())(audio, learnt)
    arrays = {k: v.numpy() for k, v in settings.items()}
    with pytest.raises(SettingsError, match=message):
        ArrayConsole(RATE, bypass=off())(audio.numpy(), arrays)
    with pytest.raises(SettingsError, match=message):
        StreamingConsole(RATE, bypass=off())(audio[..., :512], settings)


def test_the_order_in_the_batch_does_not_matter():
    settings = settings_with("delay.time_ms", math.nan)
    settings["delay.time_ms"] = settings["delay.time_ms"].flip(0).requires_grad_()
    with pytest.raises(SettingsError, match=r"'delay\.time_ms' is nan"):
        Console(RATE, bypass=off())(noise(2, 1, 600).float(), settings)


def test_a_decay_that_overflows_is_refused_too():
    settings = settings_with("reverb.decay_s", 1e300)
    settings["reverb.low_ratio"][1] = 1e300
    with pytest.raises(SettingsError, match=r"decay is inf s.* reverb\.decay_s goes from 0\.1 to"):
        Console(RATE, bypass=off())(noise(2, 1, 600).float(), settings)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e9])
def test_a_decay_that_makes_no_room_is_refused_too(value):
    settings = {k: v[1:] for k, v in settings_with("reverb.decay_s", value).items()}
    with pytest.raises(SettingsError, match=r"decay is .* reverb\.decay_s goes from 0\.1 to"):
        Console(RATE, bypass=off())(noise(1, 1, 600).float(), settings)


def test_with_a_fixed_length_nothing_is_asked_of_the_values():
    """For training: a value that is no number shows in the loss, no step waits for a check."""
    console = Console(RATE, bypass=off(), reverb_seconds=0.1)
    unit = settings_with("reverb.decay_s", math.nan)["reverb.decay_s"].requires_grad_()
    settings = {**settings_with("reverb.width", 0.5), "reverb.decay_s": unit}
    processed = console(noise(2, 1, 600).float(), settings)
    assert processed[0].isfinite().all()
    assert not processed[1].isfinite().all()


@pytest.mark.parametrize("way", ["forward", "gradient", "arrays"])
@pytest.mark.parametrize("key", [p.key for p in PARAMETERS if p.key not in REFUSED + ALONE])
def test_every_other_setting_that_is_no_number_shows_in_its_item_alone(key, way):
    module = BY_KEY[key].module
    own = [p for p in PARAMETERS if p.module == module]
    settings = {p.key: torch.full((3,), p.default, dtype=torch.float64) for p in own}
    settings[key][1] = math.nan
    bypass = {p.module for p in PARAMETERS} - {module}
    audio = noise(3, 1, 6000).float()
    if way == "arrays":
        arrays = {k: v.numpy() for k, v in settings.items()}
        processed = torch.from_numpy(ArrayConsole(RATE, bypass=bypass)(audio.numpy(), arrays))
    else:
        settings[key].requires_grad_(way == "gradient")
        processed = Console(RATE, bypass=bypass)(audio, settings)
    # What lies before the first echo is the dry vocal.
    assert processed[1, :, -1].isnan().all()
    assert BY_KEY[key].module == "delay" or processed[1].isnan().all()
    others = {k: v[::2] for k, v in settings.items()}
    torch.testing.assert_close(processed[::2], Console(RATE, bypass=bypass)(audio[::2], others))


@pytest.mark.parametrize("key", [p.key for p in PARAMETERS if p.module not in GAINS])
def test_a_signal_in_blocks_needs_every_setting_as_a_number(key):
    module = BY_KEY[key].module
    own = [p for p in PARAMETERS if p.module == module]
    settings = {p.key: torch.full((1,), p.default, dtype=torch.float64) for p in own}
    settings[key][0] = math.nan
    console = StreamingConsole(RATE, bypass={p.module for p in PARAMETERS} - {module})
    with pytest.raises(SettingsError, match=f"{re.escape(key)}' is nan"):
        console(noise(1, 1, 512).float(), settings)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("time_ms", [0.0, -5.0, 0.3])
def test_echoes_that_are_too_close_are_refused(gradient, time_ms):
    settings = settings_with("delay.time_ms", time_ms)
    settings["delay.wet_db"].requires_grad_(gradient)
    with pytest.raises(SettingsError, match="'delay.time_ms' is .*give a value from 20 to 1500"):
        Console(RATE, bypass=off())(noise(2, 1, 600).float(), settings)
