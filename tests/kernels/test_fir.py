"""The short filter in vector registers: NumPy's convolution, at every length of a block."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="the filter is one of the compiled loops")

from diffconsole.kernels.fir import FIR_STEP, fir_block
from diffconsole.kernels.jit import compiled


@compiled
def _by_8(x, taps, y, count):
    fir_block(x, taps, 8, y, count)


@compiled
def _by_32(x, taps, y, count):
    fir_block(x, taps, 32, y, count)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("length", "run"), [(8, _by_8), (32, _by_32)])
@pytest.mark.parametrize("count", [1, FIR_STEP - 1, FIR_STEP, 5 * FIR_STEP + 7])
def test_it_is_a_convolution(count, length, run, kind):
    rng = np.random.default_rng(count)
    room = -(-count // FIR_STEP) * FIR_STEP
    x, taps = rng.standard_normal(room + length - 1), rng.standard_normal(length)
    y = np.full(room + 1, 7.0, kind)
    run(x.astype(kind), taps.astype(kind), y, count)
    wanted = np.convolve(x.astype(kind).astype(float), taps.astype(kind).astype(float), "valid")
    assert np.abs(y[:room] - wanted).max() <= 60.0 * np.finfo(kind).eps
    assert y[room] == 7.0, "no more than is rounded up to is written"


def test_nothing_to_do_writes_nothing():
    y = np.full(4, 7.0)
    _by_8(np.zeros(7), np.ones(8), y, 0)
    assert (y == 7.0).all()
