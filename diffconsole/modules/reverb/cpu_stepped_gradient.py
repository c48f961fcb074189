"""Gradient of the reverb on bins in the order of two-step transforms; see :mod:`.cpu_stepped`.

All gradients by bins are times N and, of rows that hold one of two frequencies, by half of what
both of them do: an inverse transform in two steps turns them into gradients by samples.
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.threads import run_tasks
from .cpu_color import (
    _C2,
    _HIGH_IM,
    _HIGH_RE,
    _IM,
    _LOW_IM,
    _LOW_RE,
    _NUMBER,
    _RE,
    _S2,
    _SC,
    _adjoint_block,
    _color_block,
    _constants,
    _scratch,
    _settings_block,
)
from .cpu_room import BLOCK, compiled, real_pairs
from .cpu_stepped import ROWS_A_TASK, numbers_of_bins, tables_of

__all__ = ["add_by_powers", "colored_product", "colored_product_gradient"]

SETTINGS = 7


@compiled
def _filter_block(cuts, row, columns, begin, end, rows):
    """Response, and the denominators of the cuts, at some columns of a row."""
    low_s, low_c, low_q, high_s, high_c, high_q = (
        cuts[0], cuts[1], cuts[2], cuts[5], cuts[6], cuts[7],
    )  # fmt: skip
    level = cuts[10]
    c1, s1, d1, e1 = row[0], row[1], row[2], row[3]
    c2, s2 = columns[0, begin:end], columns[1, begin:end]
    for k in range(end - begin):
        c, s = c1 * c2[k] - s1 * s2[k], s1 * c2[k] + c1 * s2[k]
        rows[_C2 + k], rows[_S2 + k], rows[_SC + k] = c * c, s * s, s * c
    d2, e2 = columns[2, begin:end], columns[3, begin:end]
    for k in range(end - begin):
        cc, ss, sc = rows[_C2 + k], rows[_S2 + k], rows[_SC + k]
        low_re, low_im = cc * low_s - ss * low_c, sc * low_q
        high_re, high_im = cc * high_s - ss * high_c, sc * high_q
        re, im = low_re * high_re - low_im * high_im, low_re * high_im + low_im * high_re
        scale = level * ss * cc / (re * re + im * im)
        ramp_re, ramp_im = d1 * d2[k] - e1 * e2[k], d1 * e2[k] + e1 * d2[k]
        rows[_RE + k] = scale * (re * ramp_re + im * ramp_im)
        rows[_IM + k] = scale * (re * ramp_im - im * ramp_re)
        rows[_LOW_RE + k], rows[_LOW_IM + k] = low_re, low_im
        rows[_HIGH_RE + k], rows[_HIGH_IM + k] = high_re, high_im


@compiled
def _times(own, sound, target):
    """A product of complex numbers."""
    for k in range(sound.shape[0] // 2):
        ar, ai, br, bi = own[2 * k], own[2 * k + 1], sound[2 * k], sound[2 * k + 1]
        target[2 * k], target[2 * k + 1] = ar * br - ai * bi, ar * bi + ai * br


@compiled
def _times_conjugate(own, sound, target):
    """A product with the conjugate of the second."""
    for k in range(sound.shape[0] // 2):
        ar, ai, br, bi = own[2 * k], own[2 * k + 1], sound[2 * k], sound[2 * k + 1]
        target[2 * k], target[2 * k + 1] = ar * br + ai * bi, ai * br - ar * bi


@compiled
def _sum_times_conjugates(a, one, b, other, target):
    for k in range(target.shape[0] // 2):
        ar, ai, br, bi = a[2 * k], a[2 * k + 1], b[2 * k], b[2 * k + 1]
        mr, mi, sr, si = one[2 * k], one[2 * k + 1], other[2 * k], other[2 * k + 1]
        target[2 * k] = (ar * mr + ai * mi) + (br * sr + bi * si)
        target[2 * k + 1] = (ai * mr - ar * mi) + (bi * sr - br * si)


@compiled
def _product_rows(noise, sound, mix, cuts, rows, columns, first, stop, target):
    scratch = _scratch(noise)
    for row in range(first, stop):
        for begin in range(0, columns.shape[1], BLOCK):
            end = min(begin + BLOCK, columns.shape[1])
            _filter_block(cuts, rows[row], columns, begin, end, scratch)
            left, right = target[0, row, 2 * begin : 2 * end], target[1, row, 2 * begin : 2 * end]
            _color_block(
                noise[0, row, 2 * begin : 2 * end], noise[1, row, 2 * begin : 2 * end], mix,
                scratch, left, right,
            )  # fmt: skip
            sent = sound[row, 2 * begin : 2 * end]
            _times(left, sent, left)
            _times(right, sent, right)


def colored_product(
    noise: np.ndarray, sound: np.ndarray, settings: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Return the spectra of both sides of the return.

    Parameters
    ----------
    noise : ndarray
        ``(2, rows/2 + 1, columns)`` complex64: middle and side.
    sound : ndarray
        ``(rows/2 + 1, columns)`` complex64: what goes into the room.
    settings : ndarray
        ``(7,)``; see :func:`.room.room_response`.
    shape : tuple of int
        Rows and columns.

    Returns
    -------
    ndarray
        ``(2, rows/2 + 1, columns)`` complex64.
    """
    rows, columns = tables_of(settings, shape)
    pairs, sent = real_pairs(noise), real_pairs(sound)
    cuts, mix = _constants(settings, pairs), settings[:4].astype(np.float32)
    target = np.empty_like(pairs)

    def task(index: int) -> None:
        first, stop = index * ROWS_A_TASK, min((index + 1) * ROWS_A_TASK, len(rows))
        _product_rows(pairs, sent, mix, cuts, rows, columns, first, stop, target)

    run_tasks(task, -(-len(rows) // ROWS_A_TASK))
    return target.view(np.complex64)


@compiled
def _gradient_rows(
    error, noise, sound, mix, cuts, rows, columns, by_row, by_column, size, first, stop, by_noise,
    by_sound, sums,
):  # fmt: skip
    """Gradients by noise and sound at some rows; those by settings are added to `sums`."""
    kind = noise.dtype.type
    scratch, errors = _scratch(noise), np.empty((2, 2 * BLOCK), noise.dtype)
    one = kind(1.0)
    for row in range(first, stop):
        # The first and the last row hold each frequency twice.
        twice = kind((1.0 if row == 0 or row == rows.shape[0] - 1 else 2.0) / size)
        for begin in range(0, columns.shape[1], BLOCK):
            end = min(begin + BLOCK, columns.shape[1])
            at, to, wide = 2 * begin, 2 * end, 2 * (end - begin)
            _filter_block(cuts, rows[row], columns, begin, end, scratch)
            for k in range(end - begin):
                scratch[_NUMBER + k] = kind(by_column[begin + k] - by_column[begin])
            left, right = error[0, row, at:to], error[1, row, at:to]
            middle, side, sent = noise[0, row, at:to], noise[1, row, at:to], sound[row, at:to]
            by_middle, by_side = by_noise[0, row, at:to], by_noise[1, row, at:to]
            _adjoint_block(left, right, mix, one, scratch, by_middle, by_side)
            _sum_times_conjugates(by_middle, middle, by_side, side, by_sound[row, at:to])
            _times_conjugate(by_middle, sent, by_middle)
            _times_conjugate(by_side, sent, by_side)
            _times_conjugate(left, sent, errors[0, :wide])
            _times_conjugate(right, sent, errors[1, :wide])
            number = by_row[row] + by_column[begin]
            _settings_block(
                errors[0, :wide], errors[1, :wide], middle, side, mix, cuts, twice, number,
                scratch, sums,
            )  # fmt: skip


def colored_product_gradient(
    error: np.ndarray,
    noise: np.ndarray,
    sound: np.ndarray,
    settings: np.ndarray,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of :func:`colored_product` by its first three arguments.

    Those by noise and sound are bins whose inverse transforms are gradients by samples. `error` is
    the transform of the gradient by the return, ``(2, rows/2 + 1, columns)``.
    """
    rows, columns = tables_of(settings, shape)
    by_row, by_column = numbers_of_bins(shape)
    errors, pairs, sent = real_pairs(error), real_pairs(noise), real_pairs(sound)
    cuts, mix = _constants(settings, pairs), settings[:4].astype(np.float32)
    by_noise, by_sound = np.empty_like(pairs), np.empty_like(sent)
    size = shape[0] * shape[1]
    sums = np.zeros((-(-len(rows) // ROWS_A_TASK), SETTINGS))

    def task(index: int) -> None:
        first, stop = index * ROWS_A_TASK, min((index + 1) * ROWS_A_TASK, len(rows))
        _gradient_rows(
            errors, pairs, sent, mix, cuts, rows, columns, by_row, by_column, size, first, stop,
            by_noise, by_sound, sums[index],
        )  # fmt: skip

    run_tasks(task, len(sums))
    by_setting = sums.sum(axis=0)
    # Of the numerators the logarithm changes alike at every bin.
    total = float((settings[:4] * by_setting[:4]).sum())
    by_setting[4] *= 2.0 * math.pi / size
    by_setting[5] = -by_setting[5] - 2.0 * math.tan(settings[5]) * total
    by_setting[6] = -by_setting[6] + 2.0 / math.tan(settings[6]) * total
    return by_noise.view(np.complex64), by_sound.view(np.complex64), by_setting


@compiled
def _add_row(own, by_own, other, by_other, weights, target):
    for k in range(weights.shape[0]):
        target[2 * k] += weights[k] * (by_own * own[2 * k] + by_other * other[2 * k])
        target[2 * k + 1] += weights[k] * (by_own * own[2 * k + 1] + by_other * other[2 * k + 1])


@compiled
def _add_rows(noise, by_power, weights, size, first, stop, target):
    kind = noise.dtype.type
    both = kind(0.5 * by_power[2])
    for row in range(first, stop):
        # What the first and the last row weigh counts for both of a frequency.
        twice = size * (2.0 if row == 0 or row == weights.shape[0] - 1 else 1.0)
        for side in range(2):
            _add_row(
                noise[side, row], kind(by_power[side] * twice), noise[1 - side, row],
                kind(both * twice), weights[row], target[side, row],
            )  # fmt: skip


def add_by_powers(
    by_power: np.ndarray,
    noise: np.ndarray,
    weights: np.ndarray,
    shape: tuple[int, int],
    by_noise: np.ndarray,
) -> None:
    """Add to the gradient by bins what comes through :func:`.cpu_stepped.powers_stepped`."""
    pairs, target = real_pairs(noise), by_noise.view(np.float32)
    size, count = float(shape[0] * shape[1]), len(weights)

    def task(index: int) -> None:
        first, stop = index * ROWS_A_TASK, min((index + 1) * ROWS_A_TASK, count)
        _add_rows(pairs, by_power, weights, size, first, stop, target)

    run_tasks(task, -(-count // ROWS_A_TASK))
