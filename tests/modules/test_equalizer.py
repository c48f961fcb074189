"""Equalizer: gains at corners and centres, slopes, exactness against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal

from diffconsole.console import equalizer, high_pass, high_shelf, low_pass, low_shelf, peak
from diffconsole.errors import SettingsError
from diffconsole.kernels import operators as kernels
from diffconsole.modules.equalizer.process import coefficients, equalizer_sections, response
from diffconsole.strip.parameters import EQ_BANDS, PARAMETERS
from tests import reference

from .helpers import RATES, gain_at, impulse, noise, values

EQ_KEYS = [p.key for p in PARAMETERS if p.section.startswith("eq.")]
KINDS = ("high_pass", "low_pass", "low_shelf", "high_shelf", "peaking")


def random_settings(seed: int, batch: int = 1) -> dict[str, torch.Tensor]:
    units = np.random.default_rng(seed).random((len(EQ_KEYS), batch))
    table = {p.key: p for p in PARAMETERS}
    return {
        key: torch.from_numpy(np.asarray(table[key].to_physical(u)))
        for key, u in zip(EQ_KEYS, units, strict=True)
    }


def plain(settings: dict[str, torch.Tensor], item: int = 0) -> dict[str, float]:
    return {key: float(value[item]) for key, value in settings.items()}


# --- cuts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("q", [math.sqrt(0.5), 0.5, 3.0])
def test_gain_at_a_cutoff_is_q(kernel, rate, q):
    h = high_pass(impulse(rate), rate, values(200.0), values(q))[0, 0]
    assert gain_at(h, rate, 200.0) == pytest.approx(20 * math.log10(q), abs=1e-6)
    h = low_pass(impulse(rate // 4), rate, values(5000.0), values(q))[0, 0]
    assert gain_at(h, rate, 5000.0) == pytest.approx(20 * math.log10(q), abs=1e-6)


def test_minus_3_db_at_the_cutoff_of_a_butterworth():
    h = high_pass(impulse(48000), 48000, values(90.0), values(0.7071))[0, 0]
    assert gain_at(h, 48000, 90.0) == pytest.approx(-3.01, abs=0.005)


def test_cuts_fall_by_12_db_an_octave():
    h = high_pass(impulse(48000), 48000, values(1000.0), values(0.7071))[0, 0]
    assert gain_at(h, 48000, 100.0) - gain_at(h, 48000, 50.0) == pytest.approx(12.04, abs=0.05)
    assert gain_at(h, 48000, 20000.0) == pytest.approx(0.0, abs=0.01)
    h = low_pass(impulse(48000), 192000, values(500.0), values(0.7071))[0, 0]
    assert gain_at(h, 192000, 4000.0) - gain_at(h, 192000, 8000.0) == pytest.approx(12.1, abs=0.15)
    assert gain_at(h, 192000, 0.0) == pytest.approx(0.0, abs=1e-6)


def test_cuts_remove_dc_and_nyquist():
    h = high_pass(impulse(48000), 48000, values(200.0), values(0.71))[0, 0]
    assert gain_at(h, 48000, 0.0) < -200.0
    h = low_pass(impulse(48000), 48000, values(5000.0), values(0.71))[0, 0]
    assert gain_at(h, 48000, 24000.0) < -200.0


# --- bells and shelves -------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("gain_db", [-15.0, -3.0, 6.0, 15.0])
def test_gain_of_a_bell_at_its_centre(kernel, rate, gain_db):
    h = peak(impulse(rate // 2), rate, values(1200.0), values(gain_db), values(2.0))[0, 0]
    assert gain_at(h, rate, 1200.0) == pytest.approx(gain_db, abs=1e-6)
    assert gain_at(h, rate, 0.0) == pytest.approx(0.0, abs=1e-6)
    assert gain_at(h, rate, rate / 2) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("q", [0.2, 1.0, 5.0, 20.0])
def test_q_of_a_bell_is_centre_over_width_at_half_gain(q):
    rate, centre, gain_db = 96000, 500.0, 9.0
    h = peak(impulse(rate), rate, values(centre), values(gain_db), values(q))[0, 0]
    # The two frequencies with half the gain in dB: product centre², difference centre/Q, on the
    # axis that the bilinear transform bends.
    half = 0.5 / q
    for warped in (math.sqrt(1 + half**2) - half, math.sqrt(1 + half**2) + half):
        place = math.atan(warped * math.tan(math.pi * centre / rate)) * rate / math.pi
        assert gain_at(h, rate, place) == pytest.approx(gain_db / 2, abs=1e-4)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("q", [0.3, 0.71, 3.0])
@pytest.mark.parametrize("gain_db", [-15.0, 4.0, 15.0])
def test_shelves(kernel, rate, q, gain_db):
    low = low_shelf(impulse(rate), rate, values(180.0), values(gain_db), values(q))[0, 0]
    assert gain_at(low, rate, 0.0) == pytest.approx(gain_db, abs=1e-5)
    assert gain_at(low, rate, 180.0) == pytest.approx(gain_db / 2, abs=1e-5)
    assert gain_at(low, rate, rate / 2) == pytest.approx(0.0, abs=1e-5)
    high = high_shelf(impulse(rate), rate, values(5000.0), values(gain_db), values(q))[0, 0]
    assert gain_at(high, rate, 0.0) == pytest.approx(0.0, abs=1e-5)
    assert gain_at(high, rate, 5000.0) == pytest.approx(gain_db / 2, abs=1e-5)
    assert gain_at(high, rate, rate / 2) == pytest.approx(gain_db, abs=1e-5)


def test_boost_then_cut_is_nothing():
    x = noise(1, 2, 4000)
    boosted = peak(x, 44100, values(900.0), values(8.0), values(1.3))
    back = peak(boosted, 44100, values(900.0), values(-8.0), values(1.3))
    assert reference.error_db(back, x) < -250.0


# --- the whole EQ ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seed", range(3))
def test_impulse_response_against_scipy(kernel, rate, seed):
    settings = random_settings(seed)
    expected = signal.sosfilt(
        reference.sections(rate, plain(settings)), impulse(rate // 2)[0].numpy()
    )
    output = equalizer(impulse(rate // 2), rate, settings)[0].numpy()
    # 160 dB is what the frequency-sampling kernel leaves of the ringing that wraps around
    assert reference.error_db(output, expected) < (-190.0 if kernel == "cpu" else -140.0)


def test_low_bands_are_exact_in_float32(kernel):
    """Coefficients and states stay in float64: dasp-pytorch in float32 is off by −28 dB here."""
    x = noise(1, 1, 96000, seed=1).float()
    settings = {"eq.high_pass.freq_hz": values(16.0), "eq.high_pass.q": values(6.0)}
    settings |= {"eq.low_shelf.freq_hz": values(30.0), "eq.low_shelf.gain_db": values(15.0)}
    settings |= {"eq.low_shelf.q": values(3.0)}
    off = {f"eq.{band}" for band in EQ_BANDS[2:]}
    output = equalizer(x, 192000, settings, off)
    rows = reference.sections(192000, plain(settings), off)
    expected = signal.sosfilt(rows, x.double().numpy())
    assert output.dtype == torch.float32
    assert reference.error_db(output, expected) < -130.0


def test_response_is_the_transform_of_the_impulse_response():
    settings = random_settings(4)
    sections = equalizer_sections(48000, settings)
    h = equalizer(impulse(1 << 17), 48000, settings)[0, 0]
    frequencies = torch.arange(1 << 16) * 48000 / (1 << 17)
    curve = response(sections, 48000, frequencies)[0].prod(dim=0)
    assert torch.allclose(curve, torch.fft.rfft(h)[:-1], atol=1e-8)


def test_a_bypassed_band_is_left_out(kernel):
    x, settings = noise(1, 1, 3000), random_settings(5)
    for band in EQ_BANDS:
        off = [f"eq.{b}" for b in EQ_BANDS if b != band]
        alone = equalizer(x, 48000, settings, off)
        rows = reference.sections(48000, plain(settings), off)
        assert reference.error_db(alone, signal.sosfilt(rows, x.numpy())) < -140.0


def test_all_bands_bypassed_returns_the_audio_and_needs_no_settings():
    x = noise(2, 2, 100)
    off = {f"eq.{band}" for band in EQ_BANDS}
    assert equalizer(x, 48000, {}, off) is x
    assert equalizer_sections(48000, random_settings(0, batch=2), off).shape == (2, 0, 5)


def test_flat_bands_change_nothing(kernel):
    settings = random_settings(6)
    for band in EQ_BANDS[1:-1]:
        settings[f"eq.{band}.gain_db"] = values(0.0)
    x = noise(1, 2, 3000)
    y = equalizer(x, 44100, settings, {"eq.high_pass", "eq.low_pass"})
    assert reference.error_db(y, x) < -200.0


@pytest.mark.parametrize("kind", KINDS)
def test_frequencies_are_clamped_at_0_49_of_the_rate(kind):
    at = coefficients(kind, 16000, values(7840.0), values(0.8), values(6.0))
    for freq_hz in (7900.0, 8000.0, 18000.0):
        freq = values(freq_hz).requires_grad_()
        clamped = coefficients(kind, 16000, freq, values(0.8), values(6.0))
        assert torch.equal(clamped, at)
        clamped.sum().backward()
        assert freq.grad is not None
        assert float(freq.grad) == 0.0
    below = coefficients(kind, 16000, values(7000.0), values(0.8), values(6.0))
    assert not torch.allclose(below, at, rtol=1e-3)


def test_stable_at_every_corner_of_the_table():
    for rate in RATES:
        for kind, low_hz, high_hz, qs in (
            ("high_pass", 16.0, 1000.0, (0.3, 6.0)),
            ("low_pass", 4000.0, 20000.0, (0.3, 6.0)),
            ("low_shelf", 30.0, 450.0, (0.3, 3.0)),
            ("high_shelf", 750.0, 16000.0, (0.3, 3.0)),
            ("peaking", 60.0, 18000.0, (0.2, 20.0)),
        ):
            for freq_hz in (low_hz, high_hz):
                for q in qs:
                    for gain_db in (-15.0, 15.0):
                        row = coefficients(kind, rate, values(freq_hz), values(q), values(gain_db))[
                            0
                        ]
                        poles = np.roots([1.0, float(row[3]), float(row[4])])
                        assert np.abs(poles).max() < 1.0, (kind, rate, freq_hz, q, gain_db)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_one_sample(kernel, rate, channels):
    settings = random_settings(7)
    y = equalizer(torch.full((1, channels, 1), 0.5, dtype=torch.float64), rate, settings)
    first = np.prod(reference.sections(rate, plain(settings))[:, 0])
    assert y.numpy() == pytest.approx(0.5 * first, rel=1e-7)


def test_channels_and_items_are_independent(kernel):
    x, settings = noise(3, 2, 5000, seed=3), random_settings(8, batch=3)
    together = equalizer(x, 44100, settings)
    for item in range(3):
        alone = {key: value[item : item + 1] for key, value in settings.items()}
        for channel in range(2):
            part = x[item : item + 1, channel : channel + 1]
            y = equalizer(part, 44100, alone)
            found = together[item : item + 1, channel : channel + 1]
            assert reference.error_db(found, y) < (-300.0 if kernel == "cpu" else -140.0)


@pytest.mark.parametrize(
    "audio, words",
    [
        (torch.zeros(3, 100), "(3, 100)"),
        (torch.zeros(1, 3, 100), "1 or 2 channels"),
        (torch.zeros(1, 1, 0), "(1, 1, 0)"),
        (torch.zeros(1, 1, 10, dtype=torch.int16), "int16"),
        (torch.zeros(1, 1, 10, dtype=torch.float16), "float32 or float64"),
    ],
)
def test_wrong_audio_is_refused(audio, words):
    with pytest.raises(SettingsError) as error:
        peak(audio, 48000, values(1000.0), values(3.0), values(1.0))
    assert words in str(error.value)


def test_unknown_kernel_is_refused():
    with kernels.use("fast"), pytest.raises(SettingsError, match="'fast'.*cpu, gpu, generic"):
        low_pass(impulse(4), 48000, values(5000.0), values(0.7))
