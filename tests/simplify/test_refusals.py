"""What the search for the simplest strip refuses, by name."""

from __future__ import annotations

import math

import pytest

from diffconsole.errors import SettingsError
from diffconsole.simplify import simplify
from diffconsole.strip.parameters import default_settings

from ..synthetic import RATE, voice


@pytest.mark.parametrize("value", [math.nan, -math.inf])
@pytest.mark.parametrize("key", ["input_gain.gain_db", "eq.peak_1.q", "compressor.ratio"])
def test_a_setting_that_is_not_finite_is_named(key: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"{key}.*must be finite"):
        simplify({**default_settings(), key: value}, voice(1.0, 1)[None], RATE)


def test_a_missing_setting_is_named() -> None:
    settings = default_settings()
    del settings["eq.peak_1.q"]
    with pytest.raises(SettingsError, match=r"'eq\.peak_1\.q' is missing"):
        simplify(settings, voice(1.0, 1)[None], RATE)
