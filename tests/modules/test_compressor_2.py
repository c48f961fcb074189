"""The second compressor: the first one's code behind it, its row, its words, its amount."""

from __future__ import annotations

import pytest
import torch

from diffconsole import Preset
from diffconsole.console import Console, compressor
from diffconsole.console.streaming import StreamingConsole
from diffconsole.strip.parameters import BY_KEY, CHAIN, MODULES, default_settings
from diffconsole.strip.words import in_short, module_words
from tests import reference
from tests.synthetic import voice

from .helpers import assert_finite_with_gradients, full_range_ends, noise, square_wave, values

KEYS = [key for key in BY_KEY if key.startswith("compressor_2.")]
FIRST, SECOND = (next(m for m in CHAIN if m.key == key) for key in ("compressor", "compressor_2"))
ONLY_THESE = set(MODULES) - {"compressor", "compressor_2", "output_gain"}


def settings(**changes: float) -> dict[str, torch.Tensor]:
    named = {key.replace("__", "."): value for key, value in changes.items()}
    return {key: values(value) for key, value in (default_settings() | named).items()}


def expected(audio: torch.Tensor, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """One compressor after the other, then the output's gain, in float64."""
    numbers = {key: float(value) for key, value in given.items()}
    y = audio[0].double().numpy()
    for key in ("compressor", "compressor_2"):
        y = reference.compress(y, 44100, reference.part(numbers, key))
    return y * 10.0 ** (numbers["output_gain.gain_db"] / 20.0)


def test_its_row_is_the_first_ones_with_slower_defaults():
    assert (SECOND.since, SECOND.is_on_by_default, SECOND.place) == (2, False, "insert")
    assert MODULES.index("compressor_2") == MODULES.index("compressor") + 1
    for ours, theirs in zip(SECOND.parameters, FIRST.parameters, strict=True):
        for name in ("name", "unit", "low", "high", "scale", "idle", "inaudible", "amount"):
            assert getattr(ours, name) == getattr(theirs, name), (ours.key, name)
        assert ours.drawn is None
    ours, theirs = (m.own(default_settings()) for m in (SECOND, FIRST))
    assert ours["ratio"] < theirs["ratio"]
    for name in ("attack_ms", "release_ms", "knee_db"):
        assert ours[name] > theirs[name]


@pytest.mark.parametrize("mixes", [(100.0, 100.0), (60.0, 100.0), (100.0, 30.0), (0.0, 45.0)])
@pytest.mark.parametrize("channels", [1, 2])
def test_both_in_series_against_the_reference(kernel, mixes, channels):
    """With a gain behind them, which the last one takes along, the dry part included."""
    x = torch.from_numpy(voice(0.25, 1, 44100))[None, None].double()
    x = 8.0 * torch.cat((x, 0.5 * x.roll(40, -1)), dim=1)[:, :channels]
    given = settings(
        compressor__mix=mixes[0],
        compressor_2__mix=mixes[1],
        compressor_2__threshold_db=-35.0,
        compressor_2__ratio=4.0,
        output_gain__gain_db=-4.5,
    )
    y = Console(44100, bypass=ONLY_THESE)(x, given)
    assert reference.error_db(y[0], expected(x, given)) < -220.0
    single = Console(44100, bypass=ONLY_THESE)(x.float(), given)
    assert reference.error_db(single[0], expected(x.float(), given)) < -110.0
    alone = Console(44100, bypass=ONLY_THESE)(x, given, bypass={"compressor_2"})
    assert reference.error_db(alone, y) > -30.0


@pytest.mark.parametrize("block", [512, 3 * 512])
def test_blocks_are_the_whole(block):
    x = torch.from_numpy(voice(0.5, 2, 44100))[None, None]
    given = settings(compressor__mix=70.0, compressor_2__threshold_db=-45.0, compressor_2__mix=40.0)
    whole = Console(44100, bypass=ONLY_THESE)(x, given)
    streaming = StreamingConsole(44100, bypass=ONLY_THESE)
    parts = torch.cat([streaming(part, given) for part in x.split(block, -1)], dim=-1)
    assert reference.error_db(parts, whole) < -130.0


@pytest.mark.parametrize("sound", ["silence", "square", "sparse"])
def test_finite_at_every_end(kernel, sound):
    audio = torch.zeros(1, 2, 200, dtype=torch.float64)
    if sound == "square":
        audio = square_wave(200, 2)
    elif sound == "sparse":
        audio[..., 100] = 1.0
    assert_finite_with_gradients(
        lambda x, *s: compressor(x, 44100, *s), full_range_ends(KEYS), audio
    )


def test_it_costs_nothing_where_nothing_is_said_of_it():
    x = noise(1, 1, 2000).float()
    first = Console(44100).defaults(1)
    assert not [key for key in first if key.startswith("compressor_2") or key.endswith(".mix")]
    every = {**first, **{key: torch.tensor([BY_KEY[key].default]) for key in KEYS}}
    assert torch.equal(Console(44100)(x, first), Console(44100)(x, every, bypass={"compressor_2"}))
    stated = {**first, "compressor.mix": torch.tensor([100.0])}
    assert torch.equal(Console(44100)(x, first), Console(44100)(x, stated))


def test_what_mixes_nothing_in_is_off():
    preset = Preset({"compressor": {"mix": 0.0}, "compressor_2": {"mix": 0.0}})
    assert preset.channel_strip.effective().is_bypassed
    assert not Preset({"compressor_2": {"mix": 1.0}}).channel_strip.effective().is_bypassed


@pytest.mark.parametrize("key", ["compressor", "compressor_2"])
def test_the_amount_scales_what_is_compressed_and_keeps_the_mix(key):
    own = {"ratio": 4.0, "makeup_db": 3.0, "threshold_db": -30.0, "mix": 40.0}
    preset = Preset({"input_gain": {"gain_db": 6.0}, key: own})
    found = preset.at_amount(0.5).strip[key]
    assert found["ratio"] == pytest.approx(2.0)
    assert found["makeup_db"] == pytest.approx(1.5)
    assert found["threshold_db"] == pytest.approx(-33.0), "it follows the input gain"
    assert found["mix"] == 40.0


def test_words():
    off = {m.key for m in CHAIN} - {"compressor", "compressor_2"}
    given = default_settings() | {"compressor.mix": 60.0}
    first, second = (module_words(m, given, off) for m in (FIRST, SECOND))
    assert first[-1] == "parallel, 60 % wet"
    assert second == [
        "second compressor 2:1 above −24 dBFS (20 ms attack, 400 ms release, 1 dB of make-up)"
    ]
    assert in_short(given, off) == (
        "compressor 3.3:1 over -22 dBFS (60 % wet), compressor 2 2.0:1 over -24 dBFS"
    )
    assert "wet" not in in_short(default_settings(), off)


def test_it_survives_being_simplified_and_is_drawn():
    from diffconsole.plots import draw_presets
    from diffconsole.plots.signals import measure
    from diffconsole.plots.strip import StripView
    from diffconsole.simplify.strip import simplify
    from diffconsole.strip.later import start_settings

    take = voice(1.5, 3, 44100)[None]
    take = 0.5 * take / abs(take).max()
    strip = {**start_settings(), "compressor.mix": 40.0, "compressor.threshold_db": -30.0}
    strip |= {"compressor_2.threshold_db": -35.0, "compressor_2.ratio": 4.0}
    found = simplify(strip, take, 44100)
    assert "compressor_2" not in found.bypass
    for key in ("compressor.mix", "compressor_2.threshold_db", "compressor_2.ratio"):
        assert found.settings[key] == pytest.approx(strip[key], rel=0.05)

    off = set(MODULES) - {"compressor", "compressor_2"}
    views = [StripView("", strip, off | other) for other in (set(), {"compressor_2"})]
    both, first = measure(views, take, 44100).gain_reductions
    assert both.min() < first.min() - 1.0, "gain reductions in a row add up"
    figure = draw_presets([views[0]])
    assert {"compressor", "compressor_2"} <= {axes.get_label() for axes in figure.axes}
