"""The reverb's two operators: from decays to a spectrum, from a spectrum to a response.

``room_spectrum`` makes ``Σ_bands n_band(t)·10^(−3·t/T60_band)`` of middle and side, its transform
and its mean powers. ``room_response`` mixes middle and side to left and right, multiplies by the
cuts and by the phase of the pre-delay, and returns to time. Each has a gradient of its own that
uses the spectrum again. The loops over taps and bins are those of :mod:`.cpu_room` and
:mod:`.cpu_color`, or of :mod:`.generic_room`; the transforms are torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ...kernels.operators import NAMESPACE, _library, _module, _operator, _refuse, name_for
from .noise import band_noise

__all__ = ["audio_type", "complex_type", "groups", "room_response", "room_spectrum", "zero_padded"]

ROWS_TOGETHER = 8


def _loops(name: str, of: str = "room") -> ModuleType:
    """Return the loops over taps, or those ``of="color"`` over bins, of one implementation.

    They are few beside the transforms, so a GPU takes torch's own, which serve both.
    """
    if name == "cpu":
        return _module(f"{__package__}.{of}", name)
    return _module(f"{__package__}.room", "generic" if name == "gpu" else name)


def groups(batch: int, rows: int, device: torch.device) -> list[slice]:
    """Cut a batch, of so many rows an item, into what is transformed at a time.

    Of a CPU these are a few rows: their buffers are used again while they are in its cache, where
    those of a whole batch would be fresh pages of memory each time, which cost more than the
    transform. Anything else takes the whole batch.
    """
    if device.type != "cpu":
        return [slice(0, batch)]
    items = max(1, max(ROWS_TOGETHER, torch.get_num_threads()) // rows)
    return [slice(first, min(first + items, batch)) for first in range(0, batch, items)]


def zero_padded(rows: Tensor, buffer: Tensor) -> Tensor:
    """Copy rows to the front of a buffer whose rest is silent, and return as many of it."""
    part = buffer[: len(rows)]
    part[..., : rows.shape[-1]] = rows
    return part


def audio_type(dtype: torch.dtype | None) -> torch.dtype:
    """Return the type of a response: by default float32."""
    return torch.float32 if dtype is None else dtype


def complex_type(dtype: torch.dtype) -> torch.dtype:
    """Type of the spectrum of a signal."""
    return torch.complex64 if dtype == torch.float32 else torch.complex128


# --- decaying noise, its spectrum and its powers ---------------------------------------------


def room_spectrum(
    t60: Tensor,
    sample_rate: float,
    samples: int,
    seed: int,
    length: int,
    bins: Sequence[int],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Return the spectrum of decaying noise, and its mean powers over a band.

    Parameters
    ----------
    t60 : Tensor
        ``(batch, bands)`` seconds, float64.
    sample_rate : float
        Hz.
    samples : int
        Length of the noise; an item ends earlier, where its longest band has fallen by 60 dB.
    seed : int
        Of the noise.
    length : int
        Of the transform; even.
    bins : sequence of int
        First bin of the band, last bin, and the step between those that are counted.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    spectrum : Tensor
        ``(batch, 2, length/2 + 1)`` complex: middle and side.
    powers : Tensor
        ``(batch, 3)`` float64: the means of |M|², |S|² and Re(M·conj(S)).
    """
    found: tuple[Tensor, Tensor] = _spectrum(
        t60, float(sample_rate), samples, seed, length, list(bins), dtype
    )
    return found


_SHAPE = "float sample_rate, int samples, int seed, int length, int[] bins, ScalarType dtype"


@_operator("room_spectrum", f"(Tensor t60, {_SHAPE})")
def _spectrum(
    t60: Tensor,
    sample_rate: float,
    samples: int,
    seed: int,
    length: int,
    bins: list[int],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    module = _loops(name_for(t60))
    noise = band_noise(sample_rate, samples, seed, dtype, t60.device)
    spectrum = t60.new_empty((len(t60), 2, length // 2 + 1), dtype=complex_type(dtype))
    powers = t60.new_empty((len(t60), 3))
    parts = groups(len(t60), 2, t60.device)
    padded = t60.new_zeros((parts[0].stop, 2, length), dtype=dtype)
    for part in parts:
        rows = padded[: part.stop - part.start]
        module.decaying_noise(noise, t60[part], sample_rate, rows)
        spectrum[part] = torch.fft.rfft(rows)
        powers[part] = module.band_powers(spectrum[part], bins)
    return spectrum, powers


@torch.library.register_fake(f"{NAMESPACE}::room_spectrum", lib=_library)
def _(
    t60: Tensor,
    sample_rate: float,
    samples: int,
    seed: int,
    length: int,
    bins: list[int],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    spectrum = t60.new_empty((len(t60), 2, length // 2 + 1), dtype=complex_type(dtype))
    return spectrum, t60.new_empty((len(t60), 3))


@_operator(
    "room_spectrum_backward",
    f"(Tensor gradient, Tensor by_power, Tensor t60, Tensor spectrum, {_SHAPE}, str kernel)",
    "Tensor",
)
def _spectrum_backward(
    gradient: Tensor,
    by_power: Tensor,
    t60: Tensor,
    spectrum: Tensor,
    sample_rate: float,
    samples: int,
    seed: int,
    length: int,
    bins: list[int],
    dtype: torch.dtype,
    kernel: str,
) -> Tensor:
    module = _loops(kernel)
    noise = band_noise(sample_rate, samples, seed, dtype, t60.device)
    found = torch.empty_like(t60)
    for part in groups(len(t60), 2, t60.device):
        whole = module.spectrum_gradient(gradient[part], by_power[part], spectrum[part], bins)
        by_tap = torch.fft.irfft(whole, length, norm="forward")
        found[part] = module.decay_gradient(noise, t60[part], sample_rate, by_tap)
    return found


@torch.library.register_fake(f"{NAMESPACE}::room_spectrum_backward", lib=_library)
def _(gradient: Tensor, by_power: Tensor, t60: Tensor, *_: Any) -> Tensor:
    return t60.new_empty(t60.shape)


def _spectrum_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    t60, *ctx.shape = inputs
    ctx.save_for_backward(t60, output[0])
    ctx.kernel = name_for(t60)


def _spectrum_gradient(ctx: Any, gradient: Tensor, by_power: Tensor) -> tuple[Any, ...]:
    found = _spectrum_backward(gradient, by_power, *ctx.saved_tensors, *ctx.shape, ctx.kernel)
    return (found, *[None] * len(ctx.shape))


torch.library.register_autograd(
    f"{NAMESPACE}::room_spectrum", _spectrum_gradient, setup_context=_spectrum_setup, lib=_library
)


# --- mix, cuts and pre-delay -----------------------------------------------------------------


def room_response(spectrum: Tensor, settings: Tensor, length: int, taps: int) -> Tensor:
    """Return the impulse response of both sides.

    Parameters
    ----------
    spectrum : Tensor
        ``(batch, 2, length/2 + 1)`` complex: middle and side.
    settings : Tensor
        ``(batch, 7)`` float64: the gains of middle and side in the left, of middle and side in
        the right, the pre-delay in samples, and of the low and of the high cut ``π·freq/fs``.
    length : int
        Of the transform; even.
    taps : int
        Length of the result.

    Returns
    -------
    Tensor
        ``(batch, 2, taps)``.
    """
    response: Tensor = _response(spectrum, settings, length, taps)
    return response


@_operator("room_response", "(Tensor spectrum, Tensor settings, int length, int taps)", "Tensor")
def _response(spectrum: Tensor, settings: Tensor, length: int, taps: int) -> Tensor:
    module = _loops(name_for(spectrum), "color")
    response = spectrum.new_empty((*spectrum.shape[:2], taps), dtype=spectrum.real.dtype)
    for part in groups(len(spectrum), 2, spectrum.device):
        colored = module.color(spectrum[part], settings[part], length)
        response[part] = torch.fft.irfft(colored, length)[..., :taps]
    return response


@torch.library.register_fake(f"{NAMESPACE}::room_response", lib=_library)
def _(spectrum: Tensor, settings: Tensor, length: int, taps: int) -> Tensor:
    dtype = torch.float32 if spectrum.dtype == torch.complex64 else torch.float64
    return spectrum.new_empty((*spectrum.shape[:2], taps), dtype=dtype)


@_operator(
    "room_response_backward",
    "(Tensor gradient, Tensor spectrum, Tensor settings, int length, str kernel)",
)
def _response_backward(
    gradient: Tensor, spectrum: Tensor, settings: Tensor, length: int, kernel: str
) -> tuple[Tensor, Tensor]:
    module = _loops(kernel, "color")
    by_spectrum = torch.empty_like(spectrum)
    by_setting = torch.empty_like(settings)
    parts = groups(len(spectrum), 2, spectrum.device)
    padded = gradient.new_zeros((parts[0].stop, 2, length))
    for part in parts:
        error = torch.fft.rfft(zero_padded(gradient[part], padded))
        by_setting[part] = module.color_gradient(
            error, spectrum[part], settings[part], length, by_spectrum[part]
        )
    return by_spectrum, by_setting


@torch.library.register_fake(f"{NAMESPACE}::room_response_backward", lib=_library)
def _(
    gradient: Tensor, spectrum: Tensor, settings: Tensor, length: int, kernel: str
) -> tuple[Tensor, Tensor]:
    return spectrum.new_empty(spectrum.shape), settings.new_empty(settings.shape)


def _response_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    spectrum, settings, ctx.length, _ = inputs
    ctx.save_for_backward(spectrum, settings)
    ctx.kernel = name_for(spectrum)


def _response_gradient(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    found = _response_backward(gradient, *ctx.saved_tensors, ctx.length, ctx.kernel)
    return (*found, None, None)


torch.library.register_autograd(
    f"{NAMESPACE}::room_response", _response_gradient, setup_context=_response_setup, lib=_library
)

for _name in ("room_spectrum_backward", "room_response_backward"):
    torch.library.register_autograd(f"{NAMESPACE}::{_name}", _refuse, lib=_library)
