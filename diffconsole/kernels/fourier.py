"""Fourier transforms of many frames side by side, in vector registers.

A *stack* holds real and imaginary parts as two flat arrays: row k, :data:`LANES` wide, is point k
of as many transforms. Transforms run in place and leave their bins in the order that falls out
of them, ``order[k]`` being the row of bin k; the way back starts from there.
Sizes are ``2·4^p``: one step by two, p by four.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from .jit import compiled
from .vectors import load, store

__all__ = ["LANES", "Plan", "plan_for", "to_bins", "to_samples"]

LANES = 16
# Points of a part whose steps are all taken before the next part's: they stay in the near cache.
NEAR = 256


class Plan(NamedTuple):
    """What transforms of one size and type share."""

    order: np.ndarray
    cosine: np.ndarray
    sine: np.ndarray


@functools.cache
def plan_for(size: int, kind: np.dtype) -> Plan:
    """Return the rows of the bins, and ``exp(−2πi·k/size)``."""
    steps = round(math.log(size / 2, 4))
    if size != 2 * 4**steps:
        raise ValueError(f"{size} is not 2·4^p")
    order, rest, width = np.zeros(size, np.int64), np.arange(size), size
    for radix in (2, *[4] * steps):
        width //= radix
        order += rest % radix * width
        rest = rest // radix
    angle = -2.0 * np.pi * np.arange(size) / size
    return Plan(order, np.cos(angle).astype(kind), np.sin(angle).astype(kind))


@compiled
def _by_two(re, im, size, cosine, sine):
    half = size // 2
    for j in range(half):
        a, b = j * LANES, (j + half) * LANES
        ar, ai, br, bi = load(re, a, 16), load(im, a, 16), load(re, b, 16), load(im, b, 16)
        store(ar + br, re, a)
        store(ai + bi, im, a)
        dr, di, c, s = ar - br, ai - bi, cosine[j], sine[j]
        store(dr * c - di * s, re, b)
        store(dr * s + di * c, im, b)


@compiled
def _by_two_back(re, im, size, cosine, sine):
    half = size // 2
    for j in range(half):
        a, b = j * LANES, (j + half) * LANES
        ar, ai, yr, yi = load(re, a, 16), load(im, a, 16), load(re, b, 16), load(im, b, 16)
        c, s = cosine[j], sine[j]
        br, bi = yr * c + yi * s, yi * c - yr * s
        store(ar + br, re, a)
        store(ai + bi, im, a)
        store(ar - br, re, b)
        store(ai - bi, im, b)


@compiled
def _by_four(re, im, base, points, turn, cosine, sine):
    """One step by four on `points` rows from `base` on; `turn` is the table's step."""
    quarter = points // 4
    for j in range(quarter):
        p0 = (base + j) * LANES
        p1, p2, p3 = p0 + quarter * LANES, p0 + 2 * quarter * LANES, p0 + 3 * quarter * LANES
        r0, i0, r1, i1 = load(re, p0, 16), load(im, p0, 16), load(re, p1, 16), load(im, p1, 16)
        r2, i2, r3, i3 = load(re, p2, 16), load(im, p2, 16), load(re, p3, 16), load(im, p3, 16)
        ar, ai, br, bi = r0 + r2, i0 + i2, r0 - r2, i0 - i2
        cr, ci, dr, di = r1 + r3, i1 + i3, i1 - i3, r3 - r1
        store(ar + cr, re, p0)
        store(ai + ci, im, p0)
        k = j * turn
        c, s = cosine[k], sine[k]
        yr, yi = br + dr, bi + di
        store(yr * c - yi * s, re, p1)
        store(yr * s + yi * c, im, p1)
        c, s = cosine[2 * k], sine[2 * k]
        yr, yi = ar - cr, ai - ci
        store(yr * c - yi * s, re, p2)
        store(yr * s + yi * c, im, p2)
        c, s = cosine[3 * k], sine[3 * k]
        yr, yi = br - dr, bi - di
        store(yr * c - yi * s, re, p3)
        store(yr * s + yi * c, im, p3)


@compiled
def _by_four_back(re, im, base, points, turn, cosine, sine):
    quarter = points // 4
    for j in range(quarter):
        p0 = (base + j) * LANES
        p1, p2, p3 = p0 + quarter * LANES, p0 + 2 * quarter * LANES, p0 + 3 * quarter * LANES
        k = j * turn
        y0r, y0i = load(re, p0, 16), load(im, p0, 16)
        yr, yi, c, s = load(re, p1, 16), load(im, p1, 16), cosine[k], sine[k]
        y1r, y1i = yr * c + yi * s, yi * c - yr * s
        yr, yi, c, s = load(re, p2, 16), load(im, p2, 16), cosine[2 * k], sine[2 * k]
        y2r, y2i = yr * c + yi * s, yi * c - yr * s
        yr, yi, c, s = load(re, p3, 16), load(im, p3, 16), cosine[3 * k], sine[3 * k]
        y3r, y3i = yr * c + yi * s, yi * c - yr * s
        ar, ai, br, bi = y0r + y2r, y0i + y2i, y0r - y2r, y0i - y2i
        cr, ci, dr, di = y1r + y3r, y1i + y3i, y3i - y1i, y1r - y3r
        store(ar + cr, re, p0)
        store(ai + ci, im, p0)
        store(br + dr, re, p1)
        store(bi + di, im, p1)
        store(ar - cr, re, p2)
        store(ai - ci, im, p2)
        store(br - dr, re, p3)
        store(bi - di, im, p3)


@compiled
def to_bins(re, im, size, cosine, sine):
    """Transform a stack of frames in place: ``X[k] = Σ x[n]·exp(−2πi·k·n/size)``."""
    _by_two(re, im, size, cosine, sine)
    points = size // 2
    while points > NEAR:
        for base in range(0, size, points):
            _by_four(re, im, base, points, size // points, cosine, sine)
        points //= 4
    for first in range(0, size, points):
        inner = points
        while inner > 1:
            for base in range(first, first + points, inner):
                _by_four(re, im, base, inner, size // inner, cosine, sine)
            inner //= 4


@compiled
def to_samples(re, im, size, cosine, sine):
    """Adjoint of :func:`to_bins`, in place: ``x[n] = Σ X[k]·exp(2πi·k·n/size)``."""
    near = size // 2
    while near > NEAR:
        near //= 4
    for first in range(0, size, near):
        inner = 4
        while inner <= near:
            for base in range(first, first + near, inner):
                _by_four_back(re, im, base, inner, size // inner, cosine, sine)
            inner *= 4
    points = near * 4
    while points < size:
        for base in range(0, size, points):
            _by_four_back(re, im, base, points, size // points, cosine, sine)
        points *= 4
    _by_two_back(re, im, size, cosine, sine)
