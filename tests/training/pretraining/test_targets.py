"""The loss of predicted settings: what is heard counts, what is not hardly does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from diffconsole.strip.parameters import EQ_BANDS, PARAMETERS, default_settings
from diffconsole.training.pretraining.targets import eq_curve_db, relevance, settings_loss

from ... import reference

KEYS = [p.key for p in PARAMETERS]


def strips(*changes: dict[str, float]) -> dict[str, Tensor]:
    """A batch of strips: the defaults with changes."""
    rows = [{**default_settings(), **change} for change in changes]
    return {key: torch.tensor([row[key] for row in rows], dtype=torch.float64) for key in KEYS}


def normalised(*changes: dict[str, float]) -> Tensor:
    settings = strips(*changes)
    return torch.stack([p.to_normalised(settings[p.key]) for p in PARAMETERS], dim=-1)


def weights(**changes: float) -> dict[str, float]:
    found = relevance(strips({k.replace("__", "."): v for k, v in changes.items()}))
    return dict(zip(KEYS, found[0].tolist(), strict=True))


def random_targets(batch: int, seed: int = 0) -> Tensor:
    return torch.rand(
        batch, len(PARAMETERS), generator=torch.Generator().manual_seed(seed)
    ).double()


# The curve


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_the_response_of_the_eq(seed: int) -> None:
    """Against the reference's sections at the same 48 frequencies."""
    unit = np.random.default_rng(seed).uniform(0.2, 0.8, len(PARAMETERS))
    settings = {p.key: float(p.to_physical(u)) for p, u in zip(PARAMETERS, unit, strict=True)}
    found = eq_curve_db({k: torch.tensor([v], dtype=torch.float64) for k, v in settings.items()})
    z = np.exp(-2j * np.pi * np.logspace(np.log10(40.0), np.log10(18000.0), 48) / 44100.0)
    response = np.ones(48, complex)
    for b0, b1, b2, _, a1, a2 in reference.sections(44100.0, settings):
        response *= (b0 + b1 * z + b2 * z**2) / (1.0 + a1 * z + a2 * z**2)
    expected = np.maximum(20.0 * np.log10(np.abs(response)), -24.0)
    assert len(EQ_BANDS) == len(reference.sections(44100.0, settings))
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-3)


def test_the_curve_ends_at_a_floor() -> None:
    steep = eq_curve_db(strips({"eq.high_pass.freq_hz": 1000.0}))
    assert float(steep.min()) == -24.0
    assert float(steep[0, 0]) == -24.0


# Relevance


def test_a_bell_counts_by_its_gain() -> None:
    flat, half, full = (weights(eq__peak_2__gain_db=g) for g in (0.0, -3.0, 6.0))
    for name in ("freq_hz", "q"):
        key = f"eq.peak_2.{name}"
        assert (flat[key], half[key], full[key]) == pytest.approx((0.02, 0.5, 1.0))
    assert flat["eq.peak_2.gain_db"] == full["eq.peak_2.gain_db"] == 1.0
    assert flat["eq.peak_1.freq_hz"] == full["eq.peak_1.freq_hz"] == pytest.approx(0.02)


def test_the_reverb_counts_by_its_level() -> None:
    silent, middle, wet = (weights(reverb__wet_db=w) for w in (-60.0, -32.5, -18.0))
    for name in ("decay_s", "pre_delay_ms", "width"):
        key = f"reverb.{name}"
        assert (silent[key], middle[key], wet[key]) == pytest.approx((0.02, 0.5, 1.0))
    assert silent["reverb.wet_db"] == 1.0


def test_what_is_always_heard_always_counts() -> None:
    found = weights()
    for key in ("compressor.ratio", "eq.high_pass.freq_hz", "input_gain.gain_db"):
        assert found[key] == 1.0


# The loss


def test_the_truth_has_no_error_and_the_least_loss() -> None:
    target = random_targets(3)
    doubt = torch.full_like(target, -3.0)
    right = settings_loss(target, doubt, target)
    assert right["error"].abs().max() == 0.0
    assert right["curve_db"].abs().max() == 0.0
    wrong = settings_loss((target + 0.05).clamp(max=1.0), doubt, target)
    assert all(value.shape == (3,) for value in wrong.values())
    for name in ("error", "curve_db", "total", "likelihood"):
        assert (wrong[name] > right[name]).all(), name


def test_total_is_likelihood_and_curve() -> None:
    target, mean = random_targets(2), random_targets(2, 1)
    log_variance = random_targets(2, 2) - 2.0
    found = settings_loss(mean, log_variance, target)
    physical = {p.key: p.to_physical(target[:, i]) for i, p in enumerate(PARAMETERS)}
    weight = relevance(physical)
    weight = weight / weight.mean(dim=1, keepdim=True)
    squared = (mean - target) ** 2 / log_variance.exp()
    likelihood = 0.5 * (weight * (squared + log_variance)).mean(dim=1)
    torch.testing.assert_close(found["likelihood"], likelihood)
    torch.testing.assert_close(found["total"], likelihood + 0.1 * found["curve_db"])


def test_the_right_doubt_is_the_size_of_the_error() -> None:
    """Of all variances, the squared error is the likeliest."""
    target = random_targets(1)
    mean = target + 0.1
    losses = {
        doubt: float(settings_loss(mean, torch.full_like(target, doubt), target)["likelihood"])
        for doubt in (-7.0, np.log(0.01), -2.0, 0.0)
    }
    assert min(losses, key=losses.__getitem__) == np.log(0.01)


def test_an_error_that_is_not_heard_hardly_counts() -> None:
    """The frequency of a flat bell, and of one of 12 dB, wrong by the same."""
    target = normalised({"eq.peak_2.gain_db": 0.0}, {"eq.peak_2.gain_db": 12.0})
    mean = target.clone()
    mean[:, KEYS.index("eq.peak_2.freq_hz")] += 0.2
    found = settings_loss(mean, torch.full_like(target, -3.0), target)
    assert float(found["error"][1]) > 20.0 * float(found["error"][0])
    assert float(found["curve_db"][0]) < 1e-6
    assert float(found["curve_db"][1]) > 1.0


def test_two_bells_that_make_one_curve_are_near_by_curve() -> None:
    """6 dB at 1 kHz by bell 2 or by bell 3: other settings, the same sound."""
    place = {"eq.peak_2.freq_hz": 1000.0, "eq.peak_3.freq_hz": 1000.0}
    target = normalised({**place, "eq.peak_2.gain_db": 6.0})
    mean = normalised({**place, "eq.peak_3.gain_db": 6.0})
    found = settings_loss(mean, torch.full_like(target, -3.0), target)
    assert float(found["curve_db"]) < 1e-6
    assert float(found["error"]) > 0.005


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_gradients_are_finite_at_the_ends_of_all_ranges(place: float, truth: float) -> None:
    shape = (1, len(PARAMETERS))
    mean = torch.full(shape, place, requires_grad=True)
    log_variance = torch.full(shape, -9.0, requires_grad=True)
    settings_loss(mean, log_variance, torch.full(shape, truth))["total"].sum().backward()
    for tensor in (mean, log_variance):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
    assert (float(mean.grad.abs().max()) > 0.0) == (place != truth)  # type: ignore[union-attr]
