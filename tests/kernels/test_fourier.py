"""Fourier transforms of frames side by side: NumPy's, and their adjoint."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="the transforms are compiled by numba")

from diffconsole.kernels.fourier import (  # noqa: E402
    LANES,
    plan_for,
    to_bins,
    to_samples,
)


@pytest.mark.parametrize("size", [2, 8, 128, 512, 2048])
@pytest.mark.parametrize(("kind", "near"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_there_and_back(size: int, kind: type, near: float) -> None:
    rng = np.random.default_rng(size)
    frames = rng.normal(size=(size, LANES)) + 1j * rng.normal(size=(size, LANES))
    re, im = (np.ascontiguousarray(a, kind).ravel() for a in (frames.real, frames.imag))
    plan = plan_for(size, np.dtype(kind))
    to_bins(re, im, size, plan.cosine, plan.sine)
    expected = np.fft.fft(frames, axis=0)
    found = (re + 1j * im).reshape(size, LANES)[plan.order]
    assert np.abs(found - expected).max() < near * np.abs(expected).max()
    to_samples(re, im, size, plan.cosine, plan.sine)
    again = (re + 1j * im).reshape(size, LANES) / size
    assert np.abs(again - frames).max() < near * np.abs(frames).max()


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="1024"):
        plan_for(1024, np.dtype(np.float32))
