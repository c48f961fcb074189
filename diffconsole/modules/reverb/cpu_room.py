"""The reverb's decaying noise and its powers on the CPU, in the precision of the audio.

Exponentials go by blocks: one value at the start of a block in float64, times a table of the
steps from there, so that no error grows with time. Sums are float64, over segments of a fixed
size: the result does not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...kernels.jit import compiler
from ...kernels.threads import run_tasks

__all__ = [
    "BLOCK",
    "SEGMENT",
    "band_powers",
    "compiled",
    "decay_gradient",
    "decaying_noise",
    "from_real_pairs",
    "real_pairs",
    "segment_count",
    "spectrum_gradient",
]

BLOCK = 128
SEGMENT = 64 * BLOCK
# A band that has fallen so far is lost in the rounding of the slowest one, which ends at −60 dB.
SILENT = {np.dtype(np.float32): 1e-12, np.dtype(np.float64): 1e-24}

compiled = compiler("contract", "reassoc")


def real_pairs(spectrum: np.ndarray) -> np.ndarray:
    """Complex numbers as a row of real ones: real part, imaginary part and so on."""
    return np.ascontiguousarray(spectrum).view(spectrum.real.dtype)


def from_real_pairs(pairs: np.ndarray) -> np.ndarray:
    """Undo :func:`real_pairs`."""
    return pairs.view(np.result_type(pairs.dtype, 1j))


def segment_count(count: int) -> int:
    """How many segments, one task each, so many taps or bins make."""
    return -(-count // SEGMENT)


# --- decaying noise --------------------------------------------------------------------------


@compiled
def _steps(rates, dtype_like):
    """Decay within a block, ``(items, bands, BLOCK)``."""
    table = np.empty((rates.shape[0], rates.shape[1], BLOCK), dtype_like.dtype)
    for item in range(rates.shape[0]):
        for band in range(rates.shape[1]):
            for n in range(BLOCK):
                table[item, band, n] = math.exp(-rates[item, band] * n)
    return table


@compiled
def _add_band(middle, side, decay, start, to_middle, to_side):
    for n in range(to_middle.shape[0]):
        now = start * decay[n]
        to_middle[n] += now * middle[n]
        to_side[n] += now * side[n]


@compiled
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


@compiled
def _block_sums(middle, side, by_middle, by_side, decay):
    """Sums over a block of gradient times decay, and of that times the time in the block."""
    total, moment = 0.0, 0.0
    for n in range(by_middle.shape[0]):
        product = np.float64(decay[n] * (middle[n] * by_middle[n] + side[n] * by_side[n]))
        total += product
        moment += product * np.float64(n)
    return total, moment


@compiled
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
    seconds: np.ndarray, sample_rate: float, samples: int, like: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nepers a tap, the taps of each item, and the table of decays in a block."""
    rates = np.ascontiguousarray(3.0 * math.log(10.0) / sample_rate / seconds)
    longest = seconds.max(axis=1)
    ends = np.minimum(np.ceil(np.minimum(longest * sample_rate, samples)).astype(np.int64), samples)
    # As the comparison n/fs < longest has it, whichever way the product rounds.
    ends -= (ends > 0) & ((ends - 1) / sample_rate >= longest)
    ends += (ends < samples) & (ends / sample_rate < longest)
    return rates, ends, _steps(rates, like)


def decaying_noise(
    noise: np.ndarray, t60: np.ndarray, sample_rate: float, target: np.ndarray
) -> None:
    """Fill the front of a target with the sum of the bands, each with its decay.

    Parameters
    ----------
    noise : ndarray
        ``(2, bands, samples)``: middle and side.
    t60 : ndarray
        ``(batch, bands or more)`` seconds, float64. An item is silent after its longest one.
    sample_rate : float
        Hz.
    target : ndarray
        ``(batch, 2, samples or more)``; what follows the noise's samples is left as it is.
    """
    samples = noise.shape[-1]
    rates, ends, table = _decays(t60, sample_rate, samples, noise)

    def task(index: int) -> None:
        first = index * SEGMENT
        stop = min(first + SEGMENT, samples)
        _decay_segment(noise, rates, ends, table, SILENT[noise.dtype], first, stop, target)

    run_tasks(task, segment_count(samples))


def decay_gradient(
    noise: np.ndarray, t60: np.ndarray, sample_rate: float, gradient: np.ndarray
) -> np.ndarray:
    """Gradient of the T60 of each band, ``(batch, bands)``, from that of the taps.

    The gradient ``(batch, 2, samples or more)`` may go on after the noise has ended.
    """
    samples = noise.shape[-1]
    rates, ends, table = _decays(t60, sample_rate, samples, noise)
    sums = np.zeros((segment_count(samples), *rates.shape))

    def task(index: int) -> None:
        first = index * SEGMENT
        stop = min(first + SEGMENT, samples)
        _decay_gradient_segment(
            noise, rates, ends, table, SILENT[noise.dtype], first, stop, gradient, sums[index]
        )

    run_tasks(task, len(sums))
    return sums.sum(axis=0) * rates / t60


# --- powers ----------------------------------------------------------------------------------


@compiled
def _powers(middle, side, first, last, step, found):
    one, other, both = 0.0, 0.0, 0.0
    for k in range(first, last + 1, step):
        mr, mi = np.float64(middle[2 * k]), np.float64(middle[2 * k + 1])
        sr, si = np.float64(side[2 * k]), np.float64(side[2 * k + 1])
        one += mr * mr + mi * mi
        other += sr * sr + si * si
        both += mr * sr + mi * si
    found[0] += one
    found[1] += other
    found[2] += both


def band_powers(spectrum: np.ndarray, bins: Sequence[int]) -> np.ndarray:
    """Means of |M|², |S|² and Re(M·conj(S)) over the bins ``first, last, step``."""
    first, last, step = bins
    pairs = real_pairs(spectrum)
    found = np.zeros((len(pairs), 3))

    def task(item: int) -> None:
        _powers(pairs[item, 0], pairs[item, 1], first, last, step, found[item])

    run_tasks(task, len(pairs))
    return found / len(range(first, last + 1, step))


@compiled
def _halve(gradient, half, target):
    for k in range(gradient.shape[0]):
        target[k] = half * gradient[k]


@compiled
def _halve_and_add(gradient, half, own, by_own, other, by_other, target):
    for k in range(gradient.shape[0]):
        target[k] = half * gradient[k] + by_own * own[k] + by_other * other[k]


@compiled
def _spectrum_gradient(gradient, half, own, by_own, other, by_other, bins, target):
    first, last, step = bins
    if step == 1:
        begin, end = 2 * first, 2 * last + 2
        _halve(gradient[:begin], half, target[:begin])
        _halve_and_add(
            gradient[begin:end], half, own[begin:end], by_own, other[begin:end], by_other,
            target[begin:end],
        )  # fmt: skip
        _halve(gradient[end:], half, target[end:])
        return
    _halve(gradient, half, target)
    for k in range(first, last + 1, step):
        for part in range(2 * k, 2 * k + 2):
            target[part] += by_own * own[part] + by_other * other[part]


def spectrum_gradient(
    gradient: np.ndarray, by_power: np.ndarray, spectrum: np.ndarray, bins: Sequence[int]
) -> np.ndarray:
    """Half spectrum whose inverse transform, unscaled, is the gradient of the taps.

    Parameters
    ----------
    gradient : ndarray
        ``(batch, 2, bins)`` complex, of the spectrum.
    by_power : ndarray
        ``(batch, 3)``, of :func:`band_powers`.
    spectrum : ndarray
        ``(batch, 2, bins)`` complex.
    bins : list of int
        First, last, step of the powers.

    Returns
    -------
    ndarray
        ``(batch, 2, bins)`` complex.
    """
    first, last, step = bins
    errors, pairs = real_pairs(gradient), real_pairs(spectrum)
    target = np.empty_like(pairs)
    count = len(range(first, last + 1, step))
    factors = (by_power / count).astype(pairs.dtype)

    half = pairs.dtype.type(0.5)

    def task(index: int) -> None:
        item, row = divmod(index, 2)
        _spectrum_gradient(
            errors[item, row], half, pairs[item, row], factors[item, row],
            pairs[item, 1 - row], half * factors[item, 2], (first, last, step), target[item, row],
        )  # fmt: skip
        # The bins at 0 Hz and fs/2 have no mirror image that shares their gradient.
        target[item, row, :2] *= 2.0
        target[item, row, -2:] *= 2.0

    run_tasks(task, 2 * len(pairs))
    return from_real_pairs(target)
