"""Compressor: time constants at 63 %, points of the static curve, linking, exactness."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffconsole.console import compressor
from diffconsole.modules.compressor.process import smoothing, static_curve_db
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

KEYS = [p.key for p in PARAMETERS if p.section == "compressor"]
MIDDLE = {
    "threshold_db": -20.0,
    "ratio": 4.0,
    "attack_ms": 2.0,
    "release_ms": 50.0,
    "knee_db": 6.0,
    "makeup_db": 3.0,
}


def run(audio: torch.Tensor, rate: float = 48000, **changes: float) -> torch.Tensor:
    settings = {k: values(*[v] * len(audio)) for k, v in (MIDDLE | changes).items()}
    return compressor(audio, rate, **settings)


def steady_level(level_db: float, samples: int) -> torch.Tensor:
    """Alternating ±level: the detector sees a constant."""
    sign = torch.where(torch.arange(samples) % 2 == 0, 1.0, -1.0).to(torch.float64)
    return (sign * 10 ** (level_db / 20)).reshape(1, 1, -1)


# --- time constants ------------------------------------------------------------------------------


def crossing_ms(before: float, after: float, rate: int, attack_ms: float, release_ms: float):
    """Time from a step of the input to 63 % of the way, the level read back from the gain."""
    hold = int(rate * (12 * max(attack_ms, release_ms) / 1000 + 0.01))
    x = torch.cat((steady_level(before, hold), steady_level(after, hold)), dim=-1)
    threshold, ratio = -80.0, 4.0
    y = run(
        x, rate, threshold_db=threshold, ratio=ratio, attack_ms=attack_ms, release_ms=release_ms,
        knee_db=0.0, makeup_db=0.0,
    )  # fmt: skip
    gain_db = 20.0 * torch.log10(y / x)[0, 0]
    level = 10.0 ** ((threshold + gain_db / (1 / ratio - 1)) / 20.0)
    start, end = 10 ** (before / 20), 10 ** (after / 20)
    travelled = ((level[hold - 1 :] - start) / (end - start)).numpy()
    assert travelled[0] == pytest.approx(0.0, abs=1e-3)
    assert travelled[-1] == pytest.approx(1.0, abs=1e-3)
    return float(np.interp(1 - math.exp(-1), travelled, np.arange(len(travelled)))) * 1000 / rate


@pytest.mark.parametrize("rate", [16000, 44100, 192000])
@pytest.mark.parametrize("attack_ms, release_ms", [(1.0, 60.0), (80.0, 5.0), (20.0, 20.0)])
def test_attack_and_release_reach_63_percent_in_their_times(rate, attack_ms, release_ms):
    """Two things, each heard, also when the attack is the longer."""
    rise = crossing_ms(-30.0, -6.0, rate, attack_ms, release_ms)
    fall = crossing_ms(-6.0, -30.0, rate, attack_ms, release_ms)
    # linear interpolation between samples bends an exponential by a fraction of a sample
    slack = 150.0 / rate
    assert rise == pytest.approx(attack_ms, abs=slack)
    assert fall == pytest.approx(release_ms, abs=slack)


def test_time_constants_of_the_generic_kernel(kernel):
    assert crossing_ms(-30.0, -6.0, 16000, 40.0, 4.0) == pytest.approx(40.0, abs=0.01)
    assert crossing_ms(-6.0, -30.0, 16000, 40.0, 4.0) == pytest.approx(4.0, abs=0.01)


def test_smoothing_coefficient():
    assert float(smoothing(values(10.0), 48000)) == pytest.approx(math.exp(-1 / 480), rel=1e-12)


# --- static curve --------------------------------------------------------------------------------

CURVE = [
    # level, threshold, ratio, knee, expected
    (-40.0, -20.0, 4.0, 0.0, -40.0),
    (-20.0, -20.0, 4.0, 0.0, -20.0),
    (-8.0, -20.0, 4.0, 0.0, -17.0),
    (-24.0, -20.0, 4.0, 8.0, -24.0),  # where the knee begins
    (-20.0, -20.0, 4.0, 8.0, -20.75),  # its middle: (1/R − 1)·W/8
    (-16.0, -20.0, 4.0, 8.0, -19.0),  # where it ends
    (-18.0, -20.0, 2.0, 12.0, -19.33333333),  # (1/2 − 1)·8²/24
    (-4.0, -20.0, 4.0, 8.0, -16.0),
    (0.0, -60.0, 20.0, 24.0, -57.0),
    (0.0, 0.0, 20.0, 0.0, 0.0),
    (-3.0, -20.0, 1.0, 6.0, -3.0),
]


@pytest.mark.parametrize("level, threshold, ratio, knee, expected", CURVE)
def test_points_of_the_static_curve(kernel, level, threshold, ratio, knee, expected):
    curve = static_curve_db(values(level), values(threshold), values(ratio), values(knee))
    assert float(curve) == pytest.approx(expected, abs=1e-7)
    x = steady_level(level, 2000)
    y = run(
        x, 16000, threshold_db=threshold, ratio=ratio, knee_db=knee, attack_ms=0.05, makeup_db=0.0
    )
    found = 20 * math.log10(float(y[0, 0, -1].abs()))
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_curve_is_smooth_in_its_knee_and_hard_without():
    level = torch.linspace(-40.0, 0.0, 40001, dtype=torch.float64)
    for knee, bend in ((10.0, (1 - 1 / 5) / 10), (0.0, None)):
        curve = static_curve_db(level, values(-20.0), values(5.0), values(knee))
        slope = torch.diff(curve) / torch.diff(level)
        step = torch.diff(slope).abs().max()
        assert float(slope[0]) == pytest.approx(1.0)
        assert float(slope[-1]) == pytest.approx(0.2)
        if bend is None:
            assert float(step) > 0.39
        else:
            assert float(step) == pytest.approx(bend * 0.001, rel=0.01)


def test_makeup_is_a_gain():
    x = noise(1, 1, 3000)
    assert torch.allclose(run(x, makeup_db=15.0), run(x, makeup_db=-5.0) * 10.0, rtol=1e-12)


def test_ratio_1_changes_nothing(kernel):
    x = noise(1, 2, 3000)
    assert torch.allclose(run(x, ratio=1.0, makeup_db=0.0), x, rtol=1e-14, atol=0.0)


def test_below_the_threshold_nothing_changes(kernel):
    x = noise(1, 1, 3000, level=0.001)
    assert torch.allclose(run(x, threshold_db=-20.0, makeup_db=0.0), x, rtol=1e-14, atol=0.0)


# --- channels, items, exactness ------------------------------------------------------------------


def test_channels_are_linked_by_their_maximum(kernel):
    x = noise(1, 2, 4000, seed=2)
    x[:, 1] *= 0.1
    loudest = x.abs().amax(dim=1, keepdim=True)
    gain = run(loudest) / loudest
    assert torch.allclose(run(x), x * gain, rtol=1e-9, atol=1e-12)
    mono = run(x[:, 1:])
    assert reference.error_db(run(x)[:, 1:], mono) > -40.0


def test_order_of_the_channels_does_not_matter(kernel):
    x = noise(1, 2, 2000, seed=3)
    assert torch.equal(run(x).flip(1), run(x.flip(1)))


def test_the_longer_attack_has_its_own_release(kernel):
    """Swapping the two times must not give the same sound: both are heard."""
    x = noise(1, 1, 8000, seed=4)
    one, other = run(x, attack_ms=50.0, release_ms=5.0), run(x, attack_ms=5.0, release_ms=50.0)
    assert reference.error_db(one, other) > -30.0


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("attack_ms, release_ms", [(0.05, 3.0), (3.0, 120.0), (150.0, 3.0)])
def test_against_the_sample_by_sample_reference(kernel, rate, attack_ms, release_ms):
    x = noise(1, 2, 9000, seed=5) * torch.linspace(0.0, 2.0, 9000).sin().double()
    changed = MIDDLE | {"attack_ms": attack_ms, "release_ms": release_ms}
    expected = reference.compress(x[0].numpy(), rate, changed)
    assert reference.error_db(run(x, rate, **changed)[0], expected) < -220.0
    single = run(x.float(), rate, **changed)
    assert single.dtype == torch.float32
    assert reference.error_db(single[0], expected) < -135.0


def test_items_are_independent(kernel):
    x = noise(3, 1, 3000, seed=6)
    settings = [
        values(-30.0, -10.0, -50.0), values(2.0, 20.0, 5.0), values(0.1, 100.0, 3.0),
        values(300.0, 5.0, 30.0), values(0.0, 24.0, 6.0), values(0.0, 5.0, -5.0),
    ]  # fmt: skip
    together = compressor(x, 44100, *settings)
    for i in range(3):
        alone = compressor(x[i : i + 1], 44100, *(s[i : i + 1] for s in settings))
        assert torch.allclose(together[i : i + 1], alone, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("channels", [1, 2])
def test_one_sample(kernel, channels):
    x = torch.full((1, channels, 1), 0.9, dtype=torch.float64)
    expected = reference.compress(x[0].numpy(), 48000, MIDDLE)
    assert run(x)[0].numpy() == pytest.approx(expected, rel=1e-12)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", list(PLACES.values()), ids=list(PLACES))
def test_gradcheck(kernel, place):
    check_gradients(lambda x, *s: compressor(x, 16000, *s), KEYS, noise(2, 2, 30), place)


@pytest.mark.parametrize("swap", [False, True], ids=["attack short", "attack long"])
def test_gradcheck_in_the_knee_with_settings_at_opposite_ends(kernel, swap):
    # threshold about −12 dB, ratio high, knee low or high, attack and release at opposite ends
    low, high = PLACES["low"], PLACES["high"]
    times = [high, low] if swap else [low, high]
    for knee in (low, high):
        places = [0.8, high, *times, knee, 0.5, 0.4]
        check_gradients(lambda x, *s: compressor(x, 16000, *s), KEYS, noise(1, 2, 30), places)


def test_gradients_of_attack_and_release_point_the_right_way():
    """A longer attack lets more of a rise through; a longer release holds down what follows."""
    rise = torch.cat((steady_level(-60.0, 2000), steady_level(0.0, 2000)), dim=-1)
    fall = torch.cat((steady_level(0.0, 2000), steady_level(-15.0, 2000)), dim=-1)
    for x, moving, sign in ((rise, 2, 1.0), (fall, 3, -1.0)):
        settings = [values(v).requires_grad_() for v in (-30.0, 8.0, 5.0, 20.0, 0.0, 0.0)]
        compressor(x, 48000, *settings)[..., 2000:].square().sum().backward()
        assert settings[moving].grad is not None
        assert settings[moving].grad.item() * sign > 1e-3


@pytest.mark.parametrize("rate", [16000, 192000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sound", ["silence", "square", "sparse"])
def test_finite_at_every_end(kernel, rate, channels, sound):
    audio = {
        "silence": torch.zeros(1, channels, 200, dtype=torch.float64),
        "square": square_wave(200, channels),
        "sparse": torch.zeros(1, channels, 200, dtype=torch.float64),
    }[sound]
    if sound == "sparse":
        audio[..., 100] = 1.0
    assert_finite_with_gradients(
        lambda x, *s: compressor(x, rate, *s), full_range_ends(KEYS), audio
    )


def test_knee_0_has_the_gradient_of_the_hard_knee(kernel):
    """dasp-pytorch's is NaN here."""
    gradients = []
    for knee in (0.0, 1e-9):
        x = noise(1, 1, 500, seed=8).requires_grad_()
        run(x, knee_db=knee).square().sum().backward()
        gradients.append(x.grad)
    assert torch.isfinite(gradients[0]).all()
    assert torch.allclose(*gradients, atol=1e-9)


def test_silence_stays_silent(kernel):
    assert float(run(torch.zeros(1, 2, 500)).abs().max()) == 0.0


# --- mix -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mix", [0.0, 1.0, 37.5, 99.0, 100.0])
@pytest.mark.parametrize("attack_ms, release_ms", [(0.05, 3.0), (3.0, 120.0), (150.0, 3.0)])
def test_a_mix_is_the_sum_of_dry_and_compressed(kernel, mix, attack_ms, release_ms):
    x = noise(1, 2, 5000, seed=11) * torch.linspace(0.0, 2.0, 5000).sin().double()
    times = {"attack_ms": attack_ms, "release_ms": release_ms}
    compressed = reference.compress(x[0].numpy(), 48000, MIDDLE | times)
    expected = (1.0 - mix / 100.0) * x[0].numpy() + mix / 100.0 * compressed
    y = run(x, mix=mix, **times)
    assert reference.error_db(y[0], expected) < -220.0
    assert reference.error_db(run(x.float(), mix=mix, **times)[0], expected) < -130.0


def test_a_mix_of_100_percent_is_no_mix_to_the_bit(kernel):
    for x in (noise(2, 2, 5000, seed=12), noise(2, 1, 5000, seed=12).float()):
        gradients = []
        for changes in ({}, {"mix": 100.0}):
            x = x.detach().requires_grad_()
            settings = {k: values(v, v).requires_grad_() for k, v in (MIDDLE | changes).items()}
            y = compressor(x, 48000, **settings)
            y.square().sum().backward()
            gradients.append([y, x.grad, *(settings[k].grad for k in MIDDLE)])
        assert all(map(torch.equal, *gradients))


def test_items_with_and_without_dry_signal_stand_side_by_side(kernel):
    x = noise(3, 1, 3000, seed=13)
    settings = {k: values(v, v, v) for k, v in MIDDLE.items()}
    together = compressor(x, 48000, **settings, mix=values(100.0, 40.0, 0.0))
    assert torch.equal(together[:1], run(x[:1]))
    assert torch.equal(together[1:2], run(x[1:2], mix=40.0))
    assert torch.allclose(together[2:], x[2:], rtol=1e-14, atol=0.0)


def test_a_gain_of_the_output_reaches_the_dry_signal(kernel):
    x = noise(1, 2, 3000, seed=14)
    settings = {k: values(v) for k, v in (MIDDLE | {"mix": 30.0}).items()}
    louder = settings | {"makeup_db": settings["makeup_db"] + 6.0}
    y = compressor(x, 48000, **louder, after_db=values(6.0))
    factor = 10.0 ** (6.0 / 20.0)
    assert reference.error_db(y, factor * compressor(x, 48000, **settings)) < -280.0


def test_the_gradient_in_mix_is_that_of_the_sum(kernel):
    """Where all or nothing is compressed, too: the derivative goes on past both ends."""
    x = noise(1, 1, 3000, seed=15)
    weights = noise(1, 1, 3000, seed=16)
    difference = float(((run(x) - x) * weights).sum()) / 100.0
    for mix in (0.0, 25.0, 100.0):
        settings = {k: values(v).requires_grad_() for k, v in (MIDDLE | {"mix": mix}).items()}
        (compressor(x, 48000, **settings) * weights).sum().backward()
        assert settings["mix"].grad.item() == pytest.approx(difference, rel=1e-9)


def test_long_rows_mix_across_their_segments():
    """Longer than a segment of the CPU's kernel: what is carried over is scaled, too."""
    x = noise(1, 1, 1_200_000, seed=17).float()
    times = {"attack_ms": 5.0, "release_ms": 2000.0}
    given = MIDDLE | times
    gradients = []
    for mix in (100.0, 50.0):
        y = x.clone().requires_grad_()
        settings = {k: values(v).requires_grad_() for k, v in (given | {"mix": mix}).items()}
        compressor(y, 48000, **settings).sum().backward()
        gradients.append([y.grad.double() - 1.0 + mix / 100.0, settings["release_ms"].grad])
    for whole, half in zip(*gradients, strict=True):
        assert reference.error_db(2.0 * half.numpy(), whole.numpy()) < -90.0


def test_parallel_compression_lifts_what_is_soft():
    """At a high ratio with make-up: peaks stay where the dry signal has them, soft parts rise."""
    soft, loud = steady_level(-40.0, 24000), steady_level(-3.0, 24000)
    settings = {"threshold_db": -40.0, "ratio": 20.0, "makeup_db": 12.0, "knee_db": 0.0}
    rises = [
        float(20.0 * torch.log10(run(x, mix=40.0, **settings)[0, 0, -1].abs() / x[0, 0, -1].abs()))
        for x in (soft, loud)
    ]
    wet = 0.4 * 10.0 ** (12.0 / 20.0)
    assert rises[0] == pytest.approx(20.0 * math.log10(0.6 + wet), abs=1e-3)
    reduced = 10.0 ** (-37.0 * 0.95 / 20.0)
    assert rises[1] == pytest.approx(20.0 * math.log10(0.6 + wet * reduced), abs=1e-3)
    assert rises[0] > 6.0 > -3.0 > rises[1]
