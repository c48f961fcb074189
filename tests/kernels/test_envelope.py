"""The detector's level: against one loop in plain Python, in parts, and its gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffconsole.kernels.envelope import envelope, envelope_from
from diffconsole.kernels.operators import use

KERNELS = ("cpu", "generic")


def signal(samples: int = 3000, rows: int = 2) -> torch.Tensor:
    """Bursts with pauses in them, as a voice has."""
    rng = np.random.default_rng(4)
    loud = np.abs(rng.standard_normal((rows, samples))) * (np.sin(np.arange(samples) / 90.0) > -0.3)
    return torch.from_numpy(loud * 0.3)


def loop(v: np.ndarray, attack: float, release: float, hold: float) -> np.ndarray:
    """What the equation says, the hold as a count of what is left of it."""
    level, left, found = 0.0, 0.0, []
    for value in v:
        if value > level:
            level, left = attack * level + (1 - attack) * value, hold
        elif left >= 1.0:
            left -= 1.0
        else:
            k = release ** (1.0 - left) if left > 0.0 else release
            left = 0.0
            level = k * level + (1 - k) * value
        found.append(level)
    return np.array(found)


def settings(attack: float, release: float, hold: float, rows: int = 2) -> list[torch.Tensor]:
    return [torch.full((rows,), value, dtype=torch.float64) for value in (attack, release, hold)]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("hold", [0.0, 0.4, 1.0, 37.25, 5000.0])
@pytest.mark.parametrize("attack, release", [(0.9, 0.995), (0.0, 0.99), (0.999, 0.9)])
def test_it_is_the_equation(kernel, hold, attack, release):
    v = signal()
    with use(kernel):
        found = envelope(v, *settings(attack, release, hold))
    for row in range(2):
        expected = loop(v[row].numpy(), attack, release, hold)
        assert np.abs(found[row].numpy() - expected).max() <= 1e-12


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("hold", [0.0, 80.5])
def test_in_parts_it_is_the_same(kernel, hold):
    v, parts = signal(), []
    parameters = torch.stack(settings(0.9, 0.999, hold), dim=-1)
    state = torch.zeros(2, 2, dtype=torch.float64)
    with use(kernel):
        whole = envelope(v, *settings(0.9, 0.999, hold))
        for first in range(0, 3000, 700):
            part, state = envelope_from(v[:, first : first + 700], parameters, state)
            parts.append(part)
    assert torch.allclose(torch.cat(parts, dim=-1), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("hold", [0.0, 12.3])
def test_gradients_are_those_of_finite_differences(kernel, hold):
    # A burst's end and a pause.
    v = signal(380)[:, 250:].clone().requires_grad_()
    own = [s.requires_grad_() for s in settings(0.9, 0.99, hold)]
    inputs = (v, *own[: 2 if hold == 0.0 else 3])

    def follow(*given: torch.Tensor) -> torch.Tensor:
        return envelope(given[0], given[1], given[2], given[3] if len(given) > 3 else own[2])

    with use(kernel):
        # Steps far below the distances between levels: no branch changes.
        assert torch.autograd.gradcheck(follow, inputs, eps=1e-8, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_it_follows_its_hold_without_steps(kernel):
    v = signal()
    with use(kernel):
        near = [envelope(v, *settings(0.9, 0.99, hold)) for hold in (11.999999, 12.0, 12.000001)]
    assert (near[0] - near[1]).abs().max() < 1e-6
    assert (near[2] - near[1]).abs().max() < 1e-6


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("v", [torch.zeros(1, 500), torch.ones(1, 500)])
def test_silence_and_full_scale_have_finite_gradients(kernel, v):
    v = v.clone().requires_grad_()
    own = [s.requires_grad_() for s in settings(math.exp(-1.0), 0.999, 3.5, rows=1)]
    with use(kernel):
        envelope(v, *own).sum().backward()
    assert all(bool(t.grad.isfinite().all()) for t in (v, *own))


def test_the_kernels_agree_in_single_precision():
    v = signal(20000).float()
    with use("cpu"):
        one = envelope(v, *settings(0.9, 0.9995, 200.0))
    with use("generic"):
        other = envelope(v, *settings(0.9, 0.9995, 200.0))
    assert one.dtype == torch.float32
    assert (one - other).abs().max() <= 1e-6
