"""Reverb: levels, width, pre-delay, cuts, and that its impulse response is all there is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal

from diffconsole.console import impulse_response, reverb
from diffconsole.modules.reverb.noise import band_noise
from diffconsole.modules.reverb.process import band_decays, tail_samples
from diffconsole.strip.parameters import PARAMETERS
from tests import reference

from .helpers import (
    PLACES,
    RATES,
    assert_finite_with_gradients,
    check_gradients,
    full_range_ends,
    noise,
    square_wave,
    values,
)

KEYS = [p.key for p in PARAMETERS if p.section == "reverb"]
ROOM = {
    "pre_delay_ms": 0.0,
    "decay_s": 0.8,
    "low_ratio": 1.1,
    "high_ratio": 0.6,
    "low_cut_hz": 20.0,
    "high_cut_hz": 20000.0,
    "width": 1.0,
}


def room(rate: float, seed: int = 0, dtype=torch.float64, seconds=None, **changes: float):
    settings = {k: values(v) for k, v in (ROOM | changes).items()}
    return impulse_response(rate, **settings, seed=seed, dtype=dtype, seconds=seconds)


def send(audio: torch.Tensor, rate: float, wet_db: float = 0.0, **changes: float) -> torch.Tensor:
    settings = {k: values(*[v] * len(audio)) for k, v in (ROOM | changes).items()}
    return reverb(audio, rate, **settings, wet_db=values(*[wet_db] * len(audio)))


def spectrum(h: torch.Tensor, rate: float) -> tuple[np.ndarray, np.ndarray]:
    length = 1 << (2 * h.shape[-1] - 1).bit_length()
    return np.fft.rfftfreq(length, 1 / rate), np.fft.rfft(h.numpy(), length)


# --- levels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("width", [0.0, 0.5, 1.0])
def test_mean_power_is_1_before_the_cuts(rate, width):
    h = room(rate, decay_s=0.6, width=width)
    frequencies, response = spectrum(h, rate)
    cuts = [
        reference.section("high_pass", rate, 20.0, 0.71),
        reference.section("low_pass", rate, 20000.0, 0.71),
    ]
    _, cut = signal.sosfreqz(np.array(cuts), frequencies, fs=rate)
    part = (frequencies >= 20.0) & (frequencies <= min(20000.0, rate / 2 * 0.999))
    power = np.abs(response[0][:, part]) ** 2 / np.abs(cut[part]) ** 2
    assert power.mean(axis=1) == pytest.approx([1.0, 1.0], abs=0.01)


@pytest.mark.parametrize("wet_db", [-18.0, 0.0, 6.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_wet_against_dry_for_white_noise(wet_db, channels):
    rate = 44100
    dry = torch.zeros(1, channels, 5 * rate, dtype=torch.float64)
    dry[..., : 4 * rate] = noise(1, 1, 4 * rate)
    wet = send(dry, rate, wet_db, decay_s=0.6)
    # what is cut above 20 kHz and below 20 Hz is missing: by Parseval, from the response
    passed = room(rate, decay_s=0.6).square().sum(dim=-1)[0]
    for side in range(2):
        ratio = 10 * math.log10(wet[0, side].square().sum() / dry[0, 0].square().sum())
        expected = wet_db + 10 * math.log10(passed[side])
        assert ratio == pytest.approx(expected, abs=0.25)
        assert expected == pytest.approx(wet_db, abs=1.0)


def test_the_send_is_the_mean_of_the_channels():
    x = noise(1, 2, 3000)
    middle = send(x.mean(dim=1, keepdim=True), 16000)
    assert torch.allclose(send(x, 16000), middle, atol=1e-14)
    opposite = torch.cat((x[:, :1], -x[:, :1]), dim=1)
    assert float(send(opposite, 16000).abs().max()) < 1e-14


def test_wet_db_is_a_gain():
    x = noise(1, 1, 3000)
    assert torch.allclose(send(x, 16000, -10.0) * 10.0, send(x, 16000, 10.0), atol=1e-13)


# --- width ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_width_is_the_correlation_of_the_sides(width):
    found = []
    for seed in range(4):
        left, right = room(44100, seed=seed, width=width)[0].numpy()
        found.append(np.sum(left * right) / np.sqrt(np.sum(left**2) * np.sum(right**2)))
        if width == 0.0:
            assert np.array_equal(left, right)
    assert np.mean(found) == pytest.approx((1 - width**2) / (1 + width**2), abs=0.04)


# --- pre-delay -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("pre_delay_ms", [0.013, 10.37, 119.99])
def test_pre_delay_to_a_fraction_of_a_sample(rate, pre_delay_ms):
    still = room(rate, decay_s=0.3)
    moved = room(rate, decay_s=0.3, pre_delay_ms=pre_delay_ms)
    length = moved.shape[-1]
    _, one = spectrum(torch.nn.functional.pad(still, (0, length - still.shape[-1])), rate)
    frequencies, other = spectrum(moved, rate)
    # the phase between the two, over frequency, after taking out what it should be
    ramp = np.exp(2j * np.pi * frequencies * pre_delay_ms / 1000)
    cross = (other * one.conj() * ramp)[0, 0]
    weight = np.abs(cross)
    slope = np.sum(weight * frequencies * np.angle(cross)) / np.sum(weight * frequencies**2)
    assert abs(-slope / (2 * np.pi) * rate) < 0.01


def test_whole_samples_of_pre_delay_only_shift():
    still, moved = room(16000), room(16000, pre_delay_ms=25.0)
    assert torch.allclose(moved[..., 400:], still[..., : moved.shape[-1] - 400], atol=1e-12)
    assert float(moved[..., :400].abs().max()) < 1e-12


def test_gradient_of_the_pre_delay_is_the_slope_of_the_response():
    rate, step = 44100, 1e-4
    after = room(rate, pre_delay_ms=7.3 + step, seconds=0.1)
    before = room(rate, pre_delay_ms=7.3 - step, seconds=0.1)
    amount = values(7.3).requires_grad_()
    settings = {k: values(v) for k, v in ROOM.items()} | {"pre_delay_ms": amount}
    h = impulse_response(rate, **settings, seconds=0.1, dtype=torch.float64)
    weights = noise(*h.shape)
    (gradient,) = torch.autograd.grad((h * weights).sum(), amount)
    expected = ((after - before) * weights).sum() / (2 * step)
    assert float(gradient) == pytest.approx(float(expected), rel=1e-4)


# --- cuts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16000, 44100, 192000])
def test_cuts_are_the_cookbook_filters(rate):
    plain, cut = room(rate, seconds=0.4), room(rate, seconds=0.4, low_cut_hz=400.0)
    frequencies, one = spectrum(plain, rate)
    _, other = spectrum(cut, rate)
    bands = [reference.section("high_pass", rate, f, 0.71) for f in (20.0, 400.0)]
    _, base = signal.sosfreqz(bands[:1], frequencies, fs=rate)
    _, expected = signal.sosfreqz(bands[1:], frequencies, fs=rate)
    part = (frequencies > 30.0) & (frequencies < 7000.0)
    measured = other[0, 0][part] * base[part]
    difference = np.abs(measured - one[0, 0][part] * expected[part])
    assert np.sum(difference**2) < 1e-6 * np.sum(np.abs(measured) ** 2)


def test_high_cut_removes_the_top():
    def above(h: torch.Tensor) -> float:
        frequencies, response = spectrum(h, 44100)
        return float(np.sum(np.abs(response[0, 0][frequencies > 8000.0]) ** 2))

    fall = 10 * math.log10(above(room(44100, high_cut_hz=1000.0)) / above(room(44100)))
    assert fall < -36.0


# --- the impulse response is the reverb ----------------------------------------------------------


@pytest.mark.parametrize("dtype, limit", [(torch.float64, -200.0), (torch.float32, -110.0)])
def test_any_convolver_gives_the_same_reverb(dtype, limit):
    x = noise(1, 2, 30000).to(dtype)
    changes = {"pre_delay_ms": 12.3, "low_cut_hz": 200.0, "high_cut_hz": 6000.0, "width": 0.4}
    settings = {k: values(v) for k, v in (ROOM | changes).items()}
    y = reverb(x, 44100, **settings, wet_db=values(-9.0))
    assert y.dtype == dtype
    h = room(44100, dtype=dtype, **changes)[0].double().numpy() * 10 ** (-9 / 20)
    dry = x.double().mean(dim=1).numpy()
    expected = signal.fftconvolve(dry, h, axes=-1)[:, :30000]
    assert reference.error_db(y[0], expected) < limit


def test_real_voice_through_the_written_response(real_voices):
    _, samples, rate = real_voices[0]
    x = torch.from_numpy(samples).reshape(1, 1, -1)
    y = send(x, rate, -12.0, decay_s=2.0)
    h = room(rate, dtype=torch.float32, decay_s=2.0)[0].double().numpy() * 10 ** (-12 / 20)
    expected = signal.fftconvolve(samples[None].astype(float), h, axes=-1)[:, : len(samples)]
    assert reference.error_db(y[0], expected) < -110.0


def test_the_same_settings_give_the_same_samples():
    x = noise(1, 1, 5000).float()
    one = send(x, 44100, pre_delay_ms=3.21)
    band_noise.cache_clear()
    assert torch.equal(send(x, 44100, pre_delay_ms=3.21), one)


def test_seeds_give_other_rooms_of_the_same_kind():
    one, other = room(44100, seed=0)[0], room(44100, seed=1)[0]
    correlation = (one * other).sum() / (one.norm() * other.norm())
    assert abs(float(correlation)) < 0.05
    assert float(one.norm() / other.norm()) == pytest.approx(1.0, abs=0.05)


def test_items_do_not_depend_on_their_batch():
    x = noise(2, 1, 40000, seed=3)
    mixed = {k: values(v, v) for k, v in ROOM.items()}
    mixed |= {"decay_s": values(0.2, 1.5), "width": values(1.0, 0.3)}
    mixed |= {"pre_delay_ms": values(4.56, 33.3), "low_cut_hz": values(30.0, 300.0)}
    wet_db = values(-3.0, -20.0)
    together = reverb(x, 44100, **mixed, wet_db=wet_db)
    for i in range(2):
        part = slice(i, i + 1)
        alone = reverb(
            x[part], 44100, **{k: v[part] for k, v in mixed.items()}, wet_db=wet_db[part]
        )
        assert reference.error_db(together[part], alone) < -80.0


def test_length_holds_the_longest_band():
    for low, high in ((4.0, 0.5), (0.5, 1.5), (0.5, 0.5)):
        h = room(16000, decay_s=1.0, low_ratio=low, high_ratio=high, pre_delay_ms=100.0)
        longest = max(1.0, low, high)
        assert h.shape[-1] >= (longest + 0.1) * 16000
        assert tail_samples(16000, 100.0, 1.0, low, high) == pytest.approx(h.shape[-1], abs=2)


def test_decays_on_log_frequency_and_log_time():
    t60 = band_decays(values(2.0), values(4.0), values(0.125))[0].numpy()
    # 63, 125, 250 Hz: 8 s; 500 Hz halfway in log-time; 1 kHz: 2 s; 2, 4 kHz thirds; 8, 16 kHz
    assert t60 == pytest.approx([8, 8, 8, 4, 2, 1, 0.5, 0.25, 0.25], rel=1e-12)


# --- odd sizes, gradients ------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_one_sample(rate, channels):
    y = send(torch.full((1, channels, 1), 0.5), rate, 0.0, decay_s=0.1)
    assert y.shape == (1, 2, 1)
    expected = room(rate, dtype=torch.float32, decay_s=0.1)[..., :1] * 0.5
    assert torch.allclose(y, expected, rtol=1e-4, atol=1e-6)


def short(rate: float):
    def run(x: torch.Tensor, *settings: torch.Tensor) -> torch.Tensor:
        return reverb(x, rate, *settings, seconds=0.02)

    return run


@pytest.mark.parametrize("place", list(PLACES.values()), ids=list(PLACES))
def test_gradcheck_of_the_settings(place):
    """Long enough for the pre-delay; the output in eight random projections."""
    x = torch.nn.functional.pad(noise(1, 2, 6), (0, 2000))
    projections = noise(2, 2006, 4, seed=9)
    table = [p for p in PARAMETERS if p.section == "reverb"]

    def run(*unit: torch.Tensor) -> torch.Tensor:
        y = short(16000)(x, *(p.to_physical(u) for p, u in zip(table, unit, strict=True)))
        return torch.einsum("bcn,cnk->bck", y, projections)

    normalised = [torch.tensor([place], dtype=torch.float64, requires_grad=True) for _ in KEYS]
    # 0…1 of the pre-delay is 1920 samples: its third derivative wants the small step
    assert torch.autograd.gradcheck(run, normalised, eps=1e-7, atol=1e-5, rtol=1e-4)


def test_gradcheck_in_audio_and_settings(kernel):
    check_gradients(short(16000), KEYS, noise(1, 2, 4), PLACES["low"])


@pytest.mark.parametrize("rate", [16000, 96000])
@pytest.mark.parametrize("audio", [torch.zeros(1, 1, 64).double(), square_wave(64, 2)])
def test_finite_at_every_end(kernel, rate, audio):
    assert_finite_with_gradients(short(rate), full_range_ends(KEYS), audio)


def test_finite_at_the_ends_at_full_length():
    rate = 16000

    def run(x: torch.Tensor, *settings: torch.Tensor) -> torch.Tensor:
        return reverb(x, rate, *settings)

    for settings in list(full_range_ends(KEYS))[:2]:
        assert_finite_with_gradients(run, [settings], square_wave(3000).float())
