"""After a search: how far each setting may go, of what is on and of what is off."""

from __future__ import annotations

import pytest

from diffconsole.training.matching import postprocess
from diffconsole.training.matching.objective import HELD, KEYS, MatchObjective
from diffconsole.training.matching.postprocess import estimate_sensitivity

from ...synthetic import STUDIO, pair
from .test_polish import point_of

OFF = frozenset({"reverb", "eq.peak_2"})


def test_what_is_off_has_its_whole_range_and_is_not_rendered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective = MatchObjective(pair(13, seconds=1.0), 1.0, "cpu")
    point = point_of(STUDIO, objective)
    found = estimate_sensitivity(objective, point, OFF)
    searched = [KEYS[place] for place in objective.searched if KEYS[place] not in HELD]
    assert list(found) == searched
    off = [key for key in searched if key.startswith(("reverb.", "eq.peak_2."))]
    assert {found[key] for key in off} == {(0.0, 1.0)}
    low, high = found["compressor.makeup_db"]
    assert 0.0 < low < high < 1.0
    # The same where each of them is rendered.
    monkeypatch.setattr(postprocess, "PARAMETERS", ())
    assert estimate_sensitivity(objective, point, OFF) == found
