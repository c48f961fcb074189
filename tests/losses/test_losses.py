"""The distance to a mix: the published one, differentiable, and safe for silence."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import auraloss
import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from diffconsole.losses import distance as losses
from diffconsole.losses import mix_distance, mix_distance_terms, spectral_distance
from diffconsole.losses.terms import REPORTED

from ..synthetic import RATE, mixed, voice

RESOLUTIONS = {
    "fft_sizes": [128, 512, 2048],
    "hop_sizes": [32, 128, 512],
    "win_lengths": [128, 512, 2048],
}


def stereo(seed: int, seconds: float = 0.5) -> Tensor:
    """Two unlike sides, ``(1, 2, samples)`` float64."""
    sides = np.stack([voice(seconds, seed), 0.6 * voice(seconds, seed + 100)])
    return torch.from_numpy(sides).double()[None]


@pytest.fixture(scope="module")
def raw_and_mix() -> tuple[Tensor, Tensor]:
    """A synthetic voice and the console's mix of it, ``(1, channels, samples)``."""
    raw = voice(2.0, 1)
    mix = mixed(raw, {"compressor.ratio": 8.0, "eq.high_shelf.gain_db": 6.0})
    return torch.from_numpy(raw)[None, None], torch.from_numpy(mix)[None]


def mixscore() -> ModuleType:
    """The script that the published figures come from, where it lies beside the project."""
    path = Path(__file__).resolve().parents[3] / "shared" / "tools" / "mixscore.py"
    if not path.is_file():
        pytest.skip("no ../shared/tools/mixscore.py beside the project")
    spec = importlib.util.spec_from_file_location("mixscore", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Against auraloss


def test_spectral_terms_are_those_of_auraloss() -> None:
    ours = mix_distance_terms(stereo(1).float(), stereo(2).float(), RATE)
    weighting = auraloss.perceptual.FIRFilter("aw", fs=RATE).fir.weight.detach()
    # As a convolution: the filter is symmetric, and a half of its taps lies before a sample.
    weighed = [
        torch.nn.functional.conv1d(x[0].float()[:, None], weighting, padding=50)[:, 0][None]
        for x in (stereo(1), stereo(2))
    ]
    left_right = auraloss.freq.MultiResolutionSTFTLoss(**RESOLUTIONS)
    mid_side = auraloss.freq.SumAndDifferenceSTFTLoss(**RESOLUTIONS)
    assert float(ours["mss_lr"]) == pytest.approx(float(left_right(*weighed)), rel=1e-4)
    assert float(ours["mss_ms"]) == pytest.approx(float(mid_side(*weighed)), rel=1e-4)


@pytest.mark.parametrize(
    ("freq_hz", "expected_db"), [(500.0, -3.2), (1000.0, 0.0), (4000.0, 1.0), (8000.0, -1.1)]
)
def test_the_weighting_is_curve_a(freq_hz: float, expected_db: float) -> None:
    """IEC 61672 at octave centres, as near as a filter of 101 taps comes."""
    from diffconsole.losses.weighting import a_weighted

    sine = torch.sin(2 * torch.pi * freq_hz / RATE * torch.arange(RATE, dtype=torch.float64))
    inside = slice(1000, -1000)
    weighted = a_weighted(sine[None, None], RATE)[0, 0, inside]
    gain_db = 20.0 * float((weighted.norm() / sine[inside].norm()).log10())
    assert gain_db == pytest.approx(expected_db, abs=0.8)


def test_spectral_distance_of_a_gain_is_its_size() -> None:
    """Half the amplitude: convergence ½ and log magnitudes ln 2 apart, at every resolution."""
    loud = torch.from_numpy(np.random.default_rng(0).normal(0.0, 0.3, (1, 1, 8192)))
    assert float(spectral_distance(loud / 2, loud)) == pytest.approx(0.5 + np.log(2.0), abs=1e-3)


# The terms


def test_identity_is_zero(raw_and_mix: tuple[Tensor, Tensor]) -> None:
    terms = mix_distance_terms(raw_and_mix[1], raw_and_mix[1], RATE)
    assert set(terms) == {*REPORTED, "total"}
    assert all(float(value) == 0.0 for value in terms.values())


def test_total_is_the_weighted_sum() -> None:
    terms = mix_distance_terms(stereo(1), stereo(2), RATE)
    total = (
        terms["mss_lr"] + 0.5 * terms["mss_ms"] + 0.5 * terms["mldr_lr"] + 0.25 * terms["mldr_ms"]
    )
    assert all(float(terms[name]) > 0.1 for name in REPORTED)
    assert float(terms["total"]) == pytest.approx(float(total), rel=1e-12)
    assert float(mix_distance(stereo(1), stereo(2), RATE)) == float(terms["total"])


def test_exchanging_the_sides_moves_only_left_and_right() -> None:
    target = stereo(1)
    terms = mix_distance_terms(target.flip(1), target, RATE)
    assert float(terms["mss_ms"]) < 1e-9
    assert float(terms["mldr_ms"]) < 1e-9
    assert float(terms["mss_lr"]) > 0.3
    assert float(terms["mldr_lr"]) > 0.1


def test_mono_counts_as_two_equal_sides(raw_and_mix: tuple[Tensor, Tensor]) -> None:
    raw, mix = raw_and_mix
    once, twice = mix_distance(raw, mix, RATE), mix_distance(raw.expand(1, 2, -1), mix, RATE)
    assert float(once) == float(twice) > 0.1


def dynamics(audio: np.ndarray) -> list[np.ndarray]:
    """Log ratio of short to long energy by SciPy's filter, ``(channels, samples)`` each."""
    energy = np.maximum(audio.astype(np.float64) ** 2, 1e-8)
    ratios = []
    for short_ms, long_ms in ((50.0, 1000.0), (100.0, 2000.0)):
        averages = []
        for time_ms in (short_ms, long_ms):
            step = 1.0 - np.exp(-2.2 / (time_ms * 1e-3 * RATE))
            averages.append(scipy.signal.lfilter([step], [1.0, step - 1.0], energy, axis=-1))
        shift = int(RATE * (long_ms - short_ms) * 0.5e-3)
        ratios.append(np.log(averages[0]) - np.log(np.roll(averages[1], -shift, axis=-1)))
    return ratios


def test_micro_dynamics_by_their_definition(kernel: str) -> None:
    ours, theirs = stereo(3), stereo(4)
    terms = mix_distance_terms(ours, theirs, RATE)

    def expected(p: Tensor, t: Tensor) -> float:
        ratios = zip(dynamics(p[0].numpy()), dynamics(t[0].numpy()), strict=True)
        return sum(float(np.abs(a - b).mean()) for a, b in ratios)

    # The generic filter wraps around at -160 dB, which is heard where the average starts from 0.
    near = 1e-6 if kernel == "cpu" else 2e-3
    turn = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / 2**0.5
    assert float(terms["mldr_lr"]) == pytest.approx(expected(ours, theirs), rel=near)
    assert float(terms["mldr_ms"]) == pytest.approx(expected(turn @ ours, turn @ theirs), rel=near)


def test_micro_dynamics_hear_compression_and_no_gain() -> None:
    """A gain leaves the ratios of energies as they are; a compressor flattens them."""
    loud = 3.0 * torch.from_numpy(voice(2.0, 5))[None, None].double()
    loud = loud + 0.02 * torch.from_numpy(np.random.default_rng(1).normal(size=loud.shape))
    off = {"eq.high_pass.freq_hz": 16.0, "reverb.wet_db": -60.0, "compressor.makeup_db": 0.0}
    squeezed = {**off, "compressor.ratio": 10.0, "compressor.threshold_db": -40.0}
    pressed = torch.from_numpy(mixed(loud[0, 0].numpy(), squeezed))[None].double()
    by_gain = float(mix_distance_terms(0.5 * loud, loud, RATE)["mldr_lr"])
    by_compressor = float(mix_distance_terms(pressed, loud, RATE)["mldr_lr"])
    assert by_gain < 0.01
    assert by_compressor > 20.0 * max(by_gain, 1e-3)


def test_a_stride_of_32_changes_little(raw_and_mix: tuple[Tensor, Tensor]) -> None:
    raw, mix = raw_and_mix
    every, some = (mix_distance_terms(raw, mix, RATE, stride=s) for s in (1, 32))
    for name, value in every.items():
        assert float(some[name]) == pytest.approx(float(value), rel=0.02), name


def test_items_of_a_batch_do_not_hear_each_other() -> None:
    ours, theirs = (torch.cat([stereo(s) for s in seeds]) for seeds in ((1, 2, 3), (4, 5, 6)))
    together = mix_distance(ours, theirs, RATE, stride=4)
    alone = [mix_distance(ours[i : i + 1], theirs[i : i + 1], RATE, stride=4) for i in range(3)]
    assert together.shape == (3,)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=0.0)
    assert together.unique().numel() == 3


# Gradients


def test_gradients_are_those_of_finite_differences() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = (torch.from_numpy(rng.normal(0.0, 0.2, (1, 2, 1200))) for _ in range(2))
    ours.requires_grad_()
    # Fast mode: along random directions; the whole Jacobian has 2,400 columns.
    assert torch.autograd.gradcheck(
        lambda x: mix_distance(x, theirs, RATE, stride=8),
        (ours,),
        eps=1e-7,
        atol=1e-5,
        rtol=1e-3,
        fast_mode=True,
    )


@pytest.mark.parametrize("ours", ["silence", "square", "voice"])
@pytest.mark.parametrize("theirs", ["silence", "square", "voice"])
def test_distance_and_gradients_are_finite(ours: str, theirs: str) -> None:
    square = torch.where(torch.arange(8000) % 100 < 50, 1.0, -1.0)
    signals = {
        "silence": torch.zeros(1, 2, 8000),
        "square": square.expand(1, 2, -1),
        "voice": torch.from_numpy(voice(1.0, 6)[:8000]).expand(1, 2, -1),
    }
    predicted = signals[ours].clone().requires_grad_()
    value = mix_distance(predicted, signals[theirs], RATE, stride=32).sum()
    value.backward()
    assert torch.isfinite(value)
    assert (value == 0.0) == (ours == theirs)
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()


@pytest.mark.parametrize(("gain", "sign"), [(0.5, -1.0), (0.9, -1.0), (1.1, 1.0), (2.0, 1.0)])
def test_the_gradient_points_to_the_right_level(gain: float, sign: float) -> None:
    target = stereo(7)
    factor = torch.tensor(gain, dtype=torch.float64, requires_grad=True)
    mix_distance(factor * target, target, RATE, stride=32).sum().backward()
    assert factor.grad is not None
    assert float(factor.grad) * sign > 0.1


# Against the script that published figures come from


def test_published_figures_on_a_real_pair(data_folder: Path) -> None:
    from diffconsole.audio import read_audio

    folder = data_folder / "real_pairs" / "MusicDelta_Disco"
    raw, mix = (read_audio(folder / f"{name}.mp3")[0] for name in ("raw", "mixed"))
    expected = mixscore().score(raw, mix)
    ours, theirs = (torch.from_numpy(a)[None] for a in (raw, mix))
    terms = mix_distance_terms(ours, theirs, RATE)
    for name, value in terms.items():
        assert float(value) == pytest.approx(expected[name], abs=1e-3), name
    # The table beside the pairs, unaligned: "raw" of this song.
    assert float(terms["total"]) == pytest.approx(2.294, abs=2e-3)


def test_what_is_kept_from_inference_can_be_trained_with() -> None:
    rate = 31_250.0  # a rate that no other test has asked for
    audio = stereo(3)
    with torch.inference_mode():
        mix_distance(audio, 0.5 * audio, rate)
    taps = losses.a_weighting(rate)
    assert not taps.is_inference() and not taps.float().is_inference()


@pytest.mark.parametrize("rate", [16000.0, 44100.0, 48000.0, 192000.0])
def test_the_weighting_is_scipys_least_squares_filter_of_the_curve(rate: float) -> None:
    f1, f2, f3, f4 = (2.0 * math.pi * hz for hz in (20.598997, 107.65265, 737.86223, 12194.217))
    zeros, poles = [0.0] * 4, [-f1, -f1, -f2, -f3, -f4, -f4]
    gain = f4**2 * 10.0 ** (1.9997 / 20.0)
    digital = scipy.signal.bilinear_zpk(zeros, poles, gain, fs=rate)
    freq_hz, response = scipy.signal.freqz_zpk(*digital, worN=512, fs=rate)
    wanted = scipy.signal.firls(101, freq_hz, np.abs(response), fs=rate)
    np.testing.assert_allclose(losses.a_weighting(rate).numpy(), wanted, rtol=0.0, atol=1e-7)
