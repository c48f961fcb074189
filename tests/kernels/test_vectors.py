"""Vectors as values in compiled loops: what each of their functions does to every lane."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="vectors belong to the compiled loops")

from diffconsole.kernels.jit import compiler
from diffconsole.kernels.vectors import load, maximum, minimum, store, sums_of_rows

compiled = compiler()
NUMBERS = np.array([1.0, -2.0, np.nan, np.inf, -np.inf, 0.0, 3.0, -4.0])
LIMITS = np.array([2.0, -3.0, 0.0, 1.0, 1.0, 0.0, np.nan, -4.0])


@compiled
def _limited(x, limits, least, most):
    store(maximum(load(x, 0, 8), load(limits, 0, 8)), least, 0)
    store(minimum(load(x, 0, 8), load(limits, 0, 8)), most, 0)


@compiled
def _sums(rows, sums):
    for n in range(0, sums.shape[0], 8):
        store(sums_of_rows(rows, n * 8), sums, n)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_limits_keep_what_is_no_number(kind):
    x, limits = NUMBERS.astype(kind), LIMITS.astype(kind)
    least, most = np.empty(8, kind), np.empty(8, kind)
    _limited(x, limits, least, most)
    assert np.array_equal(least, np.where(limits > x, limits, x), equal_nan=True)
    assert np.array_equal(most, np.where(limits < x, limits, x), equal_nan=True)
    assert np.isnan(least[2]) and np.isnan(most[2])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_sums_of_rows_are_taken_in_pairs(kind):
    rows = np.random.default_rng(0).normal(0.0, 1.0, (24, 8)).astype(kind)
    sums = np.empty(24, kind)
    _sums(rows, sums)
    pairs = rows[:, ::2] + rows[:, 1::2]
    fours = pairs[:, ::2] + pairs[:, 1::2]
    assert np.array_equal(sums, fours[:, 0] + fours[:, 1])
