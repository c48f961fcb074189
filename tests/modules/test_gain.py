"""Gain and pan: levels in dB, the constant-power law, gradients."""

from __future__ import annotations

import math

import pytest
import torch

from diffconsole.console import gain, pan

from .helpers import PLACES, assert_finite_with_gradients, check_gradients, noise, values


@pytest.mark.parametrize("gain_db, factor", [(20.0, 10.0), (-40.0, 0.01), (6.020599913, 2.0)])
def test_gain_in_decibels(gain_db, factor):
    x = noise(1, 2, 50)
    assert torch.allclose(gain(x, values(gain_db)), x * factor, rtol=1e-9)


def test_no_gain_is_bit_identical():
    x = noise(1, 2, 500).float()
    assert torch.equal(gain(x, values(0.0)), x)


def test_each_item_has_its_own_gain():
    x = noise(2, 1, 50)
    y = gain(x, values(-6.0, 12.0))
    assert torch.equal(y[:1], gain(x[:1], values(-6.0)))
    assert torch.equal(y[1:], gain(x[1:], values(12.0)))


def test_gain_keeps_the_type():
    assert gain(noise(1, 1, 5).float(), values(3.0)).dtype == torch.float32


def test_centre_is_exactly_0_db_in_both_channels():
    x = noise(1, 1, 500).float()
    y = pan(x, values(0.0))
    assert torch.equal(y[:, 0], x[:, 0])
    assert torch.equal(y[:, 1], x[:, 0])
    wide = noise(1, 2, 500).float()
    assert torch.equal(pan(wide, values(0.0)), wide)


@pytest.mark.parametrize("position", [-1.0, -0.6, -0.25, 0.0, 0.3, 0.8, 1.0])
def test_power_is_the_same_everywhere(position):
    x = noise(1, 1, 500)
    y = pan(x, values(position))
    assert float(y.square().sum() / (2 * x.square().sum())) == pytest.approx(1.0, abs=1e-12)
    angle = math.pi / 4 * (1 + position)
    assert torch.allclose(y[0, 0], x[0, 0] * math.sqrt(2) * math.cos(angle), atol=1e-15)
    assert torch.allclose(y[0, 1], x[0, 0] * math.sqrt(2) * math.sin(angle), atol=1e-15)


def test_hard_left_and_right():
    x = noise(1, 1, 500)
    left, right = pan(x, values(-1.0)), pan(x, values(1.0))
    for loud, quiet in ((left[:, 0], left[:, 1]), (right[:, 1], right[:, 0])):
        # +3 dB on one side, nothing on the other
        assert torch.allclose(loud, math.sqrt(2) * x[:, 0], rtol=1e-12)
        assert float(quiet.abs().max()) < 1e-15


def test_pan_of_stereo_scales_and_does_not_mix():
    x = noise(1, 2, 500)
    only_left = x.clone()
    only_left[:, 1] = 0.0
    assert float(pan(only_left, values(0.5))[:, 1].abs().max()) == 0.0


@pytest.mark.parametrize("place", list(PLACES.values()), ids=list(PLACES))
@pytest.mark.parametrize("channels", [1, 2])
def test_gradients(place, channels):
    # −48 dB … 48 dB: a quiet input keeps the finite differences in double precision's reach
    x = noise(2, channels, 12, level=0.01)
    check_gradients(gain, ["output_gain.gain_db"], x, place)
    check_gradients(pan, ["pan.position"], x, place)


def test_gradients_are_finite_at_the_ends_and_for_silence():
    for x in (torch.zeros(1, 1, 9, dtype=torch.float64), torch.ones(1, 2, 9, dtype=torch.float64)):
        for end in (-1.0, 1.0):
            assert_finite_with_gradients(pan, [{"position": end}], x)
            assert_finite_with_gradients(gain, [{"gain_db": 48.0 * end}], x)
