"""The reverb's loops on the CPU: vectors of taps and of bins, in the precision of the audio.

Exponentials, sines and cosines go by blocks: one value at the start of a block in float64, times
a table of the steps from there, so that no error grows with time or frequency. Sums are float64,
over segments of a fixed size: the result does not depend on the number of threads.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from .generic_room import CUT_Q
from .threads import run_tasks

__all__ = [
    "band_powers",
    "color",
    "color_gradient",
    "decay_gradient",
    "decaying_noise",
    "spectrum_gradient",
]

BLOCK = 128
SEGMENT = 64 * BLOCK
# A band that has fallen so far is lost in the rounding of the slowest one, which ends at −60 dB.
SILENT = {torch.float32: 1e-12, torch.float64: 1e-24}

_compile: Any = functools.partial(
    njit, cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"}
)


def _pairs(spectrum: Tensor) -> np.ndarray:
    """Complex numbers as pairs of real ones, which vectorise better."""
    return torch.view_as_real(spectrum.resolve_conj().contiguous()).numpy()


def _segments(count: int) -> int:
    return -(-count // SEGMENT)


# --- decaying noise --------------------------------------------------------------------------


@_compile
def _steps(rates, dtype_like):
    """Decay within a block, ``(items, bands, BLOCK)``."""
    table = np.empty((rates.shape[0], rates.shape[1], BLOCK), dtype_like.dtype)
    for item in range(rates.shape[0]):
        for band in range(rates.shape[1]):
            for n in range(BLOCK):
                table[item, band, n] = math.exp(-rates[item, band] * n)
    return table


@_compile
def _add_band(middle, side, decay, start, to_middle, to_side):
    for n in range(to_middle.shape[0]):
        now = start * decay[n]
        to_middle[n] += now * middle[n]
        to_side[n] += now * side[n]


@_compile
def _decay_segment(noise, rates, ends, table, silent, first, stop, target):
    """Taps `first` to `stop` of all items: the noise of a block is read once."""
    start = np.empty(1, target.dtype)
    for begin in range(first, stop, BLOCK):
        for item in range(rates.shape[0]):
            end = min(begin + BLOCK, stop)
            target[item, :, begin:end] = 0.0
            end = min(end, ends[item])
            if begin >= end:
                continue
            for band in range(noise.shape[1]):
                value = math.exp(-rates[item, band] * begin)
                if value < silent:
                    continue
                start[0] = value
                _add_band(
                    noise[0, band, begin:end], noise[1, band, begin:end], table[item, band],
                    start[0], target[item, 0, begin:end], target[item, 1, begin:end],
                )  # fmt: skip


@_compile
def _block_sums(middle, side, by_middle, by_side, decay):
    """Sums over a block of gradient times decay, and of that times the time in the block."""
    total, moment = 0.0, 0.0
    for n in range(by_middle.shape[0]):
        product = np.float64(decay[n] * (middle[n] * by_middle[n] + side[n] * by_side[n]))
        total += product
        moment += product * np.float64(n)
    return total, moment


@_compile
def _decay_gradient_segment(noise, rates, ends, table, silent, first, stop, gradient, sums):
    for begin in range(first, stop, BLOCK):
        for item in range(rates.shape[0]):
            end = min(begin + BLOCK, stop, ends[item])
            if begin >= end:
                continue
            for band in range(noise.shape[1]):
                value = math.exp(-rates[item, band] * begin)
                if value < silent:
                    continue
                total, moment = _block_sums(
                    noise[0, band, begin:end], noise[1, band, begin:end],
                    gradient[item, 0, begin:end], gradient[item, 1, begin:end], table[item, band],
                )  # fmt: skip
                sums[item, band] += value * (begin * total + moment)


def _decays(
    t60: Tensor, sample_rate: float, samples: int, like: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nepers a tap, the taps of each item, and the table of decays in a block."""
    seconds = t60.detach().numpy()
    rates = np.ascontiguousarray(3.0 * math.log(10.0) / sample_rate / seconds)
    longest = seconds.max(axis=1)
    ends = np.minimum(np.ceil(np.minimum(longest * sample_rate, samples)).astype(np.int64), samples)
    # As the comparison n/fs < longest has it, whichever way the product rounds.
    ends -= (ends > 0) & ((ends - 1) / sample_rate >= longest)
    ends += (ends < samples) & (ends / sample_rate < longest)
    return rates, ends, _steps(rates, like)


def decaying_noise(noise: Tensor, t60: Tensor, sample_rate: float, target: Tensor) -> None:
    """Fill a target with the sum of the bands, each with its decay.

    Parameters
    ----------
    noise : Tensor
        ``(2, bands, samples)``: middle and side.
    t60 : Tensor
        ``(batch, bands or more)`` seconds, float64. An item is silent after its longest one.
    sample_rate : float
        Hz.
    target : Tensor
        ``(batch, 2, samples)``, overwritten; its rows need not follow each other.
    """
    bands, to = noise.numpy(), target.numpy()
    samples = to.shape[-1]
    rates, ends, table = _decays(t60, sample_rate, samples, bands)

    def task(index: int) -> None:
        first = index * SEGMENT
        stop = min(first + SEGMENT, samples)
        _decay_segment(bands, rates, ends, table, SILENT[noise.dtype], first, stop, to)

    run_tasks(task, _segments(samples))


def decay_gradient(noise: Tensor, t60: Tensor, sample_rate: float, gradient: Tensor) -> Tensor:
    """Gradient of the T60 of each band, ``(batch, bands)``, from that of the taps."""
    bands, by_tap = noise.numpy(), gradient.numpy()
    samples = by_tap.shape[-1]
    rates, ends, table = _decays(t60, sample_rate, samples, bands)
    sums = np.zeros((_segments(samples), *rates.shape))

    def task(index: int) -> None:
        first = index * SEGMENT
        stop = min(first + SEGMENT, samples)
        _decay_gradient_segment(
            bands, rates, ends, table, SILENT[noise.dtype], first, stop, by_tap, sums[index]
        )

    run_tasks(task, len(sums))
    return torch.from_numpy(sums.sum(axis=0) * rates) / t60


# --- powers ----------------------------------------------------------------------------------


@_compile
def _powers(middle, side, found):
    one, other, both = 0.0, 0.0, 0.0
    for k in range(middle.shape[0]):
        mr, mi = np.float64(middle[k, 0]), np.float64(middle[k, 1])
        sr, si = np.float64(side[k, 0]), np.float64(side[k, 1])
        one += mr * mr + mi * mi
        other += sr * sr + si * si
        both += mr * sr + mi * si
    found[0] += one
    found[1] += other
    found[2] += both


def band_powers(spectrum: Tensor, bins: list[int]) -> Tensor:
    """Means of |M|², |S|² and Re(M·conj(S)) over the bins ``first, last, step``."""
    first, last, step = bins
    pairs = _pairs(spectrum)[:, :, first : last + 1 : step]
    found = np.zeros((len(pairs), 3))

    def task(item: int) -> None:
        _powers(pairs[item, 0], pairs[item, 1], found[item])

    run_tasks(task, len(pairs))
    return torch.from_numpy(found / pairs.shape[2])


@_compile
def _halve(gradient, target):
    # 0.5 as a float64 would make the whole loop one.
    half = np.empty(1, target.dtype)
    half[0] = 0.5
    for k in range(gradient.shape[0]):
        target[k, 0] = half[0] * gradient[k, 0]
        target[k, 1] = half[0] * gradient[k, 1]


@_compile
def _add_power_gradient(own, by_own, other, by_other, target):
    for k in range(own.shape[0]):
        target[k, 0] += by_own * own[k, 0] + by_other * other[k, 0]
        target[k, 1] += by_own * own[k, 1] + by_other * other[k, 1]


def spectrum_gradient(
    gradient: Tensor, by_power: Tensor, spectrum: Tensor, bins: list[int]
) -> Tensor:
    """Half spectrum whose inverse transform, unscaled, is the gradient of the taps.

    Parameters
    ----------
    gradient : Tensor
        ``(batch, 2, bins)`` complex, of the spectrum.
    by_power : Tensor
        ``(batch, 3)``, of :func:`band_powers`.
    spectrum : Tensor
        ``(batch, 2, bins)`` complex.
    bins : list of int
        First, last, step of the powers.

    Returns
    -------
    Tensor
        ``(batch, 2, bins)`` complex.
    """
    first, last, step = bins
    part = slice(first, last + 1, step)
    errors, pairs = _pairs(gradient), _pairs(spectrum)
    target = np.empty_like(pairs)
    count = len(range(first, last + 1, step))
    factors = (by_power.numpy() / count).astype(pairs.dtype)

    def task(index: int) -> None:
        item, row = divmod(index, 2)
        _halve(errors[item, row], target[item, row])
        _add_power_gradient(
            pairs[item, row, part], factors[item, row],
            pairs[item, 1 - row, part], pairs.dtype.type(0.5) * factors[item, 2],
            target[item, row, part],
        )  # fmt: skip
        # The bins at 0 Hz and fs/2 have no mirror image that shares their gradient.
        target[item, row, :: target.shape[2] - 1] *= 2.0

    run_tasks(task, 2 * len(pairs))
    return torch.view_as_complex(torch.from_numpy(target))


# --- mix, cuts and pre-delay -----------------------------------------------------------------


@_compile
def _waves(settings, length, like):
    """Within a block: cosine and sine of ω/2 in float64, those of the pre-delay's phase."""
    half = np.empty((2, BLOCK))
    ramp = np.empty((2, BLOCK), like.dtype)
    for k in range(BLOCK):
        half[0, k], half[1, k] = math.cos(math.pi * k / length), math.sin(math.pi * k / length)
        turns = k / length * settings[4]
        angle = -2.0 * math.pi * (turns - math.floor(turns))
        ramp[0, k], ramp[1, k] = math.cos(angle), math.sin(angle)
    return half, ramp


@_compile
def _constants(settings, like):
    """Sines and cosines of the cuts, in the type of the audio; see generic_room._filter."""
    found = np.empty((2, 6), like.dtype)
    for cut in range(2):
        s0, c0 = math.sin(settings[5 + cut]), math.cos(settings[5 + cut])
        found[cut, 0], found[cut, 1] = s0 * s0, c0 * c0
        found[cut, 2] = s0 * c0 / CUT_Q
        found[cut, 3], found[cut, 4] = 2.0 * s0 * c0, (c0 * c0 - s0 * s0) / CUT_Q
    low, high = settings[5], settings[6]
    found[0, 5] = -((math.cos(low) * math.sin(high)) ** 2)
    found[1, 5] = 0.0
    return found


@_compile
def _filter_block(begin, length, settings, half, ramp, cuts, scratch):
    """Response and denominators of the cuts at the bins of a block.

    Rows of `scratch`: real and imaginary part of the response, s·c, and real and imaginary part
    of the low and of the high cut's denominator.
    """
    cosine, sine = math.cos(math.pi * begin / length), math.sin(math.pi * begin / length)
    turns = begin / length * settings[4]
    angle = -2.0 * math.pi * (turns - math.floor(turns))
    start = np.empty(2, scratch.dtype)
    start[0], start[1] = math.cos(angle), math.sin(angle)
    start_re, start_im = start[0], start[1]
    waves = scratch[7:10]
    for k in range(BLOCK):
        c = cosine * half[0, k] - sine * half[1, k]
        s = sine * half[0, k] + cosine * half[1, k]
        waves[0, k], waves[1, k], waves[2, k] = c * c, s * s, s * c
    for k in range(BLOCK):
        c2, s2, sc = waves[0, k], waves[1, k], waves[2, k]
        low_re, low_im = c2 * cuts[0, 0] - s2 * cuts[0, 1], sc * cuts[0, 2]
        high_re, high_im = c2 * cuts[1, 0] - s2 * cuts[1, 1], sc * cuts[1, 2]
        re, im = low_re * high_re - low_im * high_im, low_re * high_im + low_im * high_re
        scale = cuts[0, 5] * s2 * c2 / (re * re + im * im)
        ramp_re = start_re * ramp[0, k] - start_im * ramp[1, k]
        ramp_im = start_re * ramp[1, k] + start_im * ramp[0, k]
        scratch[0, k] = scale * (re * ramp_re + im * ramp_im)
        scratch[1, k] = scale * (re * ramp_im - im * ramp_re)
        scratch[2, k] = sc
        scratch[3, k], scratch[4, k] = low_re, low_im
        scratch[5, k], scratch[6, k] = high_re, high_im


@_compile
def _color_block(middle, side, mix, scratch, left, right):
    for k in range(middle.shape[0]):
        re, im = scratch[0, k], scratch[1, k]
        mr = middle[k, 0] * re - middle[k, 1] * im
        mi = middle[k, 0] * im + middle[k, 1] * re
        sr = side[k, 0] * re - side[k, 1] * im
        si = side[k, 0] * im + side[k, 1] * re
        left[k, 0], left[k, 1] = mix[0] * mr + mix[1] * sr, mix[0] * mi + mix[1] * si
        right[k, 0], right[k, 1] = mix[2] * mr + mix[3] * sr, mix[2] * mi + mix[3] * si


@_compile
def _color_segment(spectrum, settings, length, first, stop, target):
    half, ramp = _waves(settings, length, spectrum)
    cuts = _constants(settings, spectrum)
    mix = settings[:4].astype(spectrum.dtype)
    scratch = np.empty((10, BLOCK), spectrum.dtype)
    for begin in range(first, stop, BLOCK):
        end = min(begin + BLOCK, stop)
        _filter_block(begin, length, settings, half, ramp, cuts, scratch)
        _color_block(
            spectrum[0, begin:end], spectrum[1, begin:end], mix, scratch,
            target[0, begin:end], target[1, begin:end],
        )  # fmt: skip


@_compile
def _color_gradient_block(
    left, right, middle, side, mix, cuts, scratch, begin, scale, by_middle, by_side, sums
):
    lm, ls, rm, rs, delay, low, high = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(middle.shape[0]):
        re, im = scale * scratch[0, k], scale * scratch[1, k]
        mr, mi, sr, si = middle[k, 0], middle[k, 1], side[k, 0], side[k, 1]
        # The errors through the conjugate of the response: the gradients of both mixes.
        lr, li = left[k, 0] * re + left[k, 1] * im, left[k, 1] * re - left[k, 0] * im
        rr, ri = right[k, 0] * re + right[k, 1] * im, right[k, 1] * re - right[k, 0] * im
        gmr, gmi = mix[0] * lr + mix[2] * rr, mix[0] * li + mix[2] * ri
        gsr, gsi = mix[1] * lr + mix[3] * rr, mix[1] * li + mix[3] * ri
        by_middle[k, 0], by_middle[k, 1] = gmr, gmi
        by_side[k, 0], by_side[k, 1] = gsr, gsi
        lm += np.float64(lr * mr + li * mi)
        ls += np.float64(lr * sr + li * si)
        rm += np.float64(rr * mr + ri * mi)
        rs += np.float64(rr * sr + ri * si)
        # What a change of the response's logarithm would do, as a complex number.
        pr = gmr * mr + gmi * mi + gsr * sr + gsi * si
        pi = gmr * mi - gmi * mr + gsr * si - gsi * sr
        delay += np.float64(pi) * np.float64(begin + k)
        sc = scratch[2, k]
        dr, di = scratch[3, k], scratch[4, k]
        tr, ti = cuts[0, 3] * dr + sc * cuts[0, 4] * di, sc * cuts[0, 4] * dr - cuts[0, 3] * di
        low += np.float64((pr * tr - pi * ti) / (dr * dr + di * di))
        dr, di = scratch[5, k], scratch[6, k]
        tr, ti = cuts[1, 3] * dr + sc * cuts[1, 4] * di, sc * cuts[1, 4] * dr - cuts[1, 3] * di
        high += np.float64((pr * tr - pi * ti) / (dr * dr + di * di))
    sums[0] += lm
    sums[1] += ls
    sums[2] += rm
    sums[3] += rs
    sums[4] += delay
    sums[5] += low
    sums[6] += high


@_compile
def _color_gradient_segment(
    error, spectrum, settings, length, first, stop, by_spectrum, by_setting
):
    half, ramp = _waves(settings, length, spectrum)
    cuts = _constants(settings, spectrum)
    mix = settings[:4].astype(spectrum.dtype)
    scratch = np.empty((10, BLOCK), spectrum.dtype)
    scale = np.empty(1, spectrum.dtype)
    scale[0] = 2.0 / length
    sums = np.zeros(7)
    for begin in range(first, stop, BLOCK):
        end = min(begin + BLOCK, stop)
        _filter_block(begin, length, settings, half, ramp, cuts, scratch)
        _color_gradient_block(
            error[0, begin:end], error[1, begin:end],
            spectrum[0, begin:end], spectrum[1, begin:end],
            mix, cuts, scratch, begin, scale[0],
            by_spectrum[0, begin:end], by_spectrum[1, begin:end], sums,
        )  # fmt: skip
    # Of the numerators the logarithm changes alike at every bin.
    total = settings[0] * sums[0] + settings[1] * sums[1]
    total += settings[2] * sums[2] + settings[3] * sums[3]
    by_setting[:4] = sums[:4]
    by_setting[4] = sums[4] * 2.0 * math.pi / length
    by_setting[5] = -sums[5] - 2.0 * math.tan(settings[5]) * total
    by_setting[6] = -sums[6] + 2.0 / math.tan(settings[6]) * total


def color(spectrum: Tensor, settings: Tensor, length: int) -> Tensor:
    """Spectrum of both sides from that of middle and side.

    Parameters
    ----------
    spectrum : Tensor
        ``(batch, 2, length/2 + 1)`` complex.
    settings : Tensor
        ``(batch, 7)``; see :func:`.room.room_response`.
    length : int
        Of the transform.

    Returns
    -------
    Tensor
        ``(batch, 2, length/2 + 1)`` complex.
    """
    pairs = _pairs(spectrum)
    rows = np.ascontiguousarray(settings.detach().numpy())
    target = np.empty_like(pairs)
    bins = pairs.shape[2]
    segments = _segments(bins)

    def task(index: int) -> None:
        item, segment = divmod(index, segments)
        first = segment * SEGMENT
        stop = min(first + SEGMENT, bins)
        _color_segment(pairs[item], rows[item], length, first, stop, target[item])

    run_tasks(task, len(pairs) * segments)
    return torch.view_as_complex(torch.from_numpy(target))


def color_gradient(
    error: Tensor, spectrum: Tensor, settings: Tensor, length: int, by_spectrum: Tensor
) -> Tensor:
    """Gradient of the settings; that of the spectrum is written to `by_spectrum`.

    `error`, which is spoilt, is the transform of the gradient of the response.
    """
    # By Parseval on half a spectrum: all but the first and the last bin count twice.
    error[..., :: error.shape[-1] - 1] *= 0.5
    errors, pairs, target = _pairs(error), _pairs(spectrum), _pairs(by_spectrum)
    rows = np.ascontiguousarray(settings.detach().numpy())
    bins = pairs.shape[2]
    segments = _segments(bins)
    sums = np.zeros((len(pairs), segments, 7))

    def task(index: int) -> None:
        item, segment = divmod(index, segments)
        first = segment * SEGMENT
        stop = min(first + SEGMENT, bins)
        _color_gradient_segment(
            errors[item], pairs[item], rows[item], length, first, stop,
            target[item], sums[item, segment],
        )  # fmt: skip

    run_tasks(task, len(pairs) * segments)
    return torch.from_numpy(sums.sum(axis=1))
