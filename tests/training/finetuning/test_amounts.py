"""Which regression, and how much of it, brings pairs to mixes that it was not fitted to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from diffconsole.training.finetuning.amounts import CHANCE, LADDER, choose_amounts, weigh
from diffconsole.training.finetuning.label_confidence import MIN_CONFIDENCE, confidence_of

MODULES = ("input_gain", "eq", "compressor", "reverb")


class Console:
    """Distances of pairs, lowest at some amounts."""

    def __init__(self, right: Mapping[str, float], gain: float = 0.5) -> None:
        self.right, self.gain, self.asked = right, gain, 0

    def __call__(self, amounts: Mapping[str, float]) -> list[float]:
        self.asked += 1
        far = np.mean([(amounts[m] - right) ** 2 for m, right in self.right.items()])
        start = np.mean([right**2 for right in self.right.values()]) or 1.0
        share = 1.0 - self.gain * (1.0 - far / start)
        return [share * each for each in (1.0, 1.4, 2.0, 2.2, 9.0)]


@pytest.mark.parametrize("right", [0.35, 1.0, 1.4])
def test_the_right_amount(right: float) -> None:
    console = Console(dict.fromkeys(MODULES, right))
    assert choose_amounts(console, MODULES) == dict.fromkeys(MODULES, right)
    assert console.asked <= len(LADDER) + 6


def test_modules_have_amounts_of_their_own() -> None:
    right = {"input_gain": 1.0, "eq": 1.4, "compressor": 1.0, "reverb": 0.7}
    assert choose_amounts(Console(right), MODULES) == right


def test_where_nothing_gains_nothing_departs() -> None:
    console = Console(dict.fromkeys(MODULES, 1.0), gain=-0.5)
    assert choose_amounts(console, MODULES) == dict.fromkeys(MODULES, 0.0)


def test_a_gain_that_may_be_chance_is_none() -> None:
    """A thousandth better with another amount of one module."""

    def distances(amounts: Mapping[str, float]) -> list[float]:
        better = 0.001 if amounts["eq"] > amounts["compressor"] else 0.0
        share = 1.0 - 0.3 * (amounts["compressor"] == 1.0) - better
        return [share, 1.3 * share, 2.0 * share]

    assert set(choose_amounts(distances, MODULES).values()) == {1.0}


def test_the_right_strength_counts_most() -> None:
    """Clearly better ones alone; a difference of chance leaves all of them."""
    assert weigh([1.3, 1.0, 1.2])[1] > 0.99
    close = weigh([1.0, 1.0 + 0.3 * CHANCE, 1.0])
    assert min(close) > 0.25
    assert close[1] < close[0] == pytest.approx(close[2])
    assert sum(weigh([0.0, 1.0])) == pytest.approx(1.0)


# How sure a label is


def test_a_mix_that_stays_far_counts_less() -> None:
    before = [[2.0, 2.0]] * 5
    after = [[1.0, 1.0]] * 4 + [[4.0, 4.0]]
    found = confidence_of(before, [*after], [0.0] * 5)
    np.testing.assert_allclose(found[:4], 1.0)
    assert found[4] < 0.1


def test_passages_that_disagree_count_less() -> None:
    found = confidence_of([[2.0, 2.0]] * 3, [[1.0, 1.0], [1.0, 1.0], [0.6, 1.4]], [0.0] * 3)
    assert found[2] < 0.3 < found[0] == 1.0


def test_an_uncertain_lag_counts_less() -> None:
    found = confidence_of([[2.0]] * 3, [[1.0]] * 3, [0.0, 0.005, 1.0])
    np.testing.assert_allclose(found, [1.0, 0.5, MIN_CONFIDENCE], atol=1e-3)


def test_no_distance_is_no_fault() -> None:
    found = confidence_of([[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.5]], [0.0, 0.0])
    assert np.all(np.isfinite(found)) and np.all(found >= MIN_CONFIDENCE)
