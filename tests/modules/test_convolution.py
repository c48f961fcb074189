"""FFT convolution in one transform and in blocks, and the fractional delay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal

from diffconsole.kernels.shapes import fast_length, transform_length
from diffconsole.modules.reverb import convolution
from diffconsole.modules.reverb.convolution import convolve, delay
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


@pytest.mark.parametrize("channels", [(1, 1), (1, 2), (2, 1), (2, 2)])
@pytest.mark.parametrize("longest", [1 << 20, 16])
def test_gradcheck_over_channels(monkeypatch, channels, longest):
    monkeypatch.setattr(convolution, "LONGEST_SINGLE", longest)
    monkeypatch.setattr(convolution, "SHORTEST_BLOCK", 16)
    x = noise(2, channels[0], 40).requires_grad_()
    h = noise(2, channels[1], 7, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(convolve, (x, h))


def test_a_response_longer_than_the_audio_has_no_gradient_beyond_it():
    h = noise(1, 2, 50).requires_grad_()
    (gradient,) = torch.autograd.grad(convolve(noise(1, 1, 20), h).square().sum(), h)
    assert bool((gradient[..., :20] != 0.0).all())
    assert bool((gradient[..., 20:] == 0.0).all())


def test_batches_of_any_size_are_the_items_one_by_one():
    x, h = noise(11, 1, 300).float(), noise(11, 2, 90, seed=1).float()
    together = convolve(x, h)
    for item in range(11):
        part = slice(item, item + 1)
        assert reference.error_db(convolve(x[part], h[part]), together[part]) < -120.0
    one_for_all = convolve(x, h[:1])
    assert reference.error_db(one_for_all[7:8], convolve(x[7:8], h[:1])) < -120.0


@pytest.mark.parametrize("n", [1, 31, 32, 33, 1000, 98305, 318401, 524288, 1000003])
def test_transform_length(n):
    length = transform_length(n, torch.device("cpu"))
    assert n <= length <= max(fast_length(n), 64)
    assert length % 32 == 0
    for prime in (2, 3, 5):
        while length % prime == 0:
            length //= prime
    assert length == 1
    assert transform_length(n, torch.device("cuda")) == fast_length(n)


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
