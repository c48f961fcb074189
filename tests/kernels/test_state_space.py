"""Two sections, eight samples at a time: SciPy's filter, in any pieces, in both types."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import sosfilt

pytest.importorskip("numba", reason="the recursion is one of the compiled loops")

from diffconsole.kernels.state_space import STATES, TABLE_ROWS, state_space, state_space_table
from tests.reference import error_db, section

CUTS = [(44100, 200.0, 6000.0), (192000, 20.0, 1000.0), (16000, 1000.0, 7000.0)]


def cuts(rate: int, low_hz: float, high_hz: float) -> np.ndarray:
    return np.array(
        [section("high_pass", rate, low_hz, 0.71), section("low_pass", rate, high_hz, 0.71)]
    )


def run(x: np.ndarray, rows: np.ndarray, state: np.ndarray, kind: type = np.float64) -> np.ndarray:
    b, c = np.delete(rows, 3, axis=1)
    table, y = np.empty((TABLE_ROWS, STATES)), np.empty(x.shape, kind)
    state_space_table(b, c, table)
    state_space(x, b, c, table, state, y)
    return y


@pytest.mark.parametrize("samples", [1, 7, 8, 9, 5000])
@pytest.mark.parametrize("own", CUTS)
def test_it_is_both_sections(own, samples):
    x, rows = np.random.default_rng(samples).standard_normal(samples), cuts(*own)
    assert error_db(run(x, rows, np.zeros(STATES)), sosfilt(rows, x)) <= -190.0
    assert error_db(run(x, rows, np.zeros(STATES), np.float32), sosfilt(rows, x)) <= -130.0


def test_it_goes_on_where_it_stopped():
    x, rows, state = (
        np.random.default_rng(0).standard_normal(1000),
        cuts(*CUTS[0]),
        np.zeros(STATES),
    )
    parts = [run(part, rows, state) for part in np.split(x, [3, 11, 200, 201, 777])]
    assert error_db(np.concatenate(parts), sosfilt(rows, x)) <= -250.0


def test_what_rings_ends_in_silence_rather_than_in_subnormal_numbers():
    state, rows = np.zeros(STATES), cuts(*CUTS[2])
    run(np.ones(8), rows, state)
    assert state.all()
    for _ in range(50):
        y = run(np.zeros(800), rows, state)
    assert not state.any() and not y.any()
