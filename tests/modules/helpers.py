"""Small things that the console's tests share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from diffconsole.strip.parameters import BY_KEY

RATES = (16000, 44100, 48000, 96000, 192000)
# Where gradients are checked: close to both ends of the normalised range, and in the middle.
# The finite differences of gradcheck need room on both sides; AT the ends see `full_range_ends`.
PLACES = {"low": 2e-5, "mid": 0.45, "high": 1.0 - 2e-5}


def values(*numbers: float) -> Tensor:
    """A ``(batch,)`` setting in float64."""
    return torch.tensor(numbers, dtype=torch.float64)


def noise(*shape: int, seed: int = 0, level: float = 0.3) -> Tensor:
    """Seeded white noise in float64."""
    return torch.from_numpy(np.random.default_rng(seed).normal(0.0, level, shape))


def impulse(samples: int, channels: int = 1, batch: int = 1) -> Tensor:
    """One at the first sample, float64."""
    x = torch.zeros(batch, channels, samples, dtype=torch.float64)
    x[..., 0] = 1.0
    return x


def square_wave(samples: int, channels: int = 1, period: int = 40) -> Tensor:
    """Full scale, float64."""
    half = torch.arange(samples) % period < period // 2
    return torch.where(half, 1.0, -1.0).to(torch.float64).expand(1, channels, samples).clone()


def gain_at(response: Tensor, rate: float, freq_hz: float) -> float:
    """Gain in dB of an impulse response ``(samples,)`` at any frequency, by its Fourier sum."""
    time = np.arange(len(response))
    h = np.sum(response.numpy() * np.exp(-2j * np.pi * freq_hz / rate * time))
    return float(20.0 * np.log10(max(abs(h), 1e-20)))


def check_gradients(
    function: Callable[..., Tensor], keys: Iterable[str], audio: Tensor, place: float | list[float]
) -> None:
    """Compare the gradients in the audio and in 0…1 settings with finite differences.

    Normalised settings make every derivative of the order of the signal, so that the tolerance
    means something for a frequency in Hz as for a gain in dB.
    """
    keys = list(keys)
    places = [place] * len(keys) if isinstance(place, float) else place
    batch = len(audio)
    normalised = [torch.full((batch,), p, dtype=torch.float64, requires_grad=True) for p in places]

    def run(x: Tensor, *unit: Tensor) -> Tensor:
        physical = [BY_KEY[key].to_physical(u) for key, u in zip(keys, unit, strict=True)]
        return function(x, *physical)

    x = audio.clone().requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *normalised), eps=1e-6, atol=2e-7, rtol=1e-4)


def full_range_ends(keys: Iterable[str]) -> Iterator[dict[str, float]]:
    """Yield settings with all at the low end, all at the high, and each alone at each of both."""
    parameters = [BY_KEY[key] for key in keys]
    middle = {p.key: float(p.to_physical(0.5)) for p in parameters}
    yield {p.key: p.low for p in parameters}
    yield {p.key: p.high for p in parameters}
    for p, end in itertools.product(parameters, ("low", "high")):
        yield middle | {p.key: getattr(p, end)}


def assert_finite_with_gradients(
    function: Callable[..., Tensor], ends: Iterable[dict[str, float]], audio: Tensor
) -> None:
    """Run all ends as one batch, forward and backward; fail naming what is not finite and where."""
    ends = list(ends)
    x = audio.expand(len(ends), -1, -1).clone().requires_grad_()
    tensors = {key: values(*(end[key] for end in ends)).requires_grad_() for key in ends[0]}
    y = function(x, *tensors.values())
    weights = torch.linspace(-1.0, 1.0, y[0].numel(), dtype=y.dtype).reshape(y[0].shape)
    (y * weights).sum().backward()
    found = {"output": y, "audio's gradient": x.grad}
    found |= {f"gradient of {key}": tensor.grad for key, tensor in tensors.items()}
    for name, tensor in found.items():
        assert tensor is not None, f"no {name}"
        finite = torch.isfinite(tensor).reshape(len(ends), -1).all(dim=1)
        assert finite.all(), f"{name} is not finite at {ends[int((~finite).nonzero()[0])]}"
