"""Convolution by transforms as one operator, whose gradient uses the spectra again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...kernels.operators import NAMESPACE, _library, _needs_gradient, _operator, _refuse
from ...kernels.row_transforms import to_samples, to_spectrum
from .room import complex_type, groups, zero_padded

__all__ = ["convolve"]


def convolve(audio: Tensor, response: Tensor, length: int, step: int) -> Tensor:
    """Convolve, cut to the length of the audio, in blocks that overlap and add.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels or 1, samples)``.
    response : Tensor
        ``(batch, channels or 1, taps)``.
    length : int
        Of the transforms; at least ``step + taps − 1``.
    step : int
        Samples of the audio in a block.

    Returns
    -------
    Tensor
        ``(batch, channels, samples)``.
    """
    keep = _needs_gradient(audio, response)
    convolved, _ = _convolve(audio, response, length, step, keep)
    return convolved


def _spectra_shape(
    audio: Tensor, response: Tensor, length: int, step: int, keep: bool
) -> tuple[int, int, int]:
    """Shape of the conjugate spectra that are kept: the response's, and one block's of audio."""
    rows = response.shape[1] + (audio.shape[1] if audio.shape[2] <= step else 0)
    return len(audio), rows if keep else 0, length // 2 + 1


def _buffers(audio: Tensor, response: Tensor, length: int) -> tuple[list[slice], Tensor]:
    """What is transformed at a time, and silence for the widest rows of it."""
    rows = max(audio.shape[1], response.shape[1])
    parts = groups(len(audio), rows, audio.device)
    return parts, audio.new_zeros((parts[0].stop, rows, length))


def _transform(rows: Tensor, buffer: Tensor) -> Tensor:
    part = zero_padded(rows, buffer[:, : rows.shape[1]])
    part[..., rows.shape[-1] :] = 0.0
    return to_spectrum(part)


@_operator("convolve", "(Tensor audio, Tensor response, int length, int step, bool keep)")
def _convolve(
    audio: Tensor, response: Tensor, length: int, step: int, keep: bool
) -> tuple[Tensor, Tensor]:
    samples = audio.shape[2]
    shape = _spectra_shape(audio, response, length, step, keep)
    spectra = audio.new_empty(shape, dtype=complex_type(audio.dtype))
    parts, buffer = _buffers(audio, response, length)
    convolved = audio.new_empty((len(audio), buffer.shape[1], samples))
    if samples > step:
        convolved.zero_()
    for part in parts:
        by_tap = _transform(response[part], buffer)
        if keep:
            spectra[part, : response.shape[1]] = by_tap.conj()
        for first in range(0, samples, step):
            block = _transform(audio[part, :, first : first + step], buffer)
            if spectra.shape[1] > response.shape[1]:
                spectra[part, response.shape[1] :] = block.conj()
            room = min(length, samples - first)
            # In place if the response is not needed again: fresh pages cost more than a product.
            last = samples <= step and by_tap.shape[1] >= block.shape[1]
            product = by_tap.mul_(block) if last else block * by_tap
            sound = to_samples(product, length)[..., :room]
            if samples > step:
                convolved[part, :, first : first + room] += sound
            else:
                convolved[part] = sound
    return convolved, spectra


@torch.library.register_fake(f"{NAMESPACE}::convolve", lib=_library)
def _(audio: Tensor, response: Tensor, length: int, step: int, keep: bool) -> tuple[Tensor, Tensor]:
    shape = _spectra_shape(audio, response, length, step, keep)
    channels = max(audio.shape[1], response.shape[1])
    convolved = audio.new_empty((len(audio), channels, audio.shape[2]))
    return convolved, audio.new_empty(shape, dtype=complex_type(audio.dtype))


@_operator(
    "convolve_backward",
    "(Tensor gradient, Tensor audio, Tensor response, Tensor spectra, int length, int step)",
)
def _convolve_backward(
    gradient: Tensor, audio: Tensor, response: Tensor, spectra: Tensor, length: int, step: int
) -> tuple[Tensor, Tensor]:
    samples, taps = audio.shape[2], response.shape[2]
    by_audio, by_response = torch.empty_like(audio), torch.empty_like(response)
    parts, buffer = _buffers(audio, response, length)
    for part in parts:
        by_tap = spectra[part, : response.shape[1]]
        total: Any = None
        for first in range(0, samples, step):
            reach = first + min(length, step + taps - 1)
            error = _transform(gradient[part, :, first:reach], buffer)
            if spectra.shape[1] > response.shape[1]:
                block = spectra[part, response.shape[1] :]
            else:
                block = _transform(audio[part, :, first : first + step], buffer).conj_physical_()
            found = to_samples(_over_channels(error * by_tap, audio.shape[1]), length)
            room = min(step, samples - first)
            by_audio[part, :, first : first + room] = found[..., :room]
            product = _over_channels(error.mul_(block), response.shape[1])
            total = product if total is None else total.add_(product)
        by_response[part] = to_samples(total, length)[..., :taps]
    return by_audio, by_response


def _over_channels(spectrum: Tensor, channels: int) -> Tensor:
    return spectrum if spectrum.shape[1] == channels else spectrum.sum(dim=1, keepdim=True)


@torch.library.register_fake(f"{NAMESPACE}::convolve_backward", lib=_library)
def _(
    gradient: Tensor, audio: Tensor, response: Tensor, spectra: Tensor, length: int, step: int
) -> tuple[Tensor, Tensor]:
    return audio.new_empty(audio.shape), response.new_empty(response.shape)


def _convolve_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    audio, response, ctx.length, ctx.step, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(audio, response, output[1])


def _convolve_gradient(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Any, ...]:
    if gradient is None:
        return None, None, None, None, None
    found = _convolve_backward(gradient, *ctx.saved_tensors, ctx.length, ctx.step)
    return (*found, None, None, None)


torch.library.register_autograd(
    f"{NAMESPACE}::convolve", _convolve_gradient, setup_context=_convolve_setup, lib=_library
)
torch.library.register_autograd(f"{NAMESPACE}::convolve_backward", _refuse, lib=_library)
