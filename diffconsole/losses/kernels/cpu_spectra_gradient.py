"""Gradient of the distance of two stereo sounds' spectra on the CPU; see :mod:`.cpu_spectra`."""

from __future__ import annotations

import numpy as np

from ...kernels.fourier import LANES, to_bins, to_samples
from ...kernels.jit import compiled
from ...kernels.threads import run_tasks
from ...kernels.vectors import broadcast, load, maximum, sqrt, store, where_greater
from .cpu_spectra import (
    COLUMNS,
    FLOOR,
    GROUP,
    MEASURES,
    SLACK,
    Frames,
    each_run,
    load_frames,
    unpack,
)

__all__ = ["add_frames", "differentiate"]


@compiled
def _add_frames(re, im, first, size, window, turned, y):
    """Adjoint of `load_frames`, added to `y`."""
    hop = size // 4
    turned[:] = 0.0
    for q in range(4):
        for r in range(hop):
            row, place, weight = q * hop + r, r * COLUMNS + q, window[q * hop + r]
            a = load(turned, place, 16) + load(re, row * LANES, 16) * weight
            store(a, turned, place)
            b = load(turned, place + LANES, 16) + load(im, row * LANES, 16) * weight
            store(b, turned, place + LANES)
    for column in range(GROUP + 3):
        start = first + column * hop
        for r in range(hop):
            y[start + r] += turned[r * COLUMNS + column]


@compiled
def _slope(r, i, theirs, floor, by_error, by_octave, zero):
    """What a measure's spectrum is multiplied by to give its gradient."""
    power = r * r + i * i
    ours = sqrt(maximum(power, floor))
    error, inverse = ours - theirs, 1.0 / ours
    sign = where_greater(error, zero, by_octave, where_greater(zero, error, zero - by_octave, zero))
    slope = (by_error * error + sign * inverse) * inverse
    return where_greater(floor, power, zero, slope)


@compiled
def _gradients(lr, li, rr, ri, roots, at, floor, masked, weights, zero):
    """Gradients of a frame's left and right spectra, real and imaginary."""
    e0, e1, e2, d0, d1, d2 = weights
    left = _slope(lr, li, load(roots, at, 16), floor, e0, d0, zero)
    right = _slope(rr, ri, load(roots, at + LANES, 16), floor, e0, d0, zero)
    br, bi, cr, ci = lr + rr, li + ri, lr - rr, li - ri
    mid, side = load(roots, at + 2 * LANES, 16), load(roots, at + 3 * LANES, 16)
    # `masked` is a share of powers here.
    both = _slope(br, bi, mid, maximum(floor, side * side * masked), e1, d1, zero)
    apart = _slope(cr, ci, side, maximum(floor, mid * mid * masked), e2, d2, zero)
    br, bi, cr, ci = both * br, both * bi, apart * cr, apart * ci
    return (
        left * lr + (br + cr),
        left * li + (bi + ci),
        right * rr + (br - cr),
        right * ri + (bi - ci),
    )


@compiled
def _pack(ar, ai, br, bi, own, mirror, re, im):
    """Adjoint of `unpack`; a bin that is its own mirror counts for both."""
    if own == mirror:
        store(ar + ar, re, own * LANES)
        store(br + br, im, own * LANES)
    else:
        store(ar - bi, re, own * LANES)
        store(ai + br, im, own * LANES)
        store(ar + bi, re, mirror * LANES)
        store(br - ai, im, mirror * LANES)


@compiled
def _differentiate(
    x, origin, size, window, frames, first, last, selected, order, cosine, sine, roots, masked,
    weights, y
):  # fmt: skip
    """Gradient by the samples from the first group's first on."""
    kind, bins, hop = x.dtype.type, size // 2 + 1, size // 4
    turned = np.zeros(hop * COLUMNS, x.dtype)
    re, im = np.empty((2, size * LANES), x.dtype), np.empty((2, size * LANES), x.dtype)
    floor, zero = broadcast(kind(FLOOR), 16), broadcast(kind(0.0), 16)
    least = broadcast(kind(masked * masked), 16)
    wide = (
        broadcast(kind(weights[0]), 16), broadcast(kind(weights[1]), 16),
        broadcast(kind(weights[2]), 16), broadcast(kind(weights[3]), 16),
        broadcast(kind(weights[4]), 16), broadcast(kind(weights[5]), 16),
    )  # fmt: skip
    y[:] = 0.0
    for group in range(first, last):
        if not selected[group]:
            continue
        inside, start = min(frames - group * GROUP, GROUP), origin + group * GROUP * hop
        for side in range(2):
            load_frames(x[side], start, size, hop, window, inside, turned, re[side], im[side])
            to_bins(re[side], im[side], size, cosine, sine)
        for k in range(bins):
            own, mirror = order[k], order[(size - k) % size]
            alr, ali, blr, bli = unpack(re[0], im[0], own, mirror)
            arr, ari, brr, bri = unpack(re[1], im[1], own, mirror)
            at = (group * bins + k) * MEASURES * LANES
            a = _gradients(alr, ali, arr, ari, roots, at, floor, least, wide, zero)
            b = _gradients(blr, bli, brr, bri, roots, at + 4 * LANES, floor, least, wide, zero)
            _pack(a[0], a[1], b[0], b[1], own, mirror, re[0], im[0])
            _pack(a[2], a[3], b[2], b[3], own, mirror, re[1], im[1])
        place = (group - first) * GROUP * hop
        for side in range(2):
            to_samples(re[side], im[side], size, cosine, sine)
            _add_frames(re[side], im[side], place, size, window, turned, y[side])


def differentiate(
    padded: np.ndarray,
    origin: int,
    frames: Frames,
    selected: np.ndarray,
    roots: np.ndarray,
    weights: np.ndarray,
    masked: float = 0.0,
) -> np.ndarray:
    """Return the gradient of ``Σ weights · sums``, by runs: :func:`add_frames` joins them.

    The sound is `padded`, as :func:`.cpu_spectra.pad_for` does; frames begin at `origin`.

    The first three of `weights`, ``(items, 6)``, are those of half the squared errors, the
    others those of the natural logarithms' distances. `masked` is that of :func:`roots_of`.
    """
    length = (frames.groups_a_run * GROUP + SLACK) * frames.hop
    pieces = np.empty((len(padded), frames.runs, 2, length), padded.dtype)

    def task(item: int, first: int, last: int) -> None:
        _differentiate(
            padded[item], origin, frames.size, frames.window, frames.frames, first, last, selected,
            *frames.plan, roots[item % len(roots)], masked, weights[item],
            pieces[item, first // frames.groups_a_run],
        )  # fmt: skip

    each_run(task, len(padded), frames)
    return pieces


@compiled
def _join(pieces, step, half, scratch, y):
    """Add the runs' overlapping pieces of one channel, folded at the mirrors, to `y`."""
    samples = y.shape[0]
    scratch[:] = 0.0
    for run in range(pieces.shape[0]):
        piece, place = pieces[run], scratch[run * step : run * step + pieces.shape[1]]
        for n in range(place.shape[0]):
            place[n] += piece[n]
    inner = scratch[half : half + samples]
    for n in range(samples):
        y[n] += inner[n]
    for n in range(half):
        y[n + 1] += scratch[half - 1 - n]
        y[samples - 2 - n] += scratch[half + samples + n]


def add_frames(pieces: np.ndarray, frames: Frames, gradient: np.ndarray) -> None:
    """Add what :func:`differentiate` returns to ``(items, 2, samples)``."""
    step = frames.groups_a_run * GROUP * frames.hop
    reach = max(step * (frames.runs - 1) + pieces.shape[-1], gradient.shape[-1] + frames.size)

    def task(index: int) -> None:
        item, side = divmod(index, 2)
        scratch = np.empty(reach, gradient.dtype)
        _join(pieces[item, :, side], step, frames.size // 2, scratch, gradient[item, side])

    run_tasks(task, 2 * len(gradient))
