"""No single pair decides which state of a model is kept."""

from __future__ import annotations

import pytest

from diffconsole.training.finetuning.selection import relative_score, trimmed_mean


def test_the_trimmed_mean() -> None:
    assert trimmed_mean([3.0]) == 3.0
    assert trimmed_mean([1.0, 3.0]) == 2.0
    assert trimmed_mean([1.0, 2.0, 300.0]) == 2.0
    assert trimmed_mean([1.0, 2.0, 4.0, 500.0]) == 3.0
    assert trimmed_mean([0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 90.0, 90.0]) == 2.5


def test_the_start_is_at_its_median() -> None:
    before = [1.0, 2.0, 9.0]
    assert relative_score(before, before) == pytest.approx(2.0)


@pytest.mark.parametrize("count", [3, 4, 7])
def test_one_pair_that_goes_off_decides_nothing(count: int) -> None:
    """Figures like those of real pairs: all gain a fifth, the nearly mono one goes from 9 to 36."""
    before = [2.8 + 0.1 * i for i in range(count)]
    after = [0.8 * d for d in before]
    with_mono = relative_score([*after, 36.0], [*before, 9.0])
    assert with_mono / relative_score([*before, 9.0], [*before, 9.0]) < 0.9
    assert sum([*after, 36.0]) > sum([*before, 9.0]), "a mean would have refused it"


def test_a_distance_of_zero_is_no_fault() -> None:
    assert relative_score([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]) < 1e-3
    assert relative_score([1.0], [0.0]) == pytest.approx(1.0)
