"""The distance in which a side far below its mid cannot dominate, by loops and by torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from diffconsole.kernels import operators as kernels
from diffconsole.losses import MixTarget, mix_distance, mix_distance_terms
from diffconsole.losses.distance import _torch_terms
from diffconsole.losses.terms import REPORTED

from ..synthetic import RATE, voice


def with_side(side_db: float, seed: int = 1, seconds: float = 1.0) -> Tensor:
    """A voice in the middle and another, of the same energy but for `side_db`, as its side."""
    mid, side = (voice(seconds, s).astype(np.float64) for s in (seed, seed + 50))
    side *= np.sqrt(np.mean(mid**2) / np.mean(side**2)) * 10.0 ** (side_db / 20.0)
    return torch.from_numpy(np.stack([mid + side, mid - side]))[None]


@pytest.mark.parametrize("stride", [1, 7])
@pytest.mark.parametrize("part", [(0, 1), (1, 3)])
@pytest.mark.parametrize("sides_db", [(-20.0, -65.0), (-65.0, -20.0), (-65.0, -80.0), (60.0, 0.0)])
def test_loops_do_what_torch_does(
    stride: int, part: tuple[int, int], sides_db: tuple[float, float]
) -> None:
    pytest.importorskip("numba", reason="the loops are compiled by numba")
    ours = torch.cat([with_side(sides_db[0], seed, 0.5) for seed in (1, 2)])
    theirs = torch.cat([with_side(sides_db[1], seed, 0.5) for seed in (3, 4)])
    found = []
    for prepare in (
        MixTarget(theirs, RATE, stride=stride, bounded=True)._compute,
        _torch_terms(theirs, RATE, stride, True),
    ):
        x = ours.clone().requires_grad_()
        terms = torch.stack(prepare(x, part))
        weights = (
            torch.tensor([[1.0, 2.0]]).double() * torch.tensor(list(REPORTED.values()))[:, None]
        )
        (gradient,) = torch.autograd.grad((terms * weights).sum(), x)
        found.append((terms.detach(), gradient))
    (terms, gradient), (expected, slope) = found
    torch.testing.assert_close(terms, expected, rtol=1e-9, atol=1e-12)
    assert float((gradient - slope).norm() / slope.norm()) < 1e-8


def test_gradients_are_those_of_finite_differences() -> None:
    """Where some bins and averages lie above the bound and some below it."""
    theirs = with_side(-45.0, 2, 0.1)
    torch.autograd.gradcheck(
        lambda x: mix_distance(x, theirs, RATE, stride=8, bounded=True),
        (with_side(-35.0, 1, 0.1).requires_grad_(),),
        eps=1e-7,
        atol=1e-3,
        rtol=1e-3,
        fast_mode=True,
    )


def test_a_side_that_is_inaudible_cannot_dominate(kernel: str) -> None:
    """A result with ordinary reverb against a mix whose side is 65 dB below its mid."""
    ours, mix = with_side(-15.0).float(), with_side(-65.0).float()
    reported, bounded = (float(mix_distance(ours, mix, RATE, bounded=b)) for b in (False, True))
    assert reported > 50.0
    assert bounded < 8.0


def test_how_far_below_makes_no_difference(kernel: str) -> None:
    ours = with_side(-15.0)
    at_65, at_95 = (
        float(mix_distance(ours, with_side(side_db), RATE, bounded=True))
        for side_db in (-65.0, -95.0)
    )
    assert at_95 == pytest.approx(at_65, rel=0.02)


def test_an_ordinary_mix_is_at_the_distance_that_is_reported(kernel: str) -> None:
    ours, mix = with_side(-12.0, 1), with_side(-10.0, 2)
    reported, bounded = (mix_distance_terms(ours, mix, RATE, bounded=b) for b in (False, True))
    assert float(bounded["total"]) == pytest.approx(float(reported["total"]), rel=0.05)
    for name in ("mss_lr", "mldr_lr"):
        assert float(bounded[name]) == float(reported[name])


def test_the_mix_itself_is_at_no_distance(kernel: str) -> None:
    mix = with_side(-65.0)
    assert float(mix_distance(mix, mix, RATE, bounded=True)) == pytest.approx(0.0, abs=1e-9)


def test_a_mono_mix_is_reached_without_side(kernel: str) -> None:
    """Whether the side is exactly silent or just inaudible: nothing is left to gain."""
    mix, mono = with_side(-65.0), with_side(-200.0)
    reported, bounded = (float(mix_distance(mono, mix, RATE, bounded=b)) for b in (False, True))
    assert bounded < 0.1 < reported


@pytest.mark.parametrize("bounded", [False, True])
def test_a_sound_that_begins_in_silence_has_the_same_gradient_everywhere(bounded: bool) -> None:
    """Its first averages are tiny: what wraps around a transform there is multiplied by all."""
    pytest.importorskip("numba", reason="the loops are compiled by numba")
    ours, theirs = (
        torch.from_numpy(np.stack([voice(0.5, seed), voice(0.5, seed + 1)]))[None]
        for seed in (1, 3)
    )
    found = []
    for kernel in ("cpu", "generic"):
        x = ours.clone().requires_grad_()
        with kernels.use(kernel):
            distance = mix_distance(x, theirs, RATE, stride=32, bounded=bounded)
            found.append(torch.autograd.grad(distance.sum(), x)[0])
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 0.05
