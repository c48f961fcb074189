"""The reverb with its gradient by transforms in two steps, for searches.

What :mod:`.room` and :mod:`.convolution_operator` do in one transform for the room and one for the
convolution is one transform here, twice as fast: the room never returns to time. It takes the mean
powers of the noise at other bins, so the return differs by less than −95 dB; see :mod:`.kept`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...kernels.stepped_transforms import to_signal, to_stepped
from ...kernels.threads import run_tasks
from .cpu_room import decay_gradient, decaying_noise
from .cpu_stepped import powers_stepped
from .cpu_stepped_gradient import add_by_powers, colored_product, colored_product_gradient
from .noise import band_noise

__all__ = ["convolved", "noise_spectrum"]

Shape = tuple[int, int]


def _spectra(rows: np.ndarray, shape: Shape) -> np.ndarray:
    """Spectra of ``(rows, samples)``, each row a task: as many threads as there are do the same."""
    found = np.empty((len(rows), shape[0] // 2 + 1, shape[1]), np.complex64)

    def task(row: int) -> None:
        found[row] = to_stepped(rows[row], shape)

    run_tasks(task, len(rows))
    return found


def _signals(spectra: list[np.ndarray], shape: Shape, samples: int) -> np.ndarray:
    """What undoes :func:`_spectra`; the spectra are spoilt."""
    found = np.empty((len(spectra), samples), np.float32)

    def task(row: int) -> None:
        found[row] = to_signal(spectra[row], shape)[:samples]

    run_tasks(task, len(spectra))
    return found


class _NoiseSpectrum(torch.autograd.Function):
    """From decays ``(batch, bands)`` to spectra and their powers ``(batch, 3)``."""

    @staticmethod
    def forward(
        ctx: Any,
        t60: Tensor,
        rate: float,
        taps: int,
        seed: int,
        shape: Shape,
        weights: np.ndarray,
    ) -> tuple[Tensor, Tensor]:
        noise = np.asarray(band_noise(rate, taps, seed, np.dtype(np.float32)))
        seconds, size = t60.detach().numpy(), shape[0] * shape[1]
        spectra = np.empty((len(seconds), 2, shape[0] // 2 + 1, shape[1]), np.complex64)
        powers = np.empty((len(seconds), 3))
        for item, own in enumerate(spectra):
            rows = np.zeros((1, 2, min(taps, size)), np.float32)
            decaying_noise(noise, seconds[item : item + 1], rate, rows)
            own[:] = _spectra(rows[0], shape)
            powers[item] = powers_stepped(own, weights)
        ctx.given = rate, taps, noise, shape, weights
        spectrum = torch.from_numpy(spectra)
        ctx.save_for_backward(t60, spectrum)
        return spectrum, torch.from_numpy(powers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_spectrum: Tensor, by_powers: Tensor) -> tuple[Any, ...]:
        t60, spectrum = ctx.saved_tensors
        rate, taps, noise, shape, weights = ctx.given
        found = np.empty(t60.shape)
        for item, by_bins in enumerate(by_spectrum.numpy()):
            own, seconds = spectrum[item].numpy(), t60[item : item + 1].detach().numpy()
            total = by_bins.copy()
            add_by_powers(by_powers[item].numpy(), own, weights, shape, total)
            by_tap = _signals(list(total), shape, taps)
            found[item] = decay_gradient(noise, seconds, rate, by_tap[None])[0]
        return torch.from_numpy(found), None, None, None, None, None


class _Convolved(torch.autograd.Function):
    """From sounds, spectra of rooms and their settings to returns."""

    @staticmethod
    def forward(
        ctx: Any, sound: Tensor, spectrum: Tensor, settings: Tensor, shape: Shape
    ) -> Tensor:
        batch, _, samples = sound.shape
        sent = _spectra(sound.detach().contiguous().numpy()[:, 0], shape)
        wet = np.empty((batch, 2, samples), np.float32)
        for item in range(batch):
            own, values = spectrum[item].detach().numpy(), settings[item].detach().numpy()
            product = colored_product(own, sent[item], values, shape)
            wet[item] = _signals(list(product), shape, samples)
        ctx.shape, ctx.sent = shape, sent
        ctx.save_for_backward(spectrum, settings)
        return torch.from_numpy(wet)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        spectrum, settings = ctx.saved_tensors
        by_spectrum, by_setting = torch.empty_like(spectrum), torch.empty_like(settings)
        rows, samples = gradient.contiguous().numpy(), gradient.shape[-1]
        by_sound = np.empty((len(rows), 1, samples), np.float32)
        for item, own in enumerate(rows):
            error = _spectra(own, ctx.shape)
            by_noise, by_sent, by_setting.numpy()[item] = colored_product_gradient(
                error, spectrum[item].numpy(), ctx.sent[item], settings[item].numpy(), ctx.shape
            )
            by_spectrum.numpy()[item] = by_noise
            by_sound[item] = _signals([by_sent], ctx.shape, samples)
        return torch.from_numpy(by_sound), by_spectrum, by_setting, None


def noise_spectrum(
    t60: Tensor, rate: float, taps: int, seed: int, shape: Shape, weights: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Return the spectrum of decaying noise, and its mean powers.

    Parameters
    ----------
    t60 : Tensor
        ``(batch, bands)`` seconds, float64.
    rate : float
        Hz.
    taps : int
        Length of the noise.
    seed : int
        Of the noise.
    shape : tuple of int
        Rows and columns of the transforms.
    weights : ndarray
        ``(rows/2 + 1, columns)`` float32, of the means.

    Returns
    -------
    spectrum : Tensor
        ``(batch, 2, rows/2 + 1, columns)`` complex64: middle and side. Its gradient is that of
        :mod:`.cpu_stepped_gradient`, for :func:`convolved` alone.
    powers : Tensor
        ``(batch, 3)`` float64: the means of |M|², |S|² and Re(M·conj(S)).
    """
    found: tuple[Tensor, Tensor] = _NoiseSpectrum.apply(t60, rate, taps, seed, shape, weights)
    return found


def convolved(sound: Tensor, spectrum: Tensor, settings: Tensor, shape: Shape) -> Tensor:
    """Return the room's return, ``(batch, 2, samples)``.

    Parameters
    ----------
    sound : Tensor
        ``(batch, 1, samples)`` float32.
    spectrum : Tensor
        Of :func:`noise_spectrum`.
    settings : Tensor
        ``(batch, 7)`` float64; see :func:`.room.room_response`.
    shape : tuple of int
        Rows and columns of the transforms.
    """
    found: Tensor = _Convolved.apply(sound, spectrum, settings, shape)
    return found
