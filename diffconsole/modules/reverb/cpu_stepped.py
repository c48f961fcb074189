"""The reverb's mix, cuts and pre-delay on bins in the order of two-step transforms.

The formula is that of :mod:`.cpu_color`, the order that of
:mod:`diffconsole.kernels.stepped_transforms`. Bin ``k₁ + N₁·k₂`` of N lies at row k₁ and column k₂;
those above N/2 are the negative frequencies ``k − N``. Sines and cosines follow from one table of
the rows and one of the columns. The first and the last row hold each frequency twice, the others
one of the two.
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.threads import run_tasks
from .cpu_color import _constants
from .cpu_room import compiled, real_pairs

__all__ = ["ROWS_A_TASK", "color_stepped", "numbers_of_bins", "powers_stepped", "tables_of"]

ROWS_A_TASK = 64


def numbers_of_bins(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return what rows and columns add to the number of a bin, negative above half of all."""
    rows, columns = shape
    along = np.arange(columns)
    return np.arange(rows // 2 + 1), rows * np.where(2 * along >= columns, along - columns, along)


def tables_of(settings: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return cosine and sine of half the angle, then of the pre-delay's phase.

    By row, ``(rows/2 + 1, 4)``, and by column, ``(4, columns)``.
    """
    size = shape[0] * shape[1]
    tables = []
    for numbers in numbers_of_bins(shape):
        half = math.pi / size * numbers
        turns = settings[4] / size * numbers
        angle = -2.0 * math.pi * (turns - np.floor(turns))
        table = np.stack((np.cos(half), np.sin(half), np.cos(angle), np.sin(angle)))
        tables.append(table.astype(np.float32))
    return np.ascontiguousarray(tables[0].T), tables[1]


@compiled
def _color_row(middle, side, mix, cuts, row, columns, left, right):
    """Colour the bins of one row; tables hold cosine, sine, cosine and sine of the pre-delay."""
    lm, ls, rm, rs = mix[0], mix[1], mix[2], mix[3]
    low_s, low_c, low_q, high_s, high_c, high_q = (
        cuts[0], cuts[1], cuts[2], cuts[5], cuts[6], cuts[7],
    )  # fmt: skip
    level = cuts[10]
    c1, s1, d1, e1 = row[0], row[1], row[2], row[3]
    for k in range(columns.shape[1]):
        c2, s2, d2, e2 = columns[0, k], columns[1, k], columns[2, k], columns[3, k]
        c, s = c1 * c2 - s1 * s2, s1 * c2 + c1 * s2
        ramp_re, ramp_im = d1 * d2 - e1 * e2, d1 * e2 + e1 * d2
        cc, ss, sc = c * c, s * s, s * c
        low_re, low_im = cc * low_s - ss * low_c, sc * low_q
        high_re, high_im = cc * high_s - ss * high_c, sc * high_q
        re, im = low_re * high_re - low_im * high_im, low_re * high_im + low_im * high_re
        scale = level * ss * cc / (re * re + im * im)
        by_re = scale * (re * ramp_re + im * ramp_im)
        by_im = scale * (re * ramp_im - im * ramp_re)
        mr = middle[2 * k] * by_re - middle[2 * k + 1] * by_im
        mi = middle[2 * k] * by_im + middle[2 * k + 1] * by_re
        sr = side[2 * k] * by_re - side[2 * k + 1] * by_im
        si = side[2 * k] * by_im + side[2 * k + 1] * by_re
        left[2 * k], left[2 * k + 1] = lm * mr + ls * sr, lm * mi + ls * si
        right[2 * k], right[2 * k + 1] = rm * mr + rs * sr, rm * mi + rs * si


@compiled
def _color_rows(noise, mix, cuts, rows, columns, first, stop, target):
    for k in range(first, stop):
        _color_row(
            noise[0, k], noise[1, k], mix, cuts, rows[k], columns, target[0, k], target[1, k]
        )


def color_stepped(noise: np.ndarray, settings: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the spectrum of both sides from that of middle and side.

    Parameters
    ----------
    noise : ndarray
        ``(2, rows/2 + 1, columns)`` complex64.
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
    pairs = real_pairs(noise)
    cuts, mix = _constants(settings, pairs), settings[:4].astype(np.float32)
    target = np.empty_like(pairs)
    count = len(rows)

    def task(index: int) -> None:
        first, stop = index * ROWS_A_TASK, min((index + 1) * ROWS_A_TASK, count)
        _color_rows(pairs, mix, cuts, rows, columns, first, stop, target)

    run_tasks(task, -(-count // ROWS_A_TASK))
    return target.view(np.complex64)


@compiled
def _row_powers(middle, side, weights, sums):
    zero = middle.dtype.type(0.0)
    one, other, both = zero, zero, zero
    for k in range(weights.shape[0]):
        mr, mi, sr, si = middle[2 * k], middle[2 * k + 1], side[2 * k], side[2 * k + 1]
        one += weights[k] * (mr * mr + mi * mi)
        other += weights[k] * (sr * sr + si * si)
        both += weights[k] * (mr * sr + mi * si)
    sums[0] += one
    sums[1] += other
    sums[2] += both


@compiled
def _powers(noise, weights, first, stop, sums):
    for k in range(first, stop):
        _row_powers(noise[0, k], noise[1, k], weights[k], sums)


def powers_stepped(noise: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sums of |M|², |S|² and Re(M·conj(S)), ``(3,)``.

    Parameters
    ----------
    noise : ndarray
        ``(2, rows/2 + 1, columns)`` complex64: middle and side.
    weights : ndarray
        ``(rows/2 + 1, columns)`` float32.
    """
    pairs, count = real_pairs(noise), len(weights)
    sums = np.zeros((-(-count // ROWS_A_TASK), 3))

    def task(index: int) -> None:
        first, stop = index * ROWS_A_TASK, min((index + 1) * ROWS_A_TASK, count)
        _powers(pairs, weights, first, stop, sums[index])

    run_tasks(task, len(sums))
    return sums.sum(axis=0)
