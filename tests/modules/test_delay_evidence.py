"""What a mix shows of a delay: where its echoes lie, and which are only repeats."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from diffconsole.modules.delay.evidence import echoes_in_mix
from diffconsole.modules.evidence import Signals
from diffconsole.pairs import PAIR_RATE

from ..synthetic import voice


def signals(echoes_ms: Mapping[float, float]) -> Signals:
    """A dry voice, and a mix of it with echoes at these times and levels."""
    dry = np.repeat(voice(4.0, 3)[None], 2, axis=0)
    mixed = dry.copy()
    for time_ms, level in echoes_ms.items():
        lag = round(time_ms * PAIR_RATE / 1000.0)
        mixed[:, lag:] += level * dry[:, :-lag]
    return Signals(PAIR_RATE, dry[:1], mixed, dry, dry, key="delay", settings={})


def test_a_repeat_of_an_echo_is_none_of_its_own() -> None:
    (found,) = echoes_in_mix(signals({230.0: 0.3, 460.0: 0.15, 690.0: 0.1}))
    assert found[0] == pytest.approx(230.0, abs=0.05)


@pytest.mark.parametrize("second_ms", [317.0, 462.5])
def test_two_echoes_are_two(second_ms: float) -> None:
    found = [lag_ms for lag_ms, _ in echoes_in_mix(signals({230.0: 0.3, second_ms: 0.25}))]
    assert found[:2] == pytest.approx([230.0, second_ms], abs=0.05)


def test_a_quiet_echo_behind_a_loud_doubler_is_one() -> None:
    found = [lag_ms for lag_ms, _ in echoes_in_mix(signals({35.0: 0.7, 326.0: 0.06}))]
    assert found[0] == pytest.approx(35.0, abs=0.05)
    assert found[1] == pytest.approx(326.0, abs=0.05)


def test_a_later_echo_that_is_louder_comes_first() -> None:
    found = [lag_ms for lag_ms, _ in echoes_in_mix(signals({230.0: 0.15, 460.0: 0.4}))]
    assert found[:2] == pytest.approx([460.0, 230.0], abs=0.05)


def test_the_voices_own_periods_around_an_echo_are_none() -> None:
    found = echoes_in_mix(signals({230.0: 0.3}))
    assert len(found) == 1


def test_without_echoes_there_are_none() -> None:
    assert echoes_in_mix(signals({})) == []
