"""FFT convolution in one transform and in blocks, and the fractional delay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal

from diffconsole.console import convolution
from diffconsole.console.convolution import convolve, delay
from diffconsole.console.shapes import fast_length
from tests import reference

from .helpers import noise, values


@pytest.mark.parametrize("samples, taps", [(1, 1), (1, 50), (50, 1), (300, 40), (40, 300)])
def test_convolution_against_scipy(samples, taps):
    x, h = noise(2, 1, samples), noise(2, 2, taps, seed=1)
    y = convolve(x, h)
    assert y.shape == (2, 2, samples)
    for item in range(2):
        for side in range(2):
            expected = np.convolve(x[item, 0].numpy(), h[item, side].numpy())[:samples]
            assert reference.error_db(y[item, side], expected) < -250.0


@pytest.mark.parametrize("samples", [6000, 6143, 6144, 6145, 12288, 20001])
@pytest.mark.parametrize("taps", [1, 2, 700, 2048])
def test_blocks_give_what_one_transform_gives(monkeypatch, samples, taps):
    x, h = noise(1, 1, samples), noise(1, 2, taps, seed=1)
    expected = convolve(x, h)
    monkeypatch.setattr(convolution, "LONGEST_SINGLE", 4096)
    monkeypatch.setattr(convolution, "SHORTEST_BLOCK", 4096)
    assert reference.error_db(convolve(x, h), expected) < -250.0


def test_long_audio_takes_the_blocks():
    samples = 1_300_000
    x, h = noise(1, 1, samples), noise(1, 2, 30000, seed=1)
    assert fast_length(samples + 30000) > convolution.LONGEST_SINGLE
    y = convolve(x, h)
    expected = signal.fftconvolve(x[0].numpy(), h[0].numpy(), axes=-1)[:, :samples]
    assert reference.error_db(y[0], expected) < -250.0
    single = convolve(x.float(), h.float())
    assert reference.error_db(single[0], expected) < -120.0


def test_gradients_through_blocks(monkeypatch):
    found = []
    for longest in (1 << 20, 64):
        monkeypatch.setattr(convolution, "LONGEST_SINGLE", longest)
        monkeypatch.setattr(convolution, "SHORTEST_BLOCK", 64)
        x, h = noise(1, 1, 500).requires_grad_(), noise(1, 2, 40, seed=1).requires_grad_()
        weights = noise(1, 2, 500, seed=2)
        found.append(torch.autograd.grad((convolve(x, h) * weights).sum(), (x, h)))
    for one, other in zip(*found, strict=True):
        assert reference.error_db(one, other) < -250.0


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 1000, 1024, 1025, 1536, 1537, 441000])
def test_fast_length(n):
    length = fast_length(n)
    assert n <= length <= max(2 * n, 4)
    odd = length // (length & -length)
    assert odd in (1, 3)


@pytest.mark.parametrize("samples", [0, 1, 37])
def test_a_whole_delay_is_a_shift(samples):
    x = noise(1, 2, 400)
    y = delay(x, values(float(samples)), 450)
    assert y.shape == (1, 2, 450)
    assert torch.allclose(y[..., samples : samples + 400], x, atol=1e-12)
    assert float(y[..., :samples].abs().sum()) < 1e-10
    assert float(y[..., samples + 400 :].abs().max()) < 1e-12


@pytest.mark.parametrize("amount", [0.25, 10.5, 33.9])
def test_a_fractional_delay_moves_a_tone_by_it(amount):
    time = torch.arange(4000, dtype=torch.float64)
    window = torch.hann_window(4000, periodic=False, dtype=torch.float64)

    def tone(at: torch.Tensor) -> torch.Tensor:
        return (2 * torch.pi * 0.07 * at).sin() * (0.5 - 0.5 * (2 * torch.pi * at / 3999).cos())

    x = ((2 * torch.pi * 0.07 * time).sin() * window).reshape(1, 1, -1)
    y = delay(x, values(amount), 4000)[0, 0, 50:]
    assert reference.error_db(y, tone(time[50:] - amount)) < -100.0


def test_each_item_has_its_own_delay_and_gradient():
    x = noise(1, 1, 64).expand(2, -1, -1)
    amounts = values(3.0, 7.4)
    y = delay(x, amounts, 100)
    assert torch.allclose(y[:1], delay(x[:1], amounts[:1], 100), atol=1e-12)
    assert torch.allclose(y[1:], delay(x[1:], amounts[1:], 100), atol=1e-12)
    for amount in (1.0, 4.0, 8.4):
        start = values(amount).requires_grad_()
        assert torch.autograd.gradcheck(
            lambda s, d: delay(s, d, 24), (noise(1, 1, 12).requires_grad_(), start)
        )
