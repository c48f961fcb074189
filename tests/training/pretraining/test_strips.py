"""Strips of simulated raw vocals: about the anchor, and as varied as those of real mixes."""

from __future__ import annotations

import numpy as np
import pytest

from diffconsole.strip import statistics
from diffconsole.strip.anchor import anchor, anchor_settings
from diffconsole.strip.parameters import BY_KEY, PARAMETERS
from diffconsole.strip.statistics import SEND_EQ_DB
from diffconsole.training.pretraining.strips import Strips


@pytest.fixture(scope="module")
def strips() -> Strips:
    return Strips.around_anchor()


def test_the_anchor_is_a_strip_within_the_ranges() -> None:
    settings = anchor_settings()
    assert all(p.low <= settings[p.key] <= p.high for p in PARAMETERS)
    unit = anchor()
    assert unit.shape == (len(PARAMETERS),) and bool(((unit >= 0.0) & (unit <= 1.0)).all())
    for place, p in enumerate(PARAMETERS):
        assert p.to_physical(float(unit[place])) == pytest.approx(
            settings[p.key], rel=1e-4, abs=1e-3
        )


def test_the_median_strip_is_the_anchor(strips: Strips) -> None:
    rng = np.random.default_rng(3)
    drawn = [strips.about(strips.table.sample(rng)[0]) for _ in range(300)]
    for p in PARAMETERS:
        units = [p.to_normalised(strip[p.key]) for strip in drawn]
        assert np.median(units) == pytest.approx(p.to_normalised(strips.anchor[p.key]), abs=0.06)


def test_departures_are_a_share_of_the_fitted_ones(strips: Strips) -> None:
    fitted = dict(strips.middle)
    shelf = BY_KEY["eq.high_shelf.gain_db"]
    fitted[shelf.key] = strips.middle[shelf.key] + 4.0
    moved = strips.about(fitted)
    by_db = moved[shelf.key] - strips.anchor[shelf.key]
    assert by_db == pytest.approx(4.0 * strips.share)
    assert moved["compressor.ratio"] == pytest.approx(strips.anchor["compressor.ratio"])


def test_as_fitted_they_are_the_table() -> None:
    table = statistics.load()
    strips = Strips.as_fitted(table)
    fitted = table.sample(np.random.default_rng(1))[0]
    assert strips.about(fitted) == fitted
    levels = table.quantiles[table.columns.index("reverb_level_db")]
    strip = strips.strip(fitted, 0.5)
    assert strip["reverb.wet_db"] == pytest.approx(float(np.median(levels)) + SEND_EQ_DB)
