"""Saturation: its curve, its level, aliases, harmonics, phase, exactness, gradients, blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from diffconsole import Console, Preset
from diffconsole.console.render import render
from diffconsole.kernels.operators import use
from diffconsole.modules.call import Call
from diffconsole.modules.saturation.module import curve, stream
from diffconsole.modules.saturation.phases import ALLPASS
from diffconsole.modules.saturation.process import saturation
from diffconsole.modules.saturation.row import SATURATION
from diffconsole.strip.amount import at_amount
from diffconsole.strip.channel_strip import ChannelStrip
from diffconsole.strip.parameters import BY_KEY
from tests.reference import error_db, saturate

from .helpers import (
    RATES,
    assert_finite_with_gradients,
    gain_at,
    impulse,
    noise,
    square_wave,
    values,
)

MIDDLE = {"drive_db": 12.0, "bias": 0.3, "mix": 80.0}
HIGHEST = {p.name: p.high for p in SATURATION.parameters}


def run(audio: Tensor, rate: float = 44100, **changes: float) -> Tensor:
    own = {k: values(*[v] * len(audio)) for k, v in (MIDDLE | changes).items()}
    return saturation(audio, rate, **own)


def sine(freq_hz: float, rate: int, level_db: float = 0.0, seconds: float = 1.5) -> Tensor:
    """A tone by its peak in dBFS."""
    place = torch.arange(int(seconds * rate), dtype=torch.float64) / rate
    return (10.0 ** (level_db / 20.0) * torch.sin(2.0 * math.pi * freq_hz * place + 0.3))[
        None, None
    ]


def spectrum(audio: Tensor, rate: int) -> np.ndarray:
    """Amplitude by frequency in whole Hz, of the last second."""
    return np.abs(np.fft.rfft(audio[0, 0, -rate:].numpy())) / (0.5 * rate)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_it_is_the_equation(rate, channels):
    audio = noise(1, channels, rate // 8)
    for settings in (MIDDLE, {"drive_db": 20.0, "bias": -0.8, "mix": 100.0}):
        want = saturate(audio[0].numpy(), rate, settings)
        assert error_db(run(audio, rate, **settings)[0].numpy(), want) <= -250.0
        assert error_db(run(audio.float(), rate, **settings)[0].numpy(), want) <= -120.0


def test_a_small_drive_is_exact_too():
    audio = noise(1, 1, 4000, level=0.05)
    small = {"drive_db": 0.003, "bias": 0.5, "mix": 100.0}
    want = saturate(audio[0].numpy(), 44100, small)
    assert error_db(run(audio, **small)[0].numpy(), want) <= -200.0
    assert error_db(run(audio.float(), **small)[0].numpy(), want) <= -120.0


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_both_kernels_compute_the_same(kind):
    audio, weights = noise(2, 2, 1500).to(kind), noise(2, 2, 1500, seed=1).to(kind)
    for settings in (MIDDLE, {**HIGHEST, "bias": -0.8}, {**MIDDLE, "drive_db": 0.0}):
        found = []
        for kernel in ("cpu", "generic"):
            own = [values(v, v).requires_grad_() for v in settings.values()]
            x = audio.clone().requires_grad_()
            with use(kernel):
                y = saturation(x, 44100, *own)
            (y * weights).sum().backward()
            found.append([y, x.grad, *(s.grad for s in own)])
        exact = 1e-7 if kind == torch.float64 else 2e-4
        for ours, other in zip(*found, strict=True):
            torch.testing.assert_close(ours, other, rtol=exact, atol=exact)


@pytest.mark.parametrize("bias", [0.0, 0.5, -0.8])
@pytest.mark.parametrize("rate", [44100, 48000])
def test_aliases_of_a_5_khz_tone_are_80_db_below_it(rate, bias):
    """At full scale and the highest drive; a tone on whole Hz, so that no bin holds two of them."""
    for freq_hz in (5000, 5003):
        found = spectrum(run(sine(freq_hz, rate), rate, drive_db=20.0, bias=bias, mix=100.0), rate)
        harmonics = found[freq_hz::freq_hz].copy()
        found[::freq_hz] = 0.0
        assert harmonics[2] > 0.1 * harmonics[0], "it is driven hard"
        alias_db = 20.0 * math.log10(found.max() / harmonics[0])
        print(f"{rate} Hz, bias {bias}, {freq_hz} Hz: {alias_db:.1f} dB")
        assert alias_db <= -80.0


def test_bias_makes_even_harmonics_and_nothing_at_0_hz():
    for bias in (0.0, 0.4, -0.4):
        found = spectrum(run(sine(440.0, 48000, -12.0), 48000, bias=bias, mix=100.0), 48000)
        first, second, third = (20.0 * math.log10(found[440 * n] + 1e-12) for n in (1, 2, 3))
        assert third > first - 40.0
        assert (second > first - 30.0) == (bias != 0.0), bias
        assert second < first - 200.0 or bias != 0.0
        assert found[0] < 1e-4, "the constant is blocked"


def test_the_sign_of_the_bias_says_which_half_is_bent():
    audio = noise(1, 1, 3000)
    assert torch.allclose(run(-audio, bias=-0.3), -run(audio, bias=0.3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [0.0, 0.5, -0.8])
@pytest.mark.parametrize("drive_db", [3.0, 12.0, 20.0])
def test_it_keeps_the_level_of_a_sine_of_minus_18_dbfs(drive_db, bias):
    tone = sine(400.0, 48000, -18.0 + 20.0 * math.log10(math.sqrt(2.0)))
    found = run(tone, 48000, drive_db=drive_db, bias=bias, mix=100.0)[..., -48000:]
    assert 10.0 * math.log10(float(found.square().mean())) == pytest.approx(-18.0, abs=0.1)


def test_what_is_not_bent_keeps_its_level_at_every_frequency():
    """Dry and saturated pass the same filters: at every mix they add without a comb."""
    for rate in (44100, 48000):
        response = run(impulse(1 << 15) * 1e-4, rate, mix=50.0)[0, 0]
        bend = gain_at(response, rate, 1000.0)
        for freq_hz in (100.0, 3000.0, 10000.0, 0.4 * rate):
            assert gain_at(response, rate, freq_hz) == pytest.approx(bend, abs=0.03), freq_hz
    saturated, dry, half = (run(noise(1, 1, 2000), mix=m) for m in (100.0, 0.0, 50.0))
    assert torch.allclose(half, 0.5 * (saturated + dry), rtol=0, atol=1e-12)


def test_it_is_late_by_no_more_than_its_filters_are():
    """Low frequencies come 3.4 samples late, less than 0.1 ms."""
    response = run(impulse(1 << 15) * 1e-4, 48000)[0, 0].numpy()
    assert np.abs(response[:16]).max() > 0.3 * np.abs(response).max()
    omega = 2.0 * math.pi * np.array([2000.0, 2001.0]) / 48000
    phases = np.angle(np.exp(-1j * omega[:, None] * np.arange(len(response))) @ response)
    assert -np.diff(phases)[0] / np.diff(omega)[0] == pytest.approx(3.45, abs=0.1)


def test_the_places_lie_an_eighth_of_a_sample_apart():
    omega = np.linspace(0.001, 0.958, 4000) * math.pi
    z = np.exp(-1j * omega)
    filters = np.prod((ALLPASS[..., None] + z) / (1.0 + ALLPASS[..., None] * z), axis=1)
    steps = np.angle(filters[1:] / filters[:-1] * np.exp(-1j * omega / 8.0))
    assert np.abs(steps).max() < 2.5e-4
    assert np.allclose(np.abs(filters), 1.0)


def test_without_drive_or_mix_it_is_off_and_by_default_too():
    row = SATURATION
    assert row.is_idle({"drive_db": 0.0, "bias": 0.5, "mix": 100.0}, ())
    assert row.is_idle({"drive_db": 9.0, "bias": 0.5, "mix": 0.0}, ())
    assert not row.is_idle({"drive_db": 9.0, "bias": 0.0, "mix": 50.0}, ())
    assert not row.is_on_by_default and row.since == 2


@pytest.mark.parametrize("idle", [{"drive_db": 0.0, "bias": 0.5}, {"mix": 0.0}], ids=str)
def test_what_bends_nothing_is_left_out_of_a_preset_and_turns_phases_on_tensors(idle):
    audio = torch.zeros(1, 1, 4096)
    audio[..., 1000] = 0.5
    preset = Preset({"saturation": idle})
    rendered = render(audio[0].numpy(), 44100, preset, tail_seconds=0.0).samples
    assert np.array_equal(rendered, audio[0].numpy())
    settings = {key: values(value) for key, value in preset.settings().items()}
    kept = Console(44100, bypass=preset.bypass())(audio, settings)[0]
    levels = torch.fft.rfft(kept[0].double()).abs()[50:1700] / 0.5
    assert error_db(kept.numpy(), rendered) > -20.0
    assert float((levels - 1.0).abs().max()) < 0.01


def test_amount_scales_the_drive():
    settings = {"saturation.drive_db": 8.0, "saturation.bias": 0.3, "saturation.mix": 60.0}
    scaled = at_amount(settings, set(), 0.5, BY_KEY)
    assert scaled == {**settings, "saturation.drive_db": 4.0}
    strip = ChannelStrip(
        settings, {"eq", "compressor", "pan", "reverb", "input_gain", "output_gain"}
    )
    assert strip.on("saturation") and strip.effective().on("saturation")


def test_gradients_are_those_of_finite_differences():
    audio = noise(1, 2, 200)
    own = [values(v).requires_grad_() for v in MIDDLE.values()]

    def function(x: Tensor, *settings: Tensor) -> Tensor:
        return saturation(x, 16000, *settings)

    assert torch.autograd.gradcheck(
        function, (audio.clone().requires_grad_(), *own), eps=1e-6, atol=1e-7, rtol=1e-4
    )


@pytest.mark.parametrize("kernel", ["cpu", "generic"])
@pytest.mark.parametrize("audio", [torch.zeros(1, 2, 300).double(), square_wave(300, 2)],
                         ids=["silence", "square"])  # fmt: skip
def test_gradients_are_finite_at_the_ends_of_every_range(kernel, audio):
    ends = []
    middle = {p.name: float(p.to_physical(0.5)) for p in SATURATION.parameters}
    for p in SATURATION.parameters:
        ends += [middle | {p.name: p.low}, middle | {p.name: p.high}]
    ends += [{p.name: getattr(p, end) for p in SATURATION.parameters} for end in ("low", "high")]
    with use(kernel):
        assert_finite_with_gradients(lambda x, *s: saturation(x, 44100, *s), ends, audio)
        assert_finite_with_gradients(lambda x, *s: saturation(x, 44100, *s), ends, audio.float())


def test_a_large_signal_stays_finite():
    audio = 1e4 * noise(1, 1, 500).float()
    found = run(audio, mix=100.0)
    assert torch.isfinite(found).all() and float(found.abs().max()) < 10.0


@pytest.mark.parametrize("kernel", ["cpu", "generic"])
@pytest.mark.parametrize("block", [512, 5000])
def test_in_blocks_it_is_the_same(kernel, block):
    audio = noise(1, 2, 20000)
    call = Call(44100, {k: values(v) for k, v in MIDDLE.items()})
    with use(kernel):
        process = stream(audio[..., :block], call)
        parts = [process(audio[..., n : n + block]) for n in range(0, 20000, block)]
        exact = 1e-12 if kernel == "cpu" else 1e-7
        assert torch.allclose(torch.cat(parts, dim=-1), run(audio), rtol=0, atol=exact)


def test_it_is_the_same_every_time_and_on_any_number_of_threads():
    audio = noise(3, 2, 9000).float()
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        x = audio.clone().requires_grad_()
        y = run(x)
        y.square().sum().backward()
        found.append((y.detach(), x.grad))
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_it_compiles_to_one_graph():
    audio = noise(1, 1, 2000).float()
    own = {k: values(v).requires_grad_() for k, v in MIDDLE.items()}
    compiled = torch.compile(saturation, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(audio, 44100, **own), saturation(audio, 44100, **own))


def test_its_curve_is_what_it_does_to_a_slow_signal():
    found = curve(44100, MIDDLE, ())
    at = {round(float(x), 6): float(y) for x, y in zip(found.x, found.lines["output"], strict=True)}
    assert at[0.0] == pytest.approx(0.0, abs=1e-12)
    tone = sine(50.0, 48000, 20.0 * math.log10(0.5))
    shaped = run(tone, 48000)[0, 0, -48000:]
    swing = float(shaped.max() - shaped.min())
    assert swing == pytest.approx(at[0.5] - at[-0.5], rel=0.02)
