"""What a module's row must be: each mistake is named before it reaches a preset or the console."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diffconsole.errors import SettingsError
from diffconsole.strip.chain import CHAIN, insert
from diffconsole.strip.checks import FIRST_MODULES, check_module
from diffconsole.strip.module import Module
from diffconsole.strip.parameter import Parameter

GAIN = Parameter("tilt", "gain_db", "dB", -12.0, 12.0, "linear", 0.0, "Gain", amount="gain")
FREQ = Parameter("tilt", "freq_hz", "Hz", 100.0, 5000.0, "log", 800.0, "Pivot")
TILT = Module("tilt", "Tilt", "insert", (GAIN, FREQ), "tests.toy.tilt", since=1)


def wrong(**changes: object) -> Module:
    return replace(TILT, **changes)


def with_gain(**changes: object) -> Module:
    return replace(TILT, parameters=(replace(GAIN, **changes), FREQ))


def test_every_row_of_the_chain_is_right():
    for place, module in enumerate(CHAIN):
        check_module(module, (*CHAIN[:place], *CHAIN[place + 1 :]))
    assert {module.key for module in CHAIN} >= FIRST_MODULES


def test_a_right_row_passes():
    check_module(TILT, CHAIN)


@pytest.mark.parametrize(
    "module, words",
    [
        (wrong(key="eq"), "its key is taken"),
        (wrong(key="ti-lt"), "'ti-lt' is no key"),
        (wrong(key="name"), "'name' is no key"),
        (wrong(key="provenance"), "'provenance' is no key"),
        (wrong(place="nowhere"), "place is 'nowhere', not one of input, insert, pan, send, output"),
        (wrong(since=0), "since is 0, but it came after version 1.0"),
        (wrong(parameters=()), "it has no parameters"),
        (wrong(parameters=(GAIN, GAIN)), "tilt.gain_db stands twice"),
        (wrong(gain_after="level_db"), "gain_after is 'level_db'"),
        (wrong(takes_dry=True), "it takes the dry signal along, but it is no send"),
        (with_gain(section="tlt"), "section is 'tlt', not one of tilt"),
        (with_gain(name="enabled"), "'enabled' is no name for a parameter"),
        (with_gain(low=12.0), "the range is 12 to 12"),
        (with_gain(low=float("nan")), "the range is nan to 12"),
        (with_gain(scale="cubic"), "scale is 'cubic', not one of linear, log"),
        (with_gain(scale="log"), "a log scale cannot begin at -12"),
        (with_gain(default=13.0), "default is 13, outside -12 to 12"),
        (with_gain(default=float("nan")), "default is nan, outside -12 to 12"),
        (with_gain(idle=-40.0), "idle is -40, outside -12 to 12"),
        (with_gain(amount="gian"), "amount is 'gian', not one of keep"),
        (with_gain(follows="nothing.gain_db"), "follows 'nothing.gain_db', which is no parameter"),
    ],
)
def test_a_mistake_is_named(module, words):
    with pytest.raises(SettingsError) as caught:
        check_module(module, CHAIN)
    assert str(caught.value).startswith(f"module {module.key!r}: ")
    assert words in str(caught.value)


def test_the_chain_of_a_running_program_does_not_change():
    with pytest.raises(SettingsError, match="before anything else of the package is imported"):
        insert(TILT, after="eq")
    with pytest.raises(SettingsError, match="the chain has"):
        insert(TILT, after="nothing")
