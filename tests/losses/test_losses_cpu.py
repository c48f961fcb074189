"""The compiled loops of the distance against torch's operations, and targets that are kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from diffconsole.losses import MixTarget, mix_distance
from diffconsole.losses.distance import _torch_terms

from ..synthetic import RATE, voice

pytest.importorskip("numba", reason="the loops are compiled by numba")
WEIGHTS = torch.tensor([1.0, 0.5, 0.5, 0.25], dtype=torch.float64)


def stereo(seed: int, seconds: float = 0.5) -> Tensor:
    """Two unlike sides, ``(1, 2, samples)`` float64."""
    sides = np.stack([voice(seconds, seed), 0.6 * voice(seconds, seed + 100)])
    return torch.from_numpy(sides).double()[None]


def batch(seeds: range) -> Tensor:
    return torch.cat([stereo(seed) for seed in seeds])


def by_torch(ours: Tensor, theirs: Tensor, stride: int, part: tuple[int, int]) -> Tensor:
    """All four terms, ``(batch, 4)``, by torch's operations."""
    terms = _torch_terms(theirs.expand(-1, 2, -1), RATE, stride)(ours.expand(-1, 2, -1), part)
    return torch.stack(terms, dim=1)


def by_loops(ours: Tensor, theirs: Tensor, stride: int, part: tuple[int, int]) -> Tensor:
    terms = MixTarget(theirs, RATE, stride=stride).terms(ours, part=part)
    return torch.stack([terms[name] for name in list(terms)[:4]], dim=1)


def both_ways(
    ours: Tensor, theirs: Tensor, stride: int = 1, part: tuple[int, int] = (0, 1)
) -> list[tuple[Tensor, Tensor]]:
    """Terms and gradient of ``Σ item · weights · terms``, by loops and by torch."""
    found = []
    for way in (by_loops, by_torch):
        x = ours.clone().requires_grad_()
        terms = way(x, theirs, stride, part)
        # Another weight for every item, so that they cannot be taken for each other.
        items = torch.arange(1, len(ours) + 1)
        (gradient,) = torch.autograd.grad((terms * WEIGHTS).sum(dim=1) @ items.to(WEIGHTS), x)
        found.append((terms.detach(), gradient))
    return found


def furthest(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("stride", [1, 7, 16])
@pytest.mark.parametrize("part", [(0, 1), (1, 3), (5, 4)])
def test_loops_do_what_torch_does(stride: int, part: tuple[int, int]) -> None:
    (terms, gradient), (expected, slope) = both_ways(
        batch(range(1, 4)), batch(range(4, 7)), stride, part
    )
    torch.testing.assert_close(terms, expected, rtol=1e-10, atol=0.0)
    assert furthest(gradient, slope) < 1e-9


@pytest.mark.parametrize("samples", [1025, 1500, 4096, 30001])
def test_any_length(samples: int) -> None:
    ours, theirs = (stereo(seed, 1.0)[..., :samples] for seed in (1, 2))
    (terms, gradient), (expected, slope) = both_ways(ours, theirs)
    torch.testing.assert_close(terms, expected, rtol=1e-10, atol=0.0)
    assert furthest(gradient, slope) < 1e-9


def test_single_precision() -> None:
    ours, theirs = batch(range(1, 4)), batch(range(4, 7))
    terms = by_loops(ours.float(), theirs.float(), 1, (0, 1))
    torch.testing.assert_close(
        terms.double(), by_torch(ours, theirs, 1, (0, 1)), rtol=1e-5, atol=0.0
    )
    (_, gradient), (_, slope) = both_ways(ours.float(), theirs.float())
    _, (_, exact) = both_ways(ours, theirs)
    # The slope of a logarithm grows where a bin is nearly empty and holds the transform's rounding
    # alone: no float32 comes nearer to float64 than some per cent here.
    assert furthest(gradient.double(), exact) < 2.0 * furthest(slope.double(), exact) < 0.1


def test_mono_has_no_difference() -> None:
    """Equal sides leave nothing but the floor in the difference, in either precision."""
    ours, theirs = (stereo(seed)[:, :1] for seed in (1, 2))
    (terms, gradient), (expected, slope) = both_ways(ours, theirs)
    assert gradient.shape == ours.shape
    torch.testing.assert_close(terms, expected, rtol=1e-10, atol=0.0)
    assert furthest(gradient, slope) < 1e-9
    loud = 20.0 * torch.cat((ours, theirs)).float()
    single = by_loops(loud[:1], loud[1:], 1, (0, 1))
    double = by_torch(loud[:1].double(), loud[1:].double(), 1, (0, 1))
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_sound_is_at_zero_and_rests_there(dtype: torch.dtype) -> None:
    sound = stereo(1).to(dtype)
    (terms, gradient), _ = both_ways(sound, sound)
    assert not terms.any()
    assert not gradient.any()


@pytest.mark.parametrize("ours", [0.0, 1.0])
def test_silence(ours: float) -> None:
    """Against silence, and of silence: what torch finds, and finite slopes."""
    (terms, gradient), (expected, slope) = both_ways(ours * stereo(1), (1.0 - ours) * stereo(1))
    torch.testing.assert_close(terms, expected, rtol=1e-9, atol=0.0)
    assert torch.isfinite(gradient).all()
    assert float((gradient - slope).norm()) <= 1e-9 * float(slope.norm())


def test_what_is_not_a_number_is_not_hidden() -> None:
    ours = stereo(1)
    ours[0, 0, 9000] = math.nan
    assert torch.isnan(mix_distance(ours, stereo(2), RATE)).all()


def test_gradients_are_those_of_finite_differences() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = (torch.from_numpy(rng.normal(0.0, 0.2, (2, 2, 1200))) for _ in range(2))
    target = MixTarget(theirs, RATE, stride=8)
    assert torch.autograd.gradcheck(
        lambda x: target.distance(x, part=(1, 2)),
        (ours.requires_grad_(),),
        eps=1e-7,
        atol=1e-5,
        rtol=1e-3,
        fast_mode=True,
    )


def test_a_target_serves_many_times_and_many_items() -> None:
    ours, theirs = batch(range(1, 4)), stereo(9)
    target = MixTarget(theirs, RATE, stride=4)
    first, again = target.distance(ours), target.distance(ours)
    assert torch.equal(first, again)
    each = [mix_distance(item[None], theirs, RATE, stride=4) for item in ours]
    torch.testing.assert_close(first, torch.cat(each), rtol=1e-12, atol=0.0)


def test_the_number_of_threads_changes_nothing() -> None:
    ours, theirs = batch(range(1, 3)).float(), batch(range(4, 6)).float()
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            x = ours.clone().requires_grad_()
            value = MixTarget(theirs, RATE).distance(x)
            found.append((value.detach(), *torch.autograd.grad(value.sum(), x)))
    finally:
        torch.set_num_threads(before)
    for value, gradient in found[1:]:
        assert torch.equal(value, found[0][0])
        assert torch.equal(gradient, found[0][1])


def test_parts_together_are_near_the_whole() -> None:
    ours, theirs = stereo(1, 4.0), stereo(2, 4.0)
    target = MixTarget(theirs, RATE, stride=16)
    parts = [float(target.distance(ours, part=(index, 4))) for index in range(4)]
    assert len(set(parts)) == 4
    assert np.mean(parts) == pytest.approx(float(target.distance(ours)), rel=0.05)


def test_a_target_with_a_gradient() -> None:
    ours, theirs = stereo(1), stereo(2).requires_grad_()
    (gradient,) = torch.autograd.grad(mix_distance(ours, theirs, RATE).sum(), theirs)
    assert torch.isfinite(gradient).all()
    assert gradient.any()


def test_what_cannot_be_compared() -> None:
    target = MixTarget(batch(range(2)), RATE)
    with pytest.raises(ValueError, match="equal length"):
        target.distance(stereo(1)[..., :-1])
    with pytest.raises(ValueError, match="2 mixes for 3 items"):
        target.distance(batch(range(3)))
    with pytest.raises(ValueError, match="float64.*float32"):
        target.distance(batch(range(2)).float())
