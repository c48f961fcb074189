"""Delay: where its echoes lie, how loud and on which side; exactness, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.signal import sosfilt
from torch import Tensor

from diffconsole.modules.delay.process import delay, delay_response, tail_samples
from tests.reference import error_db, section

from .helpers import RATES, assert_finite_with_gradients, impulse, noise, square_wave, values

OPEN = {
    "time_ms": 50.0, "feedback": 0.5, "low_cut_hz": 150.0, "high_cut_hz": 7000.0,
    "width": 0.3, "wet_db": -12.0,
}  # fmt: skip

RANGES = {
    "time_ms": (20.0, 1000.0), "feedback": (0.0, 0.85), "low_cut_hz": (20.0, 1000.0),
    "high_cut_hz": (1000.0, 20000.0), "width": (0.0, 1.0), "wet_db": (-60.0, 6.0),
}  # fmt: skip


def run(audio: Tensor, rate: float = 44100, **changes: float) -> Tensor:
    own = {k: values(*[v] * len(audio)) for k, v in (OPEN | changes).items()}
    return delay(audio, rate, **own)


def expected(x: np.ndarray, rate: int, samples: int, own: dict[str, float]) -> np.ndarray:
    """Echo after echo in the time domain, of a whole number of samples."""
    cuts = [
        section("high_pass", rate, own["low_cut_hz"], 0.71),
        section("low_pass", rate, own["high_cut_hz"], 0.71),
    ]
    angle = math.pi / 4 * (1.0 - own["width"])
    sides = np.sqrt(2.0) * np.array([math.cos(angle), math.sin(angle)])
    result, echo, level = np.zeros((2, len(x))), x, 10.0 ** (own["wet_db"] / 20.0)
    for k in range(60):
        for cut in cuts:
            echo = sosfilt([cut], echo)
        echo = np.concatenate((np.zeros(samples), echo))[: len(x)]
        result += (
            level * own["feedback"] ** k * np.outer(sides if k % 2 == 0 else sides[::-1], echo)
        )
    return result


@pytest.mark.parametrize("rate", RATES)
def test_it_is_echo_after_echo(rate):
    samples = round(0.05 * rate)
    own = OPEN | {"time_ms": 1000.0 * samples / rate, "feedback": 0.4}
    audio = noise(1, 2, rate)
    found = run(audio, rate, **own)[0].numpy()
    want = expected(audio[0].mean(dim=0).numpy(), rate, samples, own)
    # The response ends where its echoes have fallen by 60 dB.
    assert error_db(found, want) <= -65.0
    head = slice(0, 6 * samples)
    assert error_db(found[:, head], want[:, head]) <= -110.0


def test_echoes_fall_by_the_feedback_and_change_sides():
    wide = run(impulse(44100), width=1.0, low_cut_hz=20.0, high_cut_hz=20000.0)[0]
    step = 2205
    energy = [(wide[:, k * step - 200 : k * step + 800] ** 2).sum(dim=-1) for k in (1, 2, 3)]
    assert float(energy[0][1]) < 1e-5 * float(energy[0][0])
    assert float(energy[1][0]) < 1e-5 * float(energy[1][1])
    assert 10 * math.log10(float(energy[1][1] / energy[0][0])) == pytest.approx(-6.02, abs=0.5)
    middle = run(impulse(44100), width=0.0)[0]
    assert torch.allclose(middle[0], middle[1], atol=1e-14)


@pytest.mark.parametrize("width", [0.0, 0.4, 1.0])
def test_an_echo_has_its_level_at_every_width(width):
    response = delay_response(44100, *(values(v) for v in (300.0, 0.0, 20.0, 20000.0, width)))
    assert float((response**2).sum()) == pytest.approx(2.0, rel=0.15)


def test_a_stereo_input_sends_the_mean_of_its_channels():
    audio = noise(1, 2, 20000)
    mean = audio.mean(dim=1, keepdim=True)
    assert torch.allclose(run(audio), run(mean), atol=1e-12)


def test_a_fraction_of_a_sample_moves_it_by_a_fraction():
    own = {k: values(OPEN[k]) for k in ("feedback", "low_cut_hz", "high_cut_hz", "width")}
    one, other = (delay_response(44100, values(ms), **own)[0, 0] for ms in (50.0, 50.01))
    spectrum = [torch.fft.rfft(h[2000:3200].double(), 8192)[400] for h in (one, other)]
    turned = float((spectrum[1] / spectrum[0]).angle())
    assert turned == pytest.approx(-2 * math.pi * 400 / 8192 * 0.441, rel=2e-2)


def test_it_has_faded_when_its_tail_ends():
    for feedback in (0.0, 0.46, 0.85):
        count = tail_samples(44100, 120.0, feedback)
        found = run(impulse(count + 30000), time_ms=120.0, feedback=feedback, wet_db=0.0)
        assert float(found[..., count:].abs().max()) <= 1.1e-3


def test_gradients_are_those_of_finite_differences():
    audio = noise(2, 2, 500)
    names = list(OPEN)
    numbers = {**OPEN, "time_ms": 22.3, "width": 0.6}
    own = [values(numbers[n], numbers[n] * 0.95).requires_grad_() for n in names]

    def function(x: Tensor, *settings: Tensor) -> Tensor:
        return delay(x, 16000, **dict(zip(names, settings, strict=True)), seconds=0.3)

    assert torch.autograd.gradcheck(
        function, (audio.clone().requires_grad_(), *own), eps=1e-5, atol=1e-6, rtol=1e-3
    )


@pytest.mark.parametrize("audio", [torch.zeros(1, 2, 2500).double(), square_wave(2500, 2)],
                         ids=["silence", "square"])  # fmt: skip
def test_gradients_are_finite_at_the_ends_of_every_range(audio):
    middle = {name: (low + high) / 2 for name, (low, high) in RANGES.items()}
    ends = [middle | {name: end} for name, pair in RANGES.items() for end in pair]
    ends += [{name: pair[end] for name, pair in RANGES.items()} for end in (0, 1)]
    assert_finite_with_gradients(lambda x, *s: delay(x, 16000, *s, seconds=1.0), ends, audio)
