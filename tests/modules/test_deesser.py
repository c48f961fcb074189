"""De-esser: idle it is the input; what it turns down; exactness, gradients, blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from diffconsole.kernels.operators import use
from diffconsole.modules.call import Call
from diffconsole.modules.deesser.module import curve, stream
from diffconsole.modules.deesser.process import deesser, split, split_section
from diffconsole.modules.deesser.row import DEESSER
from tests.reference import deess, error_db

from .helpers import (
    RATES,
    assert_finite_with_gradients,
    gain_at,
    impulse,
    noise,
    square_wave,
    values,
)  # fmt: skip

MIDDLE = {
    "freq_hz": 5500.0, "threshold_db": -14.0, "range_db": 8.0, "attack_ms": 0.5, "release_ms": 40.0,
}  # fmt: skip


def run(audio: Tensor, rate: float = 44100, **changes: float) -> Tensor:
    own = {k: values(*[v] * len(audio)) for k, v in (MIDDLE | changes).items()}
    return deesser(audio, rate, **own)


def voice(samples: int, channels: int = 1, rate: int = 44100) -> Tensor:
    """A low tone, with bursts of hiss in place of it four times a second."""
    place = torch.arange(samples, dtype=torch.float64) / rate
    hiss = torch.diff(noise(1, channels, samples + 1, seed=3, level=0.1), dim=-1)
    tone = 0.3 * torch.sin(2 * torch.pi * 220.0 * place).expand(1, channels, -1)
    return torch.where((place * 4.0) % 1.0 < 0.75, tone, hiss)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_it_is_the_equation(rate, channels):
    audio = voice(rate // 3, channels, rate)
    want = deess(audio[0].numpy(), rate, MIDDLE)
    assert error_db(run(audio, rate)[0].numpy(), want) <= -240.0
    assert error_db(run(audio.float(), rate)[0].numpy(), want) <= -105.0


def test_what_is_not_turned_down_is_the_input_bit_by_bit():
    audio = voice(20000, 2).float()
    assert torch.equal(run(audio, range_db=0.0), audio)
    tone = audio.clone()
    tone[:] = 0.3 * torch.sin(torch.arange(20000) * 0.03)
    assert torch.equal(run(tone)[..., 500:], tone[..., 500:])


def test_the_hiss_falls_and_the_tone_stays():
    audio = voice(44100)
    found = run(audio)
    hissing = ((torch.arange(44100) / 44100.0 * 4.0) % 1.0 >= 0.8).expand_as(audio)
    fallen = 10.0 * math.log10(float((found[hissing] ** 2).sum() / (audio[hissing] ** 2).sum()))
    assert -8.0 < fallen < -4.0
    clear = ((torch.arange(44100) / 44100.0 * 4.0) % 1.0 < 0.7) & (torch.arange(44100) > 15000)
    kept = 10.0 * math.log10(
        float((found[0, 0, clear] ** 2).sum() / (audio[0, 0, clear] ** 2).sum())
    )
    assert abs(kept) < 0.05


def test_a_quiet_take_is_treated_as_a_loud_one():
    audio = voice(30000)
    assert error_db((run(audio * 0.05) / 0.05)[0].numpy(), run(audio)[0].numpy()) < -100.0


@pytest.mark.parametrize("depth_db", [3.0, 12.0, 24.0])
def test_turned_down_it_is_a_shelf_that_rises_nowhere(depth_db):
    once, twice = split(impulse(4096), 48000, values(5500.0))
    share = 10.0 ** (-depth_db / 40.0) - 1.0
    response = (impulse(4096) + share * (2.0 * once + share * twice))[0, 0]
    gains = [gain_at(response, 48000, f) for f in np.geomspace(30.0, 23900.0, 60)]
    assert all(later <= before + 1e-6 for before, later in zip(gains, gains[1:], strict=False))
    assert gains[0] == pytest.approx(0.0, abs=0.01)
    assert gains[-1] == pytest.approx(-depth_db, abs=0.1)


def test_the_split_is_three_decibels_down_at_its_frequency():
    for rate in RATES:
        once, _ = split(impulse(8192), rate, values(4000.0))
        assert gain_at(once[0, 0], rate, 4000.0) == pytest.approx(-3.0103, abs=1e-3)
    assert torch.isfinite(split_section(16000, values(12000.0))).all()


def test_gradients_are_those_of_finite_differences():
    audio = voice(200, 2, 16000) + 1e-4 * noise(1, 2, 200)
    names = list(MIDDLE)
    own = [values(MIDDLE[n]).requires_grad_() for n in names]

    def function(x: Tensor, *settings: Tensor) -> Tensor:
        return deesser(x, 16000, **dict(zip(names, settings, strict=True)))

    assert torch.autograd.gradcheck(
        function, (audio.clone().requires_grad_(), *own), eps=1e-7, atol=1e-5, rtol=1e-3
    )


@pytest.mark.parametrize("kernel", ["cpu", "generic"])
@pytest.mark.parametrize("audio", [torch.zeros(1, 2, 300).double(), square_wave(300, 2)],
                         ids=["silence", "square"])  # fmt: skip
def test_gradients_are_finite_at_the_ends_of_every_range(kernel, audio):
    middle = {p.name: float(p.to_physical(0.5)) for p in DEESSER.parameters}
    ends = [middle | {p.name: end} for p in DEESSER.parameters for end in (p.low, p.high)]
    ends += [{p.name: getattr(p, end) for p in DEESSER.parameters} for end in ("low", "high")]
    with use(kernel):
        assert_finite_with_gradients(lambda x, *s: deesser(x, 44100, *s), ends, audio)


@pytest.mark.parametrize("kernel", ["cpu", "generic"])
def test_with_and_without_gradients_it_is_the_same(kernel):
    audio = voice(9000, 2)
    with use(kernel):
        plain = run(audio)
        tracked = run(audio.requires_grad_())
    assert torch.allclose(plain, tracked, rtol=0, atol=1e-9)


@pytest.mark.parametrize("block", [512, 5000])
def test_in_blocks_it_is_the_same(block):
    audio = voice(30000, 2)
    call = Call(44100, {k: values(v) for k, v in MIDDLE.items()})
    process = stream(audio[..., :block], call)
    parts = [process(audio[..., n : n + block]) for n in range(0, 30000, block)]
    assert torch.allclose(torch.cat(parts, dim=-1), run(audio), rtol=0, atol=1e-10)


def test_its_curve_is_its_deepest_shelf():
    found = curve(48000, MIDDLE, ())
    assert found.lines["full range"][0] == pytest.approx(0.0, abs=0.01)
    assert found.lines["full range"][-1] == pytest.approx(-8.0, abs=0.3)
    assert (found.lines["half"] >= found.lines["full range"] - 1e-12).all()
