"""Windows of signals, by loops that say what they are."""

from __future__ import annotations

import numpy as np
import pytest

from diffconsole.audio.bands import BASE_TWO_THIRDS_HZ, THIRD_OCTAVES_HZ
from diffconsole.audio.windows import (
    faded_ends,
    loud_windows,
    repeated,
    runs_of_true,
    spread_evenly,
    whole_windows,
    window_starts,
)
from diffconsole.model import voice_features
from diffconsole.model.reference import style_features
from diffconsole.pairs import residual


@pytest.mark.parametrize("samples, size", [(10, 3), (9, 3), (2, 3), (0, 1)])
def test_whole_windows(samples, size):
    signal = np.arange(samples, dtype=np.float32)
    found = whole_windows(signal, size)
    assert found.shape == (samples // size, size)
    assert found.base is not None, "a view, no copy"
    for number, window in enumerate(found):
        np.testing.assert_array_equal(window, signal[number * size : (number + 1) * size])


def test_windows_lie_from_start_to_end():
    starts = window_starts(1000, 100, 7)
    assert (starts[0], starts[-1]) == (0, 900)
    assert set(np.diff(starts)) == {150}
    assert window_starts(100, 100, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("count", range(12))
@pytest.mark.parametrize("most", [1, 2, 5, 20])
def test_spread_evenly(count, most):
    chosen = spread_evenly(count, most)
    assert len(chosen) == len(set(chosen.tolist())) == min(count, most)
    if count <= most:
        assert chosen.tolist() == list(range(count))
    elif most > 1:
        assert (chosen[0], chosen[-1]) == (0, count - 1)
        assert np.ptp(np.diff(chosen)) <= 1


def test_loud_windows_leave_out_the_quiet_ones():
    powers = np.array([1.0, 0.009, 0.5, 0.011, 0.2, 0.0])
    assert loud_windows(powers, -20.0, 10).tolist() == [0, 2, 3, 4]
    assert loud_windows(powers, -20.0, 2).tolist() == [0, 4]
    assert loud_windows(powers, 0.0, 3).tolist() == [0]


def test_repeated_until_long_enough():
    both = np.arange(6.0).reshape(2, 3)
    assert repeated(both, 3) is both
    np.testing.assert_array_equal(repeated(both, 7), np.concatenate([both] * 3, axis=1))


def test_faded_ends_are_the_same_from_both_sides():
    gain = faded_ends(100, 20)
    np.testing.assert_array_equal(gain, gain[::-1])
    assert np.all(gain[20:80] == 1.0)
    assert np.all(np.diff(gain[:21]) > 0.0)
    # Squared sine and cosine: faded parts that overlap by the edge add up to one.
    np.testing.assert_allclose(gain[:20] + gain[-20:], 1.0, atol=1e-6)


def test_runs_of_true():
    rng = np.random.default_rng(1)
    for mask in (rng.random(50) < 0.5, np.ones(4, bool), np.zeros(4, bool), np.zeros(0, bool)):
        runs = runs_of_true(mask)
        rebuilt = np.zeros(len(mask), bool)
        for first, end in runs:
            rebuilt[first:end] = True
            assert first == 0 or not mask[first - 1]
            assert end == len(mask) or not mask[end]
        np.testing.assert_array_equal(rebuilt, mask)


def test_one_table_of_third_octaves():
    assert voice_features.BANDS_HZ == THIRD_OCTAVES_HZ
    assert THIRD_OCTAVES_HZ[1:] == style_features.BANDS_HZ
    assert residual.BANDS_HZ is BASE_TWO_THIRDS_HZ
    assert (THIRD_OCTAVES_HZ[0], THIRD_OCTAVES_HZ[13], THIRD_OCTAVES_HZ[-1]) == (
        50.1, 1000.0, 15848.9,
    )  # fmt: skip
    np.testing.assert_allclose(BASE_TWO_THIRDS_HZ, THIRD_OCTAVES_HZ, rtol=0.02)
