"""Transforms of rows: those of float64 within the precision, whichever library serves."""

from __future__ import annotations

import pytest
import torch

from diffconsole.kernels.row_transforms import LONGEST_PAIR, to_samples, to_spectrum
from diffconsole.kernels.threads import loops_on


@pytest.mark.parametrize("length", [4096, LONGEST_PAIR + 32])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_spectrum_and_samples_are_those_of_double_precision(rows: int, length: int) -> None:
    signal = torch.randn(1, rows, length, generator=torch.Generator().manual_seed(rows))
    exact = torch.fft.rfft(signal.double())
    found = to_spectrum(signal)
    assert found.dtype == torch.complex64
    assert (found - exact).abs().max() <= 1e-6 * exact.abs().max()
    back = to_samples(found, length)
    assert back.dtype == torch.float32
    assert (back - signal).abs().max() <= 1e-5
    conjugate = to_samples(found.conj(), length)
    mirrored = signal.roll(-1, dims=-1).flip(-1)
    assert (conjugate - mirrored).abs().max() <= 1e-5, "of conjugates that are not computed yet"


def test_threads_change_no_sample() -> None:
    signal = torch.randn(1, 2, LONGEST_PAIR + 32)
    found = []
    for threads in (1, 2):
        with loops_on(threads):
            found.append((to_spectrum(signal), to_samples(to_spectrum(signal), signal.shape[-1])))
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)
