"""The terms of the distance to a mix on the CPU, by compiled loops with gradients of their own.

The loops (:mod:`.kernels.cpu_spectra`, ``cpu_energies``, ``cpu_weighting``) give sums; here
they become the terms of :mod:`.distance`, and the terms' gradients become weights of the sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .kernels import cpu_energies, cpu_spectra
from .kernels.cpu_spectra_gradient import add_frames, differentiate
from .kernels.cpu_weighting import weigh

__all__ = ["loop_terms"]

LN2 = math.log(2.0)
TimesMs = tuple[tuple[float, float], ...]


def _array(audio: Tensor) -> np.ndarray:
    return audio.detach().contiguous().numpy()


class _Spectra:
    """The target's magnitudes at every frame size, and distances to them."""

    def __init__(
        self, target: np.ndarray, taps: np.ndarray, sizes: tuple[int, ...], masked_db: float | None
    ) -> None:
        self.taps, self.samples = taps, target.shape[-1]
        self.masked = 0.0 if masked_db is None else 10.0 ** (masked_db / 20.0)
        weighed = weigh(target, taps)
        self.sizes = [cpu_spectra.frames_of(target.shape[-1], size, target.dtype) for size in sizes]
        self.kept = [cpu_spectra.roots_of(weighed, frames, self.masked) for frames in self.sizes]

    def compare(
        self, padded: np.ndarray, origins: list[int], part: tuple[int, int]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return both terms, ``(items, 2)``, and the weights of each size's sums for them.

        The sound is as :func:`.kernels.cpu_spectra.pad_for` returns it.
        """
        terms, weights = np.zeros((len(padded), 2)), []
        # Sum and difference count a half each.
        share = np.array([1.0, 0.5, 0.5]) / len(self.sizes)
        for frames, origin, (roots, squares) in zip(self.sizes, origins, self.kept, strict=True):
            selected = frames.selected(*part)
            sums = cpu_spectra.compare_padded(padded, origin, frames, selected, roots, self.masked)
            error = np.sqrt(sums[:, :3])
            norm = np.sqrt(squares[:, selected].sum(axis=1))
            count = frames.frames_in(selected) * frames.bins * np.array([2.0, 1.0, 1.0])
            each = (error / norm + LN2 * sums[:, 3:] / count) * share
            terms += np.stack([each[:, 0], each[:, 1] + each[:, 2]], axis=1)
            slope = np.divide(share, error * norm, out=np.zeros_like(error), where=error > 0.0)
            weights.append(np.hstack([slope, np.broadcast_to(share / count, error.shape)]))
        return terms, weights

    def gradient(
        self,
        padded: np.ndarray,
        origins: list[int],
        part: tuple[int, int],
        weights: list[np.ndarray],
    ) -> np.ndarray:
        gradient = np.zeros((*padded.shape[:2], self.samples), padded.dtype)
        every = zip(self.sizes, origins, self.kept, weights, strict=True)
        for frames, origin, (roots, _), weight in every:
            selected = frames.selected(*part)
            pieces = differentiate(padded, origin, frames, selected, roots, weight, self.masked)
            add_frames(pieces, frames, gradient)
        return weigh(gradient, self.taps)


class _SpectralTerms(torch.autograd.Function):
    """MSS of left/right and of sum/difference, ``(items, 2)``."""

    @staticmethod
    def forward(ctx: Any, audio: Tensor, target: _Spectra, part: tuple[int, int]) -> Tensor:
        weighed = weigh(_array(audio), target.taps)
        padded, ctx.origins = cpu_spectra.pad_for(weighed, target.sizes)
        terms, ctx.weights = target.compare(padded, ctx.origins, part)
        ctx.target, ctx.part = target, part
        ctx.save_for_backward(torch.from_numpy(padded))
        return torch.from_numpy(terms).to(audio.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        (padded,) = ctx.saved_tensors
        by_term = gradient.numpy()[:, [0, 1, 1, 0, 1, 1]]
        weights = [by_term * weight for weight in ctx.weights]
        found = ctx.target.gradient(padded.numpy(), ctx.origins, ctx.part, weights)
        return torch.from_numpy(found), None, None


class _Dynamics:
    """The target's ratios of energies."""

    def __init__(
        self,
        target: np.ndarray,
        times_ms: TimesMs,
        rate: float,
        stride: int,
        masked_db: float | None,
    ) -> None:
        self.stride = stride
        self.times = [cpu_energies.times_of(*both, rate) for both in times_ms]
        self.least: np.ndarray | None = None
        averages = self.averages(target)
        if masked_db is not None:
            masked = 10.0 ** (masked_db / 10.0)
            cpu_energies.raise_to(averages, cpu_energies.masked_by(averages, masked))
            self.least = cpu_energies.masked_by(averages, masked)
        self.ratios = cpu_energies.ratios_of(averages)

    def averages(self, audio: np.ndarray) -> np.ndarray:
        """Averages, those of mid and side raised to what they count at least."""
        averages = cpu_energies.averages_of(audio, self.times, self.stride)
        if self.least is not None:
            cpu_energies.raise_to(averages, self.least)
        return averages


class _DynamicTerms(torch.autograd.Function):
    """MLDR of left/right and of mid/side, ``(items, 2)``."""

    @staticmethod
    def forward(ctx: Any, audio: Tensor, target: _Dynamics) -> Tensor:
        averages = target.averages(_array(audio))
        apart = LN2 * cpu_energies.octaves_apart(averages, target.ratios)
        ctx.target = target
        ctx.save_for_backward(audio, torch.from_numpy(averages))
        terms = apart.reshape(-1, 2, 2).mean(axis=2)
        return torch.from_numpy(terms).to(audio.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        audio, averages = ctx.saved_tensors
        weights = 0.5 * gradient.to(torch.float64).numpy().repeat(2, axis=1)
        found = cpu_energies.differentiate(
            _array(audio), ctx.target.times, ctx.target.stride, averages.numpy(),
            ctx.target.ratios, weights, ctx.target.least,
        )  # fmt: skip
        return torch.from_numpy(found), None


def loop_terms(
    target: Tensor,
    taps: Tensor,
    sizes: tuple[int, ...],
    times_ms: TimesMs,
    sample_rate: float,
    stride: int,
    masked_db: float | None = None,
) -> Callable[[Tensor, tuple[int, int]], list[Tensor]]:
    """Prepare ``(items, 2, samples)`` and return what finds the four terms of other sounds.

    `taps` is the response of the A-weighting, `sizes` are the frames' in samples, `times_ms` the
    short and long times of the energies, `masked_db` how far below the other one of the mix mid
    and side count at least.
    """
    spectra = _Spectra(_array(target), taps.numpy(), sizes, masked_db)
    dynamics = _Dynamics(_array(target), times_ms, sample_rate, stride, masked_db)

    def terms(predicted: Tensor, part: tuple[int, int]) -> list[Tensor]:
        spectral = _SpectralTerms.apply(predicted, spectra, part)
        dynamic = _DynamicTerms.apply(predicted, dynamics)
        return [*spectral.unbind(dim=1), *dynamic.unbind(dim=1)]

    return terms
