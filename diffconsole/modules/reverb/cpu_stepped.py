"""The reverb's mix, cuts and pre-delay on bins in the order of two-step transforms.

The formula is that of :mod:`.cpu_color`, the order that of
:mod:`diffconsole.kernels.stepped_transforms`. Bin ``k₁ + N₁·k₂`` of N lies at row k₁ and column k₂;
those above N/2 are the negative frequencies ``k − N``. Sines and cosines follow from one table of
the rows and one of the columns.
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.threads import run_tasks
from .cpu_color import _constants
from .cpu_room import compiled, real_pairs

__all__ = ["color_stepped", "numbers_of_bins"]


def numbers_of_bins(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return what rows and columns add to the number of a bin, negative above half of all."""
    rows, columns = shape
    along = np.arange(columns)
    return np.arange(rows // 2 + 1), rows * np.where(2 * along >= columns, along - columns, along)


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
    size = shape[0] * shape[1]
    tables = []
    for numbers in numbers_of_bins(shape):
        half = math.pi / size * numbers
        turns = settings[4] / size * numbers
        angle = -2.0 * math.pi * (turns - np.floor(turns))
        table = np.stack((np.cos(half), np.sin(half), np.cos(angle), np.sin(angle)))
        tables.append(table.astype(np.float32))
    rows, columns = np.ascontiguousarray(tables[0].T), tables[1]
    pairs = real_pairs(noise)
    cuts, mix = _constants(settings, pairs), settings[:4].astype(np.float32)
    target = np.empty_like(pairs)
    count, step = len(rows), 64

    def task(index: int) -> None:
        first, stop = index * step, min((index + 1) * step, count)
        _color_rows(pairs, mix, cuts, rows, columns, first, stop, target)

    run_tasks(task, -(-count // step))
    return target.view(np.complex64)
